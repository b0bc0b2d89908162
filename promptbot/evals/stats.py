"""Intervals, tests and power for results that are paired by sample and grouped by conversation.

Everything here is a pure function of numbers, held to scipy's and statsmodels' results by the tests
where these have the like; what they lack is resampling whole clusters, and the exact power of
McNemar's test.

A *cluster* is a set of samples that may succeed or fail together, as the messages of one
conversation. Whole clusters are resampled and flipped, never single samples out of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from promptbot.evals.distributions import (
    BinomialTails,
    binomial_cdf,
    binomial_pmf,
    binomial_two_sided,
    normal_cdf,
    normal_quantile,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

N_RESAMPLES = 9_999
"""Resamples of a bootstrap or permutation: an odd .05 quantile falls on a whole one."""

FEW = 10
"""Under this many clusters with another mean than the commonest, or that there are at all, a
bootstrap is too sure of itself: with none of them it would give an interval of width zero."""

_EXACT_FLIPS = 12
"""Up to this many clusters that differ, all their sign flips are enumerated."""

_MOST_KEPT = 64_000_000
"""Bytes of draws that are kept for the next column at most."""

_CHUNK = 4_000_000
"""Numbers drawn at once: bounds memory to about 32 MB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""
    confidence: float
    """Share of such intervals that hold the truth, in (0, 1)."""

    def excludes(self, value: float) -> bool:
        """Return whether a value lies outside."""
        return value < self.low or value > self.high

    @property
    def reach(self) -> float:
        """The largest absolute value inside."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Values summed by cluster."""

    sums: NDArray[np.float64]
    """Sum of each cluster's values.  # (n_clusters,)"""
    sizes: NDArray[np.float64]
    """How many values each cluster holds.  # (n_clusters,)"""

    @property
    def mean(self) -> float:
        """Mean over all values."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def single(self) -> bool:
        """Whether every value stands alone."""
        return bool((self.sizes == 1).all())

    @property
    def n_uncommon(self) -> int:
        """Clusters whose mean is not the commonest one."""
        _, counts = np.unique(np.round(self.sums / self.sizes, 12), return_counts=True)
        return len(self.sums) - int(counts.max())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, clusters being independent of one another.

        Source:
            The linearised (sandwich) variance of a ratio: Cochran (1977), Sampling Techniques.
        """
        m = len(self.sums)
        if m < 2:
            return math.inf
        residuals = self.sums - self.mean * self.sizes
        return float(np.sqrt(m / (m - 1) * (residuals**2).sum()) / self.sizes.sum())


def cluster(values: ArrayLike, groups: Sequence[str] | None = None) -> Clusters:
    """Return values summed by group; each value stands alone where there are no groups.

    Args:
        values: One number per sample.  # (n_samples,)
        groups: The cluster of each sample.

    Raises:
        ValueError: There are no values, or groups and values differ in number.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError("needs at least one value, in one dimension")
    if groups is None:
        return Clusters(array, np.ones(len(array)))
    if len(groups) != len(array):
        raise ValueError(f"{len(array)} values, but {len(groups)} groups")
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, weights=array).astype(np.float64)
    return Clusters(sums, np.bincount(index).astype(np.float64))


def wilson(n_right: float, n: float, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion.

    Args:
        n_right: Successes; need not be whole, so that an effective sample size can be given.
        n: Trials, above 0.
        confidence: In (0, 1).

    Source:
        Wilson (1927), JASA 22:209. For whole numbers it equals
        ``scipy.stats.binomtest(...).proportion_ci(method="wilson")``, which takes only those.
    """
    z = _z(confidence)
    p = n_right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if n_right == 0 else max(centre - half, 0.0)
    high = 1.0 if n_right == n else min(centre + half, 1.0)
    return Interval(low, high, confidence)


