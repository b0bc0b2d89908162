"""What a prompt is worth: where training passes it, and how many labelled examples it saves.

Everything here is a pure function of scores by budget, seed and sample. Curves are made monotone
(more examples do not hurt) and interpolated over the logarithm of the budget; intervals come from
resampling seeds and samples together, the same draws for every curve and budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from promptbot.evals.interpolation import monotone_cubic
from promptbot.evals.stats import FEW, adjusted_wald, cluster, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

N_RESAMPLES = 1_999
"""Resamples of the bootstrap."""

CONFIDENCE = 0.95
"""Of every interval here."""

N_GRID = 401
"""Points on which a curve is drawn, evenly over the logarithm of the budget."""

N_LEVELS = 41
"""Accuracies over which the mean data advantage is taken."""

TIE = 1e-9
"""Accuracies that are nearer than this count as equal."""


@dataclass(frozen=True)
class Scores:
    """How well one curve does, in all that was measured."""

    name: str
    """The curve's name."""
    trained: bool
    """Whether it is a baseline, and not a prompt."""
    values: Floats
    """1 where an answer is right, else 0.  # (n_budgets, n_seeds, n_samples)"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval."""

    value: float
    """As measured."""
    low: float
    """Lower bound."""
    high: float
    """Upper bound."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """From how many examples a label on the baseline stays ahead of the prompt."""

    kind: Literal["crosses", "never", "always"]
    """Within the budgets measured; not before the largest; from the smallest on."""
    budget: float | None
    """Examples a label; None where the curves do not cross."""
    low: float | None
    """Lower bound; None for at or below the smallest budget measured."""
    high: float | None
    """Upper bound; None for beyond the largest budget measured."""


@dataclass(frozen=True, slots=True)
class Advantage:
    """What one accuracy costs in labelled examples."""

    accuracy: float
    """In [0, 1]."""
    prompt: float
    """Examples a label that the prompt needs."""
    baseline: float
    """Examples a label that the baseline needs."""
    saved: Estimate
    """Baseline minus prompt: examples a label that the prompt saves."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt against one baseline."""

    prompt: str
    """The prompt's curve."""
    baseline: str
    """The baseline's curve."""
    differences: tuple[Estimate, ...]
    """Accuracy of the prompt minus that of the baseline, by budget."""
    crossover: Crossover
    """Where the baseline passes."""
    advantages: tuple[Advantage, ...]
    """At round accuracies that both reach."""
    mean_saved: Estimate | None
    """The data advantage: examples a label that the prompt saves, on average over the accuracies
    that both reach; None where there is no such accuracy."""


@dataclass(frozen=True)
class Resampled:
    """The accuracies of every curve, as measured and in every resample."""

    budgets: Floats
    """Examples a label, increasing.  # (n_budgets,)"""
    points: dict[str, Floats]
    """As measured, by curve.  # (n_budgets,)"""
    draws: dict[str, Floats]
    """In every resample, by curve.  # (n_resamples, n_budgets)"""
    samples: dict[str, Floats]
    """As measured by sample, over the seeds averaged, by curve.  # (n_budgets, n_samples)"""
    groups: tuple[str, ...]
    """The conversation of each sample."""

    def accuracy(self, name: str) -> tuple[Estimate, ...]:
        """Return a curve's accuracy by budget.

        Where everything is right, or wrong, resampling shows no doubt: then it is Wilson's
        interval over the conversations.
        """
        found = list(_estimates(self.points[name], self.draws[name]))
        n = len(set(self.groups))
        for number, one in enumerate(found):
            if one.high - one.low < TIE:
                bounds = wilson(min(one.value, 1.0) * n, n, CONFIDENCE)
                found[number] = Estimate(one.value, bounds.low, bounds.high)
        return tuple(found)

    def difference(self, name: str, other: str) -> tuple[Estimate, ...]:
        """Return how much better one curve is than another, by budget.

        Where hardly any conversation tells the two apart, the bootstrap is too sure of itself, as
        in `stats.paired_interval`, and the adjusted Wald interval is joined to it.
        """
        found = list(
            _estimates(self.points[name] - self.points[other], self.draws[name] - self.draws[other])
        )
        for number, one in enumerate(found):
            clusters = cluster(
                np.round(self.samples[name][number] - self.samples[other][number], 12), self.groups
            )
            if clusters.n_uncommon < FEW:
                bounds = adjusted_wald(clusters, confidence=CONFIDENCE)
                low, high = min(one.low, bounds.low), max(one.high, bounds.high)
                found[number] = Estimate(one.value, low, high)
        return tuple(found)


