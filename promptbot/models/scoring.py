"""Log-probabilities of many options after one prompt, in as few forward passes as memory allows.

The options become a trie, so that what they share is computed once. All nodes of the trie are new
tokens of one forward pass: explicit positions give each its depth, and a mask lets it see the
prompt and its own ancestors. The scores are those of one plain pass per option (within rounding).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptbot.errors import OutOfMemory
from promptbot.models.sampling import refuse_nan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.prefix_cache import CausalNetwork, KeyValues

MAX_LOGIT_BYTES = 256 * 2**20
MAX_NODES = 1024
ROOT = -1


@dataclass(frozen=True, slots=True)
class Trie:
    """Options as a tree of tokens; the root, which is no node, is the prompt's last token."""

    ids: NDArray[np.int64]
    """The token of each node, parents first.  # (n_nodes,)"""
    depths: NDArray[np.int64]
    """Nodes above each; 0 for an option's first token.  # (n_nodes,)"""
    visible: NDArray[np.bool_]
    """Which node (row) sees which (column): itself and those above.  # (n_nodes, n_nodes)"""
    inner: NDArray[np.int64]
    """Nodes with something below them, in order; only their logits are needed."""
    paths: tuple[tuple[int, ...], ...]
    """The nodes of each option, from the top."""


def build_trie(options: Sequence[Sequence[int]]) -> Trie:
    """Return the trie of options, given as token ids."""
    import numpy as np

    nodes: dict[tuple[int, int], int] = {}  # (parent, token) -> node
    parents: list[int] = []
    paths = []
    for option in options:
        path, parent = [], ROOT
        for token in option:
            node = nodes.setdefault((parent, token), len(nodes))
            if node == len(parents):
                parents.append(parent)
            path.append(node)
            parent = node
        paths.append(tuple(path))
    visible = np.eye(len(parents), dtype=np.bool_)
    depths = np.zeros(len(parents), dtype=np.int64)
    for node, parent in enumerate(parents):
        if parent != ROOT:
            visible[node] |= visible[parent]
            depths[node] = depths[parent] + 1
    ids = np.array([token for _, token in nodes], dtype=np.int64)
    inner = np.unique(np.array([parent for parent in parents if parent != ROOT], dtype=np.int64))
    return Trie(ids, depths, visible, inner, tuple(paths))


def score_options(
    network: CausalNetwork,
    past: KeyValues,
    rest: Sequence[int],
    options: Sequence[Sequence[int]],
) -> list[list[float]]:
    """Return the log-probability, in nats, of every token of every option.

    Args:
        network: What computes.
        past: The prompt as far as it was read; afterwards it holds the whole prompt.
        rest: The prompt's other tokens, at least one.
        options: Token ids; each at least one.
    """
    import numpy as np

    result: list[list[float]] = [[] for _ in options]
    n_prompt = past.n_tokens + len(rest)
    root: NDArray[np.float32] | None = None
    # Where a group does not fit into memory, its halves are tried.
    groups = deque(_groups(network, options))
    while groups:
        group = groups.popleft()
        trie = build_trie([options[i] for i in group])
        new_prompt = np.array(rest if root is None else [], dtype=np.int64)
        try:
            logits = _read(network, past, n_prompt, new_prompt, trie)
        except OutOfMemory:
            if len(group) == 1:
                raise
            half = len(group) // 2
            tell_smaller(f"{half:,} options at once in place of {len(group):,}")
            groups.extendleft([group[half:], group[:half]])
            continue
        logprobs = log_softmax(logits)
        past.crop(n_prompt)
        if root is None:
            root, logprobs = logprobs[0], logprobs[1:]
        row_of = {ROOT: root, **dict(zip(trie.inner.tolist(), logprobs, strict=True))}
        for i, path in zip(group, trie.paths, strict=True):
            above = (ROOT, *path)
            result[i] = [
                float(row_of[parent][token])
                for parent, token in zip(above, options[i], strict=False)
            ]
    return result


def tell_smaller(work: str) -> None:
    """Warn, once for each text, that memory is short and the work is done in smaller pieces."""
    warnings.warn(
        f"memory is short: {work}. Answers stay the same; a smaller model would be faster.",
        MemoryIsShort,
        stacklevel=2,
    )


class MemoryIsShort(UserWarning):
    """Work is done in smaller pieces than planned."""


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log-probabilities, row by row.  # (n_rows, n_vocabulary)

    Raises:
        ModelError: The logits hold a NaN.
    """
    import numpy as np

    for best in logits.max(axis=-1):  # the maximum of a row with a NaN is NaN
        refuse_nan(best)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(shifted)


def _read(
    network: CausalNetwork,
    past: KeyValues,
    n_prompt: int,
    new_prompt: NDArray[np.int64],
    trie: Trie,
) -> NDArray[np.float32]:
    """Read the prompt's rest and a trie; return logits of the root (if read) and inner nodes."""
    import numpy as np

    k = len(new_prompt)
    ids = np.concatenate([new_prompt, trie.ids])
    positions = np.concatenate([past.n_tokens + np.arange(k), n_prompt + trie.depths])
    visible = None  # a trie without branches is a plain continuation
    if network.reads_trees:
        visible = np.tri(len(ids), dtype=np.bool_)
        visible[k:, k:] = trie.visible
    wanted = k + trie.inner
    if k:
        wanted = np.concatenate([[k - 1], wanted])
    return network.forward(past, ids, positions, visible, wanted)


def _groups(network: CausalNetwork, options: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield indices of options that are scored together.

    Neighbours in the order of their tokens share the most. A network that reads no trees gets
    one option at a time, which is a trie without branches.
    """
    order = sorted(range(len(options)), key=lambda i: list(options[i]))
    bound = min(MAX_NODES, MAX_LOGIT_BYTES // (4 * network.n_vocabulary))
    group: list[int] = []
    n_nodes = 0
    for i in order:
        full = n_nodes + len(options[i]) > bound or not network.reads_trees
        if group and full:
            yield group
            group, n_nodes = [], 0
        group.append(i)
        n_nodes += len(options[i])  # shared tokens counted twice: an upper bound
    if group:
        yield group
