"""Guesses what a model writes next from what it has read: answers often copy their prompt.

The model reads the guesses in one pass with the token that it is due to read, and those that it
would not have chosen itself are dropped. So an answer is the same, in fewer passes.

Source:
    Yang et al. (2023), "Inference with Reference", arXiv:2304.04487.
"""

from __future__ import annotations

from collections.abc import Sequence

LENGTHS = (3, 2)
"""Tokens by which a place is found again, the surest first. One alone is rarely right."""


class PromptLookup:
    """Finds the last place where the newest tokens stood before.

    Args:
        ids: What was read, the prompt and what is written of the answer.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}  # where the token after a run of tokens stands
        for token in ids:
            self.add(token)

    def add(self, token: int) -> None:
        """Take one more token."""
        at = len(self._ids)
        for n in LENGTHS:
            if at >= n:
                self._next[tuple(self._ids[at - n :])] = at
        self._ids.append(token)

    def guess(self, n: int) -> list[int]:
        """Return n tokens that may follow; none where the newest ones stood nowhere before.

        Where that place is so near that its text ends too soon, the text goes round: a model that
        repeats itself goes on to.
        """
        for length in LENGTHS:
            at = self._next.get(tuple(self._ids[-length:]))
            if at is not None:
                period = len(self._ids) - at
                return [self._ids[at + i % period] for i in range(n)]
        return []
