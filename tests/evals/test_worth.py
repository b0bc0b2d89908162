"""Crossover and data advantage on curves whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from promptbot.evals.worth import Pair, Scores, compare, monotone, resample

BUDGETS = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 130.0]

Truth = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def exact(truth: Truth, n_samples: int = 1000, n_seeds: int = 2) -> NDArray[np.float64]:
    """Return scores whose means are exactly a curve's, without chance."""
    shares = truth(np.array(BUDGETS))
    values = np.zeros((len(BUDGETS), n_seeds, n_samples))
    for row, share in enumerate(shares):
        values[row, :, : round(share * n_samples)] = 1
    return values


def chance(
    truths: list[Truth], rng: np.random.Generator, *, n_samples: int, n_seeds: int
) -> list[NDArray[np.float64]]:
    """Return scores with easy and hard samples, and lucky and unlucky draws, shared by curves."""
    hard = rng.normal(size=n_samples)
    luck = 0.1 * rng.normal(size=(len(truths), n_seeds))
    found = []
    for truth, own in zip(truths, luck, strict=True):
        # The logit whose mean over all samples is the wanted share.
        centre = np.array([_centre(share) for share in truth(np.array(BUDGETS))])
        logits = centre[:, None, None] + own[None, :, None] + hard[None, None, :]
        found.append((rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64))
    return found


def _centre(share: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        # Luck and hardness are normal with variance 1 + .01.
        mean = (weights / (1 + np.exp(-(middle + math.sqrt(1.01) * nodes)))).sum() / weights.sum()
        low, high = (middle, high) if mean < share else (low, middle)
    return low


def prompt_curve(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.70 + 0.03 * np.log(x) / np.log(130)


def baseline_curve(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.45 + 0.45 * np.log(x) / np.log(130)


CROSSING = math.exp(math.log(130) * 0.25 / 0.42)


def pair(prompt: NDArray[np.float64], baseline: NDArray[np.float64], **options: int) -> Pair:
    curves = [Scores("prompt", False, prompt), Scores("probe", True, baseline)]
    return compare(resample(curves, BUDGETS, **options), "prompt", "probe")


def test_monotone_is_isotonic_regression() -> None:
    rows = np.random.default_rng(0).random((50, 7))
    wanted = [isotonic_regression(row).x for row in rows]
    np.testing.assert_allclose(monotone(rows), wanted, atol=1e-12)


def test_curves_without_chance_cross_where_they_do() -> None:
    found = pair(exact(prompt_curve, 10_000), exact(baseline_curve, 10_000), n_resamples=199)
    assert found.crossover.kind == "crosses"
    assert found.crossover.budget == pytest.approx(CROSSING, rel=0.05)
    assert found.differences[0].value == pytest.approx(0.25, abs=1e-3)
    for row in found.advantages:
        assert row.saved.value == pytest.approx(row.baseline - row.prompt)
        wanted = math.exp((row.accuracy - 0.45) / 0.45 * math.log(130))
        assert row.baseline == pytest.approx(wanted, rel=0.08)
    assert [row.accuracy for row in found.advantages] == [0.7, 0.71, 0.72, 0.73]


def test_a_baseline_that_never_passes_and_one_that_always_leads_are_said_to() -> None:
    low, high = exact(lambda x: 0.3 + 0 * x), exact(lambda x: 0.8 + 0 * x)
    never, always = pair(high, low, n_resamples=199), pair(low, high, n_resamples=199)
    assert (never.crossover.kind, never.crossover.budget, never.crossover.high) == (
        "never", None, None,
    )  # fmt: skip
    assert (always.crossover.kind, always.crossover.budget, always.crossover.low) == (
        "always", None, None,
    )  # fmt: skip
    assert never.mean_saved is None
    assert never.advantages == ()


def test_a_crossing_near_the_end_has_an_open_interval() -> None:
    rng = np.random.default_rng(1)
    truths: list[Truth] = [lambda x: 0.795 + 0 * x, lambda x: 0.5 + 0.3 * np.log(x) / np.log(130)]
    prompt, baseline = chance(truths, rng, n_samples=200, n_seeds=3)
    crossover = pair(prompt, baseline, n_resamples=499).crossover
    assert crossover.high is None
    assert crossover.low is not None
    assert crossover.low > 20


def test_what_two_equal_curves_save_is_nothing() -> None:
    same = exact(baseline_curve)
    found = pair(same, same, n_resamples=199)
    assert found.mean_saved is not None
    assert found.mean_saved.value == pytest.approx(0, abs=1e-9)
    # Of 1,000 samples none differs: Bonett and Price count two that might.
    assert all(d.value == 0 for d in found.differences)
    assert all(d.low == -d.high and 0 < d.high < 0.003 for d in found.differences)


def test_all_right_is_not_certain() -> None:
    values = np.ones((len(BUDGETS), 3, 60))
    [first, *_] = resample([Scores("a", False, values)], BUDGETS).accuracy("a")
    assert (first.value, first.high) == (1.0, 1.0)
    assert first.low == pytest.approx(60 / (60 + 1.96**2), abs=1e-3)


def test_one_seed_gives_the_interval_of_the_samples() -> None:
    prompt, baseline = exact(prompt_curve, n_seeds=1), exact(baseline_curve, n_seeds=1)
    [first, *_] = pair(prompt, baseline, n_resamples=999).differences
    # Only the quarter of samples differs: the normal interval of that share.
    half = 1.96 * math.sqrt(0.25 * 0.75 / 1000)
    assert (first.high - first.low) / 2 == pytest.approx(half, rel=0.15)


def test_conversations_are_drawn_whole() -> None:
    prompt, baseline = exact(prompt_curve, 200), exact(baseline_curve, 200)
    curves = [Scores("prompt", False, prompt), Scores("probe", True, baseline)]
    groups = [f"talk {i // 20}" for i in range(200)]
    alone = resample(curves, BUDGETS, n_resamples=999).difference("prompt", "probe")[0]
    together = resample(curves, BUDGETS, groups, n_resamples=999).difference("prompt", "probe")[0]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def coverage(n_runs: int, n_seeds: int) -> tuple[float, float]:
    """Return how often the intervals of the crossover and of a difference hold the truth."""
    rng = np.random.default_rng(7)
    hits = near = 0
    difference = float(prompt_curve(np.array([10.0]))[0] - baseline_curve(np.array([10.0]))[0])
    for _ in range(n_runs):
        prompt, baseline = chance(
            [prompt_curve, baseline_curve], rng, n_samples=200, n_seeds=n_seeds
        )
        found = pair(prompt, baseline, n_resamples=299)
        low, high = found.crossover.low or 0.0, found.crossover.high or math.inf
        hits += low <= CROSSING <= high
        near += found.differences[3].low <= difference <= found.differences[3].high
    return hits / n_runs, near / n_runs


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # With 100 runs a true coverage of 95% gives less than 88% in fewer than 1 of 300 cases.
    of_crossover, of_difference = coverage(100, 3)
    assert of_crossover >= 0.88
    assert of_difference >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_the_intervals_hold_the_truth_over_many_runs(n_seeds: int) -> None:
    of_crossover, of_difference = coverage(600, n_seeds)
    assert of_crossover >= 0.92
    assert of_difference >= 0.92
