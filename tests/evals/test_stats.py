"""Intervals, tests and power: by hand, against scipy and statsmodels, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from promptbot.evals import stats

RNG = np.random.default_rng(7)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (50, 100), (126, 126)])
def test_wilson_equals_two_independent_implementations(right: int, n: int) -> None:
    ours = stats.wilson(right, n)
    scipys = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx(
        proportion_confint(right, n, method="wilson"), abs=1e-12
    )


def test_wilson_by_hand() -> None:
    # z = 1.959964: centre (.5 + z^2 / 20) / (1 + z^2 / 10) = .5, half .2634.
    interval = stats.wilson(5, 10)
    assert (interval.low, interval.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_a_share_of_single_samples_has_wilsons_interval() -> None:
    assert stats.share_interval([1, 0, 1, 1]) == stats.wilson(3, 4)


def test_a_conversation_repeated_tells_no_more_than_once() -> None:
    once = stats.share_interval([1, 0, 1, 1, 0, 1])
    thrice = stats.share_interval([1, 0, 1, 1, 0, 1] * 3, list("abcdef") * 3)
    # The clustered variance divides by m - 1 where the plain one divides by m.
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)
    assert thrice.high - thrice.low >= once.high - once.low


def test_all_right_in_few_conversations_is_as_sure_as_few_samples() -> None:
    assert stats.share_interval([1.0] * 30, ["a", "b", "c"] * 10) == stats.wilson(3, 3)


def test_clustered_standard_error_by_hand() -> None:
    # Sums 2, 0, 1 of sizes 2, 2, 1: mean .6, residuals .8, -1.2, .4, their squares 2.24;
    # sqrt(3 / 2 * 2.24) / 5.
    clusters = stats.cluster([1, 1, 0, 0, 1], ["a", "a", "b", "b", "c"])
    assert clusters.mean == pytest.approx(0.6)
    assert clusters.standard_error == pytest.approx(math.sqrt(1.5 * 2.24) / 5)


def test_cluster_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        stats.cluster([])
    with pytest.raises(ValueError, match="2 values, but 1 groups"):
        stats.cluster([1, 2], ["a"])


@pytest.mark.parametrize(
    "values", [RNG.choice([-1, 0, 1], 80, p=[0.1, 0.6, 0.3]), RNG.gamma(2, size=60)]
)
def test_bca_equals_scipys(values: np.ndarray) -> None:
    ours = stats.bootstrap_interval(values, n_resamples=9_999)
    scipys = scipy.stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=9_999, rng=np.random.default_rng(1)
    ).confidence_interval
    width = scipys.high - scipys.low
    assert ours.low == pytest.approx(scipys.low, abs=0.06 * width)
    assert ours.high == pytest.approx(scipys.high, abs=0.06 * width)


def test_repeating_a_conversations_samples_does_not_narrow_the_bootstrap() -> None:
    values = RNG.choice([-1.0, 0.0, 1.0], 40)
    names = [str(i) for i in range(40)]
    once = stats.bootstrap_interval(values, names)
    thrice = stats.bootstrap_interval(np.tile(values, 3), names * 3)
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high), abs=0.02)


def adjusted(values: list[float], groups: list[str] | None = None) -> stats.Interval:
    return stats.adjusted_wald(stats.cluster(values, groups))


def test_the_adjusted_interval_by_hand() -> None:
    # n = 98, none differ: each cell 1 / 100, half width 1.96 * sqrt(.02 / 100).
    interval = adjusted([0.0] * 98)
    assert interval.high == pytest.approx(1.959964 * math.sqrt(0.0002), abs=1e-6)
    assert interval.low == -interval.high


@pytest.mark.parametrize(("higher", "lower", "n"), [(3, 1, 40), (0, 5, 20), (1, 0, 1), (2, 7, 300)])
def test_right_and_wrong_answers_have_bonett_and_prices_interval(
    higher: int, lower: int, n: int
) -> None:
    up, down = (higher + 1) / (n + 2), (lower + 1) / (n + 2)
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    found = adjusted([1.0] * higher + [-1.0] * lower + [0.0] * (n - higher - lower))
    assert found.low == pytest.approx(max(up - down - half, -1), abs=1e-6)
    assert found.high == pytest.approx(min(up - down + half, 1), abs=1e-6)


def test_a_conversation_repeated_has_the_same_adjusted_interval() -> None:
    values = [1.0, -1.0, 0.0, 0.0, 1.0]
    once, thrice = adjusted(values), adjusted(values * 3, list("abcde") * 3)
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))


@pytest.mark.parametrize("n", [8, 100])
def test_a_few_small_differences_are_not_told_as_large_ones(n: int) -> None:
    # Eight shares that are higher by one point each, as of words in common.
    values = [0.01] * 8 + [0.0] * (n - 8)
    interval = stats.paired_interval(values)
    assert interval.low <= np.mean(values) <= interval.high


def test_a_few_samples_of_a_conversation_do_not_count_for_all_of_it() -> None:
    # Of ten conversations of ten samples each, three have one sample that is better.
    values = ([1.0] + [0.0] * 9) * 3 + [0.0] * 70
    interval = stats.paired_interval(values, [str(i // 10) for i in range(100)])
    assert interval.low <= 0.03 <= interval.high


def test_a_mean_of_few_conversations_has_no_interval() -> None:
    assert stats.mean_interval([4.0]) is None
    assert stats.mean_interval([4.0] * 90, [str(i % 9) for i in range(90)]) is None
    assert stats.mean_interval([1.0, 2.0] * 5) is not None


@pytest.mark.parametrize("n", [10, 20, 1000])
def test_equal_grades_give_no_interval_of_a_mean(n: int) -> None:
    assert stats.mean_interval([5.0] * n) is None
    assert stats.mean_interval([5.0] * (n - 4) + [4.0] * 4) is None
    found = stats.mean_interval([5.0] * 10 * n + [4.0] * 10 * n)
    assert found is not None
    assert found.low < 4.5 < found.high


def test_differences_that_are_all_alike_have_an_interval_with_a_width() -> None:
    found = stats.paired_interval([1.0] * 20)
    # Bonett and Price (2012): 20 of 20 pairs in favour, one added on each side.
    p12, p21 = 21 / 22, 1 / 22
    half = 1.959964 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / 22)
    assert found.low == pytest.approx(p12 - p21 - half)
    assert found.high == 1.0


def test_equal_answers_on_few_samples_do_not_prove_equality() -> None:
    interval = stats.paired_interval([0.0] * 50)
    assert interval.low < -0.03
    assert interval.high > 0.03


@pytest.mark.parametrize(("higher", "lower"), [(0, 0), (1, 0), (5, 1), (20, 9), (3, 3)])
def test_mcnemar_equals_statsmodels(higher: int, lower: int) -> None:
    expected = mcnemar([[10, higher], [lower, 10]], exact=True).pvalue if higher + lower else 1.0
    assert stats.mcnemar_exact(higher, lower) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # All six discordant pairs on one side: 2 / 2^6.
    assert stats.mcnemar_exact(6, 0) == pytest.approx(2 / 64)


def test_sign_flips_by_hand() -> None:
    # |sum| = 6 in 2 of the 8 flips of (1, 2, 3).
    assert stats.sign_flip_test([1, 2, 3]) == pytest.approx(2 / 8)
    assert stats.sign_flip_test([0.0, 0.0]) == 1.0


def test_sign_flips_equal_scipys_permutation_test() -> None:
    values = RNG.normal(0.4, 1, 11)
    expected = scipy.stats.permutation_test(
        (values, np.zeros(11)), lambda a, b: np.mean(a - b), permutation_type="samples",
        vectorized=False, n_resamples=np.inf,
    ).pvalue  # fmt: skip
    assert stats.sign_flip_test(values) == pytest.approx(expected, abs=1e-12)


def test_drawn_flips_agree_with_mcnemar() -> None:
    values = [1.0] * 20 + [-1.0] * 9 + [0.0] * 50
    assert stats.sign_flip_test(values) == pytest.approx(stats.mcnemar_exact(20, 9), abs=0.012)


def test_flips_keep_a_conversation_together() -> None:
    # Thirty samples, but only three conversations: no p below 2 / 2^3 is possible.
    assert stats.sign_flip_test([1.0] * 30, ["a", "b", "c"] * 10) == pytest.approx(0.25)


def test_holm_equals_statsmodels() -> None:
    for n in (1, 2, 7):
        p_values = list(RNG.uniform(0, 0.2, n))
        expected = multipletests(p_values, method="holm")[1]
        assert stats.holm(p_values) == pytest.approx(list(expected))


def test_holm_by_hand() -> None:
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_quantile_interval_by_hand() -> None:
    # Median of 10: P(X <= 1) = .0107 for X ~ binomial(10, .5), so ranks 2 and 9 hold 97.9%.
    interval = stats.quantile_interval(range(1, 11), 0.5)
    assert interval is not None
    assert (interval.low, interval.high) == (2, 9)


def test_a_high_quantile_of_few_values_has_no_interval() -> None:
    assert stats.quantile_interval(range(20), 0.95) is None


def test_power_equals_a_sum_over_the_trinomial() -> None:
    n, difference, discordance = 12, 0.4, 0.6
    up, down = (discordance + difference) / 2, (discordance - difference) / 2
    expected = sum(
        scipy.stats.multinomial.pmf([b, c, n - b - c], n, [up, down, 1 - up - down])
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if b > c and stats.mcnemar_exact(b, c) <= 0.05
    )
    assert stats.mcnemar_power(n, difference, discordance) == pytest.approx(expected, abs=1e-9)


def test_the_detectable_difference_has_the_power_it_promises_and_no_smaller_one_has() -> None:
    found = stats.detectable_share(200, 0.2)
    assert found is not None
    assert stats.mcnemar_power(200, found, 0.2) >= 0.8
    assert stats.mcnemar_power(200, found - 0.005, 0.2) < 0.8


def test_the_detectable_difference_is_near_connors_formula() -> None:
    # Connor (1987): n = (z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2; exact needs a little more.
    d, psi = stats.detectable_share(1000, 0.2), 0.2
    assert d is not None
    n = (1.959964 * math.sqrt(psi) + 0.841621 * math.sqrt(psi - d * d)) ** 2 / d**2
    assert 0.9 * 1000 < n <= 1000


def test_too_few_samples_show_nothing() -> None:
    assert stats.detectable_share(5, 0.2) is None


def test_power_is_as_simulated() -> None:
    n, difference, discordance = 120, 0.12, 0.2
    rng = np.random.default_rng(3)
    up, down = (discordance + difference) / 2, (discordance - difference) / 2
    counts = rng.multinomial(n, [up, down, 1 - up - down], size=4_000)
    found = {
        (b, c): stats.mcnemar_exact(b, c) <= 0.05 and b > c
        for b, c, _ in set(map(tuple, counts.tolist()))
    }
    share = np.mean([found[b, c] for b, c, _ in counts.tolist()])
    promised = stats.mcnemar_power(n, difference, discordance)
    assert share == pytest.approx(promised, abs=3 * math.sqrt(promised * (1 - promised) / 4_000))


def coverage(n: int, discordance: float, difference: float, n_runs: int) -> float:
    """Return how often the 95% interval of a paired difference holds the true one."""
    up, down = (discordance + difference) / 2, (discordance - difference) / 2
    draws = np.random.default_rng(11).multinomial(n, [up, down, 1 - up - down], size=n_runs)
    covered = {}
    for b, c, _ in set(map(tuple, draws.tolist())):
        values = [1.0] * b + [-1.0] * c + [0.0] * (n - b - c)
        interval = stats.paired_interval(values, n_resamples=999)
        covered[b, c] = not interval.excludes(difference)
    return float(np.mean([covered[b, c] for b, c, _ in draws.tolist()]))


@pytest.mark.parametrize(
    ("n", "discordance", "difference"),
    [(100, 0.02, 0.0), (100, 0.1, 0.05), (200, 0.2, 0.0), (400, 0.3, 0.1)],
)
def test_paired_intervals_hold_the_truth(n: int, discordance: float, difference: float) -> None:
    share = coverage(n, discordance, difference, 400)
    # Too wide is no error; for a bootstrap of 999 and discrete results 1.5 points are allowed.
    assert share >= 0.95 - 0.015 - 3 * math.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(("n", "size"), [(40, 1), (12, 5)])
def test_intervals_of_graded_scores_that_rarely_differ_hold_the_truth(n: int, size: int) -> None:
    rng, n_runs, n_covered = np.random.default_rng(19), 400, 0
    groups = [str(i // size) for i in range(n * size)]
    for seed in range(n_runs):
        # A twentieth of the samples differ, by .3 on average and mostly upwards.
        values = (rng.random(n * size) < 0.05) * rng.uniform(-0.2, 0.8, n * size)
        interval = stats.paired_interval(values, groups, n_resamples=199, seed=seed)
        n_covered += not interval.excludes(0.05 * 0.3)
    assert n_covered / n_runs >= 0.95 - 0.015 - 3 * math.sqrt(0.95 * 0.05 / n_runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "discordance", "difference"),
    [(60, 0.05, 0.0), (100, 0.1, 0.05), (200, 0.2, 0.0), (400, 0.3, 0.1), (126, 0.25, -0.1)],
)
def test_paired_intervals_hold_the_truth_in_2000_runs(
    n: int, discordance: float, difference: float
) -> None:
    share = coverage(n, discordance, difference, 2_000)
    assert share >= 0.95 - 0.015 - 3 * math.sqrt(0.95 * 0.05 / 2_000)
