"""Answers of frozen models, kept so that no evaluation pays for an equal call twice.

The key of an answer is the hash of everything that decides it: the model's spec and revision, the
messages (of local models also their tokens, which a changed tokenizer or chat template changes),
the decoding settings with the seed, the label options, which repeat it is, and promptbot's version.
Prompts themselves are not kept.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import promptbot
from promptbot.interfaces import ChoosesOptions, FollowsSchemas, HoldsWeights, TakesThreads
from promptbot.models.messages import completion_of
from promptbot.models.scoring import score_each
from promptbot.types import Choice, Completion, Message, OptionScore, TextScore

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.runnables import RunnableConfig

    from promptbot.interfaces import AnswersMany, FrozenModel

FORMAT = 1
"""Part of every key: answers kept in another form are not found."""

MAX_BYTES = 512 * 2**20
"""Size of the file from which the older half of its answers is dropped."""


@dataclass
class Replay:
    """What came from the cache during one prediction."""

    n_hits: int = 0
    """Calls that were answered from it."""
    n_misses: int = 0
    """Calls that a model answered."""
    seconds: float = 0.0
    """What the answers from the cache took when a model gave them."""
    first_token_s: float | None = None
    """Seconds to the first piece of the last of them; None where none was streamed."""


_replay: ContextVar[Replay | None] = ContextVar("promptbot_replay", default=None)


@contextmanager
def noting_replays() -> Iterator[Replay]:
    """Yield what is counted while the block runs, in this thread and those that it starts."""
    replay = Replay()
    token = _replay.set(replay)
    try:
        yield replay
    finally:
        _replay.reset(token)


def note_saved(seconds: float) -> None:
    """Count what a prediction would have taken longer, had something not been remembered."""
    replay = _replay.get()
    if replay is not None:
        replay.seconds += seconds


class CallCache:
    """Answers in one SQLite file that several threads and processes may use at once.

    A cache never breaks a run: where its file cannot be read or written, nothing is found or kept,
    and `problem` says why.

    Args:
        path: The file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.problem: str | None = None
        """What went wrong first; None while all is well."""
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # answers may be private
            self._db = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
            self._db.isolation_level = None
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
            )
            self._make_room()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the answer under a key; None where there is none."""
        rows = self._execute("SELECT answer FROM answers WHERE key = ?", (key,))
        if not rows:
            return None
        try:
            return cast(dict[str, Any], json.loads(rows[0][0]))
        except ValueError as error:
            self._give_up(error)
            return None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer."""
        text = json.dumps(answer)
        self._execute("INSERT OR REPLACE INTO answers (key, answer) VALUES (?, ?)", (key, text))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _execute(self, statement: str, values: Sequence[str]) -> list[Any]:
        with self._lock:
            if self._db is None:
                return []
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                return []

    def _make_room(self) -> None:
        assert self._db is not None
        [[pages]] = self._db.execute("PRAGMA page_count").fetchall()
        [[free]] = self._db.execute("PRAGMA freelist_count").fetchall()
        [[size]] = self._db.execute("PRAGMA page_size").fetchall()
        if (pages - free) * size > MAX_BYTES:
            self._db.execute(
                "DELETE FROM answers WHERE rowid <= "
                "(SELECT (min(rowid) + max(rowid)) / 2 FROM answers)"
            )

    def _give_up(self, error: Exception) -> None:
        self.problem = self.problem or f"the cache {self._path} is not used: {error}"
        if self._db is not None:
            self._db.close()
            self._db = None


def default_cache() -> CallCache:
    """Return the cache in the user's cache folder."""
    from promptbot.prompt.similarity import cache_folder

    return CallCache(cache_folder("answers") / "answers.sqlite")


def with_cache(model: FrozenModel, cache: CallCache, repeat: int = 0) -> CachedModel:
    """Return a model whose equal calls are answered from a cache, and that can do all it can do.

    A chain asks a model that follows schemas, or chooses among options, in another way than one
    that only writes. Kept answers must be those of the same way.

    Args:
        model: Answers what the cache does not know.
        cache: The answers.
        repeat: Which of several equal calls this model makes; part of every key.
    """
    follows, chooses = isinstance(model, FollowsSchemas), isinstance(model, ChoosesOptions)
    if follows and chooses:
        return _CachedBoth(model, cache, repeat)
    if follows:
        return _CachedFollower(model, cache, repeat)
    return _CachedChooser(model, cache, repeat) if chooses else CachedModel(model, cache, repeat)


