"""The statistical conclusion about two columns of a run, and the sentence that says it.

A sentence claims no more than its family of comparisons allows: *better* and *worse* follow from
tests corrected by Holm, and *no difference larger than x* from intervals that hold together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptbot.evals.stats import (
    FEW,
    Clusters,
    Interval,
    cluster,
    detectable_mean,
    detectable_share,
    holm,
    mcnemar_exact,
    paired_interval,
    sign_flip_test,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Outcome = Literal["better", "worse", "no_difference", "underpowered"]

ALPHA = 0.05
"""Probability with which a report says *better* or *worse* anywhere though nothing differs."""

POWER = 0.8
"""Probability with which the minimum detectable effect would have been found."""

ASSUMED_DISCORDANCE = 0.2
"""Share of samples on which two variants are expected to differ, before anything is known."""

MARGIN = 0.05
"""The smallest difference that matters, where a suite says nothing: 5 points."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one column, one per sample."""

    name: str
    """The column's name."""
    values: Sequence[float]
    """Mean score of each sample over the seeds, in the samples' order."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a score means, so that a sentence can say it."""

    bounded: bool = True
    """Whether scores lie in [0, 1] and are told in points of a hundred."""
    unit: str = "points"
    """The word after a difference."""
    higher_is_better: bool = True
    """False for seconds, tokens and errors."""

    def tell(self, value: float, *, sign: bool = False, up: bool = False) -> str:
        """Return a value in its unit's words, as ``3.2 points``; `up` never understates it."""
        scaled = value * 100 if self.bounded else value
        digits = 1 if self.bounded else 3
        if up:
            scaled = math.ceil(round(scaled * 10**digits, 6)) / 10**digits
        text = f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}"
        return f"{text} {self.unit}".strip()

    def largest(self, *scores: Sequence[float]) -> float:
        """Return the largest difference that two scores may have: 1 for those in [0, 1].

        Of others nothing but those that were seen is known: it is their range, zero included, and
        1 where all are zero.
        """
        if self.bounded:
            return 1.0
        seen = np.concatenate([np.asarray(one, np.float64) for one in scores])
        seen = np.append(seen[~np.isnan(seen)], 0.0)
        return float(np.ptp(seen)) or 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One column against the reference."""

    name: str
    """The column that is compared."""
    reference: str
    """What it is compared with."""
    n: int
    """Samples that both answered or failed."""
    n_clusters: int
    """Conversations that these samples belong to."""
    n_higher: int
    """Samples on which the column scores higher."""
    n_lower: int
    """Samples on which it scores lower."""
    difference: float
    """Mean of the paired differences, column minus reference."""
    interval: Interval
    """Of the difference, at the level at which it was tested."""
    test: Literal["mcnemar", "permutation"]
    """McNemar's exact test for right/wrong of separate samples, else sign flips by cluster."""
    p_value: float
    """Two-sided, of this comparison alone."""
    p_adjusted: float
    """Corrected by Holm for all comparisons of the report."""
    detectable: float | None
    """Smallest difference that this many samples show with `POWER`; None for none at all."""
    outcome: Outcome
    """The verdict."""
    sentence: str
    """The verdict in words."""


def compare_all(
    reference: Scores,
    others: Sequence[Scores],
    *,
    groups: Sequence[str] | None = None,
    scale: Scale | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    seed: int = 0,
) -> list[Comparison]:
    """Return every column compared with the reference, the whole family together.

    Args:
        reference: Scores of the reference; nan where a sample has none. A sample enters those
            comparisons in which both columns have a score; there must be one in each.
        others: Scores of the columns, on the same samples in the same order.
        groups: The conversation of each sample; None where every sample stands alone.
        scale: What a score means; points of a hundred when None.
        margin: The smallest difference that matters, in the scores' unit.
        alpha: Probability of any false *better* or *worse* in the family.
        seed: Of resampling.

    Returns:
        One comparison per column, in the given order.
    """
    return compare_pairs(
        [(reference, other) for other in others],
        groups=groups,
        scale=scale,
        margin=margin,
        alpha=alpha,
        seed=seed,
    )


