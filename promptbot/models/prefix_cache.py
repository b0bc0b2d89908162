"""Keeps what a causal model has read, so that a shared prefix is never read twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

N_SEQUENCES = 4
MAX_BYTES = 512 * 2**20


class KeyValues(Protocol):
    """The keys and values of one sequence, for every layer."""

    @property
    def n_tokens(self) -> int:
        """How many tokens were read."""
        ...

    @property
    def n_bytes(self) -> int:
        """Memory that they take."""
        ...

    def crop(self, n_tokens: int) -> None:
        """Forget everything after the first n tokens."""
        ...

    def copy(self, n_tokens: int) -> KeyValues:
        """Return a copy of the first n tokens, also while another thread appends to these."""
        ...


class CausalNetwork(Protocol):
    """A causal language model as arrays in, arrays out; the engines implement it."""

    @property
    def n_vocabulary(self) -> int:
        """Width of the logits."""
        ...

    @property
    def reads_trees(self) -> bool:
        """Whether `forward` takes a mask among the new tokens."""
        ...

    def new_key_values(self) -> KeyValues:
        """Return the memory of an empty sequence."""
        ...

    def forward(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        wanted: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Read new tokens and append them to the past.

        Args:
            past: Every new token sees all of it.
            ids: The new tokens.  # (n_new,)
            positions: Where each stands in its sequence.  # (n_new,)
            visible: Which new token (row) sees which (column); None: each sees those before it.
            wanted: Indices of the new tokens whose logits are returned.  # (n_wanted,)

        Returns:
            Logits of the token after each wanted one.  # (n_wanted, n_vocabulary)
        """
        ...


@dataclass(eq=False)
class CachedSequence:
    """A sequence of tokens with its keys and values; `ids` only grows while it is in use."""

    key_values: KeyValues
    """Keys and values of exactly `ids`, except inside a forward pass."""
    ids: list[int] = field(default_factory=list)
    """The tokens that were read."""
    busy: bool = False
    """Whether a reply is being written on it."""


class PrefixCache:
    """Holds the most recently used sequences of one model, bounded in number and bytes.

    Not safe under threads by itself: the model's lock is held around each call.

    Args:
        network: Whose keys and values it keeps.
        max_bytes: Bound for the sequences that are not in use.
    """

    def __init__(self, network: CausalNetwork, max_bytes: int = MAX_BYTES) -> None:
        self._network = network
        self._max_bytes = max_bytes
        self._sequences: list[CachedSequence] = []  # the least recently used first

    def take(self, ids: Sequence[int]) -> CachedSequence:
        """Return a sequence, now in use, that holds the longest known prefix of the ids.

        At least the last token is left to be read, because its logits are wanted. A sequence is
        continued in place where most of it is shared; otherwise the shared part is copied, so that
        conversations with the same instructions do not displace each other.
        """
        best: CachedSequence | None = None
        n_best = 0
        for sequence in self._sequences:
            n_shared = common_length(sequence.ids, ids)
            if n_shared >= max(n_best, 1):  # of equals the most recent
                best, n_best = sequence, n_shared
        n_best = min(n_best, len(ids) - 1)
        if best is None or n_best <= 0:
            taken = CachedSequence(self._network.new_key_values(), busy=True)
        elif best.busy or 2 * n_best < len(best.ids):
            taken = CachedSequence(best.key_values.copy(n_best), list(ids[:n_best]), busy=True)
        else:
            self._sequences.remove(best)
            taken = best
            taken.busy = True
            taken.key_values.crop(n_best)
            taken.ids = list(ids[:n_best])
        self._sequences.append(taken)
        return taken

    def give_back(self, sequence: CachedSequence, *, intact: bool) -> None:
        """Keep a sequence for the next prompt, or drop it where a forward pass broke off."""
        self._sequences.remove(sequence)
        sequence.busy = False
        if intact and sequence.ids:
            self._sequences.append(sequence)
        idle = [one for one in self._sequences if not one.busy]
        n_bytes = sum(one.key_values.n_bytes for one in idle)
        while idle and (len(idle) > N_SEQUENCES or n_bytes > self._max_bytes):
            oldest = idle.pop(0)
            n_bytes -= oldest.key_values.n_bytes
            self._sequences.remove(oldest)


def common_length(one: Sequence[int] | str, other: Sequence[int] | str) -> int:
    """Return the length of the longest common beginning of two sequences of the same kind."""
    n = min(len(one), len(other))
    if one[:n] == other[:n]:
        return n
    return next(i for i in range(n) if one[i] != other[i])