def share_interval(
    values: ArrayLike, groups: Sequence[str] | None = None, confidence: float = 0.95
) -> Interval:
    """Return the interval of a share: Wilson's, with the effective number of samples.

    Samples that succeed or fail together count for less than as many separate ones: n is divided
    by the design effect, the ratio of the clustered to the plain variance, and is at least the
    number of clusters where all values agree and that ratio is unknown.

    Args:
        values: Scores in [0, 1], one per sample.  # (n_samples,)
        groups: The cluster of each sample.
        confidence: In (0, 1).

    Source:
        Korn and Graubard (1998), Survey Methodology 24:193; Kish (1965), Survey Sampling.
    """
    clusters = cluster(values, groups)
    n, p = float(clusters.sizes.sum()), min(max(clusters.mean, 0.0), 1.0)
    if clusters.single:
        return wilson(p * n, n, confidence)
    plain = p * (1 - p) / n
    if plain == 0 or len(clusters.sums) < 2:
        n_effective = float(len(clusters.sums))
    else:
        n_effective = n / max(clusters.standard_error**2 / plain, 1.0)
    return wilson(p * n_effective, n_effective, confidence)


def quantile_interval(values: ArrayLike, q: float, confidence: float = 0.95) -> Interval | None:
    """Return the interval of a quantile between two order statistics; nothing is assumed.

    Args:
        values: Independent values.  # (n,)
        q: In (0, 1), as 0.95.
        confidence: Held at least.

    Returns:
        The interval; None where so few values cannot bound the quantile on both sides.

    Source:
        Conover (1999), Practical Nonparametric Statistics, section 3.2.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n, tail = len(ordered), (1 - confidence) / 2
    # The number of values below the quantile is binomial: choose ranks that leave out each tail.
    at_most = binomial_cdf(n, q)
    low = int(np.searchsorted(at_most, tail))  # the first that reaches the tail
    if low < 1:
        return None
    high = int(np.searchsorted(at_most, 1 - tail)) + 1
    if high > n:
        return None
    return Interval(float(ordered[low - 1]), float(ordered[high - 1]), confidence)


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the BCa bootstrap interval of a mean; for paired results, pass the differences.

    Whole clusters are drawn. How often each *distinct* cluster is drawn follows a multinomial
    distribution, so right/wrong results of any number cost the same few draws.

    Args:
        values: One number per sample.  # (n_samples,)
        groups: The cluster of each sample.
        confidence: In (0, 1).
        n_resamples: Bootstrap resamples.
        seed: Of the resamples.

    Source:
        Efron (1987), JASA 82:171. Ties count half in the bias correction, because means of
        right/wrong results take few values.
    """
    clusters = cluster(values, groups)
    pairs, counts = np.unique(
        np.column_stack([clusters.sums, clusters.sizes]), axis=0, return_counts=True
    )
    mean, m = clusters.mean, len(clusters.sums)
    if len(pairs) == 1:
        return Interval(mean, mean, confidence)
    many: Iterable[NDArray[np.integer]]
    if len(pairs) * 8 > m:  # hardly any two clusters are alike: draws of single ones are cheaper,
        # and the same for every column of a report
        drawn, many = np.column_stack([clusters.sums, clusters.sizes]), _draws(m, n_resamples, seed)
    else:
        rng = np.random.default_rng(seed)
        drawn, many = pairs, _multinomial(rng, m, counts / m, n_resamples)
    totals = np.concatenate([draws.astype(np.float64) @ drawn for draws in many])
    means = totals[:, 0] / totals[:, 1]
    below = (np.sum(means < mean) + np.sum(means == mean) / 2) / n_resamples
    rare = 1 / (n_resamples + 1)
    z0 = normal_quantile(float(np.clip(below, rare, 1 - rare)))
    # Jackknife: leave out one cluster of each distinct kind.
    left = (clusters.sums.sum() - pairs[:, 0]) / (clusters.sizes.sum() - pairs[:, 1])
    centre = float((counts * left).sum() / m)
    second = float((counts * (centre - left) ** 2).sum())
    third = float((counts * (centre - left) ** 3).sum())
    acceleration = third / (6 * second**1.5) if second > 0 else 0.0
    tails = [z0 + normal_quantile(p) for p in ((1 - confidence) / 2, (1 + confidence) / 2)]
    levels = [normal_cdf(z0 + z / (1 - acceleration * z)) for z in tails]
    low, high = np.quantile(means, levels)
    return Interval(float(low), float(high), confidence)


