"""Several samples of a prompted chain in one pass of a local model.

A chain asks its model once it has composed a prompt, and what it asks (which options are scored,
how an answer is written) is the same for all samples of a column. So the first sample is answered
alone, and shows the call; of the samples that follow, the prompts are composed first and their
calls are made together. The chain then runs as ever, and finds its answer there. Whatever else it
asks, as for a calibration, goes to the model as usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from promptbot.errors import PromptbotError
from promptbot.models.messages import from_langchain
from promptbot.types import Completion, Message, OptionScore, Prediction, Sample

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.runnables import RunnableConfig

    from promptbot.chain import Chain
    from promptbot.interfaces import AnswersMany, FollowsSchemas, FrozenModel

Prompt = tuple[Message, ...]


@dataclass
class TogetherModel:
    """A frozen model that answers a chain's calls for several prompts at once.

    Everything that is not named here is the model's own.
    """

    model: FrozenModel
    """Answers; also implements `promptbot.interfaces.AnswersMany`."""
    _options: tuple[tuple[str, ...], bool] | None = field(default=None, repr=False)
    _settings: Mapping[str, Any] | None = field(default=None, repr=False)
    _scores: dict[Prompt, list[OptionScore]] = field(default_factory=dict, repr=False)
    _answers: dict[Prompt, Completion] = field(default_factory=dict, repr=False)
    _watched: Prompt | None = field(default=None, repr=False)

    def watch(self, prompt: Prompt) -> None:
        """Learn from the next call with this prompt how the chain asks."""
        self._watched = prompt

    def ask_ahead(self, prompts: Sequence[Prompt]) -> None:
        """Make the call that was learned for all these prompts, in place of what is known."""
        self._scores, self._answers = {}, {}
        many = cast("AnswersMany", self.model)
        # What is wrong with one of them is told when the chain asks for it alone.
        with suppress(PromptbotError):
            if self._options:
                options, end_of_turn = self._options
                scores = many.score_many(prompts, options, end_of_turn=end_of_turn)
                self._scores = dict(zip(prompts, scores, strict=True))
            elif self._settings is not None:
                answers = many.generate_many(prompts, **self._settings)
                self._answers = dict(zip(prompts, answers, strict=True))

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Return the log-probability of each option, from what was asked ahead where it can."""
        prompt, call = tuple(messages), (tuple(options), end_of_turn)
        if prompt == self._watched:
            self._options, self._settings, self._watched = call, None, None
        if call == self._options and (known := self._scores.get(prompt)):
            return known
        return self.model.score(messages, options, end_of_turn=end_of_turn)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Yield the answer, in one piece where it was asked ahead."""
        if (known := self._known(input, kwargs)) is not None:
            yield cast("AIMessageChunk", _message(known, self.model.spec, chunk=True))
        else:
            yield from self.model.stream(input, config, **kwargs)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """Return the whole answer, from what was asked ahead where it can."""
        if (known := self._known(input, kwargs)) is not None:
            return cast("AIMessage", _message(known, self.model.spec, chunk=False))
        return self.model.invoke(input, config, **kwargs)

    def _known(self, input: Any, settings: Mapping[str, Any]) -> Completion | None:
        prompt = tuple(from_langchain(input))
        if prompt == self._watched:
            self._options, self._settings, self._watched = None, dict(settings), None
        # An answer is given once: a chain that asks again wants another.
        return self._answers.pop(prompt, None) if settings == self._settings else None

    def cannot_follow(self, json_schema: Mapping[str, Any]) -> str | None:
        """Return why it cannot be kept to this schema; None where it can."""
        return cast("FollowsSchemas", self.model).cannot_follow(json_schema)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)


@dataclass(frozen=True)
class TogetherPredictor:
    """Answers samples with a chain, several in one pass of its model."""

    chain: Chain
    """Its model is the one below."""
    model: TogetherModel
    """Answers its calls."""

    takes_threads = False  # the model remembers what was asked ahead for one call

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return self.chain.n_bytes

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one prediction per sample: those that the chain gives alone."""
        first, *others = samples
        self.model.watch(self._compose(first) or ())
        found = self.chain.predict([first])
        prompts = dict.fromkeys(prompt for one in others if (prompt := self._compose(one)))
        if prompts:
            self.model.ask_ahead(list(prompts))
        return [*found, *(self.chain.predict([one])[0] for one in others)]

    def _compose(self, sample: Sample) -> Prompt | None:
        with suppress(PromptbotError):  # it is told when the chain composes it again
            return self.chain.compose(sample.input).messages
        return None


def _message(answer: Completion, spec: str, *, chunk: bool) -> Any:
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.messages.ai import UsageMetadata

    n_read, n_written = answer.n_prompt_tokens, answer.n_generated_tokens
    usage = UsageMetadata(
        input_tokens=n_read,
        output_tokens=n_written,
        total_tokens=n_read + n_written,
        input_token_details={"cache_read": answer.n_cached_tokens},
    )
    finish = "length" if answer.stop_reason == "length" else "stop"
    metadata = {"model_name": spec, "stop_reason": answer.stop_reason, "finish_reason": finish}
    if not chunk:
        return AIMessage(content=answer.text, usage_metadata=usage, response_metadata=metadata)
    return AIMessageChunk(
        content=answer.text,
        usage_metadata=usage,
        response_metadata=metadata,
        chunk_position="last",
    )
