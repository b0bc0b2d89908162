"""Functions of the user's own as columns of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import InputError, SpecError
from promptbot.evals.estimate import estimate
from promptbot.evals.evaluation import evaluate, resume
from promptbot.evals.records import Key
from promptbot.evals.report.cells import method
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary
from tests.evals.conftest import ROWS, SuiteMaker

RULES = """\
def answer(text):
    number = text.removeprefix("Question number ").rstrip("?")
    if text.startswith("What"):
        raise ValueError("no idea")
    return f"Answer {number}." if text.startswith("Question") else "I will ask."

def nothing(text):
    return None

NUMBER = 3
"""


def with_rules(make_suite: SuiteMaker, variants: str, code: str = RULES) -> Path:
    path = make_suite()
    (path.parent / "rules.py").write_text(code)
    path.write_text(path.read_text().replace("[default, zero_shot]", variants))
    return path


def run(path: Path, **options: Any) -> Summary:
    return evaluate(load_suite(path, **options), runs=path.parent / "runs", options=options)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("bad", "together, but of columns that are better or worse each at the level of its step"),
        ("known", "hold at 95% for all 2 comparisons together. Verdicts come from"),
    ],
)
def test_a_report_says_which_intervals_hold_together(
    make_suite: SuiteMaker, second: str, words: str
) -> None:
    known = {row["input"]: row["output"] for row in ROWS}
    code = f"KNOWN = {known}\ndef bad(text):\n    return 'x'\n"
    code += "def known(text):\n    return KNOWN[text]\ndef worse(text):\n    return 'y'\n"
    path = with_rules(make_suite, f"[default, 'rules.py:worse', 'rules.py:{second}']", code)
    summary = run(path)
    assert summary.comparisons[0].outcome == "worse"
    assert words in method(summary)


def test_a_function_answers_the_same_samples_as_the_prompts_and_is_compared(
    make_suite: SuiteMaker,
) -> None:
    path = with_rules(make_suite, "[default, 'rules.py:answer']")
    suite = load_suite(path)
    assert [item.n_written for item in estimate(suite)][1:] == [None]
    summary = run(path)
    assert summary.columns == ("default", "rules.py:answer")
    exact = {name: summary.values[name]["exact"] for name in summary.columns}
    assert exact["default"] is not None
    assert exact["rules.py:answer"] is not None
    assert exact["default"].estimate == exact["rules.py:answer"].estimate == 11 / 12
    # What it raises is the error of that sample alone.
    assert summary.n_failed == {"default": 0, "rules.py:answer": 1}
    [error] = [r.error for r in summary.records.values() if r.error]
    assert error == "ValueError: no idea"
    assert [c.name for c in summary.comparisons] == ["rules.py:answer"]
    assert summary.records[Key("rules.py:answer", "data:1", 0)].prediction is not None


def test_the_command_line_names_a_function_too(make_suite: SuiteMaker) -> None:
    path = with_rules(make_suite, "[default]")
    summary = run(path, variants=["default", "rules.py:answer"], models=["embedded"], limit=2)
    assert summary.columns == ("default", "rules.py:answer")


def test_a_function_sorts_into_labels_and_may_find_none(
    make_classifier: Any, tmp_path: Path
) -> None:
    make_classifier()
    rows = [{"input": text, "label": "card_lost"} for text in ("lost it", "where?")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rules.py").write_text(
        "def sort(text):\n    return 'card_lost' if 'lost' in text else None\n"
    )
    path = tmp_path / "one.yaml"
    path.write_text(
        "name: one\nbot: sorter\ndata: {file: data.jsonl}\nvariants: ['rules.py:sort']\n"
    )
    summary = run(path)
    accuracy = summary.values["rules.py:sort"]["accuracy"]
    assert accuracy is not None
    assert accuracy.estimate == 0.5
    assert not any(summary.n_failed.values())


def test_what_is_no_answer_is_told(make_suite: SuiteMaker) -> None:
    summary = run(with_rules(make_suite, "['rules.py:nothing']"))
    assert summary.n_failed == {"rules.py:nothing": len(ROWS)}
    assert "rules.py:nothing returned None; expected a text" in summary.warnings[0]


def test_a_run_does_not_go_on_with_another_function(make_suite: SuiteMaker) -> None:
    path = with_rules(make_suite, "['rules.py:answer']")
    folder = run(path).folder
    (path.parent / "rules.py").write_text(RULES.replace("no idea", "nothing"))
    with pytest.raises(InputError, match="is not the one that the run began with"):
        resume(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rules.py:anser", 'rules.py has no "anser"'),
        ("rules.py:NUMBER", '"NUMBER" is 3'),
        ("rule.py:answer", "there is no file rule.py"),
        ("rules.py", "names no function"),
        ("../rules.py:answer", "lies outside the suite's folder"),
    ],
)
def test_a_function_that_is_not_there_is_told_and_leaves_no_run(
    make_suite: SuiteMaker, name: str, message: str
) -> None:
    path = with_rules(make_suite, f"[default, '{name}']")
    with pytest.raises(SpecError, match=message):
        run(path)
    assert not (path.parent / "runs").exists()