def mean_interval(values: ArrayLike, groups: Sequence[str] | None = None) -> Interval | None:
    """Return the BCa bootstrap interval of a mean at 95%; None where it would be too narrow.

    That is so for fewer than `FEW` clusters, and where fewer than that, or than half of the
    clusters, have another mean than the commonest: ten equal grades do not say how far another one
    may lie.

    Args:
        values: One number per sample.  # (n_samples,)
        groups: The cluster of each sample.
    """
    clusters = cluster(values, groups)
    m = len(clusters.sums)
    if m < FEW or clusters.n_uncommon < min(FEW, m // 2):
        return None
    return bootstrap_interval(values, groups)


def paired_interval(
    differences: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    largest: float = 1.0,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the interval of a mean paired difference.

    It is the BCa bootstrap. Where fewer than `FEW` clusters have another difference than the
    commonest, which is mostly none, that is too narrow, and the adjusted Wald interval stands in
    its place, which is too wide rather than too narrow.

    Args:
        differences: Score of one predictor minus score of the other.  # (n_samples,)
        groups: The cluster of each sample.
        largest: The largest difference that two scores may have: 1 where they lie in [0, 1].
        confidence: In (0, 1).
        n_resamples: Bootstrap resamples.
        seed: Of the resamples.
    """
    clusters = cluster(differences, groups)
    if clusters.n_uncommon < FEW:
        return adjusted_wald(clusters, largest, confidence)
    return bootstrap_interval(
        differences, groups, confidence=confidence, n_resamples=n_resamples, seed=seed
    )


def adjusted_wald(clusters: Clusters, largest: float = 1.0, confidence: float = 0.95) -> Interval:
    """Return the interval of a mean difference after two clusters were added to what was seen.

    They have the average size; all samples of one differ by as much as they may, those of the
    other by as much the other way.

    Args:
        clusters: Of the differences.
        largest: The largest difference that two scores may have.
        confidence: In (0, 1).

    Source:
        For separate samples that are right or wrong it is that of Bonett and Price (2012), J.
        Educational and Behavioral Statistics 37:479.
    """
    m, size = len(clusters.sums), float(clusters.sizes.mean())
    mean = float(clusters.sums.sum()) / (size * (m + 2))
    residuals = clusters.sums - mean * clusters.sizes
    added = size**2 * ((largest - mean) ** 2 + (largest + mean) ** 2)
    half = _z(confidence) * math.sqrt(float((residuals**2).sum()) + added) / (size * (m + 2))
    return Interval(max(mean - half, -largest), min(mean + half, largest), confidence)


def mcnemar_exact(n_higher: int, n_lower: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    Args:
        n_higher: Pairs in which only the first is right.
        n_lower: Pairs in which only the second is right.

    Source:
        McNemar (1947), Psychometrika 12:153; exact by the binomial distribution.
    """
    n = n_higher + n_lower
    return binomial_two_sided(n_higher, n)


def sign_flip_test(
    differences: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the two-sided p of the paired permutation test of a mean difference of zero.

    Under no difference the two predictors' results of a cluster could be swapped. All swaps are
    enumerated where few clusters differ; otherwise they are drawn, and the result itself counts
    as one of them, so p is never 0.

    Args:
        differences: Score of one predictor minus score of the other.  # (n_samples,)
        groups: The cluster of each sample; whole clusters are swapped.
        n_resamples: Swaps that are drawn.
        seed: Of the draws.

    Source:
        Fisher (1935), The Design of Experiments; with drawn swaps: Phipson and Smyth (2010),
        arXiv:1603.05766.
    """
    sums = cluster(differences, groups).sums
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    observed = abs(float(sums.sum())) - 1e-9 * float(sizes.sum())  # float sums tie only nearly
    if len(sizes) <= _EXACT_FLIPS:
        signs = 1 - 2 * ((np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1)
        return float(np.mean(np.abs(signs @ sizes) >= observed))
    values, counts = np.unique(sizes, return_counts=True)
    rng = np.random.default_rng(seed)
    n_extreme = 0
    for size in _chunks(n_resamples, len(values)):
        n_positive = rng.binomial(counts, 0.5, size=(size, len(values)))
        n_extreme += int(np.sum(np.abs((2 * n_positive - counts) @ values) >= observed))
    return (n_extreme + 1) / (n_resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that all comparisons together err with probability alpha.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def mcnemar_power(n: int, difference: float, discordance: float, alpha: float = 0.05) -> float:
    """Return how often McNemar's exact test finds a difference in its right direction.

    Args:
        n: Samples.
        difference: True difference of the shares of right answers, in (0, 1].
        discordance: Share of samples that one predictor gets right and the other wrong; at least
            the difference.
        alpha: Level of the test.

    Source:
        The number D of discordant pairs is binomial(n, discordance), and given D the pairs in
        favour are binomial(D, (discordance + difference) / (2 discordance)): Duffy (1984),
        Biometrics 40:1005. Summed exactly, so the test's conservatism is in it.
    """
    d = np.arange(n + 1)
    weights = binomial_pmf(d, n, discordance)
    d, weights = d[weights > 1e-12], weights[weights > 1e-12]
    exceeded = _exceeded(int(d[0]), int(d[-1]), alpha / 2)
    in_favour = min((discordance + difference) / (2 * discordance), 1.0)
    return min(float((weights * BinomialTails(d, in_favour).above(exceeded)).sum()), 1.0)


@lru_cache(maxsize=64)  # the search for a detectable difference asks again and again
def _exceeded(first: int, last: int, tail: float) -> NDArray[np.int64]:
    """Return what first, ..., last fair coins exceed with probability `tail` at most."""
    return BinomialTails(np.arange(first, last + 1), 0.5).bound(tail)


@lru_cache(maxsize=4096)  # a report asks for the same few numbers of samples again and again
def detectable_share(
    n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the smallest difference of shares that n paired samples show with this power.

    A difference needs at least as much discordance, so for large ones the discordance is the
    difference itself.

    Args:
        n: Samples.
        discordance: Share of samples expected to be right for one predictor only, in (0, 1].
        alpha: Level of the test, already divided by the number of comparisons.
        power: Probability with which the difference is found.

    Returns:
        The difference, in (0, 1]; None where so few samples cannot show any.
    """

    def reached(difference: float) -> float:
        return mcnemar_power(n, difference, max(discordance, difference), alpha)

    if reached(1.0) < power:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def detectable_mean(
    standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the smallest mean difference that is shown with this power.

    Args:
        standard_error: Of the mean difference.
        alpha: Level of the test, already divided by the number of comparisons.
        power: Probability with which the difference is found.

    Returns:
        (z of the level + z of the power) standard errors; None where the error is unknown.
    """
    if not math.isfinite(standard_error):
        return None
    return float((_z(1 - alpha) + normal_quantile(power)) * standard_error)


def resample_weights(
    groups: Sequence[str], *, n_resamples: int, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each sample is drawn when whole clusters are resampled.  # (n_samples,)

    For metrics that are no means, as macro F1: compute them with these weights.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    for draws in _draws(len(names), n_resamples, seed):
        for draw in draws:
            yield draw[index].astype(np.float64)


def _draws(m: int, n_rows: int, seed: int) -> Iterable[NDArray[np.uint8]]:
    """Return how often each of m clusters is drawn, in chunks of resamples.  # (n, m)

    The columns of a report have the same clusters, so that draws that fit are kept.
    """
    return _kept_draws(m, n_rows, seed) if m * n_rows <= _MOST_KEPT else _new_draws(m, n_rows, seed)


@lru_cache(maxsize=2)
def _kept_draws(m: int, n_rows: int, seed: int) -> tuple[NDArray[np.uint8], ...]:
    return tuple(_new_draws(m, n_rows, seed))


def _new_draws(m: int, n_rows: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    for size in _chunks(n_rows, m):
        drawn = rng.integers(0, m, size=(size, m)) + np.arange(size)[:, None] * m
        counts = np.bincount(drawn.ravel(), minlength=size * m).reshape(size, m)
        yield counts.astype(np.uint8)  # once on average: 256 times never happens


def _z(confidence: float) -> float:
    return normal_quantile((1 + confidence) / 2)


def _chunks(n_rows: int, n_columns: int) -> Iterator[int]:
    rows = max(_CHUNK // max(n_columns, 1), 1)
    while n_rows > 0:
        yield min(rows, n_rows)
        n_rows -= rows


def _multinomial(
    rng: np.random.Generator, n: int, shares: NDArray[np.float64], n_rows: int
) -> Iterator[NDArray[np.int64]]:
    for size in _chunks(n_rows, len(shares)):
        yield rng.multinomial(n, shares / shares.sum(), size=size)
