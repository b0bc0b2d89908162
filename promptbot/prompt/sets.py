"""Sets of examples that are good together: diverse, covering, representative.

Each function sees numbers only, and returns indices; the selectors of
`promptbot.prompt.selectors` bring the texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptbot.prompt.ranking import DECIMALS, best

Floats = NDArray[np.float32]

RELEVANCE_WEIGHT = 0.5
"""Of relevance against novelty in `most_diverse`; LangChain's default too."""
MAX_NEIGHBOURS = 150
"""Of one example in `most_representative`, as in the paper, whose pools hold 3,000."""
POOL_PER_NEIGHBOUR = 20
"""Smaller pools get fewer neighbours, in the paper's proportion of 3,000 to 150."""
BLOCK = 1024
"""Rows of the pool that are compared with all others at once."""


def most_diverse(relevance: Floats, vectors: Floats, k: int) -> list[tuple[int, float]]:
    """Return k candidates that are near the question and unlike each other, best first.

    Each choice takes the candidate of the greatest half relevance minus half similarity with what
    was chosen before.

    Args:
        relevance: Cosine similarity of each candidate with the question.  # (n,)
        vectors: Unit vectors of the candidates.  # (n, dimension)
        k: How many, at most n.

    Returns:
        Indices with the value that decided the choice, in the order of choice.

    Source:
        Maximal marginal relevance: Carbonell & Goldstein (1998), SIGIR.
    """
    similarity = vectors @ vectors.T  # (n, n)
    redundancy = np.zeros(len(relevance), dtype=np.float32)
    left = np.ones(len(relevance), dtype=bool)
    chosen: list[tuple[int, float]] = []
    for _ in range(k):
        value = RELEVANCE_WEIGHT * relevance - (1 - RELEVANCE_WEIGHT) * redundancy
        index = int(np.argmax(np.where(left, value.round(DECIMALS), -np.inf)))
        new = similarity[index]
        redundancy = np.maximum(redundancy, new) if chosen else new
        left[index] = False
        chosen.append((index, float(value[index])))
    return chosen


def best_cover(cover: Floats, weights: Floats, k: int) -> list[int]:
    """Return k entries that together cover a question's words best, chosen one by one.

    A set covers each word as well as its best member does. The entry that adds most is taken
    next; once none adds anything, the cover starts anew with the entries that are left.

    Args:
        cover: How well each entry covers each word.  # (n_words, n)
        weights: Of the words.  # (n_words,)
        k: How many, at most n.

    Source:
        Gupta, Gardner & Singh (2023), arXiv:2305.14907, algorithm 1.
    """
    floor = np.full((len(weights), 1), -1, dtype=np.float32)  # the lowest cosine similarity
    covered, value = floor, -np.inf
    left = np.ones(cover.shape[1], dtype=bool)
    chosen: list[int] = []
    while len(chosen) < k:
        values = (weights @ np.maximum(cover, covered)).round(DECIMALS)  # (n,)
        index = int(np.argmax(np.where(left, values, -np.inf)))
        if values[index] <= value:
            covered, value = floor, -np.inf
            continue
        covered, value = np.maximum(covered, cover[:, [index]]), float(values[index])
        left[index] = False
        chosen.append(index)
    return chosen


def most_representative(vectors: Floats, n: int) -> list[int]:
    """Return n entries of a pool that stand for all of it, in the order of choice.

    Every entry votes for its nearest neighbours. The entry with the most votes is chosen, and the
    votes of those that voted for it count a tenth from then on, so that the next one stands for
    others. Time grows with the square of the pool.

    Args:
        vectors: Unit vectors of the pool.  # (n_pool, dimension)
        n: How many, at most n_pool.

    Source:
        Vote-k without its second stage, which asks a model (the paper's fast vote-k):
        Su et al. (2022), arXiv:2209.01975.
    """
    size = len(vectors)
    if size <= 1:
        return list(range(n))
    n_neighbours = min(MAX_NEIGHBOURS, max(1, size // POOL_PER_NEIGHBOUR))
    neighbours = _neighbours(vectors, n_neighbours)  # (n_pool, n_neighbours)
    voters = np.repeat(np.arange(size), n_neighbours)
    by_candidate = np.argsort(neighbours.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(neighbours.ravel(), minlength=size))
    n_represented = np.zeros(size)
    left = np.ones(size, dtype=bool)
    chosen: list[int] = []
    for _ in range(n):
        votes = np.where(left, 10.0**-n_represented, 0.0)  # who was chosen votes no more
        totals = np.bincount(neighbours.ravel(), np.repeat(votes, n_neighbours), minlength=size)
        index = int(np.argmax(np.where(left, totals.round(12), -np.inf)))
        left[index] = False
        chosen.append(index)
        start = ends[index - 1] if index else 0
        n_represented[voters[by_candidate[start : ends[index]]]] += 1
    return chosen


def _neighbours(vectors: Floats, k: int) -> NDArray[Any]:
    """Return the k entries nearest to each entry, itself left out, ties by index."""
    found = np.empty((len(vectors), k), dtype=np.int64)
    for start in range(0, len(vectors), BLOCK):
        similarities = (vectors[start : start + BLOCK] @ vectors.T).round(DECIMALS)
        for index, similarity in enumerate(similarities, start):
            similarity[index] = -np.inf
            found[index] = best(similarity, k)
    return found