class CachedModel:
    """A frozen model whose equal calls are answered from a cache; `with_cache` makes them.

    Args:
        model: Answers what the cache does not know. Its answers must depend on nothing but the
            call, so a script that is read line by line cannot be cached.
        cache: The answers.
        repeat: Which of several equal calls this model makes; part of every key.
    """

    def __init__(self, model: FrozenModel, cache: CallCache, repeat: int = 0) -> None:
        self._model = model
        self._cache = cache
        self._repeat = repeat

    @property
    def spec(self) -> str:
        """The text that the model was made from."""
        return self._model.spec

    @property
    def revision(self) -> str:
        """Content hash of the weights, or the provider's name for them."""
        return self._model.revision

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together."""
        return self._model.context_tokens

    @property
    def n_bytes(self) -> int:
        """Memory of the weights; 0 of a model that runs elsewhere."""
        return self._model.n_bytes if isinstance(self._model, HoldsWeights) else 0

    @property
    def takes_threads(self) -> bool:
        """Whether calls of several threads are answered at the same time."""
        return isinstance(self._model, TakesThreads) and self._model.takes_threads

    @property
    def can_score(self) -> bool:
        """Whether `score` gives log-probabilities."""
        return self._model.can_score

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """Return the whole answer."""
        from langchain_core.messages import AIMessage, AIMessageChunk

        pieces = list(self.stream(input, config, **kwargs))
        whole = sum(pieces[1:], start=pieces[0]) if pieces else AIMessageChunk(content="")
        return AIMessage(
            content=whole.content,
            usage_metadata=whole.usage_metadata,
            response_metadata=whole.response_metadata,
        )

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Yield the answer: in one piece where it was kept, else as the model writes it."""
        from promptbot.models.messages import from_langchain

        key = self._key("write", from_langchain(input), settings=kwargs)
        known = self._find(key)
        if known is not None:
            yield _replayed(known)
            return
        said, whole, first_token_s = "", cast("AIMessageChunk | None", None), None
        started = time.perf_counter()
        with closing(cast(Any, self._model.stream(input, config, **kwargs))) as pieces:
            for piece in pieces:
                if first_token_s is None:
                    first_token_s = time.perf_counter() - started
                said += str(piece.text)
                whole = piece if whole is None else whole + piece
                yield piece
        answer = {
            "text": said,
            "usage": dict(whole.usage_metadata) if whole and whole.usage_metadata else None,
            "finish_reason": whole.response_metadata.get("finish_reason") if whole else None,
            "seconds": time.perf_counter() - started,
            "first_token_s": first_token_s,
        }
        self._cache.put(key, answer)

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Return the log-probability of each option as the answer to a prompt."""
        key = self._key("score", messages, options=list(options), end_of_turn=end_of_turn)
        known = self._find(key)
        if known is not None:
            return [
                OptionScore(option, logprob, tuple(tokens))
                for option, (logprob, tokens) in zip(options, known["scores"], strict=True)
            ]
        started = time.perf_counter()
        scores = self._model.score(messages, options, end_of_turn=end_of_turn)
        seconds = time.perf_counter() - started
        rows = [[score.logprob, list(score.token_logprobs)] for score in scores]
        self._cache.put(key, {"scores": rows, "seconds": seconds, "first_token_s": None})
        return scores

    def score_many(
        self,
        prompts: Sequence[Sequence[Message]],
        options: Sequence[str],
        *,
        end_of_turn: bool = True,
    ) -> list[list[OptionScore]]:
        """Return what `score` gives for each prompt; what is not kept is computed together."""
        call = {"options": list(options), "end_of_turn": end_of_turn}
        keys = [self._key("score", messages, **call) for messages in prompts]
        known = {key: self._find(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if known[key] is None]
        if missing:
            started = time.perf_counter()
            asked = [prompts[i] for i in missing]
            found = score_each(self._model, asked, options, end_of_turn=end_of_turn)
            seconds = (time.perf_counter() - started) / len(missing)
            for i, scores in zip(missing, found, strict=True):
                rows = [[score.logprob, list(score.token_logprobs)] for score in scores]
                self._keep(keys[i], known, {"scores": rows}, seconds)
        return [
            [
                OptionScore(option, logprob, tuple(tokens))
                for option, (logprob, tokens) in zip(options, row["scores"], strict=True)
            ]
            for row in (known[key] or {} for key in keys)
        ]

    def generate_many(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        stop: Sequence[str] | None = None,
        **settings: Any,
    ) -> list[Completion]:
        """Return the answer to each prompt; what is not kept is written together.

        The model must be one that `promptbot.interfaces.AnswersMany` describes.
        """
        call = settings if stop is None else {**settings, "stop": stop}
        keys = [self._key("write", messages, settings=call) for messages in prompts]
        known = {key: self._find(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if known[key] is None]
        if missing:
            started = time.perf_counter()
            found = cast("AnswersMany", self._model).generate_many(
                [prompts[i] for i in missing], **call
            )
            seconds = (time.perf_counter() - started) / len(missing)
            for i, said in zip(missing, found, strict=True):
                n_read, n_written = said.n_prompt_tokens, said.n_generated_tokens
                usage = {
                    "input_tokens": n_read,
                    "output_tokens": n_written,
                    "total_tokens": n_read + n_written,
                    "input_token_details": {"cache_read": said.n_cached_tokens},
                }
                finish = "length" if said.stop_reason == "length" else "stop"
                answer = {"text": said.text, "usage": usage, "finish_reason": finish}
                self._keep(keys[i], known, answer, seconds)
        return [
            completion_of(row["text"], _replayed(row)) for row in (known[k] or {} for k in keys)
        ]

    def _keep(
        self,
        key: str,
        known: dict[str, dict[str, Any] | None],
        answer: dict[str, Any],
        seconds: float,
    ) -> None:
        known[key] = {**answer, "seconds": seconds, "first_token_s": None}
        self._cache.put(key, {**answer, "seconds": seconds, "first_token_s": None})

    def loglikelihood(self, text: str) -> TextScore:
        """Return how likely a text is by itself; not kept."""
        return self._model.loglikelihood(text)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages."""
        return self._model.count_tokens(messages)

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        return self._model.digest()

    def _key(self, kind: str, messages: Sequence[Message], **call: Any) -> str:
        engine = getattr(self._model, "engine", None)
        values = {
            "format": FORMAT,
            "promptbot": promptbot.__version__,
            "kind": kind,
            "spec": self.spec,
            "revision": self.revision,
            "messages": [(message.role, message.content) for message in messages],
            "tokens": list(engine.chat_format.encode(messages).ids) if engine else None,
            "call": call,
            "repeat": self._repeat,
        }
        canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _find(self, key: str) -> dict[str, Any] | None:
        known, replay = self._cache.get(key), _replay.get()
        if replay is not None and known is None:
            replay.n_misses += 1
        elif replay is not None and known is not None:
            replay.n_hits += 1
            replay.seconds += known["seconds"]
            replay.first_token_s = known["first_token_s"]
        return known


