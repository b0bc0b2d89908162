"""The sequential test of picks: values worked by hand, and what it promises under any stopping."""

from __future__ import annotations

import math
import random

import pytest
from scipy.integrate import quad

from promptbot.evals.sequential import judge_picks, log_e_value, preference_bounds

NAMES = ("a", "b")


@pytest.mark.parametrize(
    ("n_first", "n_second", "e_value"),
    [(0, 0, 1), (1, 0, 1), (2, 0, 4 / 3), (1, 1, 2 / 3), (3, 1, 4 / 5), (8, 0, 256 / 9)],
)
def test_the_e_value_is_what_is_worked_by_hand(n_first: int, n_second: int, e_value: float) -> None:
    # 2^n n_first! n_second! / (n + 1)!, as 2^4 3! 1! / 5! = 96 / 120.
    assert math.exp(log_e_value(n_first, n_second)) == pytest.approx(e_value)


def test_the_e_value_is_the_mean_likelihood_ratio_over_all_preferences() -> None:
    mean, _ = quad(lambda p: (2 * p) ** 13 * (2 * (1 - p)) ** 5, 0, 1)
    assert math.exp(log_e_value(13, 5)) == pytest.approx(mean)


def test_a_bet_on_a_fair_pick_wins_nothing_on_average() -> None:
    for first, second in ((0, 0), (3, 1), (10, 30)):
        after = [log_e_value(first + 1, second), log_e_value(first, second + 1)]
        assert sum(map(math.exp, after)) / 2 == pytest.approx(math.exp(log_e_value(first, second)))


def test_the_bounds_of_equal_picks_are_worked_by_hand() -> None:
    # After n of n the mixture is 1 / (n + 1): p is inside while p^n > .05 / (n + 1).
    low, high = preference_bounds(8, 0)
    assert (low, high) == (pytest.approx((0.05 / 9) ** (1 / 8), abs=1e-6), 1.0)
    assert preference_bounds(0, 8) == (0.0, pytest.approx(1 - low, abs=1e-6))
    assert preference_bounds(0, 0) == (0.0, 1.0)


def test_eight_picks_of_eight_decide_and_seven_do_not() -> None:
    open_ = judge_picks(NAMES, ["a"] * 7)
    assert (open_.outcome, open_.winner, open_.n_expected) == ("open", None, 1)
    assert open_.e_value == pytest.approx(2**7 / 8)
    assert open_.sentence == (
        "a and b: not decided by 7 picks (a 7, b 0, neither 0; e-value 16.0, 20 decides); "
        "about 1 more pick like these would."
    )
    found = judge_picks(NAMES, ["b"] * 8)
    assert (found.winner, found.decided_after) == ("b", 8)
    assert found.p_value == pytest.approx(9 / 256)
    assert found.sentence == (
        "b is preferred to a: picked 8 of 8 times (52% to 100% at 95%, however often one looks); "
        "decided after 8 picks."
    )


def test_ties_are_told_and_decide_nothing() -> None:
    found = judge_picks(NAMES, [None, "a", None, "b"])
    assert (found.n_picked, found.n_ties, found.n_decided) == ((1, 1), 2, 2)
    assert found.e_value == judge_picks(NAMES, ["a", "b"]).e_value
    assert judge_picks(NAMES, []).p_value == 1
    decided = judge_picks(NAMES, [None] * 3 + ["a"] * 8)
    assert decided.decided_after == 11
    assert ", 3 times neither;" in decided.sentence


def test_what_was_decided_stays_decided_when_the_count_turns() -> None:
    found = judge_picks(NAMES, ["a"] * 8 + ["b"] * 6)
    assert (found.winner, found.decided_after) == ("a", 8)
    assert found.p_value == pytest.approx(9 / 256)
    turned = judge_picks(NAMES, ["a"] * 20 + ["b"] * 60)
    assert turned.interval is None
    assert "contradict each other" in turned.sentence


def test_many_even_picks_show_that_neither_is_preferred() -> None:
    found = judge_picks(NAMES, ["a", "b"] * 300)
    assert found.outcome == "alike"
    assert found.decided_after is not None
    assert found.decided_after < 600
    assert "neither is preferred in more than" in found.sentence


def wrong_decisions(n_runs: int, n_picks: int, preference: float) -> tuple[float, float]:
    """Return how often a preference that is not there is told, and how often the interval errs.

    Every run is looked at after each pick, so a decision at any time counts.
    """
    chance = random.Random(11)
    n_wrong = n_missed = 0
    for _ in range(n_runs):
        picks = ["a" if chance.random() < preference else "b" for _ in range(n_picks)]
        found = judge_picks(NAMES, picks)
        wrong = {"first": preference <= 0.5, "second": preference >= 0.5}
        n_wrong += wrong.get(found.outcome, False) or (
            found.outcome == "alike" and abs(preference - 0.5) > 0.1
        )
        interval = found.interval  # the meeting of those after every pick
        n_missed += interval is None or not interval.low <= preference <= interval.high
    return n_wrong / n_runs, n_missed / n_runs


def test_looking_after_every_pick_finds_no_preference_that_is_not_there() -> None:
    n_runs = 200
    simulation_error = 3 * math.sqrt(0.05 * 0.95 / n_runs)
    for preference in (0.5, 0.65):
        wrong, missed = wrong_decisions(n_runs, 60, preference)
        assert wrong <= 0.05 + simulation_error
        assert missed <= 0.05 + simulation_error


@pytest.mark.slow
@pytest.mark.parametrize("preference", [0.5, 0.55, 0.62, 0.9])
def test_at_most_5_percent_are_decided_wrongly_in_2000_runs(preference: float) -> None:
    wrong, missed = wrong_decisions(2_000, 400, preference)
    # The promise is a bound, so no simulation error is added to it.
    assert wrong <= 0.05
    assert missed <= 0.05


def test_a_clear_preference_is_found_within_a_few_dozen_picks() -> None:
    chance = random.Random(3)
    found = [
        judge_picks(NAMES, ["a" if chance.random() < 0.8 else "b" for _ in range(60)])
        for _ in range(100)
    ]
    assert sum(one.winner == "a" for one in found) >= 90
