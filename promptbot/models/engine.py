"""What the chat model needs of an engine; causal and seq2seq networks implement it alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.answering import Answer
    from promptbot.models.chat_format import ChatFormat


class Writing(Protocol):
    """A reply that is being written."""

    @property
    def n_cached(self) -> int:
        """Tokens of the prompt that were not computed again."""
        ...

    def next_logits(self, token: int | None) -> NDArray[np.float32]:
        """Return the logits after the prompt (None) or after one more token.  # (n_vocabulary,)"""
        ...

    def close(self) -> None:
        """Give the memory back, so that the next prompt can begin with what was read."""
        ...


class Engine(Protocol):
    """A frozen network with its tokenizer."""

    @property
    def chat_format(self) -> ChatFormat:
        """How messages become tokens."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None when unknown."""
        ...

    @property
    def answer_shares_context(self) -> bool:
        """Whether prompt and answer stand in one sequence (causal) or in two (seq2seq)."""
        ...

    @property
    def n_before_answer(self) -> int:
        """Tokens before the answer where it has a sequence of its own; 0 elsewhere."""
        ...

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        ...

    @property
    def takes_threads(self) -> bool:
        """Whether several threads compute at the same time."""
        ...

    def start(self, ids: Sequence[int]) -> Writing:
        """Return a reply to a prompt, before its first token."""
        ...

    def score(self, ids: Sequence[int], options: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of every token of every option after a prompt, in nats."""
        ...

    def score_many(
        self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Return what `score` gives for each of several prompts."""
        ...

    def write_many(self, answers: Sequence[Answer]) -> list[int]:
        """Write several answers to their ends.

        Returns:
            Tokens of each prompt that were not computed again.
        """
        ...

    def loglikelihood(self, ids: Sequence[int]) -> list[float]:
        """Return the log-probability of every token of a text that stands alone, in nats."""
        ...

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        ...
