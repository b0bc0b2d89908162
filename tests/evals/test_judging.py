"""Judges: what they are asked, what counts of what they say, and how far to believe them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptbot.errors import DataError, ModelError, SpecError, TemplateError
from promptbot.evals.evaluation import Progress, evaluate, resume
from promptbot.evals.judge import Judge, JudgeSpec, both_orders, load_judge
from promptbot.evals.judging import FOLDER, JudgePredictor, count_questions
from promptbot.evals.metrics.agreement import cohen_kappa, kappa_interval
from promptbot.evals.records import load_records, run_folders
from promptbot.evals.report.html import render_html
from promptbot.evals.report.markdown import render_markdown
from promptbot.evals.suite import load_suite, shipped_suites_folder
from promptbot.evals.summary import Summary, summarise
from promptbot.types import Prediction
from tests.evals.conftest import ROWS, SuiteMaker
from tests.evals.test_evaluation import numbers
from tests.evals.test_faults import forked

Judged = Callable[..., Path]


@pytest.fixture
def judged(make_suite: SuiteMaker, tmp_path: Path) -> Judged:
    """Write a suite with a judge that answers from a script, or always the same."""

    def make(
        script: list[dict[str, str]] | str = "Score: 4",
        settings: str = "",
        *,
        lines: str = "",
        terse: bool = False,
    ) -> Path:
        metrics = "" if "metrics:" in lines else "metrics: [good, exact]\n"
        path = make_suite(
            f"{metrics}judges:\n"
            f"  good: {{model: 'scripted:{tmp_path / 'judge.jsonl'}'{settings}}}\n{lines}"
        )
        entries = [{"match": "", "text": script}] if isinstance(script, str) else script
        (tmp_path / "judge.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
        if terse:  # the second column answers otherwise to every question
            other = [{"match": row["input"], "text": f"Terse {i}."} for i, row in enumerate(ROWS)]
            (tmp_path / "other.jsonl").write_text("".join(json.dumps(e) + "\n" for e in other))
            text = path.read_text().replace("variants: [default, zero_shot]\n", "")
            one, two = (f"'scripted:{tmp_path / name}.jsonl'" for name in ("script", "other"))
            path.write_text(text.replace(f"models: [{one}]", f"models: [{one}, {two}]"))
        return path

    return make


def run(path: Path, progress: Progress | None = None) -> Summary:
    return evaluate(load_suite(path), runs=path.parent / "runs", options={}, progress=progress)


def judge_of(kind: str = "score", **settings: Any) -> Judge:
    spec = JudgeSpec.model_validate({"model": "scripted:x", "kind": kind, **settings})
    return load_judge("good", spec, Path(), "here")


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("It is right.\nScore: 4", 4),
        ("**Score:** 5", 5),
        ("Score: 4/5", 4),
        ("score = 2.5", 2.5),
        ('{"reason": "fine", "score": 3}', 3),
        ("The Score: 5 would be too high.\nScore: 2", 2),
        ("3", 3),
        (" **4** ", 4),
        ("5/5", 5),
        ("Score: 9", None),
        ("Score: 45", None),
        ("Score: -1", None),
        ("Score: 0", None),
        ("I like it very much, 5 stars and 3 hearts.", None),
        ("Score: high", None),
        ("", None),
    ],
)
def test_a_score_is_read_or_it_is_none(text: str, score: float | None) -> None:
    assert judge_of().read_score(text) == score


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ("A is shorter.\nVerdict: A", "a"),
        ("**Verdict**: b", "b"),
        ("Verdict: tie.", "tie"),
        ("B", "b"),
        ("Answer A.", "a"),
        ("Verdict: A? No.\nVerdict: B", "b"),
        ("Verdict: neither", None),
        ("Verdict: Answers", None),
        ("Both are good; A says more.", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_or_it_is_none(text: str, winner: str | None) -> None:
    assert judge_of("pairwise").read_winner(text) == winner


def test_orders_that_disagree_are_a_tie() -> None:
    assert both_orders("a", "b") == "a"
    assert both_orders("b", "a") == "b"
    assert both_orders("a", "a") == "tie"
    assert both_orders("a", "tie") == "tie"
    assert both_orders("tie", "tie") == "tie"
    assert both_orders(None, "a") is None
    assert both_orders("a", None) is None


def test_kappa_equals_scikit_learns() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(3)
    one = rng.integers(1, 6, 200).tolist()
    other = [min(5, max(1, said + int(rng.integers(-1, 2)))) for said in one]
    scale = [1, 2, 3, 4, 5]
    assert cohen_kappa(one, other, scale) == pytest.approx(cohen_kappa_score(one, other))
    assert cohen_kappa(one, other, scale, quadratic=True) == pytest.approx(
        cohen_kappa_score(one, other, weights="quadratic", labels=scale)
    )
    assert np.isnan(cohen_kappa([1, 1], [1, 1], scale))


def test_the_interval_of_kappa_is_that_of_its_standard_error() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    rng = np.random.default_rng(5)
    one = rng.choice(["a", "b", "tie"], 400).tolist()
    other = [said if rng.random() < 0.7 else "tie" for said in one]
    categories = ["a", "b", "tie"]
    table = np.zeros((3, 3))
    for a, b in zip(one, other, strict=True):
        table[categories.index(a), categories.index(b)] += 1
    expected = cohens_kappa(table)
    interval = kappa_interval(one, other, categories)
    assert interval is not None
    assert interval.low == pytest.approx(expected.kappa_low, abs=0.015)
    assert interval.high == pytest.approx(expected.kappa_upp, abs=0.015)


def test_a_judge_scores_every_answer(judged: Judged) -> None:
    script = [{"match": "Pardon?", "text": "No.\nScore: 1"}, {"match": "", "text": "Score: 5"}]
    summary = run(judged(script))
    value = summary.values["default"]["good"]
    assert value is not None
    assert value.estimate == pytest.approx((11 * 5 + 1) / 12)
    assert summary.metric.unit == "score"
    [report] = summary.judges
    # Both columns answer alike, and equal questions are asked once.
    assert (report.n_asked, report.n_unreadable, report.n_failed) == (12, 0, 0)
    assert not summary.warnings
    html = render_html(summary)
    assert "<h2>Judges</h2>" in html
    assert '["good","No.\\nScore: 1"]' in html


def test_what_a_judge_was_asked_and_said_is_kept(judged: Judged) -> None:
    summary = run(judged())
    records = load_records(summary.folder / FOLDER, with_shown=True)
    assert len(records) == 12
    record = next(iter(records.values()))
    assert record.prediction is not None
    assert record.prediction.text == "Score: 4"
    [message] = record.prediction.messages
    assert "The user said:\n<<<\nQuestion number one?\n>>>" in message.content
    assert "The answer to judge:\n<<<\nAnswer one.\n>>>" in message.content
    assert "from 1 (worst) to 5 (best)" in message.content


def test_nonsense_is_told_and_not_counted(judged: Judged) -> None:
    script = [
        {"match": "number two?", "text": "Lovely!"},
        {"match": "number three?", "text": "Score: 11"},
        {"match": "", "text": "Score: 4"},
    ]
    summary = run(judged(script))
    value = summary.values["default"]["good"]
    assert value is not None
    assert (value.estimate, value.n) == (4.0, 10)
    assert [c.n for c in summary.comparisons] == [10]
    assert "good: 2 of 12 judgements could not be read" in summary.warnings[0]
    assert "it said 'Lovely!'" in summary.warnings[0]


def test_a_judge_whose_calls_fail_is_told(judged: Judged) -> None:
    summary = run(judged([{"match": "number one?", "text": "Score: 4"}]))
    [report] = summary.judges
    assert report.n_failed == 11
    assert "the script has no answer left" in summary.warnings[0]
    value = summary.values["default"]["good"]
    assert value is not None
    assert value.n == 1


def test_a_failed_answer_has_the_lowest_score(judged: Judged, tmp_path: Path) -> None:
    path = judged()
    lines = (tmp_path / "script.jsonl").read_text().splitlines()
    (tmp_path / "script.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    summary = run(path)
    assert summary.n_failed["default"] == 1
    value = summary.values["default"]["good"]
    assert value is not None
    assert value.estimate == pytest.approx((11 * 4 + 1) / 12)


def test_a_pair_is_judged_in_both_orders(judged: Judged) -> None:
    script = [
        {"match": "Answer A:\n<<<\nTerse", "text": "Verdict: A"},
        {"match": "Answer B:\n<<<\nTerse", "text": "Verdict: B"},
    ]
    summary = run(judged(script, ", kind: pairwise", terse=True))
    other = summary.columns[1]
    value = summary.values[other]["good"]
    assert value is not None
    assert (value.estimate, value.n) == (1.0, 12)
    assert summary.values[summary.columns[0]]["good"] is None
    [report] = summary.judges
    assert report.n_asked == 24
    assert report.first_shown is not None
    assert report.first_shown[0] == 0.5
    assert report.disagree is not None
    assert report.disagree[0] == 0
    [comparison] = summary.comparisons
    assert (comparison.outcome, comparison.difference) == ("better", 0.5)
    assert "preferred to the reference" in summary.metric.about.casefold()


def test_a_judge_that_likes_what_it_reads_first_decides_nothing(judged: Judged) -> None:
    summary = run(judged("Verdict: A", ", kind: pairwise", terse=True))
    value = summary.values[summary.columns[1]]["good"]
    assert value is not None
    assert value.estimate == 0.5
    [report] = summary.judges
    assert report.first_shown is not None
    assert report.disagree is not None
    assert (report.first_shown[0], report.disagree[0]) == (1.0, 1.0)
    assert [c.difference for c in summary.comparisons] == [0]
    assert "100% (86% to 100%, n = 24)" in render_markdown(summary)


def test_equal_answers_tie_unasked(judged: Judged) -> None:
    summary = run(judged("Verdict: A", ", kind: pairwise"))
    [report] = summary.judges
    assert report.n_asked == 0
    assert [c.difference for c in summary.comparisons] == [0]


def test_agreement_with_people_is_measured(judged: Judged, tmp_path: Path) -> None:
    rows = [{"text": f"word {i}", "rating": i % 3 / 2} for i in range(30)]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ", scale: [0, 1], human: {file: rated.jsonl, fields: {answer: text, score: rating}}"
    # Python rounds .5 to the even 0: only the full ratings are 1 for people.
    script = [
        *({"match": f"word {i}\n", "text": f"Score: {int(i % 3 == 2)}"} for i in range(29)),
        {"match": "word 29\n", "text": "no idea"},
        {"match": "", "text": "Score: 1"},
    ]
    summary = run(judged(script, settings))
    human = summary.judges[0].human
    assert human is not None
    assert (human.n, human.n_unreadable, human.kappa) == (29, 1, 1.0)
    assert "kappa 1.00 (1.00 to 1.00, n = 29)" in render_markdown(summary)
    # The scale from 0 to 1 makes a share.
    assert summary.metric.unit == "share"


def test_a_judge_is_held_against_the_ratings_that_ship(tmp_path: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    (tmp_path / "bot.jsonl").write_text('{"match": "", "text": "Hello."}\n')
    fallback = "I will ask a colleague and come back to you.\n>>>"
    (tmp_path / "judge.jsonl").write_text(
        "".join(
            json.dumps({"match": match, "text": text}) + "\n"
            for match, text in [
                ("Answer B:\n<<<\n" + fallback, "Verdict: A"),
                ("Answer A:\n<<<\n" + fallback, "Verdict: B"),
                ("Answer A:", "Verdict: tie"),
                ("The answer to judge:\n<<<\n" + fallback, "Score: 2"),
                ("", "Score: 5"),
            ]
        )
    )
    suite = load_suite(
        "judged",
        models=[f"scripted:{tmp_path / 'bot.jsonl'}"],
        variants=["zero_shot"],
        judge=f"scripted:{tmp_path / 'judge.jsonl'}",
        limit=2,
    )
    helpful, preferred = evaluate(suite, runs=tmp_path / "runs").judges
    assert helpful.human is not None
    assert preferred.human is not None
    root = shipped_suites_folder() / "data"
    rows = [json.loads(line) for line in (root / "rated.jsonl").read_text().splitlines()]
    said = [2 if row["answer"] in fallback else 5 for row in rows]
    expected = cohen_kappa_score([row["score"] for row in rows], said, weights="quadratic")
    assert (helpful.human.n, preferred.human.n) == (len(rows), 30)
    assert helpful.human.kappa == pytest.approx(expected)
    assert 0 < expected < 1
    assert preferred.human.kappa is not None
    # Each score is there, so that no judge agrees by always saying the same.
    assert {row["score"] for row in rows} == {1, 2, 3, 4, 5}


def test_a_pairs_judge_is_held_against_people(judged: Judged, tmp_path: Path) -> None:
    rows = [
        {"answer_a": f"one {i}", "answer_b": f"two {i}", "preferred": "A" if i % 2 else "b"}
        for i in range(20)
    ]
    (tmp_path / "rated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ", kind: pairwise, human: {file: rated.jsonl}"
    summary = run(judged("Verdict: A", settings))
    human = summary.judges[0].human
    assert human is not None
    assert (human.n, human.kappa) == (20, 0.0)


@pytest.mark.parametrize("n", [1, 7, 20])
def test_a_stopped_judge_goes_on(judged: Judged, n: int) -> None:
    script = [{"match": "Pardon?", "text": "Score: 1"}, {"match": "", "text": "Score: 5"}]
    path = judged(script, terse=True)
    whole = run(path)
    n_answers, seen = 24, []

    def on_record(record: object) -> None:
        seen.append(record)
        if len(seen) == n_answers + n:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, Progress(on_record=on_record))
    folder = next(f for f in (path.parent / "runs" / "small").iterdir() if f != whole.folder)
    assert "stopped before" in summarise(folder).problems["good"]
    asked: list[object] = []
    resumed = resume(folder, Progress(on_record=asked.append))
    assert len(asked) == 24 - n
    assert resumed.values[resumed.columns[0]]["good"] == whole.values[whole.columns[0]]["good"]
    assert resumed.comparisons == whole.comparisons


@pytest.mark.parametrize("n", [1, 9, 20])
def test_killed_while_judging_a_run_ends_as_if_nothing_had_happened(judged: Judged, n: int) -> None:
    script = [{"match": "Pardon?", "text": "Score: 1"}, {"match": "", "text": "Score: 5"}]
    path = judged(script, terse=True)
    whole = run(path)
    runs = path.parent / "killed"

    def work() -> None:
        answer = JudgePredictor._answer

        def slowly(self: JudgePredictor, text: str) -> Prediction:
            time.sleep(0.02)
            return answer(self, text)

        JudgePredictor._answer = slowly  # type: ignore[method-assign]
        evaluate(load_suite(path), runs=runs, options={})

    def judged_enough() -> bool:
        found = list(runs.glob("*/*/judges/records.jsonl"))
        return bool(found) and found[0].read_bytes().count(b"\n") >= n

    assert forked(work, judged_enough) == signal.SIGKILL
    [folder] = run_folders(runs)
    n_judged = len(load_records(folder / FOLDER))
    assert n <= n_judged < 24
    asked: list[object] = []
    again = resume(folder, Progress(on_record=asked.append))
    assert len(asked) == 24 - n_judged
    assert json.dumps(numbers(again)) == json.dumps(numbers(whole))
    assert again.judges == whole.judges


def test_a_report_asks_no_judge(judged: Judged, tmp_path: Path) -> None:
    summary = run(judged())
    (tmp_path / "judge.jsonl").unlink()
    again = summarise(summary.folder)
    assert again.values == summary.values
    assert again.judges == summary.judges


def test_the_command_line_names_another_judge(judged: Judged, tmp_path: Path) -> None:
    path = judged()
    (tmp_path / "kind.jsonl").write_text('{"match": "", "text": "Score: 5"}\n')
    suite = load_suite(path, judge=f"scripted:{tmp_path / 'kind.jsonl'}")
    value = evaluate(suite, runs=path.parent / "runs").values["default"]["good"]
    assert value is not None
    assert value.estimate == 5


def test_a_rubric_of_ones_own(judged: Judged, tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("Is {{ answer }} polite? {{ lowest }} to {{ highest }}")
    summary = run(judged("2", ", rubric: mine.j2"))
    records = load_records(summary.folder / FOLDER, with_shown=True)
    asked = {r.prediction.messages[0].content for r in records.values() if r.prediction}
    assert "Is Answer one. polite? 1 to 5" in asked


def test_a_judge_reads_answers_as_text_only() -> None:
    from promptbot.evals.metrics.metric import Outcome
    from promptbot.types import Prediction, Sample

    judge = judge_of()
    nasty = "{{ 7 * 7 }} {% for x in y %}"
    outcome = Outcome(Sample("1", nasty, "t"), "1", "Sorry.", Prediction(nasty), 0.1)
    assert judge.prompt(judge.about_answer(outcome)).count(nasty) == 2


def test_what_a_judge_costs_is_told_before(judged: Judged) -> None:
    suite = load_suite(judged(terse=True))
    assert count_questions(suite.judges["good"], 24, 2) == 24
    pairs = load_suite(judged("Verdict: A", ", kind: pairwise", terse=True))
    assert count_questions(pairs.judges["good"], 24, 2) == 24


@pytest.mark.parametrize(
    ("settings", "lines", "message"),
    [
        (", rubric: none.j2", "", r"line 8: there is no rubric none.j2"),
        (", scale: [5, 1]", "", r"line 8: scale is \[5, 1\][\s\S]*the lower one first"),
        (", kind: best", "", r'line 8: unknown judges.good.kind "best"[\s\S]*pairwise'),
        (", modle: x", "", r'line 8: .*unknown setting "judges.good.modle"[\s\S]*"model"'),
        ("", "metrics: [exact]\n", r'line 7: the judge "good" is not among the metrics'),
        ("", "metrics: [good, goood]\n", r'unknown metric "goood"'),
    ],
)
def test_mistakes_are_told_with_their_line(
    judged: Judged, settings: str, lines: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_suite(judged("Score: 4", settings, lines=lines))


def test_a_judge_that_is_named_like_a_metric_is_refused(make_suite: SuiteMaker) -> None:
    path = make_suite("judges:\n  similarity: {model: embedded}\n")
    with pytest.raises(SpecError, match=r'line 7: "similarity" is the name of a metric'):
        load_suite(path)


def test_a_rubric_that_reads_what_it_is_not_given_is_refused(
    judged: Judged, tmp_path: Path
) -> None:
    (tmp_path / "mine.j2").write_text("Is {{ anwser }} polite?")
    with pytest.raises(TemplateError, match=r'mine.j2, line 1: .*"anwser"[\s\S]*"answer"'):
        load_suite(judged("2", ", rubric: mine.j2"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "x", "score": 9}, r'line 1: field "score" is 9[\s\S]*from 1 to 5'),
        ({"answr": "x", "score": 3}, r'line 1: field "answer" is missing[\s\S]*"answr"'),
    ],
)
def test_what_people_said_is_checked(
    judged: Judged, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    (tmp_path / "rated.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        load_suite(judged("Score: 4", ", human: {file: rated.jsonl}"))
    with pytest.raises(DataError, match=r"there is no such data"):
        load_suite(judged("Score: 4", ", human: {file: other.jsonl}"))


def test_a_suite_sends_no_answers_to_a_strangers_server(judged: Judged, tmp_path: Path) -> None:
    path = judged()
    spec = f"scripted:{tmp_path / 'judge.jsonl'}"
    path.write_text(path.read_text().replace(spec, "openai:judge@http://evil.example/v1"))
    with pytest.raises(ModelError, match=r"the judge sends every message[\s\S]*--judge openai"):
        run(path)


def test_a_judge_for_a_suite_without_judges_is_refused(make_suite: SuiteMaker) -> None:
    with pytest.raises(SpecError, match=r"the suite has none[\s\S]*Leave --judge out"):
        load_suite(make_suite(), judge="embedded")


def test_two_judged_runs_are_compared(judged: Judged, tmp_path: Path) -> None:
    from promptbot.evals.compare import compare_runs

    path = judged("Score: 2")
    before = run(path)
    (tmp_path / "judge.jsonl").write_text('{"match": "", "text": "Score: 5"}\n')
    path.write_text(path.read_text().replace("[good, exact]", "[good]"))
    found = compare_runs(before, run(path))
    assert [c.difference for c in found.comparisons] == [3.0, 3.0]
