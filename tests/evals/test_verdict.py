"""The verdict: its four outcomes, its sentences, and the error rates that it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptbot.evals.stats import detectable_mean, mcnemar_power
from promptbot.evals.verdict import POWER, Scale, Scores, compare_all, detectable_before


def scores(name: str, n_right: int, n: int) -> Scores:
    return Scores(name, [1.0] * n_right + [0.0] * (n - n_right))


def test_better_is_said_with_difference_and_interval() -> None:
    [found] = compare_all(scores("a", 50, 100), [scores("b", 70, 100)])
    assert found.outcome == "better"
    assert (found.n_higher, found.n_lower) == (20, 0)
    assert found.test == "mcnemar"
    assert found.p_value == pytest.approx(2 / 2**20)
    assert found.sentence.startswith("b is better than a by 20.0 points (")
    assert found.interval.low > 0


def test_worse_is_told_without_minus_signs() -> None:
    [found] = compare_all(scores("a", 70, 100), [scores("b", 50, 100)])
    assert found.outcome == "worse"
    assert found.sentence.startswith("b is worse than a by 20.0 points (")
    assert "-" not in found.sentence


def test_lower_seconds_are_better() -> None:
    rng = np.random.default_rng(0)
    slow = rng.normal(2, 0.1, 60)
    [found] = compare_all(
        Scores("slow", list(slow)),
        [Scores("quick", list(slow - rng.normal(1, 0.1, 60)))],
        scale=Scale(bounded=False, unit="seconds", higher_is_better=False),
    )
    assert found.outcome == "better"
    assert found.test == "permutation"
    assert "seconds" in found.sentence


def test_enough_equal_answers_exclude_differences_that_matter() -> None:
    [found] = compare_all(scores("a", 500, 1000), [scores("b", 500, 1000)])
    assert found.outcome == "no_difference"
    assert found.sentence == "b and a: no difference larger than 0.3 points on 1000 samples."


def test_few_samples_are_called_underpowered_and_say_what_they_could_show() -> None:
    [found] = compare_all(scores("a", 10, 30), [scores("b", 12, 30)])
    assert found.outcome == "underpowered"
    assert found.detectable is not None
    assert "30 samples can only show differences of at least" in found.sentence
    assert "(measured: +6.7 points)" in found.sentence


def test_hardly_any_samples_say_that_they_show_nothing() -> None:
    [found] = compare_all(scores("a", 1, 3), [scores("b", 2, 3)])
    assert found.detectable is None
    assert "cannot show any difference" in found.sentence


def test_a_difference_below_the_margin_is_called_small() -> None:
    [found] = compare_all(scores("a", 2000, 4000), [scores("b", 2040, 4000)])
    assert found.outcome == "better"
    assert "less than the 5.0 points that matter here" in found.sentence


def test_samples_of_one_conversation_are_not_counted_apart() -> None:
    a, b = scores("a", 0, 40), scores("b", 40, 40)
    [alone] = compare_all(a, [b])
    [together] = compare_all(a, [b], groups=["x", "y", "z", "w"] * 10)
    assert alone.outcome == "better"
    assert together.outcome == "underpowered"
    assert (together.n, together.n_clusters, together.test) == (40, 4, "permutation")
    assert "40 samples of 4 groups" in together.sentence


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_conversations_show_nothing_however_many_samples_they_have(n: int) -> None:
    # Of five flips that all agree, two in thirty-two are as extreme: no p below .0625 is possible.
    a, b = scores("a", 0, 40), scores("b", 40, 40)
    [found] = compare_all(a, [b], groups=[str(i % n) for i in range(40)])
    assert (found.outcome, found.detectable) == ("underpowered", None)
    assert found.sentence == (
        f"b and a: underpowered; 40 samples of {n} group{'s' * (n > 1)} cannot show any "
        "difference, however large."
    )


GRADES = Scale(bounded=False, unit="")


@pytest.mark.parametrize("grades", [[4.0], [4.0, 4.0], [0.0] * 3, [5.0] * 9])
def test_a_few_equal_grades_do_not_prove_equality(grades: list[float]) -> None:
    [found] = compare_all(Scores("a", grades), [Scores("b", grades)], scale=GRADES)
    assert found.outcome == "underpowered"
    assert found.interval.low < 0 < found.interval.high


def test_many_equal_grades_exclude_differences_that_matter() -> None:
    grades = [4.0] * 2000
    [found] = compare_all(Scores("a", grades), [Scores("b", grades)], scale=GRADES)
    assert found.outcome == "no_difference"
    assert found.sentence == "b and a: no difference larger than 0.006 on 2000 samples."


def test_grades_that_all_differ_alike_are_told_without_a_unit() -> None:
    [found] = compare_all(Scores("a", [2.0] * 10), [Scores("b", [4.0] * 10)], scale=GRADES)
    assert found.sentence == "b is better than a by 2.000 (0.651 to 2.682)."


def test_two_grades_can_show_nothing() -> None:
    [found] = compare_all(Scores("a", [2.0] * 2), [Scores("b", [4.0] * 2)], scale=GRADES)
    assert found.sentence == (
        "b and a: underpowered; 2 samples cannot show any difference, however large."
    )


def test_means_over_seeds_use_the_permutation_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, 50) / 2, rng.integers(0, 3, 50) / 2
    [found] = compare_all(Scores("a", list(a)), [Scores("b", list(b))])
    assert found.test == "permutation"


def test_every_further_comparison_asks_for_more() -> None:
    a, b = scores("a", 50, 100), scores("b", 57, 100)
    [alone] = compare_all(a, [b])
    many = compare_all(a, [b, *(scores(f"c{i}", 50, 100) for i in range(9))])
    assert alone.outcome == "better"
    assert many[0].p_adjusted == pytest.approx(min(1.0, 10 * alone.p_value))
    assert many[0].outcome == "underpowered"
    assert many[0].interval.confidence == pytest.approx(0.995)


def test_columns_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="the same samples"):
        compare_all(scores("a", 1, 3), [scores("b", 1, 4)])


def test_more_samples_show_smaller_differences_before_the_run() -> None:
    found = [detectable_before(n, 3) for n in (100, 300, 1000)]
    assert all(a is not None and b is not None and a > b for a, b in zip(found, found[1:]))  # noqa: B905, RUF007


def family_wise_errors(n_runs: int, *, clustered: bool) -> tuple[float, float]:
    """Return how often a family of four equal columns gets any false verdict, and any false bound.

    All columns answer right with the same probability, which varies between samples.
    """
    rng = np.random.default_rng(5)
    n, n_false, n_uncovered = 80, 0, 0
    groups = [str(i // 4) for i in range(n)] if clustered else None
    for seed in range(n_runs):
        ease = rng.beta(1, 1, n // 4).repeat(4) if clustered else rng.beta(1, 1, n)
        if clustered:  # the four messages of a conversation succeed or fail together
            draws = (rng.random((5, n // 4)) < ease[::4]).repeat(4, axis=1)
        else:
            draws = rng.random((5, n)) < ease
        columns = [Scores(str(i), list(row.astype(float))) for i, row in enumerate(draws)]
        found = compare_all(columns[0], columns[1:], groups=groups, seed=seed)
        n_false += any(c.outcome in ("better", "worse") for c in found)
        n_uncovered += any(c.interval.excludes(0) for c in found)
    return n_false / n_runs, n_uncovered / n_runs


@pytest.mark.parametrize("clustered", [False, True])
def test_equal_columns_are_rarely_told_apart(
    clustered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_runs = 100
    false, _ = family_wise_errors(n_runs, clustered=clustered)
    assert false <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_runs)


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
def test_the_family_wise_error_is_at_most_5_percent_in_2000_runs(clustered: bool) -> None:
    n_runs = 2_000
    false, uncovered = family_wise_errors(n_runs, clustered=clustered)
    simulation_error = 3 * math.sqrt(0.05 * 0.95 / n_runs)
    assert false <= 0.05 + simulation_error
    assert uncovered <= 0.05 + simulation_error


def share_of_better(
    n_runs: int, n: int, difference: float, *, n_equal: int = 0, discordance: float = 0.2
) -> float:
    """Return how often a column that is better by this much is called better.

    Each sample is one on which only the column is right, or only the reference, or neither of
    these; further columns answer like the reference but for as many lucky and unlucky samples.
    """
    rng = np.random.default_rng(11)
    only_it, only_other = (discordance + difference) / 2, (discordance - difference) / 2
    n_better = 0
    for seed in range(n_runs):
        reference = (rng.random(n) < 0.5).astype(float)

        def column(gains: float, losses: float, base: np.ndarray = reference) -> list[float]:
            drawn = rng.random(n)
            # Where the reference is wrong it can only gain, where it is right only lose.
            flips = np.where(base == 0, drawn < 2 * gains, drawn < 2 * losses)
            return list(np.where(flips, 1 - base, base))

        better = Scores("better", column(only_it, only_other))
        equal = [
            Scores(f"equal {i}", column(discordance / 2, discordance / 2)) for i in range(n_equal)
        ]
        found = compare_all(Scores("reference", list(reference)), [better, *equal], seed=seed)
        n_better += found[0].outcome == "better"
    return n_better / n_runs


def simulation_error(share: float, n_runs: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / n_runs)


@pytest.mark.parametrize(("n", "difference"), [(120, 0.1), (250, 0.08)])
def test_power_is_as_predicted(n: int, difference: float) -> None:
    n_runs, predicted = 200, mcnemar_power(n, difference, 0.2)
    achieved = share_of_better(n_runs, n, difference)
    assert abs(achieved - predicted) <= simulation_error(predicted, n_runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "difference", "discordance"),
    [(60, 0.15, 0.3), (120, 0.1, 0.2), (250, 0.08, 0.2), (500, 0.05, 0.2), (500, 0.03, 0.05)],
)
def test_power_is_as_predicted_in_2000_runs(n: int, difference: float, discordance: float) -> None:
    n_runs, predicted = 2_000, mcnemar_power(n, difference, discordance)
    achieved = share_of_better(n_runs, n, difference, discordance=discordance)
    assert abs(achieved - predicted) <= simulation_error(predicted, n_runs)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_equal"), [(150, 0), (300, 3), (600, 9)])
def test_the_difference_told_before_a_run_is_found_as_often_as_promised(
    n: int, n_equal: int
) -> None:
    difference = detectable_before(n, n_equal + 1)
    assert difference is not None
    # Exact tests of few samples jump: the difference found has this power at least.
    predicted = mcnemar_power(n, difference, 0.2, 0.05 / (n_equal + 1))
    assert predicted >= POWER
    achieved = share_of_better(1_000, n, difference, n_equal=n_equal)
    # Holm's later steps can only add to the first one's power, which is what is promised.
    assert achieved >= predicted - simulation_error(predicted, 1_000)
    if n_equal == 0:
        assert achieved <= predicted + simulation_error(predicted, 1_000)


def share_of_means_found(n_runs: int, n_clusters: int, size: int) -> float:
    """Return how often the difference of means with a power of 80% is found.

    Scores are no shares, and samples of one conversation vary together.
    """
    rng, n_found = np.random.default_rng(13), 0
    groups = [str(i // size) for i in range(n_clusters * size)]
    # The variance of a conversation's mean is 1 + 1 / size.
    true = detectable_mean(math.sqrt((1 + 1 / size) / n_clusters), alpha=0.05, power=POWER)
    for seed in range(n_runs):
        shared = rng.normal(0, 1, n_clusters).repeat(size)
        differences = true + shared + rng.normal(0, 1, n_clusters * size)
        [found] = compare_all(
            Scores("a", [0.0] * len(groups)),
            [Scores("b", list(differences))],
            groups=groups,
            scale=Scale(bounded=False, unit=""),
            seed=seed,
        )
        n_found += found.outcome == "better"
    return n_found / n_runs


def test_power_of_means_is_as_predicted() -> None:
    achieved = share_of_means_found(100, 60, 3)
    assert abs(achieved - POWER) <= simulation_error(POWER, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("n_clusters", "size"), [(150, 1), (100, 4)])
def test_power_of_means_is_as_predicted_in_2000_runs(n_clusters: int, size: int) -> None:
    achieved = share_of_means_found(2_000, n_clusters, size)
    assert abs(achieved - POWER) <= simulation_error(POWER, 2_000)
