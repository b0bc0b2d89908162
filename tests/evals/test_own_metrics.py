"""Metrics from a Python file beside the suite, and scores that a run keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from promptbot.errors import DataError, SpecError
from promptbot.evals.evaluation import evaluate, resume
from promptbot.evals.measures import SCORES
from promptbot.evals.report.answers import render_csv
from promptbot.evals.report.html import render_html
from promptbot.evals.report.markdown import render_markdown
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary, summarise
from tests.evals.conftest import SuiteMaker

FILE = '''
"""What counts here."""

from pathlib import Path

from promptbot.evals.metrics.metric import Metric

Path(__file__).with_name("runs.txt").open("a").write("run\\n")


def n_words(outcome):
    """words of a reply

    Further lines are for whoever reads the file.
    """
    return len(outcome.prediction.text.split())


def has_answer(outcome):
    """replies that say Answer"""
    return "Answer" in outcome.prediction.text


def of_kind(outcome):
    if outcome.sample.target == "I will ask.":
        return None
    return outcome.prediction.text == outcome.sample.target


def raises(outcome):
    return 1 / 0


def no_number(outcome):
    return "good"


letters = Metric("letters", "of it", "score", False, score=lambda o: float(len(o.prediction.text)))
labels_only = Metric("labels_only", "x", task="classify", score=lambda o: 1.0)
whole = Metric("whole", "x", whole=lambda outcomes: 1.0)
exact = Metric("exact", "another", score=lambda o: 1.0)
seven = 7
'''


def suite_with(make_suite: SuiteMaker, metrics: str) -> Path:
    path = make_suite(f"metrics: [{metrics}]\n")
    (path.parent / "mine.py").write_text(FILE)
    return path


def run(path: Path) -> Summary:
    return evaluate(load_suite(path), runs=path.parent / "runs", options={})


def test_a_function_beside_the_suite_is_a_metric(make_suite: SuiteMaker) -> None:
    summary = run(suite_with(make_suite, "mine.py:n_words, exact, mine.py:letters"))
    value = summary.values["default"]["n_words"]
    assert value is not None
    # Ten answers of two words, one fallback of three, and "Pardon?".
    assert value.estimate == pytest.approx((10 * 2 + 3 + 1) / 12)
    assert (value.n, summary.metric.unit, summary.metric.about) == (12, "score", "words of a reply")
    assert not summary.metric_named("letters").higher_is_better
    assert summary.metrics == ("n_words", "exact", "letters")
    for report in (render_html(summary), render_markdown(summary), render_csv(summary)):
        assert not re.search(r"[:(,| ]nan[,)| ]", report, re.IGNORECASE)
    assert r"n\_words" in render_markdown(summary)


def test_true_and_false_make_a_share_with_its_interval(make_suite: SuiteMaker) -> None:
    summary = run(suite_with(make_suite, "mine.py:has_answer"))
    value = summary.values["default"]["has_answer"]
    assert value is not None
    assert value.interval is not None
    assert (summary.metric.unit, value.estimate) == ("share", pytest.approx(10 / 12))
    assert 0.5 < value.interval.low < value.estimate < value.interval.high < 1


def test_samples_that_a_metric_does_not_concern_are_left_out(make_suite: SuiteMaker) -> None:
    summary = run(suite_with(make_suite, "mine.py:of_kind"))
    value = summary.values["default"]["of_kind"]
    assert value is not None
    assert (value.estimate, value.n) == (1.0, 10)
    assert [c.n for c in summary.comparisons] == [10]
    assert '"s":null' in render_html(summary)
    assert render_csv(summary).count(",,") >= 4


def test_a_report_runs_no_code_of_the_suite(make_suite: SuiteMaker) -> None:
    path = suite_with(make_suite, "mine.py:n_words")
    summary = run(path)
    (path.parent / "runs.txt").unlink()
    (path.parent / "mine.py").write_text("raise SystemExit('this was run')\n")
    again = summarise(summary.folder)
    assert again.values == summary.values
    assert not (path.parent / "runs.txt").exists()


def test_a_mended_metric_scores_again_without_a_model(make_suite: SuiteMaker) -> None:
    path = suite_with(make_suite, "exact, mine.py:raises")
    summary = run(path)
    assert summary.values["default"]["raises"] is None
    assert summary.problems["raises"].startswith("ZeroDivisionError: division by zero (in default)")
    assert "raises could not be measured" in summary.warnings[0]
    assert summary.values["default"]["exact"] is not None
    (path.parent / "mine.py").write_text(FILE.replace("1 / 0", "4"))
    value = resume(summary.folder).values["default"]["raises"]
    assert value is not None
    assert value.estimate == 4


def test_what_is_no_number_is_told(make_suite: SuiteMaker) -> None:
    summary = run(suite_with(make_suite, "exact, mine.py:no_number"))
    assert "no_number returned 'good'; expected a number" in summary.problems["no_number"]


def test_a_run_that_was_killed_before_it_was_measured_says_so(make_suite: SuiteMaker) -> None:
    summary = run(suite_with(make_suite, "exact, mine.py:n_words"))
    manifest = json.loads((summary.folder / "manifest.json").read_text())
    manifest["measures"]["n_words"]["problem"] = "the run was stopped before"
    (summary.folder / "manifest.json").write_text(json.dumps(manifest))
    assert "stopped before" in summarise(summary.folder).problems["n_words"]


def test_scores_that_cannot_be_read_are_told_with_their_line(make_suite: SuiteMaker) -> None:
    folder = run(suite_with(make_suite, "mine.py:n_words")).folder
    with (folder / SCORES).open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"scores.jsonl, line 25: this line is no score"):
        summarise(folder)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("exact, mine.py", r'small.yaml, line 6: "mine.py" names no function[\s\S]*FILE.py:FUNC'),
        ("mien.py:n_words", r"line 6: there is no file mien.py[\s\S]*mine.py"),
        ("mine.py:n_word", r'line 6: mine.py has no "n_word"[\s\S]*Did you mean "n_words"'),
        ("../mine.py:n_words", r"line 6: .*lies outside the suite's folder"),
        ("mine.py:seven", r'line 6: mine.py: "seven" is 7[\s\S]*a function that takes'),
        ("mine.py:labels_only", r'line 6: metric "labels_only" is for classify bots'),
        ("mine.py:whole", r"line 6: mine.py: the metric whole has neither score nor scores"),
        ("mine.py:exact", r'line 6: "exact" is a metric of promptbot'),
        ("broken.py:x", r"line 6: broken.py, line 2: ZeroDivisionError"),
        ("syntax.py:x", r"line 6: syntax.py, line 1: SyntaxError"),
    ],
)
def test_mistakes_are_told_with_their_line(
    make_suite: SuiteMaker, metrics: str, message: str
) -> None:
    path = suite_with(make_suite, metrics)
    (path.parent / "broken.py").write_text("x = 1\ny = x / 0\n")
    (path.parent / "syntax.py").write_text("def x(:\n")
    with pytest.raises(SpecError, match=message):
        load_suite(path)


def test_the_suite_with_functions_of_its_own_loads() -> None:
    suite = load_suite("tone", limit=3)
    assert list(suite.own_metrics) == ["is_short", "n_questions"]
    assert suite.own_metrics["is_short"].about == "replies of at most 25 words"
