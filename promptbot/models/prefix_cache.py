"""Keeps what a causal model has read, so that a shared prefix is never read twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 256 * 2**20


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

    def part(self, start: int, stop: int) -> KeyValues:
        """Return a copy of those of the tokens from start to stop."""
        ...

    def extend(self, others: Sequence[KeyValues]) -> None:
        """Append copies of what belongs to the tokens that follow these."""
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

    @property
    def n_at_once(self) -> int:
        """New tokens of several prompts that are worth one pass: more would only see more masks."""
        ...

    @property
    def n_ahead(self) -> int:
        """Tokens that may follow an answer's newest one and are worth reading with it in one pass;
        0 where they cost as much as passes of their own, or change its logits."""
        ...

    @property
    def takes_threads(self) -> bool:
        """Whether several threads may call `forward` at once, each with a past of its own."""
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
            past: What was read; every new token sees all of it, unless `visible` says otherwise.
            ids: The new tokens.  # (n_new,)
            positions: Where each stands in its sequence.  # (n_new,)
            visible: Which new token (row) sees which (column), among the new ones or, with
                n_past + n_new columns, among all; None: each sees those before it.
            wanted: Indices of the new tokens whose logits are returned.  # (n_wanted,)

        Returns:
            Logits of the token after each wanted one.  # (n_wanted, n_vocabulary)
        """
        ...

    def logprobs(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        n_kept: int,
    ) -> NDArray[np.float32]:
        """Read new tokens as `forward` does; the logits stay where they are computed.

        Args:
            past: As in `forward`.
            ids: As in `forward`.
            positions: As in `forward`.
            visible: As in `forward`.
            rows: Indices of new tokens, of which one may come again and again.  # (n_targets,)
            targets: Token ids.  # (n_targets,)
            n_kept: How many of the new tokens, the first ones, are appended to the past.

        Returns:
            The log-probability of each target after its row, in nats.  # (n_targets,)

        Raises:
            ModelError: The logits hold a NaN.
        """
        ...


@dataclass(eq=False)
class CachedSequence:
    """A sequence of tokens with its keys and values; `ids` only grows while it is in use."""

    key_values: KeyValues
    """Keys and values of exactly `ids`, except inside a forward pass."""
    ids: list[int] = field(default_factory=list)
    """The tokens that were read."""


@dataclass(eq=False)
class _Node:
    """A run of tokens that every sequence below it shares, after those of the nodes above."""

    ids: list[int]
    key_values: KeyValues
    above: _Node | None
    below: dict[int, _Node] = field(default_factory=dict)
    """By their first token."""


class PrefixCache:
    """Holds what one model has read as a tree: what prompts share is kept, and read, once.

    Conversations, variants, samples and orders of examples that begin alike share the nodes of
    their beginning. Beyond the bound the ends of those branches are forgotten that were not used
    for longest. The sequence that was used last is also kept whole, outside of the bound, so that
    the next turn of a conversation goes on in its buffers without a copy.

    Not safe under threads by itself: the model's lock is held around each call.

    Args:
        network: Whose keys and values it keeps.
        max_bytes: Bound for the tree.

    Source:
        Zheng et al. (2023), arXiv:2312.07104, section 3 (RadixAttention).
    """

    def __init__(self, network: CausalNetwork, max_bytes: int = MAX_BYTES) -> None:
        self._network = network
        self._max_bytes = max_bytes
        self._root = _Node([], network.new_key_values(), None)
        # The least recently used first. A node is touched before the one above it, so the first
        # is always the end of a branch.
        self._nodes: OrderedDict[_Node, None] = OrderedDict()
        self._last: CachedSequence | None = None
        self.n_bytes = 0
        """Memory of the tree's keys and values."""

    @property
    def n_tokens(self) -> int:
        """Tokens in the tree, those that sequences share counted once."""
        return sum(len(node.ids) for node in self._nodes)

    def take(self, ids: Sequence[int]) -> CachedSequence:
        """Return a sequence that holds the longest known prefix of the ids, for the caller alone.

        At least the last token is left to be read, because its logits are wanted.
        """
        path, n_known = self._walk(ids)
        n_known = min(n_known, len(ids) - 1)
        last = self._last
        if last is not None and n_known and common_length(last.ids, ids) >= n_known:
            self._last = None
            last.key_values.crop(n_known)
            return CachedSequence(last.key_values, list(ids[:n_known]))
        key_values = self._network.new_key_values()
        parts, n_left = [], n_known
        for node in path:
            n = min(n_left, len(node.ids))
            if n:
                whole = n == len(node.ids)
                parts.append(node.key_values if whole else node.key_values.part(0, n))
            n_left -= n
        key_values.extend(parts)
        return CachedSequence(key_values, list(ids[:n_known]))

    def give_back(self, sequence: CachedSequence, *, intact: bool) -> None:
        """Keep a sequence for the next prompt, or drop it where a forward pass broke off."""
        if not intact or not sequence.ids:
            return
        self._last = sequence
        path, n_known = self._walk(sequence.ids)
        if n_known < len(sequence.ids):
            above = path[-1] if path else self._root
            n_above = sum(len(node.ids) for node in path[:-1])
            if n_known < n_above + len(above.ids):
                above = self._split(above, n_known - n_above)
            rest = sequence.key_values.part(n_known, len(sequence.ids))
            self._add(_Node(sequence.ids[n_known:], rest, above))
        while self.n_bytes > self._max_bytes and self._nodes:
            self._forget(next(iter(self._nodes)))

    def _walk(self, ids: Sequence[int]) -> tuple[list[_Node], int]:
        """Return the nodes that the ids go through, now the most recent, and how many are known.

        The last node may hold more than is shared.
        """
        path: list[_Node] = []
        node, n_known = self._root, 0
        while n_known < len(ids) and (below := node.below.get(ids[n_known])) is not None:
            n_shared = common_length(below.ids, ids[n_known : n_known + len(below.ids)])
            path.append(below)
            n_known += n_shared
            if n_shared < len(below.ids):
                break
            node = below
        for known in reversed(path):
            self._nodes.move_to_end(known)
        return path, n_known

    def _split(self, node: _Node, n: int) -> _Node:
        """Move a node's first n tokens into a new one above it; return that one."""
        assert node.above is not None
        upper = _Node(node.ids[:n], node.key_values.part(0, n), node.above, {node.ids[n]: node})
        node.above.below[node.ids[0]] = upper
        self.n_bytes += upper.key_values.n_bytes - node.key_values.n_bytes
        node.key_values = node.key_values.part(n, len(node.ids))
        node.ids, node.above = node.ids[n:], upper
        self.n_bytes += node.key_values.n_bytes
        self._nodes[upper] = None
        return upper

    def _add(self, node: _Node) -> None:
        """Hang a node below the one above it, and make it, and then all above, the most recent."""
        above = node.above
        assert above is not None
        above.below[node.ids[0]] = node
        self.n_bytes += node.key_values.n_bytes
        self._nodes[node] = None
        while above.above is not None:  # the root is no part of any branch
            self._nodes.move_to_end(above)
            above = above.above

    def _forget(self, node: _Node) -> None:
        """Take the end of a branch out of the tree."""
        assert node.above is not None
        assert not node.below
        del self._nodes[node], node.above.below[node.ids[0]]
        self.n_bytes -= node.key_values.n_bytes


def common_length(one: Sequence[int] | str, other: Sequence[int] | str) -> int:
    """Return the length of the longest common beginning of two sequences of the same kind."""
    n = min(len(one), len(other))
    if one[:n] == other[:n]:
        return n
    return next(i for i in range(n) if one[i] != other[i])
