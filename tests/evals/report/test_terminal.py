"""The tables of a report in terminals of every width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from promptbot.evals.metrics.metric import Metric, Outcome
from promptbot.evals.report.cells import estimate
from promptbot.evals.report.terminal import SideBySide
from promptbot.types import Prediction, Sample

CELL = "27.2% to 43.6%"


def table(width: int, names: list[str]) -> str:
    rows = [((metric,), [Text(f"34.9%\n{CELL}")] * len(names)) for metric in ("exact", "chrf")]
    out = io.StringIO()
    Console(file=out, width=width).print(SideBySide(("metric",), names, rows))
    return out.getvalue()


@pytest.mark.parametrize("width", [30, 40, 80, 132])
def test_no_number_is_broken_over_lines(width: int) -> None:
    names = [f"variant_{number}" for number in range(9)]
    text = table(width, names)
    assert text.count(CELL) == 2 * len(names)
    assert all(text.count(name) == 1 for name in names)
    assert max(map(len, text.splitlines())) <= width


def test_columns_that_fit_stand_in_one_table() -> None:
    assert table(80, ["a", "b", "c"]).count("metric") == 1
    assert table(80, ["a", "b", "c", "d", "e", "f"]).count("metric") == 2


def test_long_names_are_folded_and_numbers_are_not() -> None:
    text = table(40, ["default@openai:some-model-of-a-long-name"])
    assert text.count(CELL) == 2
    assert "".join(text.split()).startswith("default@openai:some-mode")


def test_a_mean_of_equal_grades_is_told_without_an_interval_and_says_so() -> None:
    grades = Metric("good", "", "score", score=lambda outcome: outcome.seconds)
    outcomes = [
        Outcome(Sample(str(i), "?", ""), str(i), "", Prediction("x"), 5.0) for i in range(30)
    ]
    assert estimate(grades, grades.value(outcomes)) == ("5.000", "no interval")
    whole = Metric("distinct", "", "score", whole=lambda outcomes: 0.5)
    assert estimate(whole, whole.value(outcomes)) == ("0.500", "")
    assert estimate(grades, None) == ("", "")
