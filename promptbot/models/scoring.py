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
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from promptbot.errors import OutOfMemory
from promptbot.interfaces import AnswersMany
from promptbot.models.sampling import refuse_nan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.interfaces import FrozenModel
    from promptbot.models.prefix_cache import CausalNetwork, KeyValues
    from promptbot.types import Message, OptionScore

MAX_LOGIT_BYTES = 256 * 2**20
MAX_NODES = 1024
ROOT = -1


@dataclass(frozen=True, slots=True)
class Trie:
    """Texts as a tree of tokens; the root, which is no node, is the token before them all."""

    ids: NDArray[np.int64]
    """The token of each node, parents first.  # (n_nodes,)"""
    depths: NDArray[np.int64]
    """Nodes above each; 0 for a text's first token.  # (n_nodes,)"""
    visible: NDArray[np.bool_]
    """Which node (row) sees which (column): itself and those above.  # (n_nodes, n_nodes)"""
    paths: tuple[tuple[int, ...], ...]
    """The nodes of each text, from the top."""


def build_trie(texts: Sequence[Sequence[int]]) -> Trie:
    """Return the trie of texts, given as token ids."""
    nodes = _Nodes()
    return nodes.trie([nodes.add(ROOT, text) for text in texts])


class _Nodes:
    """The nodes of a trie that grows."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], int] = {}  # (parent, token) -> node

    def add(self, parent: int, tokens: Sequence[int]) -> tuple[int, ...]:
        """Return the nodes of tokens below a node, made where they are missing."""
        path = []
        for token in tokens:
            parent = self._known.setdefault((parent, token), len(self._known))
            path.append(parent)
        return tuple(path)

    def trie(self, paths: Sequence[tuple[int, ...]]) -> Trie:
        """Return the trie of all nodes."""
        import numpy as np

        visible = np.eye(len(self._known), dtype=np.bool_)
        depths = np.zeros(len(self._known), dtype=np.int64)
        for node, (parent, _) in enumerate(self._known):
            if parent != ROOT:
                visible[node] |= visible[parent]
                depths[node] = depths[parent] + 1
        ids = np.array([token for _, token in self._known], dtype=np.int64)
        return Trie(ids, depths, visible, tuple(paths))


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
    unread = np.array(rest, dtype=np.int64)
    # Where a group does not fit into memory, its halves are tried.
    groups = deque(_groups(network, options))
    while groups:
        group = groups.popleft()
        trie = build_trie([options[i][:-1] for i in group])  # nothing follows a last token
        k = len(unread)
        rows, targets = [], []
        if k:  # the pass that reads the prompt's end predicts the first token of every option
            rows, targets = [k - 1] * len(options), [option[0] for option in options]
        for i, path in zip(group, trie.paths, strict=True):
            rows += [k + node for node in path]
            targets += options[i][1:]
        if not rows:  # options of one token, which the pass over the prompt has scored
            continue
        visible = None  # a trie without branches is a plain continuation
        if network.reads_trees:
            visible = np.tri(k + len(trie.ids), dtype=np.bool_)
            visible[k:, k:] = trie.visible
        try:
            found = network.logprobs(
                past,
                np.concatenate([unread, trie.ids]),
                np.concatenate([past.n_tokens + np.arange(k), n_prompt + trie.depths]),
                visible,
                np.array(rows, dtype=np.int64),
                np.array(targets, dtype=np.int64),
                n_kept=k,
            ).tolist()
        except OutOfMemory:
            if len(group) == 1:
                raise
            half = len(group) // 2
            tell_smaller(f"{half:,} options at once in place of {len(group):,}")
            groups.extendleft([group[half:], group[:half]])
            continue
        if k:
            for scores, first in zip(result, found, strict=False):
                scores.append(first)
            found, unread = found[len(options) :], unread[:0]
        start = 0
        for i in group:
            n = len(options[i]) - 1
            result[i] += found[start : start + n]
            start += n
    return result


def score_prompts(
    network: CausalNetwork,
    past: KeyValues,
    rests: Sequence[Sequence[int]],
    options: Sequence[Sequence[int]],
) -> list[list[list[float]]]:
    """Return the log-probability of every token of every option after each of several prompts.

    All of them are one trie in one pass: what prompts and options share is computed once.

    Args:
        network: What computes; it reads trees.
        past: What all prompts begin with; so it is left.
        rests: The other tokens of each prompt, at least one.
        options: Token ids; each at least one.
    """
    import numpy as np

    nodes = _Nodes()
    rows: list[int] = []
    for rest in rests:
        end = nodes.add(ROOT, rest)[-1]
        for option in options:
            rows += [end, *nodes.add(end, option[:-1])]
    trie = nodes.trie(())
    n_shared = past.n_tokens
    found = network.logprobs(
        past,
        trie.ids,
        n_shared + trie.depths,
        trie.visible,
        np.array(rows, dtype=np.int64),
        np.array([token for option in options for token in option] * len(rests), dtype=np.int64),
        n_kept=0,
    ).tolist()
    ends = list(accumulate(map(len, options), initial=0))
    each = [found[start : start + ends[-1]] for start in range(0, len(found), ends[-1])]
    return [[one[start:end] for start, end in pairwise(ends)] for one in each]


def score_each(
    model: FrozenModel,
    prompts: Sequence[Sequence[Message]],
    options: Sequence[str],
    *,
    end_of_turn: bool = True,
) -> list[list[OptionScore]]:
    """Return what a model's `score` gives for each prompt, as one batch where it can.

    Raises:
        CannotScore: The model only writes.
        ContextOverflow: One of the prompts is too long.
    """
    if len(prompts) > 1 and isinstance(model, AnswersMany):
        return model.score_many(prompts, options, end_of_turn=end_of_turn)
    return [model.score(prompt, options, end_of_turn=end_of_turn) for prompt in prompts]


def tell_smaller(work: str) -> None:
    """Warn, once for each text, that memory is short and the work is done in smaller pieces."""
    warnings.warn(
        f"memory is short: {work}. Answers stay the same; a smaller model would be faster.",
        MemoryIsShort,
        stacklevel=2,
    )


class MemoryIsShort(UserWarning):
    """Work is done in smaller pieces than planned."""


def target_logprobs(
    logits: NDArray[np.float32], rows: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the log-probability of each target in its row of logits.  # (n_targets,)

    Args:
        logits: Overwritten.  # (n_rows, n_vocabulary)
        rows: Which row each target is looked up in.  # (n_targets,)
        targets: Token ids.  # (n_targets,)

    Raises:
        ModelError: The logits hold a NaN.
    """
    import numpy as np

    best = logits.max(axis=-1)  # (n_rows,)
    refuse_nan(best.max())  # the maximum of numbers with a NaN is NaN
    logits -= best[:, None]
    found = logits[rows, targets]
    return np.asarray(found - np.log(np.exp(logits, out=logits).sum(axis=-1))[rows])


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
