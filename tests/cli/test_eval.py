"""`promptbot eval`, `report` and `runs`: exit statuses and what they print."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.errors import InputError
from promptbot.evals.records import load_records, run_folders
from tests.cli.screen import CTRL_C, Screen
from tests.evals.conftest import SuiteMaker, make_suite
from tests.evals.test_faults import FaultyServer, provider, remote

__all__ = ["make_suite", "provider"]

PROMPTBOT = [sys.executable, "-m", "promptbot"]
BAR = re.compile(
    r"(default|zero_shot) [━╸╺]* +(\d+)/24 (\d+\.\d)/s cost (\d+\.\d{4}) 0:00:(\d\d) 2 failed"
)
N_JOBS, DELAY_S = 2, 0.25


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


@pytest.mark.parametrize(("bound", "status"), [(0.95, 3), (0.1, 1)])
def test_a_reader_that_leaves_does_not_hide_the_gate(suite: str, bound: float, status: int) -> None:
    gate = f"exact(default) >= {bound}"
    with subprocess.Popen(
        [*PROMPTBOT, "eval", suite, "--gate", gate],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is printed, as `| head -0`
        told = process.stderr.read()
    assert process.returncode == status
    assert "Traceback" not in told


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


def test_texts_of_users_and_models_cannot_steer_the_terminal(
    make_suite: SuiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    steer = "\x1b]0;title\x07\x1b[2Jgone"
    rows = [{"input": f"{i} {steer}", "output": f"{steer} {i}", "kind": steer} for i in range(3)]
    path = make_suite(rows=rows, n_known=2)
    monkeypatch.chdir(path.parent)
    before = CliRunner().invoke(app, ["eval", path.name])
    make_suite(rows=rows, n_known=1)
    now = CliRunner().invoke(app, ["eval", path.name, "--no-cache"])
    names = [folder.name for folder in run_folders()]
    compared = CliRunner().invoke(app, ["compare", names[1], names[0]])
    for result in (before, now, compared):
        assert result.exit_code == 0
        assert "]0;title[2Jgone" in result.stdout
        assert not set(result.stdout) & {"\x1b", "\x07"}


def test_one_sample_is_told_as_one(suite: str) -> None:
    result = CliRunner().invoke(app, ["eval", suite, "--limit", "1"])
    assert "Every column answered the same 1 sample." in result.stdout


def test_a_suite_and_resume_together_are_refused(suite: str) -> None:
    for arguments in (["eval"], ["eval", suite, "--resume", "last"]):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, InputError)


@pytest.fixture
def slow_suite(make_suite: SuiteMaker, provider: FaultyServer) -> Path:
    """Return a suite over a slow provider with a price, one of whose answers always fails."""
    provider.delay_s = DELAY_S
    provider.fault = lambda question, nth: "garbled" if "one" in question else None
    path = make_suite(f"prices: {{'{remote(provider)}': {{input: 1000, output: 2000}}}}\n")
    path.write_text(re.sub("models:.*", f"models: ['{remote(provider)}']", path.read_text()))
    return path


def typed(suite: Path, *more: str) -> list[str]:
    return [*PROMPTBOT, "eval", *(more or (suite.name,)), "--jobs", str(N_JOBS), "--no-cache"]


def kept_cost(suite: Path) -> float:
    """Return what the run's answers cost, read from its records."""
    [folder] = run_folders(suite.parent / "runs")
    predictions = [record.prediction for record in load_records(folder).values()]
    return sum(p.cost for p in predictions if p and p.cost is not None)


def test_progress_tells_rate_cost_remaining_time_and_failures_in_60_columns(
    slow_suite: Path,
) -> None:
    with Screen(typed(slow_suite), columns=60, rows=60, cwd=slow_suite.parent) as screen:
        screen.expect("2 failed")
        [line] = [line for line in screen.lines if "/24" in line]
        found = BAR.fullmatch(line)
        assert found, line
        assert found[1] == "zero_shot"
        assert 12 < int(found[2]) < 24
        assert 0 < float(found[3]) < 1.5 * N_JOBS / DELAY_S
        so_far = float(found[4])
        assert int(found[5]) <= 10
        assert screen.wait() == 0
        total = kept_cost(slow_suite)
        assert 0.4 * total < so_far < total
        assert f"Cost of this run: {total:.4f}" in screen.text
        assert "/24" not in screen.text  # the bar is gone
        assert "default: 1 of 12 answers failed" in screen.text


def test_progress_of_a_resumed_run_starts_at_what_was_done_and_paid_for(
    slow_suite: Path, provider: FaultyServer
) -> None:

    def stall(question: str, nth: int) -> None:
        if sum(provider.n_asked.values()) > 8:  # so that it is stopped in time, however late
            provider.delay_s = 2

    provider.fault = stall
    with Screen(typed(slow_suite), columns=60, cwd=slow_suite.parent) as screen:
        screen.expect("/s cost")
        screen.send(CTRL_C)
        assert screen.wait() == 130
        assert "every answer so far is kept" in screen.text
    [folder] = run_folders(slow_suite.parent / "runs")
    n_done, paid = len(load_records(folder)), kept_cost(slow_suite)
    assert 0 < n_done < 24
    assert paid > 0
    provider.fault = lambda question, nth: None
    provider.delay_s = 2
    command = typed(slow_suite, "--resume", "last")
    with Screen(command, columns=60, cwd=slow_suite.parent) as screen:
        screen.expect(f"{n_done}/24")
        [line] = [line for line in screen.lines if "/24" in line]
        assert line.split("/24")[1].split() == ["cost", f"{paid:.4f}", "-:--:--"]
        provider.delay_s = 0
        assert screen.wait() == 0
        assert f"Cost of this run: {kept_cost(slow_suite):.4f}" in screen.text
    assert len(load_records(folder)) == 24


def test_without_a_terminal_progress_is_plain_lines(slow_suite: Path) -> None:
    done = subprocess.run(
        typed(slow_suite), cwd=slow_suite.parent, capture_output=True, text=True, check=True
    )
    [folder] = run_folders(slow_suite.parent / "runs")
    plan = done.stderr.splitlines()[2]
    # 12 samples, of which no fewer can differ than the difference itself needs.
    assert plan == (
        "Such a run shows differences of at least 57.8 points (with a power of 80%, where columns "
        "differ on 58% of the samples)."
    )
    assert done.stderr.splitlines() == [
        "small: 2 columns x 12 samples = 24 answers.",
        "Columns: default, zero_shot (reference: default).",
        plan,
        f"Run: runs/small/{folder.name}",
        f"Cost of this run: {kept_cost(slow_suite):.4f}",
    ]
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("By exact (against default)")
