"""How far two judges, or two answers, agree."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from promptbot.evals.stats import Interval, resample_weights

N_RESAMPLES = 1999
"""Bootstrap resamples of a kappa's interval."""


def cohen_kappa(
    one: Sequence[Hashable],
    other: Sequence[Hashable],
    categories: Sequence[Hashable],
    *,
    quadratic: bool = False,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the agreement of two judges beyond chance: 1 for all, 0 for none beyond chance.

    Args:
        one: What the first judge said of each item.
        other: What the second said of them.
        categories: Everything that can be said, in its order.
        quadratic: Whether a disagreement counts by the square of its distance in that order.
        weights: How often each item counts; once each when None.

    Returns:
        nan where chance alone explains everything: one of them always says the same.

    Source:
        Cohen (1960), Educational and Psychological Measurement 20:37; weighted: Cohen (1968),
        Psychological Bulletin 70:213.
    """
    place = {category: number for number, category in enumerate(categories)}
    n = len(categories)
    table = np.zeros((n, n))
    rows, columns = [place[said] for said in one], [place[said] for said in other]
    np.add.at(table, (rows, columns), 1.0 if weights is None else weights)
    steps = np.arange(n)
    costs = np.subtract.outer(steps, steps) ** 2 if quadratic else 1 - np.eye(n)
    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total if total else table
    by_chance = float((costs * expected).sum())
    return 1 - float((costs * table).sum()) / by_chance if by_chance > 0 else float("nan")


def kappa_interval(
    one: Sequence[Hashable],
    other: Sequence[Hashable],
    categories: Sequence[Hashable],
    *,
    quadratic: bool = False,
    seed: int = 0,
) -> Interval | None:
    """Return the percentile bootstrap interval of `cohen_kappa` at 95%; None where it has none."""
    items = [str(number) for number in range(len(one))]
    drawn = [
        cohen_kappa(one, other, categories, quadratic=quadratic, weights=weights)
        for weights in resample_weights(items, n_resamples=N_RESAMPLES, seed=seed)
    ]
    known = [kappa for kappa in drawn if not np.isnan(kappa)]
    if len(known) < N_RESAMPLES / 2:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return Interval(float(low), float(high), 0.95)
