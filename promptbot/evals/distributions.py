"""Normal and binomial probabilities, exact for the numbers of an evaluation.

Written here, and held to scipy's by the tests, because scipy alone would be a quarter of what
installing promptbot takes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TIE = 1e-9
_SPREADS = 8.0
"""Standard deviations from the mean beyond which a binomial has no weight in float64."""


def normal_cdf(x: float) -> float:
    """Return the probability that a standard normal is at most x."""
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_quantile(p: float) -> float:
    """Return the x that a standard normal stays below with probability p, in [0, 1]."""
    if p in (0, 1):
        return math.inf if p else -math.inf
    return NormalDist().inv_cdf(p)


def binomial_pmf(k: ArrayLike, n: ArrayLike, p: float) -> NDArray[np.float64]:
    """Return the probability of k successes in n tries, each of probability p; they broadcast."""
    k, n = np.broadcast_arrays(np.asarray(k), np.asarray(n))
    possible = (k >= 0) & (k <= n)
    inside = np.where(possible, k, 0)
    others = n - inside
    logs = _log_factorials(int(n.max(initial=0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0 log 0 is 0 here: no success that is impossible is needed.
        yes = np.where(inside == 0, 0.0, inside * np.log(p))
        no = np.where(others == 0, 0.0, others * np.log1p(-p))
    total = logs[n] - logs[inside] - logs[others] + yes + no
    return np.where(possible, np.exp(total), 0.0)


def binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """Return the probability of at most 0, 1, ... n successes.  # (n + 1,)"""
    return np.minimum(np.cumsum(binomial_pmf(np.arange(n + 1), n, p)), 1.0)


def binomial_two_sided(k: int, n: int) -> float:
    """Return the two-sided p of k successes in n tries of probability one half."""
    lower = float(binomial_cdf(n, 0.5)[min(k, n - k)])
    return 1.0 if 2 * k == n else min(2 * lower, 1.0)


class BinomialTails:
    """The upper tails of several binomials of the same p, for the tries of each.

    Args:
        n: Tries of each.  # (m,)
        p: Probability of a success, in [0, 1].
    """

    def __init__(self, n: NDArray[np.int64], p: float) -> None:
        spread = _SPREADS * np.sqrt(n * p * (1 - p)) + 10
        self._first = max(int((n * p - spread).min()), 0)
        last = min(int((n * p + spread).max()) + 1, int(n.max()))
        self._p, self._n = p, n
        pmf = binomial_pmf(np.arange(self._first, last + 1), n[:, None], p)
        from_here = np.cumsum(pmf[:, ::-1], axis=1)[:, ::-1]
        self._above = np.append(from_here[:, 1:], np.zeros((len(n), 1)), axis=1)  # (m, width)

    def bound(self, q: float) -> NDArray[np.int64]:
        """Return the smallest number that each exceeds with probability q at most.  # (m,)"""
        bounds: NDArray[np.int64] = self._first + np.sum(self._above > q * (1 + _TIE), axis=1)
        return bounds

    def above(self, k: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probability that each exceeds its k.  # (m,)"""
        column = k - self._first
        width = self._above.shape[1]
        inside = self._above[np.arange(len(k)), np.clip(column, 0, width - 1)]
        return np.where(column < 0, 1.0, np.where(column >= width, 0.0, inside))


@lru_cache(maxsize=4)
def _log_factorials_of(n: int) -> NDArray[np.float64]:
    return np.array([math.lgamma(i + 1) for i in range(n + 1)])


def _log_factorials(n: int) -> NDArray[np.float64]:
    """Return the logarithms of the factorials of 0 to n at least.  # (n + 1 or more,)"""
    return _log_factorials_of(1 << max(n, 1).bit_length())
