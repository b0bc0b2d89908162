"""Two runs of one suite: what changed is named, what it did is tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.errors import InputError
from promptbot.evals.compare import compare_runs
from promptbot.evals.evaluation import evaluate
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary
from promptbot.evals.verdict import Scores, compare_all, compare_pairs
from tests.evals.conftest import ROWS, SuiteMaker, make_suite

__all__ = ["make_suite"]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(make: SuiteMaker, **given: object) -> Summary:
    return evaluate(load_suite(make(**given)))


def test_a_loss_is_found_and_the_samples_that_broke_are_shown(
    make_suite: SuiteMaker, in_folder: Path
) -> None:
    before, now = run(make_suite), run(make_suite, n_known=2)
    found = compare_runs(before, now)
    assert found.n_shared == len(ROWS)
    assert found.n_only == (0, 0)
    assert [c.outcome for c in found.comparisons] == ["worse", "worse"]
    assert found.headline == "By exact: default, zero_shot: worse than before."
    assert all(not flip.is_gain for flip in found.flips)
    assert {flip.sample for flip in found.flips if flip.column == "default"} <= {
        item.sample.id for item in now.samples[2:11]
    }
    assert "Pardon?" in {flip.now for flip in found.flips}
    backwards = compare_runs(now, before)
    assert [c.outcome for c in backwards.comparisons] == ["better", "better"]
    assert [c.difference for c in backwards.comparisons] == [
        -c.difference for c in found.comparisons
    ]


def test_a_changed_prompt_is_named_and_its_lines_are_shown(
    make_suite: SuiteMaker, in_folder: Path
) -> None:
    before = run(make_suite)
    [template] = in_folder.glob("**/shop/system.j2")
    text = template.read_text()
    path = make_suite()
    template.write_text(text + "\nNever guess.")
    now = evaluate(load_suite(path))
    found = compare_runs(before, now)
    assert "default: its prompt: template, settings, examples or notes." in found.changes
    assert "+Never guess." in found.prompt_diffs["default"].splitlines()
    assert found.flips == ()
    assert {c.outcome for c in found.comparisons} <= {"no_difference", "underpowered"}


def test_only_samples_of_both_runs_count(make_suite: SuiteMaker, in_folder: Path) -> None:
    before, now = run(make_suite, rows=ROWS[:8]), run(make_suite, rows=ROWS[4:])
    found = compare_runs(before, now)
    assert found.n_shared == 4
    assert found.n_only == (4, 4)
    assert "The samples." in found.changes


def test_runs_without_a_common_sample_cannot_be_compared(
    make_suite: SuiteMaker, in_folder: Path
) -> None:
    before, now = run(make_suite, rows=ROWS[:4]), run(make_suite, rows=ROWS[4:])
    with pytest.raises(InputError, match="share no sample"):
        compare_runs(before, now)


def test_pairs_that_share_their_reference_are_compared_as_before() -> None:
    reference = Scores("a", [0.0, 1.0] * 20)
    others = [Scores("b", [1.0] * 40), Scores("c", [0.0, 1.0, 1.0, 1.0] * 10)]
    pairs = [(reference, other) for other in others]
    assert compare_pairs(pairs) == compare_all(reference, others)


def test_the_command_says_it_to_people_and_programs(
    make_suite: SuiteMaker, in_folder: Path
) -> None:
    before, now = run(make_suite), run(make_suite, n_known=2)
    shown = CliRunner().invoke(app, ["compare", before.folder.name])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("By exact: default, zero_shot: worse than before.")
    assert "Worse now" in shown.stdout
    numbers = json.loads(
        CliRunner().invoke(app, ["compare", str(before.folder), str(now.folder), "--json"]).stdout
    )
    assert numbers["comparisons"][0]["n"] == len(ROWS)
    with pytest.raises(InputError, match="there is no run"):
        CliRunner().invoke(app, ["compare", "nothing"], catch_exceptions=False)