def compare_pairs(
    columns: Sequence[tuple[Scores, Scores]],
    *,
    groups: Sequence[str] | None = None,
    scale: Scale | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    seed: int = 0,
) -> list[Comparison]:
    """Return the second column of each pair compared with the first, as one family.

    See `compare_all`, where all pairs share their first column.
    """
    scale = scale or Scale()
    pairs = [_differences(other, reference, groups) for reference, other in columns]
    tests = [_test(pair.differences, pair.groups, scale, seed) for pair in pairs]
    adjusted = holm([p for _, p in tests])
    order = sorted(range(len(tests)), key=lambda i: tests[i][1])
    comparisons = []
    for index, (reference, other) in enumerate(columns):
        # Holm tests the smallest of m p-values at alpha / m, the next at alpha / (m - 1), ...
        # A rejected comparison shows the interval of its own step, so that interval and verdict
        # agree; the others show the interval of the first step, which holds for all at once.
        rejected = adjusted[index] <= alpha
        level = alpha / (len(columns) - (order.index(index) if rejected else 0))
        comparisons.append(
            _compare(
                other,
                reference,
                pairs[index].differences,
                pairs[index].groups,
                scale=scale,
                margin=margin,
                alpha=alpha,
                level=level,
                n_comparisons=len(columns),
                test=tests[index],
                p_adjusted=adjusted[index],
                seed=seed,
            )
        )
    return comparisons


def detectable_before(
    n: int, n_comparisons: int, *, discordance: float = ASSUMED_DISCORDANCE, alpha: float = ALPHA
) -> float | None:
    """Return the smallest difference of shares that a run would show, before it starts.

    Args:
        n: Samples, or conversations where those are fewer.
        n_comparisons: Columns that are compared with the reference.
        discordance: Share of samples on which a column and the reference are expected to differ.
        alpha: Probability of any false verdict in the family.

    Returns:
        The difference that McNemar's exact test finds with probability `POWER` at the level of
        the first step of Holm, alpha / n_comparisons (see `stats.detectable_share`); None where
        so few samples cannot show any.
    """
    return detectable_share(n, discordance, alpha=alpha / max(n_comparisons, 1), power=POWER)


@dataclass(frozen=True, slots=True)
class _Pair:
    differences: NDArray[np.float64]
    groups: Sequence[str] | None


def _differences(other: Scores, reference: Scores, groups: Sequence[str] | None) -> _Pair:
    if len(other.values) != len(reference.values):
        raise ValueError(
            f"{other.name} has {len(other.values)} scores, "
            f"{reference.name} {len(reference.values)}: they must be of the same samples"
        )
    # Means over seeds as 1/3 + 1/3 + 1/3 must tie exactly with those of the other column.
    differences: NDArray[np.float64] = np.round(
        np.asarray(other.values, np.float64) - np.asarray(reference.values, np.float64), 12
    )
    there = ~np.isnan(differences)
    if groups is not None and not there.all():
        groups = [group for group, is_there in zip(groups, there, strict=True) if is_there]
    return _Pair(differences[there], groups)


def _samples(n: int, n_clusters: int) -> str:
    found = f"{n} sample{'s' * (n != 1)}"
    return found if n_clusters == n else f"{found} of {n_clusters} group{'s' * (n_clusters != 1)}"


def _test(
    differences: NDArray[np.float64], groups: Sequence[str] | None, scale: Scale, seed: int
) -> tuple[Literal["mcnemar", "permutation"], float]:
    clusters = cluster(differences, groups)
    if scale.bounded and clusters.single and np.isin(differences, (-1, 0, 1)).all():
        higher, lower = int((differences > 0).sum()), int((differences < 0).sum())
        return "mcnemar", mcnemar_exact(higher, lower)
    return "permutation", sign_flip_test(differences, groups, seed=seed)