def resample(
    curves: Sequence[Scores],
    budgets: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Return the accuracies of curves under resampled seeds and samples.

    Seeds and samples vary independently of each other, and both matter: another draw of examples
    gives another curve, and other samples too. Few seeds would vary too little if as many were
    drawn as there are, so one less is drawn. One seed alone says nothing about seeds: then the
    interval is that of the samples.

    Args:
        curves: Scores of the same budgets, seeds and samples.
        budgets: Examples a label, increasing.
        groups: The conversation of each sample; whole conversations are drawn.
        n_resamples: How many.
        seed: Of the draws.

    Source:
        Two-way resampling: Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics
        1:386. One unit less: Rao and Wu (1988), JASA 83:231.
    """
    n_seeds, n_samples = curves[0].values.shape[1:]
    rng = np.random.default_rng(seed)
    names = [str(i) for i in range(n_samples)] if groups is None else list(groups)
    _, index = np.unique(np.asarray(names), return_inverse=True)
    m = int(index.max()) + 1
    if n_seeds > 1:
        drawn = rng.multinomial(n_seeds - 1, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
        by_seed = drawn / (n_seeds - 1)  # (n_resamples, n_seeds)
    else:
        by_seed = np.ones((n_resamples, 1))
    flat = {c.name: c.values.reshape(-1, n_samples).astype(np.float64) for c in curves}
    n_budgets = len(budgets)
    draws = {c.name: np.empty((n_resamples, n_budgets)) for c in curves}
    step = max(1, 4_000_000 // n_samples)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        weights = rng.multinomial(m, np.full(m, 1 / m), size=size)[:, index].astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)  # (size, n_samples)
        for name, values in flat.items():
            means = (values @ weights.T).reshape(n_budgets, n_seeds, size)
            chosen = by_seed[start : start + size]
            # Rounded, so that sums of the same shares in another order tie exactly.
            draws[name][start : start + size] = np.round(np.einsum("bsr,rs->rb", means, chosen), 12)
    return Resampled(
        budgets=np.asarray(budgets, dtype=np.float64),
        points={c.name: np.round(c.values.mean(axis=(1, 2)), 12) for c in curves},
        draws=draws,
        samples={c.name: c.values.mean(axis=1) for c in curves},
        groups=tuple(names),
    )


def compare(found: Resampled, prompt: str, baseline: str) -> Pair:
    """Return what a prompt is worth against a baseline.

    Source:
        The data advantage at equal accuracy: Le Scao and Rush (2021), arXiv:2103.08493.
    """
    grid = np.linspace(math.log(found.budgets[0]), math.log(found.budgets[-1]), N_GRID)
    both = {
        name: _draw(found.budgets, np.vstack([found.points[name], found.draws[name]]), grid)
        for name in (prompt, baseline)
    }  # (1 + n_resamples, n_grid), what was measured first
    ours, theirs = both[prompt], both[baseline]
    crossings = _crossings(theirs - ours, grid)
    advantages, mean_saved = _advantages(ours, theirs, grid)
    return Pair(
        prompt=prompt,
        baseline=baseline,
        differences=found.difference(prompt, baseline),
        crossover=_crossover(crossings, grid),
        advantages=advantages,
        mean_saved=mean_saved,
    )


def monotone(accuracies: Floats) -> Floats:
    """Return the increasing curves that lie nearest: isotonic regression, row by row.

    Args:
        accuracies: By budget.  # (n_curves, n_budgets)

    Source:
        The min-max formula of Barlow et al. (1972), Statistical Inference under Order
        Restrictions; it equals ``scipy.optimize.isotonic_regression``.
    """
    n = accuracies.shape[1]
    sums = np.concatenate([np.zeros((len(accuracies), 1)), np.cumsum(accuracies, axis=1)], axis=1)
    fitted = np.full_like(accuracies, -np.inf)
    for i in range(n):
        for j in range(i + 1):
            means = [(sums[:, k + 1] - sums[:, j]) / (k + 1 - j) for k in range(i, n)]
            fitted[:, i] = np.maximum(fitted[:, i], np.min(means, axis=0))
    return fitted


def _draw(budgets: Floats, accuracies: Floats, grid: Floats) -> Floats:
    """Return monotone curves on a grid of log budgets.  # (n_curves, n_grid)

    Source:
        Fritsch and Carlson (1980), SIAM J. Numerical Analysis 17:238: between the budgets the
        curve stays monotone.
    """
    return monotone_cubic(np.log(budgets), monotone(accuracies), grid)


def _crossings(ahead: Floats, grid: Floats) -> Floats:
    """Return the log budget from which on each row stays above zero.  # (n_rows,)

    Minus infinity where it always does, infinity where it ends at or below zero.
    """
    n = ahead.shape[1]
    behind = ahead <= TIE
    last = n - 1 - np.argmax(behind[:, ::-1], axis=1)  # the last point that is not above zero
    last = np.where(behind.any(axis=1), last, -1)
    found = np.full(len(ahead), -np.inf)
    found[last == n - 1] = np.inf
    rows = np.flatnonzero((last >= 0) & (last < n - 1))
    i = last[rows]
    before, after = np.minimum(ahead[rows, i], 0), ahead[rows, i + 1]
    share = -before / np.maximum(after - before, TIE)
    found[rows] = grid[i] + share * (grid[i + 1] - grid[i])
    return found


def _crossover(crossings: Floats, grid: Floats) -> Crossover:
    point = float(crossings[0])
    low, high = (_outer(crossings[1:], q) for q in _tails())
    kind: Literal["crosses", "never", "always"] = (
        "never" if point == math.inf else "always" if point == -math.inf else "crosses"
    )
    return Crossover(
        kind=kind,
        budget=math.exp(point) if kind == "crosses" else None,
        low=None if low == -math.inf else math.exp(min(low, float(grid[-1]))),
        high=None if high == math.inf else math.exp(max(high, float(grid[0]))),
    )


def _advantages(
    ours: Floats, theirs: Floats, grid: Floats
) -> tuple[tuple[Advantage, ...], Estimate | None]:
    """Return the examples that the prompt saves at round accuracies, and on average."""
    low = np.maximum(ours[:, 0], theirs[:, 0])
    high = np.minimum(ours[:, -1], theirs[:, -1])
    shared = high - low > TIE  # (1 + n_resamples,)
    if not shared[0]:
        return (), None
    means = []
    for row in np.flatnonzero(shared):
        levels = np.linspace(low[row], high[row], N_LEVELS)
        saved = _needed(theirs[row], grid, levels) - _needed(ours[row], grid, levels)
        means.append(float(saved.mean()))
    mean = _estimates(np.array([means[0]]), np.array(means[1:] or means)[:, None])[0]
    return tuple(_at_round_levels(ours, theirs, grid, float(low[0]), float(high[0]))), mean


def _at_round_levels(
    ours: Floats, theirs: Floats, grid: Floats, low: float, high: float
) -> list[Advantage]:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 8)
    first, last = math.ceil(low / step - TIE), math.floor(high / step + TIE)
    levels = np.array([round(i * step, 6) for i in range(first, last + 1)])
    if not len(levels):
        return []
    needed = [
        np.array([_needed(row, grid, levels) for row in curves]) for curves in (ours, theirs)
    ]  # each (1 + n_resamples, n_levels)
    saved = needed[1] - needed[0]
    # A resample in which a curve does not reach a level says only that it needs more than was
    # measured: it is counted with the largest budget, which keeps its side of the interval.
    estimates = _estimates(saved[0], saved[1:])
    return [
        Advantage(float(level), float(needed[0][0, i]), float(needed[1][0, i]), estimates[i])
        for i, level in enumerate(levels)
    ]


def _needed(curve: Floats, grid: Floats, levels: Floats) -> Floats:
    """Return the examples a label with which an increasing curve reaches each level."""
    right = np.clip(np.searchsorted(curve, levels - TIE), 0, len(curve) - 1)
    left = np.maximum(right - 1, 0)
    rise = curve[right] - curve[left]
    share = np.where(rise > TIE, (levels - curve[left]) / np.maximum(rise, TIE), 1.0)
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(np.exp(grid[left] + share * (grid[right] - grid[left])))


def _estimates(points: Floats, draws: Floats) -> tuple[Estimate, ...]:
    low, high = np.quantile(draws, _tails(), axis=0)
    return tuple(
        Estimate(float(p), float(a), float(b)) for p, a, b in zip(points, low, high, strict=True)
    )


def _outer(values: Floats, q: float) -> float:
    """Return a quantile that is one of the values, so that infinities stay what they are."""
    return float(np.quantile(values, q, method="inverted_cdf"))


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
