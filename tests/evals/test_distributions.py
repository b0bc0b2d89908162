"""The distributions equal scipy's."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from promptbot.evals.distributions import (
    BinomialTails,
    binomial_cdf,
    binomial_pmf,
    binomial_two_sided,
    normal_cdf,
    normal_quantile,
)

PROBABILITIES = st.floats(0, 1)


@given(st.floats(-37, 37))
def test_the_normal_distribution(x: float) -> None:
    assert normal_cdf(x) == pytest.approx(scipy.special.ndtr(x), rel=1e-12)


@given(PROBABILITIES)
def test_the_normal_quantile(p: float) -> None:
    assert normal_quantile(p) == pytest.approx(scipy.special.ndtri(p), rel=1e-12, abs=1e-12)


def test_the_ends_of_the_normal_distribution() -> None:
    assert (normal_quantile(0), normal_quantile(1)) == (-math.inf, math.inf)


@given(st.integers(0, 3000), st.integers(0, 3000), PROBABILITIES)
def test_the_binomial_distribution(k: int, n: int, p: float) -> None:
    found = float(binomial_pmf(k, n, p))
    if 0 < p < 1e-300:  # scipy overflows there, and two successes are as good as impossible
        p_none, p_one = math.exp(n * math.log1p(-p)), n * p
        assert found == pytest.approx({0: p_none, 1: p_one}.get(k, 0.0), rel=1e-9, abs=1e-300)
        assert binomial_cdf(n, p)[min(k, n)] == pytest.approx(1.0, abs=1e-10)
        return
    assert found == pytest.approx(scipy.stats.binom.pmf(k, n, p), rel=1e-9, abs=1e-300)
    cdf = binomial_cdf(n, p)
    assert cdf[min(k, n)] == pytest.approx(scipy.stats.binom.cdf(min(k, n), n, p), abs=1e-10)


def test_no_successes_are_counted_below_none_and_above_all() -> None:
    assert binomial_pmf([-1, 3], 2, 0.5).tolist() == [0.0, 0.0]
    assert binomial_pmf([0, 2], 2, 1.0).tolist() == [0.0, 1.0]


@given(st.integers(1, 4000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_two_sided_test(numbers: tuple[int, int]) -> None:
    k, n = numbers
    expected = scipy.stats.binomtest(k, n, 0.5).pvalue
    if expected < 1e-290:  # scipy's becomes 0 too early
        tail = sum(math.comb(n, i) for i in range(min(k, n - k) + 1))
        expected = float(Fraction(2 * tail, 2**n))
    assert binomial_two_sided(k, n) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=12),
    PROBABILITIES,
    st.floats(1e-6, 0.4),
)
def test_upper_tails(tries: list[int], p: float, q: float) -> None:
    n = np.array(tries)
    tails = BinomialTails(n, p)
    bound = tails.bound(q)
    assert (scipy.stats.binom.sf(bound, n, p) <= q * (1 + 1e-8)).all()
    below = scipy.stats.binom.sf(bound - 1, n, p)
    assert ((below > q * (1 - 1e-8)) | (bound == 0)).all()
    for shift in (-400, -1, 0, 1, 400):
        k = bound + shift
        assert tails.above(k) == pytest.approx(scipy.stats.binom.sf(k, n, p), rel=1e-8, abs=1e-14)
