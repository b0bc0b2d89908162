"""A model that answers from a list: tests and offline replay without any network or weights."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from promptbot.errors import InputError, ModelError, known_words
from promptbot.models.messages import from_langchain
from promptbot.types import Message, OptionScore, TextScore

ANSWER_PROBABILITY = 0.99
"""Of the option that the script answers with, where it gives no scores; the others share .01."""

ENTRY_FORMS = (
    'Expected a text, {"text": ...} or {"scores": {option: log-probability}}, '
    'the latter two also with "match".'
)

ScriptEntry = str | Mapping[str, Any]
"""One entry as a script writes it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a script, parsed; either a text or scores."""

    text: str | None = None
    """What to answer."""
    scores: Mapping[str, float] | None = None
    """Log-probability by option, in nats."""
    match: str | None = None
    """What the last user message must contain; None takes the entry in its turn."""


class ScriptedModel(BaseChatModel):
    """A chat model that answers from a script and remembers the prompts it saw.

    Entries without ``match`` are used once each, in their order. An entry with ``match`` answers
    every prompt whose last user message contains that text, and goes before the others.

    Decoding settings change nothing: the script is what the model writes.

    Example:
        >>> model = ScriptedModel(answers=["Good morning.", {"match": "bye", "text": "Goodbye."}])
        >>> model.invoke("Hello").text
        'Good morning.'
        >>> model.prompts[0][-1].content
        'Hello'
    """

    answers: Sequence[ScriptEntry]
    """The script; see `load_scripted` for the forms of an entry."""
    spec: str = "scripted"
    """The text that it was loaded from."""
    context_tokens: int | None = None
    """What prompt and answer may have together, as `count_tokens` counts."""

    _lines: tuple[Line, ...] = PrivateAttr()
    _used: set[int] = PrivateAttr(default_factory=set)
    _prompts: list[list[Message]] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def model_post_init(self, context: Any, /) -> None:
        """Parse the script, so that a wrong entry is told before the first question."""
        super().model_post_init(context)
        self._lines = tuple(
            parse_entry(entry, f"{self.spec}, entry {number}")
            for number, entry in enumerate(self.answers, start=1)
        )

    @property
    def prompts(self) -> list[list[Message]]:
        """Every prompt it was asked, in order, those of `score` included."""
        return self._prompts

    @property
    def revision(self) -> str:
        """Content hash of the script."""
        script = json.dumps(list(self.answers), sort_keys=True, ensure_ascii=False, default=dict)
        return hashlib.sha256(script.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def can_score(self) -> bool:
        """Always: a script without scores has the stated rule of `score`."""
        return True

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Return the scripted log-probability of each option; an option counts as one token.

        A fitting entry with ``scores`` is used where there is one. Otherwise the next text answers:
        the option that equals it (but for case and outer spaces) has probability .99, and the
        others share .01 equally.

        Raises:
            ModelError: The script is exhausted, lacks an option, or answers with none of them.
        """
        with self._lock:
            self._prompts.append(list(messages))
            line = self._take(messages, scores=True) or self._take(messages, scores=False)
        if line is None:
            raise self._exhausted()
        scores = line.scores if line.scores is not None else _scores_by_rule(line, options)
        for option in options:
            if option not in scores:
                raise ModelError(
                    f'the script has no score for "{option}".',
                    place=self.spec,
                    expected=known_words("Scored", option, scores),
                    hint="Add the option to the entry's scores.",
                )
        return [OptionScore(option, scores[option], (scores[option],)) for option in options]

    def loglikelihood(self, text: str) -> TextScore:
        """Return -1 nat for each word between white space; nothing of the script is used.

        Raises:
            InputError: The text is empty.
        """
        n_words = len(text.split())
        if not n_words:
            raise InputError(
                "the text is too short to score.", place="loglikelihood", hint="Give it words."
            )
        return TextScore(-float(n_words), n_words, len(text.encode()))

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the words between white space, plus one per message for its role."""
        return sum(len(message.content.split()) + 1 for message in messages)

    def digest(self) -> str:
        """Return `revision`; a script has no weights that could change."""
        return self.revision

    @property
    def _llm_type(self) -> str:
        return "promptbot-scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, usage = self._answer(messages)
        message = AIMessage(
            content=text,
            usage_metadata=usage,
            response_metadata={"model_name": self.spec, "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text, usage = self._answer(messages)
        for word in re.findall(r"\s*\S+|\s+", text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        last = AIMessageChunk(
            content="",
            usage_metadata=usage,
            response_metadata={"model_name": self.spec},
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last, generation_info={"finish_reason": "stop"})

    def _answer(self, messages: Sequence[BaseMessage]) -> tuple[str, UsageMetadata]:
        prompt = from_langchain(messages)
        with self._lock:
            self._prompts.append(prompt)
            line = self._take(prompt, scores=False)
        if line is None or line.text is None:
            raise self._exhausted()
        n_read, n_written = self.count_tokens(prompt), len(line.text.split())
        return line.text, UsageMetadata(
            input_tokens=n_read, output_tokens=n_written, total_tokens=n_read + n_written
        )

    def _take(self, prompt: Sequence[Message], *, scores: bool) -> Line | None:
        """Return the entry that answers a prompt, and mark it as used; None where none is left."""
        asked = next((m.content for m in reversed(prompt) if m.role == "user"), "")
        fitting = [
            (number, line)
            for number, line in enumerate(self._lines)
            if (line.scores is not None) == scores and number not in self._used
        ]
        for _, line in fitting:
            if line.match is not None and line.match in asked:
                return line
        for number, line in fitting:
            if line.match is None:
                self._used.add(number)
                return line
        return None

    def _exhausted(self) -> ModelError:
        n_entries, n_prompts = len(self._lines), len(self._prompts)
        return ModelError(
            f"the script has no answer left for prompt {n_prompts}.",
            place=self.spec,
            expected=f"It holds {n_entries} {'entry' if n_entries == 1 else 'entries'}.",
            hint='Add an answer, or one with "match" that serves any number of prompts.',
        )


def load_scripted(file: Path, spec: str) -> ScriptedModel:
    """Return the model that answers from a file.

    A ``.jsonl`` file holds one JSON value a line: a text, ``{"text": ...}`` or
    ``{"scores": {option: log-probability}}``, the latter two with ``"match"`` where they answer
    only messages that contain it. Any other file is plain text with one answer a line. Empty lines
    are skipped.

    Raises:
        ModelError: The file cannot be read, or a line is none of these; the message names it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ModelError(
            f"the script cannot be read: {found}.",
            place=str(file),
            expected="Expected a text file with one answer a line, or a .jsonl file.",
            hint="Check the path after scripted:.",
        ) from None
    entries: list[ScriptEntry] = []
    # Not splitlines(): an answer may hold U+2028 and the like.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if file.suffix == ".jsonl":
            entry = _parse_json(line, place := f"{file}, line {number}")
            parse_entry(entry, place)
            entries.append(entry)
        else:
            entries.append(line)
    return ScriptedModel(answers=entries, spec=spec)


