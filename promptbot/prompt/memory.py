"""Which earlier turns of a conversation enter the next prompt."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from promptbot.errors import SpecError, known_words
from promptbot.types import Message

if TYPE_CHECKING:
    from promptbot.interfaces import Memory

Turn = tuple[Message, ...]
Count = Callable[[Sequence[Message]], int]
"""Tokens of some messages, as the model counts them."""


def split_turns(messages: Sequence[Message]) -> list[Turn]:
    """Return the turns of a conversation, oldest first.

    A turn is a user message with everything up to the next one: usually one reply, none when the
    reply was interrupted. What stands before the first user message, as a greeting does, is a turn
    of its own.
    """
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return [tuple(turn) for turn in turns]


class BufferMemory:
    """Remembers the whole conversation."""

    def recall(self, turns: Sequence[Message]) -> list[Message]:
        """Return every message, oldest first."""
        return list(turns)


class WindowMemory:
    """Remembers the newest turns that fit into a window; whole turns only.

    Args:
        max_tokens: Tokens of the recalled messages together; None for no bound.
        max_turns: Turns at most; None for any number.
        count: Tokens of some messages. It must not shrink when a message is added.
    """

    def __init__(self, max_tokens: int | None, max_turns: int | None, count: Count) -> None:
        self._max_tokens = max_tokens
        self._max_turns = max_turns
        self._count = count

    def recall(self, turns: Sequence[Message]) -> list[Message]:
        """Return the messages of the newest turns that fit, oldest first."""
        split = split_turns(turns)
        n_turns = len(split) if self._max_turns is None else min(len(split), self._max_turns)
        if self._max_tokens is not None:
            n_turns = self._newest_that_fit(split, n_turns, self._max_tokens)
        return _newest(split, n_turns)

    def _newest_that_fit(self, turns: Sequence[Turn], n_max: int, max_tokens: int) -> int:
        """Return how many of the newest turns, at most n_max, have at most max_tokens tokens."""

        def n_tokens(n: int) -> int:
            return self._count(_newest(turns, n))

        # Doubling before bisecting: a long conversation is never counted much beyond the window.
        low, high = 0, 1
        while high < n_max and n_tokens(high) <= max_tokens:
            low, high = high, 2 * high
        candidates = range(low + 1, min(high, n_max) + 1)
        return low + bisect_right(candidates, max_tokens, key=n_tokens)


def _newest(turns: Sequence[Turn], n_turns: int) -> list[Message]:
    """Return the messages of the newest turns, oldest first."""
    return [message for turn in turns[len(turns) - n_turns :] for message in turn]


MEMORIES: Mapping[str, Callable[[int | None, int | None, Count], Memory]] = {
    "buffer": lambda max_tokens, max_turns, count: BufferMemory(),
    "window": WindowMemory,
    # Beside what `condense` makes of the older turns, the newest stand word for word.
    "summary": WindowMemory,
    "facts": WindowMemory,
}
"""Every kind of memory by the name that bot.yaml uses."""


def make_memory(
    kind: str, *, max_tokens: int | None, max_turns: int | None, count: Count
) -> Memory:
    """Return a memory of this kind.

    Args:
        kind: A key of `MEMORIES`.
        max_tokens: Tokens of the window; None for no bound.
        max_turns: Turns of the window; None for any number.
        count: Tokens of some messages, as the model counts them.

    Raises:
        SpecError: There is no such kind.
    """
    if kind not in MEMORIES:
        raise SpecError(
            f'unknown memory "{kind}".',
            place="memory.kind",
            hint=known_words("Known", kind, MEMORIES),
        )
    return MEMORIES[kind](max_tokens, max_turns, count)
