"""Sets of examples: each against the same rule written out slowly."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from promptbot.prompt import sets
from promptbot.prompt.sets import best_cover, most_diverse, most_representative


def unit_vectors(n: int, seed: int, dimension: int = 6) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_marginal_relevance_equals_the_case_worked_by_hand() -> None:
    # Two equal vectors near the question, one far from both: after the first, its twin is worth
    # .5 * .9 - .5 * 1 = -.05, the other one .5 * .4 - .5 * 0 = .2.
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    relevance = np.array([0.9, 0.9, 0.4], dtype=np.float32)
    found = most_diverse(relevance, vectors, 3)
    assert [index for index, _ in found] == [0, 2, 1]
    assert [value for _, value in found] == pytest.approx([0.45, 0.2, -0.05])


def slow_cover(cover: NDArray[np.float32], weights: NDArray[np.float32], k: int) -> list[int]:
    """Choose one by one, as the paper's algorithm says it."""

    def value(members: list[int]) -> float:
        return float(sum(w * max(cover[i, m] for m in members) for i, w in enumerate(weights)))

    chosen: list[int] = []
    current: list[int] = []
    while len(chosen) < k:
        left = [i for i in range(cover.shape[1]) if i not in chosen]
        found = max(left, key=lambda i: (round(value([*current, i]), 6), -i))
        if current and round(value([*current, found]), 6) <= round(value(current), 6):
            current = []
        else:
            chosen.append(found)
            current.append(found)
    return chosen


@pytest.mark.parametrize("seed", range(20))
def test_the_cover_equals_the_algorithm_written_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    cover = random.choice([-0.25, 0.0, 0.25, 0.75, 1.0], size=(4, 9)).astype(np.float32)
    # Eighths add up exactly in float32 too, so ties are ties.
    weights = random.integers(1, 9, size=4).astype(np.float32) / 8
    assert best_cover(cover, weights, 9) == slow_cover(cover, weights, 9)


@pytest.mark.parametrize("seed", range(20))
def test_the_cover_is_nearly_the_best_of_all_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    cover, weights = random.random((5, 10)).astype(np.float32), np.ones(5, dtype=np.float32)
    best = max(cover[:, list(some)].max(axis=1).sum() for some in combinations(range(10), 3))
    greedy = cover[:, best_cover(cover, weights, 3)].max(axis=1).sum()
    # Nemhauser et al. (1978): greedy reaches 1 - 1/e of the optimum of such a function.
    assert (1 - 1 / np.e) * best <= greedy <= best + 1e-6


def slow_vote_k(vectors: NDArray[np.float32], n: int, n_neighbours: int) -> list[int]:
    """Choose one by one, as the paper's formula says it."""
    size = len(vectors)
    similarity = (vectors @ vectors.T).round(6)
    votes_for: dict[int, set[int]] = {i: set() for i in range(size)}
    for voter in range(size):
        others = [i for i in range(size) if i != voter]
        for other in sorted(others, key=lambda i: (-similarity[voter, i], i))[:n_neighbours]:
            votes_for[other].add(voter)
    chosen: list[int] = []
    while len(chosen) < n:
        scores = {
            u: sum(
                10.0 ** -sum(v in votes_for[c] for c in chosen)
                for v in votes_for[u]
                if v not in chosen
            )
            for u in range(size)
            if u not in chosen
        }
        chosen.append(min(scores, key=lambda u: (-round(scores[u], 12), u)))
    return chosen


@pytest.mark.parametrize("size", [1, 2, 25, 90])
def test_vote_k_equals_the_formula_written_out(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "BLOCK", 32)  # so that several blocks are compared
    vectors = unit_vectors(size, seed=size)
    n_neighbours = max(1, size // 20)
    assert most_representative(vectors, size) == slow_vote_k(vectors, size, n_neighbours)


def test_vote_k_takes_one_of_each_cluster_before_a_second_of_any() -> None:
    centres = np.eye(4, dtype=np.float32)
    noise = 0.01 * np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    vectors = centres[np.arange(80) % 4] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert {index % 4 for index in most_representative(vectors, 4)} == {0, 1, 2, 3}


def test_no_entries_are_representative_of_nothing() -> None:
    assert most_representative(np.zeros((0, 3), dtype=np.float32), 0) == []
