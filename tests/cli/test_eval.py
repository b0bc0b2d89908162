"""`promptbot eval`, `report` and `runs`: exit statuses and what they print."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.errors import InputError
from tests.evals.conftest import SuiteMaker, make_suite

__all__ = ["make_suite"]


@pytest.fixture
def suite(make_suite: SuiteMaker, monkeypatch: pytest.MonkeyPatch) -> str:
    path = make_suite()
    monkeypatch.chdir(path.parent)
    return path.name


def test_eval_prints_the_verdict_first_and_exits_with_0(suite: str) -> None:
    result = CliRunner().invoke(app, ["eval", suite])
    assert result.exit_code == 0
    assert result.stdout.startswith("By exact (against default)")
    assert "report.html" in result.stdout
    assert "Such a run shows differences of at least" in result.stderr


def test_a_gate_that_is_not_met_exits_with_3_and_says_why(suite: str) -> None:
    result = CliRunner().invoke(app, ["eval", suite, "--gate", "exact(default) >= 0.95"])
    assert result.exit_code == 3
    assert "not met: exact is 0.917" in result.stdout


def test_a_dry_run_makes_no_folder(suite: str) -> None:
    result = CliRunner().invoke(app, ["eval", suite, "--dry-run", "--limit", "4"])
    assert result.exit_code == 0
    assert "2 columns x 4 samples = 8 answers" in result.stderr
    assert "default: reads about" in result.stderr
    assert "writes at most 80" in result.stderr
    assert "Cost" not in result.stderr
    assert not Path("runs").exists()


def test_a_dry_run_tells_the_cost(suite: str) -> None:
    path = Path(suite)
    spec = path.read_text().split("models: ['")[1].partition("'")[0]
    path.write_text(path.read_text() + f"prices: {{'{spec}': {{input: 1000, output: 2000}}}}\n")
    result = CliRunner().invoke(app, ["eval", suite, "--dry-run", "--variant", "zero_shot"])
    [line] = [line for line in result.stderr.splitlines() if line.startswith("zero_shot: reads")]
    n_tokens = int(line.split("(")[1].partition(" in all")[0].replace(",", ""))
    assert f"cost {n_tokens / 1000:.4f} to {n_tokens / 1000 + 12 * 80 / 500:.4f} in all" in line
    run = CliRunner().invoke(app, ["eval", suite, "--variant", "zero_shot"])
    assert "Cost of this run: " in run.stderr


def test_a_dry_run_says_why_nothing_is_known_of_a_model(suite: str) -> None:
    result = CliRunner().invoke(app, ["eval", suite, "--dry-run", "--model", "openai:gpt-4o-mini"])
    assert result.exit_code == 0
    assert "default: tokens unknown: openai:gpt-4o-mini: openai needs a key" in result.stderr


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptbot.evals import runner

    asked, ask = [], runner.ask

    def stop_at_five(*args: object) -> object:
        asked.append(args)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return ask(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "ask", stop_at_five)
    result = CliRunner().invoke(app, ["eval", suite])
    assert result.exit_code == 130
    assert "--resume runs/small/" in result.stderr
    listed = CliRunner().invoke(app, ["runs"])
    assert "not complete" in listed.stdout
    monkeypatch.setattr(runner, "ask", ask)
    assert CliRunner().invoke(app, ["eval", "--resume", "last"]).exit_code == 0
    listed = CliRunner().invoke(app, ["runs"])
    assert listed.stdout.split("\t")[1:3] == ["small", "12"]


def test_report_shows_a_run_again_in_three_forms(suite: str) -> None:
    first = CliRunner().invoke(app, ["eval", suite, "--limit", "6"])
    again = CliRunner().invoke(app, ["report", "last"])
    assert again.stdout == first.stdout
    found = json.loads(CliRunner().invoke(app, ["report", "--json"]).stdout)
    assert found["n_samples"] == 6
    assert CliRunner().invoke(app, ["report", "--markdown"]).stdout.startswith("# small")
    rows = list(csv.DictReader(io.StringIO(CliRunner().invoke(app, ["report", "--csv"]).stdout)))
    assert len(rows) == 2 * found["n_samples"]
    shares = [float(row["score"]) for row in rows if row["column"] == "default"]
    accuracy = found["columns"]["default"]["metrics"]["exact"]["estimate"]
    assert sum(shares) / len(shares) == pytest.approx(accuracy)
    assert {row["answer"] for row in rows if row["score"] == "0.0"} <= {"Pardon?"}


def test_a_suite_and_resume_together_are_refused(suite: str) -> None:
    for arguments in (["eval"], ["eval", suite, "--resume", "last"]):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, InputError)