def _compare(
    other: Scores,
    reference: Scores,
    differences: NDArray[np.float64],
    groups: Sequence[str] | None,
    *,
    scale: Scale,
    margin: float,
    alpha: float,
    level: float,
    n_comparisons: int,
    test: tuple[Literal["mcnemar", "permutation"], float],
    p_adjusted: float,
    seed: int,
) -> Comparison:
    clusters = cluster(differences, groups)
    largest = scale.largest(other.values, reference.values)
    interval = paired_interval(
        differences, groups, largest=largest, confidence=1 - level, seed=seed
    )
    comparison = Comparison(
        name=other.name,
        reference=reference.name,
        n=len(differences),
        n_clusters=len(clusters.sums),
        n_higher=int((differences > 0).sum()),
        n_lower=int((differences < 0).sum()),
        difference=clusters.mean,
        interval=interval,
        test=test[0],
        p_value=test[1],
        p_adjusted=p_adjusted,
        detectable=_detectable_after(clusters, test[0], largest, alpha / n_comparisons),
        outcome="underpowered",
        sentence="",
    )
    outcome = _judge(comparison, scale, margin, alpha)
    comparison = replace(comparison, outcome=outcome)
    return replace(comparison, sentence=_say(comparison, scale, margin))


def _detectable_after(clusters: Clusters, test: str, largest: float, level: float) -> float | None:
    """Return the smallest difference that the samples show, given how often columns differed."""
    m = len(clusters.sums)
    n_differ = int((clusters.sums != 0).sum())
    # With few that differ a small standard error would be luck, not precision.
    if test == "mcnemar" or clusters.n_uncommon < FEW:
        share = detectable_share(m, (n_differ + 1) / (m + 2), alpha=level, power=POWER)
        return None if share is None else share * largest
    if 2.0 ** (1 - m) > level:  # no flip of so few signs is as rare as that
        return None
    return detectable_mean(clusters.standard_error, alpha=level, power=POWER)


def _judge(comparison: Comparison, scale: Scale, margin: float, alpha: float) -> Outcome:
    if comparison.p_adjusted <= alpha and comparison.difference != 0:
        higher = comparison.difference > 0
        return "better" if higher == scale.higher_is_better else "worse"
    return "no_difference" if comparison.interval.reach <= margin else "underpowered"


def _say(comparison: Comparison, scale: Scale, margin: float) -> str:
    name, reference, interval = comparison.name, comparison.reference, comparison.interval
    samples = _samples(comparison.n, comparison.n_clusters)
    if comparison.outcome in ("better", "worse"):
        # In the direction of the verdict, so that a reader need not undo a minus sign.
        bounds = sorted((abs(interval.low), abs(interval.high)))
        if interval.low < 0 < interval.high:
            bounds[0] = 0.0
        low, _, unit = scale.tell(bounds[0]).partition(" ")
        high = f"{scale.tell(bounds[1]).partition(' ')[0]} {unit}".strip()
        small = (
            ""
            if interval.reach > margin
            else (f", which is less than the {scale.tell(margin)} that matter here")
        )
        return (
            f"{name} is {comparison.outcome} than {reference} by "
            f"{scale.tell(abs(comparison.difference))} ({low} to {high}{small})."
        )
    if comparison.outcome == "no_difference":
        return (
            f"{name} and {reference}: no difference larger than "
            f"{scale.tell(interval.reach, up=True)} on {samples}."
        )
    if comparison.detectable is None:
        return (
            f"{name} and {reference}: underpowered; {samples} cannot show any difference, "
            "however large."
        )
    return (
        f"{name} and {reference}: underpowered; {samples} can only show differences of at least "
        f"{scale.tell(comparison.detectable, up=True)} "
        f"(measured: {scale.tell(comparison.difference, sign=True)})."
    )