def parse_entry(entry: object, place: str) -> Line:
    """Return one entry of a script, checked.

    Raises:
        ModelError: It has none of the known forms.
    """
    if isinstance(entry, str):
        return Line(text=entry)
    if isinstance(entry, Mapping) and set(entry) <= {"text", "scores", "match"}:
        text, scores, match = entry.get("text"), entry.get("scores"), entry.get("match")
        if match is None or isinstance(match, str):
            if isinstance(text, str) and scores is None:
                return Line(text=text, match=match)
            if text is None and isinstance(scores, Mapping) and _are_logprobs(scores):
                return Line(scores={str(k): float(v) for k, v in scores.items()}, match=match)
    raise ModelError(
        f"the script cannot use {str(entry)[:80]!r}.",
        place=place,
        expected=ENTRY_FORMS,
        hint="Mend this entry; log-probabilities are numbers of at most 0.",
    )


def _are_logprobs(scores: Mapping[Any, Any]) -> bool:
    return bool(scores) and all(
        isinstance(score, int | float) and not isinstance(score, bool) and score <= 0
        for score in scores.values()
    )


def _scores_by_rule(line: Line, options: Sequence[str]) -> dict[str, float]:
    answer = (line.text or "").strip().casefold()
    chosen = next((o for o in options if o.strip().casefold() == answer), None)
    if chosen is None:
        raise ModelError(
            f'the script answers "{line.text}", which is none of the options.',
            expected=known_words("Options", line.text or "", options),
            hint="Answer with one of them, or give scores.",
        )
    if len(options) == 1:
        return {chosen: 0.0}
    rest = math.log((1 - ANSWER_PROBABILITY) / (len(options) - 1))
    return dict.fromkeys(options, rest) | {chosen: math.log(ANSWER_PROBABILITY)}


def _parse_json(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"not JSON: {error.msg} at column {error.colno}.",
            place=place,
            expected=ENTRY_FORMS,
            hint="Write one JSON value a line.",
        ) from None
