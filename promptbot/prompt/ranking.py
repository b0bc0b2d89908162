"""The best of many scores, and one ranking out of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RRF_CONSTANT = 60
"""Of Cormack et al. (2009): how little the very first ranks outweigh those that follow."""


DECIMALS = 6
"""Scores are rounded to what float32 can tell apart, so that equal texts tie exactly."""


def plain(score: Any) -> float:
    """Return a score of numpy's as one of Python's own, rounded."""
    return round(float(score), DECIMALS)


def best(scores: NDArray[Any], k: int) -> list[int]:
    """Return the indices of the k highest scores, highest first, ties by index.

    Args:
        scores: One score an entry; none is NaN.  # (n_entries,)
        k: How many; of fewer entries all are returned.
    """
    k = min(k, len(scores))
    if k <= 0:
        return []
    # argpartition takes any of several equal values, so all that reach the k-th are sorted.
    kth = scores[np.argpartition(-scores, k - 1)[k - 1]]
    candidates = np.flatnonzero(scores >= kth)
    order = np.argsort(-scores[candidates], kind="stable")[:k]
    return [int(index) for index in candidates[order]]


def fuse(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """Return every entry that some ranking holds with its fused score, the highest first.

    An entry scores 1 / (60 + rank) in each ranking that holds it, ranks from 1; ties go by index.

    Source:
        Reciprocal rank fusion: Cormack, Clarke & Büttcher (2009), SIGIR.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, index in enumerate(ranking, start=1):
            scores[index] = scores.get(index, 0.0) + 1 / (RRF_CONSTANT + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
