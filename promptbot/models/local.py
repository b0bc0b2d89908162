"""The one chat model class of all local engines: it writes, streams, scores and counts tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableMap, RunnablePassthrough
from pydantic import ConfigDict, Field, PrivateAttr

from promptbot.errors import ContextOverflow, InputError, ModelError
from promptbot.models.answering import Answer
from promptbot.models.json_form import JsonForm, JsonGrammars, json_schema_of, parser_of
from promptbot.models.messages import from_langchain
from promptbot.models.sampling import Decoding
from promptbot.types import Completion, Message, OptionScore, TextScore

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.runnables import Runnable

_FINISH = {"end": "stop", "stop": "stop", "length": "length"}


class LocalChatModel(BaseChatModel):
    """A frozen model on this machine; implements `promptbot.interfaces.FrozenModel`.

    `invoke`, `stream`, `batch` and their async twins take the settings of
    `promptbot.models.sampling.Decoding` as keyword arguments, and `stop`, a list of texts.
    Several threads may use one model.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Any = Field(repr=False, exclude=True)
    """What computes; see `promptbot.models.engine.Engine`."""
    spec: str
    """The text that `promptbot.models.load` made it from."""
    temperature: float | None = None
    """Of calls that bring none; LangChain's standard setting."""
    max_tokens: int | None = None
    """The longest answer of calls that bring no bound; LangChain's standard setting."""
    stop: list[str] | None = None
    """Where answers of calls that bring no stop texts end; LangChain's standard setting."""

    _revision: str = PrivateAttr()
    _grammars: JsonGrammars | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any) -> None:
        """Note the weights' content hash."""
        self._revision = self.engine.digest()

    @property
    def revision(self) -> str:
        """Content hash of the weights as loaded."""
        return self._revision

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None when unknown."""
        return cast("int | None", self.engine.context_tokens)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return cast(int, self.engine.n_bytes)

    @property
    def takes_threads(self) -> bool:
        """Whether calls of several threads are answered at the same time, each on a core."""
        return cast(bool, self.engine.takes_threads)

    @property
    def can_score(self) -> bool:
        """Always: every local engine gives log-probabilities."""
        return True

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now.

        Raises:
            FrozenModelChanged: A parameter would receive a gradient.
        """
        return cast(str, self.engine.digest())

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, role markers included, without an answer's."""
        return cast(int, self.engine.chat_format.count(messages))

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Return the log-probability of each option as the answer to a prompt.

        All options are one tree in one forward pass, as far as memory allows; see
        `promptbot.models.scoring`.

        Args:
            messages: The prompt.
            options: Texts that the assistant could answer.
            end_of_turn: Whether the token that ends the assistant's message belongs to an option,
                so that "lost card" and "lost card abroad" compete fairly.

        Raises:
            ContextOverflow: Prompt and longest option exceed the model's context.
            InputError: There is nothing to score in an option.
        """
        if not options:
            return []
        prompt = self.engine.chat_format.encode(messages)
        encoded = self._encode_options(options, end_of_turn=end_of_turn)
        self._room_for(len(prompt.ids), max(map(len, encoded)))
        return _option_scores(options, self.engine.score(prompt.ids, encoded))

    def score_many(
        self,
        prompts: Sequence[Sequence[Message]],
        options: Sequence[str],
        *,
        end_of_turn: bool = True,
    ) -> list[list[OptionScore]]:
        """Return what `score` gives for each of several prompts, computed together.

        Prompts that begin alike share that beginning, and many short ones are read in one pass,
        without padding; see `promptbot.models.packed`.

        Raises:
            ContextOverflow: One of the prompts is too long; nothing is scored then.
            InputError: There is nothing to score in an option.
        """
        if not options:
            return [[] for _ in prompts]
        encoded = self._encode_options(options, end_of_turn=end_of_turn)
        longest = max(map(len, encoded))
        ids = [self.engine.chat_format.encode(messages).ids for messages in prompts]
        for one in ids:
            self._room_for(len(one), longest)
        found = self.engine.score_many(ids, encoded)
        return [_option_scores(options, scores) for scores in found]

    def generate_many(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        stop: Sequence[str] | None = None,
        **settings: Any,
    ) -> list[Completion]:
        """Return the answer to each of several prompts, written together.

        Each is what `invoke` gives with the same settings, the seed included; callbacks hear
        nothing of it.

        Args:
            prompts: What is answered.
            stop: Texts at which answers end.
            **settings: Of `promptbot.models.sampling.Decoding`, and ``json_schema``.

        Raises:
            ContextOverflow: One of the prompts is too long; nothing is written then.
        """
        answers = [self._begin(messages, stop, settings) for messages in prompts]
        n_cached = self.engine.write_many(answers)
        return [
            answer.completion(n, self.spec) for answer, n in zip(answers, n_cached, strict=True)
        ]

    def loglikelihood(self, text: str) -> TextScore:
        """Return how likely a text is by itself, without any prompt: its fluency.

        A causal model reads it after its BOS, or after the token that ends a text where it has
        none; a seq2seq model writes it as the answer to nothing. No end token is scored.

        Raises:
            InputError: The text is empty, or so short that nothing predicts its only token.
            ContextOverflow: It is longer than the model's context.
        """
        ids = self.engine.chat_format.codec.encode_plain(text)
        if self.context_tokens is not None and len(ids) >= self.context_tokens:
            raise ContextOverflow(
                f"the text has {len(ids):,} tokens.",
                place=self.spec,
                expected=f"The model reads fewer than {self.context_tokens:,} at once.",
                hint="Score it in parts.",
            )
        logprobs = self.engine.loglikelihood(ids) if ids else []
        if not logprobs:
            raise InputError(
                "the text is too short to score.", place="loglikelihood", hint="Give it words."
            )
        return TextScore(float(sum(logprobs)), len(logprobs), len(text.encode()))

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model, made to answer with values of a schema.

        While it writes, tokens that would leave the schema cannot be chosen, so every complete
        answer fits it, whatever the prompt says. The prompt is not changed: say there what the
        fields mean.

        Args:
            schema: A pydantic class, a TypedDict or a JSON schema.
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` in place of the value alone.
            method: LangChain's names; all of them do the same here.
            strict: Always so.
            **kwargs: Decoding settings.

        Raises:
            MissingExtra: llguidance is not installed.
            InputError: The schema is none, or cannot be followed; or, when called, the answer
                reached its greatest length before it was complete.
        """
        json_schema = json_schema_of(schema)
        self._form(json_schema)  # a schema that cannot be followed is told now
        bound = self.bind(
            json_schema=json_schema,
            ls_structured_output_format={"kwargs": {"method": method}, "schema": json_schema},
            **kwargs,
        )
        parser = parser_of(schema)
        if not include_raw:
            return bound | parser
        # LangChain's own form of the answer, a mistake of the parser included.
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=bound) | parsed.with_fallbacks(
            [failed], exception_key="parsing_error"
        )

    def cannot_follow(self, json_schema: Mapping[str, Any]) -> str | None:
        """Return why answers cannot be kept to a schema while they are written; None: they can."""
        try:
            self._form(dict(json_schema))
        except (InputError, ModelError) as error:
            return error.problem
        return None

    @property
    def _llm_type(self) -> str:
        return "promptbot-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"spec": self.spec, "revision": self.revision}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """Return what LangChain's tracing calls this model and its settings."""
        params = LangSmithParams(
            ls_provider="promptbot",
            ls_model_name=kwargs.get("model") or self.spec,
            ls_model_type="chat",
        )
        settings = self._settings(kwargs)
        if settings.get("temperature") is not None:
            params["ls_temperature"] = settings["temperature"]
        n_tokens = settings.get("max_new_tokens") or settings.get("max_tokens")
        if n_tokens is not None:
            params["ls_max_tokens"] = n_tokens
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    def _settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a call's decoding settings, the model's own where the call brings none."""
        settings = {name: value for name, value in given.items() if value is not None}
        own = {"temperature": self.temperature}
        if "max_new_tokens" not in settings:
            own["max_tokens"] = self.max_tokens
        return own | settings

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = ""
        for piece in self._write(messages, stop, kwargs):
            if isinstance(piece, Completion):
                message = AIMessage(
                    content=text,
                    usage_metadata=_usage(piece),
                    response_metadata=self._metadata(piece),
                )
            else:
                text += piece
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._write(messages, stop, kwargs):
            if isinstance(piece, Completion):
                message = AIMessageChunk(
                    content="",
                    usage_metadata=_usage(piece),
                    response_metadata=self._metadata(piece),
                    chunk_position="last",
                )
            else:
                message = AIMessageChunk(content=piece)
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _write(
        self, messages: list[BaseMessage], stop: Sequence[str] | None, settings: dict[str, Any]
    ) -> Iterator[str | Completion]:
        """Yield the answer in pieces, and at last the completion."""
        answer = self._begin(from_langchain(messages), stop, settings)
        writing = self.engine.start(answer.prompt.ids)
        try:
            while not answer.ended:
                if piece := answer.take(writing.next_logits(answer.last)):
                    yield piece
            if piece := answer.finish():
                yield piece
        finally:  # also when the reader of a stream leaves
            writing.close()
            answer.remember()
        yield answer.completion(writing.n_cached, self.spec)

    def _begin(
        self, messages: Sequence[Message], stop: Sequence[str] | None, settings: dict[str, Any]
    ) -> Answer:
        """Return an answer before its first token."""
        stop = self.stop if stop is None else stop
        settings = dict(settings)
        json_schema = settings.pop("json_schema", None)
        decoding = Decoding.of(self._settings(settings))
        chat_format = self.engine.chat_format
        prompt = chat_format.encode(messages)
        room = self._room_for(len(prompt.ids), 1)
        max_new = decoding.max_new_tokens if room is None else min(decoding.max_new_tokens, room)
        return Answer(
            prompt,
            chat_format,
            decoding=decoding,
            max_new=max_new,
            stops=[stop] if isinstance(stop, str) else stop or [],
            make_form=None if json_schema is None else lambda: self._form(json_schema),
        )

    def _encode_options(self, options: Sequence[str], *, end_of_turn: bool) -> list[list[int]]:
        encoded = [
            self.engine.chat_format.encode_answer(option, end_of_turn=end_of_turn)
            for option in options
        ]
        if not all(encoded):
            raise InputError(
                "an option is empty.",
                place="score",
                hint="Give each option a text, or score with end_of_turn=True.",
            )
        return encoded

    def _form(self, json_schema: dict[str, Any]) -> JsonForm:
        """Return what keeps one answer to a JSON schema."""
        if self._grammars is None:
            self._grammars = JsonGrammars(self.engine.chat_format.codec, self.spec)
        return self._grammars.form(json_schema)

    def _room_for(self, n_prompt: int, n_answer: int) -> int | None:
        """Return how many tokens an answer may have; None when unknown."""
        limit = self.context_tokens
        if limit is None:
            return None
        if self.engine.answer_shares_context:
            room = limit - n_prompt
        else:  # the answer's last token is written, never read
            room = limit + 1 - self.engine.n_before_answer
        if n_answer > room or n_prompt > limit:
            raise ContextOverflow(
                f"the prompt has {n_prompt:,} tokens and the answer needs at least {n_answer:,}.",
                place=self.spec,
                expected=f"The model reads at most {limit:,} tokens.",
                hint="Shorten the message or the bot's template, or take a model that reads more.",
            )
        return room

    def _metadata(self, completion: Completion) -> dict[str, Any]:
        return {
            "model_name": self.spec,
            "stop_reason": completion.stop_reason,
            "finish_reason": _FINISH[completion.stop_reason],
        }


def _option_scores(options: Sequence[str], scores: Sequence[Sequence[float]]) -> list[OptionScore]:
    return [
        OptionScore(option, float(sum(logprobs)), tuple(logprobs))
        for option, logprobs in zip(options, scores, strict=True)
    ]


def _usage(completion: Completion) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=completion.n_prompt_tokens,
        output_tokens=completion.n_generated_tokens,
        total_tokens=completion.n_prompt_tokens + completion.n_generated_tokens,
        input_token_details={"cache_read": completion.n_cached_tokens},
    )
