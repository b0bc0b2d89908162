"""The one chat model class of all local engines: it writes, streams, scores and counts tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from promptbot.errors import ContextOverflow, InputError
from promptbot.models.messages import from_langchain
from promptbot.models.sampling import Decoding, Sampler
from promptbot.models.text_stream import TextStream
from promptbot.types import Completion, Message, OptionScore

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun

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

    _revision: str = PrivateAttr()

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
        if not messages:
            return 0
        return len(self.engine.chat_format.encode(messages, answer=False).ids)

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
        self._room_for(len(prompt.ids), max(map(len, encoded)))
        scores = self.engine.score(prompt.ids, encoded)
        return [
            OptionScore(option, float(sum(logprobs)), tuple(logprobs))
            for option, logprobs in zip(options, scores, strict=True)
        ]

    @property
    def _llm_type(self) -> str:
        return "promptbot-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"spec": self.spec, "revision": self.revision}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """Return what LangChain's tracing calls this model and its settings."""
        params = LangSmithParams(
            ls_provider="promptbot", ls_model_name=self.spec, ls_model_type="chat"
        )
        if kwargs.get("temperature") is not None:
            params["ls_temperature"] = kwargs["temperature"]
        if kwargs.get("max_new_tokens") is not None:
            params["ls_max_tokens"] = kwargs["max_new_tokens"]
        if stop:
            params["ls_stop"] = stop
        return params

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
        decoding = Decoding.of(settings)
        chat_format = self.engine.chat_format
        prompt = chat_format.encode(from_langchain(messages))
        room = self._room_for(len(prompt.ids), 1)
        max_new = decoding.max_new_tokens if room is None else min(decoding.max_new_tokens, room)
        sampler = Sampler(decoding, prompt.ids)
        stops = [*([stop] if isinstance(stop, str) else stop or []), *chat_format.stop_texts]
        text = TextStream(chat_format.codec.decode, stops)
        written: list[int] = []
        shown = ""
        reason: Literal["end", "length", "stop"] = "length"
        writing = self.engine.start(prompt.ids)
        try:
            while len(written) < max_new:
                token = sampler.pick(writing.next_logits(written[-1] if written else None))
                if token in chat_format.stop_ids:
                    reason = "end"
                    break
                written.append(token)
                if piece := text.push(token):
                    shown += piece
                    yield piece
                if text.stopped:
                    reason = "stop"
                    break
            if piece := text.finish():
                shown += piece
                yield piece
            if text.stopped:
                reason = "stop"
        finally:  # also when the reader of a stream leaves
            writing.close()
            chat_format.remember(prompt, written, shown)
        yield Completion(
            text=shown,
            n_prompt_tokens=len(prompt.ids),
            n_cached_tokens=writing.n_cached,
            n_generated_tokens=len(written),
            stop_reason=reason,
        )

    def _room_for(self, n_prompt: int, n_answer: int) -> int | None:
        """Return how many tokens an answer may have; None when unknown."""
        limit = self.context_tokens
        if limit is None:
            return None
        needed = n_prompt + n_answer if self.engine.answer_shares_context else n_prompt
        if needed > limit:
            raise ContextOverflow(
                f"the prompt has {n_prompt:,} tokens and the answer needs at least {n_answer:,}.",
                place=self.spec,
                expected=f"The model reads at most {limit:,} tokens.",
                hint="Shorten the message or the bot's template, or take a model that reads more.",
            )
        return limit - n_prompt if self.engine.answer_shares_context else limit

    def _metadata(self, completion: Completion) -> dict[str, Any]:
        return {
            "model_name": self.spec,
            "stop_reason": completion.stop_reason,
            "finish_reason": _FINISH[completion.stop_reason],
        }


def _usage(completion: Completion) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=completion.n_prompt_tokens,
        output_tokens=completion.n_generated_tokens,
        total_tokens=completion.n_prompt_tokens + completion.n_generated_tokens,
        input_token_details={"cache_read": completion.n_cached_tokens},
    )
