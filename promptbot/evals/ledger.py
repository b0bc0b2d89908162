"""The variance ledger: how much of a score's spread comes from what, and the worst case met.

One run asks the same samples under several seeds (which draw and order the examples) and repeats
(which draw again from the model). A mean hides that: a user gets one draw. The ledger is the
random-effects model

    score[seed, repeat, sample] = mean + sample + seed + (seed with sample) + repeat

with its variances estimated by the method of moments from the mean squares of a two-way table
(Searle, Casella and McCulloch 1992, "Variance Components", ch. 4). An estimate below zero counts as
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where one column's spread comes from; variances in squares of the score's unit."""

    mean: float
    """Over everything."""
    of_samples: float
    """Variance between samples: how differently hard they are."""
    of_seeds: float | None
    """Variance between seeds: good and bad draws or orders of examples; None with one seed."""
    of_pairs: float | None
    """Variance of a seed with a sample: examples that suit one question; None with one seed."""
    of_repeats: float | None
    """Variance between equal calls; None with one repeat."""
    uncertainty: tuple[tuple[str, float], ...]
    """Share of the mean's variance by source, the largest first; empty where it is zero."""
    lowest: tuple[float, int]
    """The worst seed's mean, and the seed: what a user would have met with bad luck."""
    highest: tuple[float, int]
    """The best seed's."""

    @property
    def advice(self) -> str:
        """What would make the mean surer, in words."""
        if not self.uncertainty:
            return "Nothing varies here."
        return {
            "samples": "More samples would make it surer.",
            "seeds": "More seeds would make it surer, more samples hardly.",
            "examples for a sample": "More seeds or more samples would make it surer.",
            "repeats": "More repeats, or a lower temperature, would make it surer.",
        }[self.uncertainty[0][0]]


def make_ledger(scores: NDArray[np.float64], seeds: Sequence[int]) -> Ledger:
    """Return where the spread of one column's scores comes from.

    Args:
        scores: Of every call.  # (n_seeds, n_repeats, n_samples)
        seeds: The seeds, in the order of the first axis.

    Raises:
        ValueError: There is one seed and one repeat: nothing can be told apart.
    """
    n_seeds, n_repeats, n_samples = scores.shape
    if n_seeds * n_repeats < 2:
        raise ValueError("a ledger needs several seeds or repeats")
    of_repeats = None
    noise = 0.0  # what repeats leave in a mean over them
    if n_repeats > 1:
        of_repeats = float(scores.var(axis=1, ddof=1).mean())
        noise = of_repeats / n_repeats
    cells = scores.mean(axis=1)  # (n_seeds, n_samples)
    by_sample, by_seed, mean = cells.mean(axis=0), cells.mean(axis=1), float(cells.mean())
    ms_samples = n_seeds * _mean_square(by_sample - mean, n_samples - 1)
    of_seeds = of_pairs = None
    if n_seeds > 1:
        rest = cells - by_sample - by_seed[:, None] + mean
        ms_rest = _mean_square(rest, (n_seeds - 1) * (n_samples - 1))
        ms_seeds = n_samples * _mean_square(by_seed - mean, n_seeds - 1)
        of_seeds = max(0.0, (ms_seeds - ms_rest) / n_samples)
        of_pairs = max(0.0, ms_rest - noise)
        of_samples = max(0.0, (ms_samples - ms_rest) / n_seeds)
    else:
        of_samples = max(0.0, ms_samples - noise)
    parts = {
        "samples": of_samples / n_samples,
        "seeds": (of_seeds or 0.0) / n_seeds,
        "examples for a sample": (of_pairs or 0.0) / (n_seeds * n_samples),
        "repeats": (of_repeats or 0.0) / scores.size,
    }
    total = sum(parts.values())
    shares = sorted(parts.items(), key=lambda item: -item[1])
    worst, best = int(by_seed.argmin()), int(by_seed.argmax())
    return Ledger(
        mean=mean,
        of_samples=of_samples,
        of_seeds=of_seeds,
        of_pairs=of_pairs,
        of_repeats=of_repeats,
        uncertainty=tuple((k, v / total) for k, v in shares if v > 0) if total > 0 else (),
        lowest=(float(by_seed[worst]), seeds[worst]),
        highest=(float(by_seed[best]), seeds[best]),
    )


def _mean_square(values: NDArray[np.float64], freedom: int) -> float:
    return float((values**2).sum() / freedom) if freedom > 0 else 0.0