class _CachedFollower(CachedModel):
    """One that can be kept to a JSON schema."""

    def cannot_follow(self, json_schema: Mapping[str, Any]) -> str | None:
        """Return why it cannot be kept to this schema; None where it can."""
        return cast("FollowsSchemas", self._model).cannot_follow(json_schema)


class _CachedChooser(CachedModel):
    """One that chooses among options without scoring them."""

    def choose(
        self,
        messages: Sequence[Message],
        options: Sequence[str],
        config: RunnableConfig | None = None,
        **settings: Any,
    ) -> Choice:
        """Return what it chose."""
        key = self._key("choose", messages, options=list(options), settings=settings)
        known = self._find(key)
        if known is not None:
            said = Completion(**known["completion"])
            return Choice(known["how"], known["text"], said, known["logprobs"])
        started = time.perf_counter()
        model = cast("ChoosesOptions", self._model)
        choice = model.choose(messages, options, config, **settings)
        seconds = time.perf_counter() - started
        self._cache.put(key, {**asdict(choice), "seconds": seconds, "first_token_s": None})
        return choice


class _CachedBoth(_CachedFollower, _CachedChooser):
    """One that does both."""


def _replayed(known: dict[str, Any]) -> AIMessageChunk:
    from langchain_core.messages import AIMessageChunk

    finish = known["finish_reason"]
    return AIMessageChunk(
        content=known["text"],
        usage_metadata=known["usage"],
        response_metadata={} if finish is None else {"finish_reason": finish},
        chunk_position="last",
    )
