"""All extension points on one page: what a user may replace, and what it must do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from promptbot.types import (
    Choice,
    Chosen,
    Completion,
    Example,
    Message,
    OptionScore,
    Prediction,
    Sample,
    TextScore,
)

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.runnables import RunnableConfig
    from numpy.typing import NDArray


class Encoder(Protocol):
    """The frozen sentence-embedding model behind similarity."""

    @property
    def revision(self) -> str:
        """Content hash; part of every key under which vectors are cached."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text.  # (n_texts, dimension)"""
        ...


class Selector(Protocol):
    """Chooses the examples for one input."""

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k distinct examples, the nearest first where nearness is known."""
        ...


class Memory(Protocol):
    """Decides which earlier messages enter the next prompt."""

    def recall(self, turns: Sequence[Message]) -> list[Message]:
        """Return the messages to show, oldest first; never half a turn."""
        ...


class History(Protocol):
    """Keeps the messages of sessions."""

    def load(self, session: str) -> list[Message]:
        """Return the messages of a session, oldest first; an empty list for a new one."""
        ...

    def append(self, session: str, messages: Sequence[Message], *, stopped: bool = False) -> None:
        """Add messages to a session; all of them or, on an error, none.

        Args:
            session: The session's name.
            messages: Of the user and the assistant, in their order.
            stopped: Whether the last of them is a reply that was interrupted.
        """
        ...


class CountsTokens(Protocol):
    """What a prompt's size is measured with: a model, or its tokenizer alone."""

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None when unknown."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, role markers included, without an answer's."""
        ...


@runtime_checkable
class FrozenModel(Protocol):
    """A pretrained model that answers and, where it can, scores; nothing ever trains it.

    Local and remote models are LangChain chat models (`BaseChatModel`) with these extra verbs.
    Decoding settings travel as keyword arguments of `invoke` and `stream`: ``temperature``
    (0 is greedy), ``top_p``, ``max_new_tokens``, ``stop``, ``seed``, ``top_k``, ``min_p`` and
    ``repetition_penalty``. Local models take all of them; a provider, those that it knows.
    """

    @property
    def spec(self) -> str:
        """The text that `promptbot.models.load` made it from."""
        ...

    @property
    def revision(self) -> str:
        """Content hash of the weights as loaded, or the provider's name for them."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None when unknown."""
        ...

    @property
    def can_score(self) -> bool:
        """Whether `score` gives log-probabilities."""
        ...

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """Return the whole answer to a list of LangChain messages."""
        ...

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Yield the answer in pieces of whole characters."""
        ...

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Return the log-probability of each option as the answer to a prompt.

        With `end_of_turn` the token that ends the assistant's message belongs to the option, so
        that "lost card" and "lost card abroad" compete fairly.

        Raises:
            CannotScore: The model only writes.
        """
        ...

    def loglikelihood(self, text: str) -> TextScore:
        """Return how likely a text is by itself, without any prompt: its fluency.

        Raises:
            CannotScore: The model only writes.
            InputError: The text is empty.
            ContextOverflow: The text is longer than the model's context.
        """
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, role markers included, without an answer's."""
        ...

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now.

        Raises:
            FrozenModelChanged: A parameter would receive a gradient.
        """
        ...


@runtime_checkable
class AnswersMany(Protocol):
    """A frozen model that computes several prompts together; local models do.

    The results are those of one call for each prompt, in the order of the prompts, within the
    engine's bounds. Where one prompt is refused (too long, say), the whole call raises: ask one by
    one then.
    """

    def score_many(
        self,
        prompts: Sequence[Sequence[Message]],
        options: Sequence[str],
        *,
        end_of_turn: bool = True,
    ) -> list[list[OptionScore]]:
        """Return what `FrozenModel.score` gives for each prompt."""
        ...

    def generate_many(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        stop: Sequence[str] | None = None,
        **settings: Any,
    ) -> list[Completion]:
        """Return the answer to each prompt; `settings` are of decoding, as for `invoke`."""
        ...


@runtime_checkable
class FollowsSchemas(Protocol):
    """A model that can be kept to a JSON schema while it writes.

    The schema then travels as the keyword argument ``json_schema`` of `invoke` and `stream`.
    """

    def cannot_follow(self, json_schema: Mapping[str, Any]) -> str | None:
        """Return why it cannot be kept to this schema; None where it can."""
        ...


@runtime_checkable
class ChoosesOptions(Protocol):
    """A model that cannot score options, and may still do better than write one freely."""

    def choose(
        self,
        messages: Sequence[Message],
        options: Sequence[str],
        config: RunnableConfig | None = None,
        **settings: Any,
    ) -> Choice:
        """Return what it chose, by the best way that it offers; `settings` are of decoding."""
        ...


@runtime_checkable
class HoldsWeights(Protocol):
    """What can say how much memory its weights take: local models, encoders, and what uses them."""

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        ...


@runtime_checkable
class TakesThreads(Protocol):
    """What can say whether it gains by being asked from several threads: models, predictors."""

    @property
    def takes_threads(self) -> bool:
        """Whether calls of several threads are answered at the same time, each on a core."""
        ...


class Predictor(Protocol):
    """Answers samples: a prompted chain, a fine-tuned baseline, or a function."""

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one prediction per sample, in their order."""
        ...
