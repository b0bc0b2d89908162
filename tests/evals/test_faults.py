"""What may go wrong around a run: kills, providers, disks, second writers, metrics and data."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.errors import DataError, ProviderError, StoreError
from promptbot.evals.evaluation import Throughput, evaluate, resume
from promptbot.evals.metrics.registry import METRICS
from promptbot.evals.records import RecordFile, load_records, load_texts, run_folders
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import summarise
from promptbot.models.providers import estimated_text_tokens
from tests.evals.conftest import ROWS, SuiteMaker
from tests.evals.test_evaluation import numbers, run


def forked(work: Callable[[], object], stop: Callable[[], bool]) -> int:
    """Do something in another process, kill it when `stop` says so, and return its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if stop():
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]


def kill_at_random(path: Path, n_kills: int, seed: int) -> None:
    """Kill a run again and again, resume it, and compare it with one that nothing stopped."""
    whole = run(path)
    n_bytes = (whole.folder / "records.jsonl").stat().st_size
    rng = random.Random(seed)
    n_broken = 0
    for number in range(n_kills):
        runs = path.parent / f"killed{number}"
        moment, more_s = rng.randrange(int(0.8 * n_bytes)), rng.random() * 0.001

        def stop(runs: Path = runs, moment: int = moment, more_s: float = more_s) -> bool:
            found = list(runs.glob("*/*/records.jsonl"))
            if not found or found[0].stat().st_size < moment:
                return False
            time.sleep(more_s)
            return True

        forked(lambda runs=runs: evaluate(load_suite(path), runs=runs), stop)  # type: ignore[misc]
        [folder] = run_folders(runs)
        n_broken += len(load_records(folder)) < 24
        again = resume(folder)
        assert json.dumps(numbers(again)) == json.dumps(numbers(whole))
        lines = (folder / "records.jsonl").read_text().splitlines()
        assert len(lines) == len({json.loads(line)["sample"] for line in lines}) * 2 == 24
        texts = load_texts(folder)
        assert {record.shown for record in load_records(folder).values()} == set(texts)
    assert n_broken


def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_happened(
    make_suite: SuiteMaker,
) -> None:
    kill_at_random(make_suite(), n_kills=6, seed=1)


@pytest.mark.slow
def test_killed_at_50_moments_a_run_ends_as_if_nothing_had_happened(
    make_suite: SuiteMaker,
) -> None:
    kill_at_random(make_suite(), n_kills=50, seed=2)


FAULTS = ("429", "500", "half", "garbled", "nothing", "empty")


class FaultyHandler(BaseHTTPRequestHandler):
    """Fails the first requests about each question in its own way, then streams an answer."""

    server: FaultyServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = asked["messages"][-1]["content"]
        prompt = json.dumps(asked["messages"])
        with self.server.lock:
            self.server.n_asked[prompt] += 1
            nth = self.server.n_asked[prompt]
        time.sleep(self.server.delay_s)
        answer = self.server.answers[question]
        fault = self.server.fault(question, nth)
        if fault in ("429", "500"):
            body = json.dumps({"error": {"message": "busy", "code": None}}).encode()
            self._send(int(fault), body, {"Retry-After": "0.02"})
        elif fault == "garbled":
            self._send(200, b'data: {"choices": [{"delta": oops\n\n')
        elif fault == "nothing":
            self.close_connection = True
        elif fault == "half":
            self._send(200, _events(answer)[0], length=10_000)
            self.close_connection = True
        elif fault == "empty":
            self._send(200, b"data: [DONE]\n\n")
        else:
            self._send(200, b"".join(_events(answer)))

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        kind = "text/event-stream" if status == 200 else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class FaultyServer(ThreadingHTTPServer):
    """A provider whose faults a test decides by question and number of the request."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers = {row["input"]: row["output"] for row in ROWS}
        self.fault: Callable[[str, int], str | None] = lambda question, nth: None
        self.delay_s = 0.0
        self.n_asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), FaultyHandler)


def _events(text: str) -> list[bytes]:
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": text[: len(text) // 2]}, None),
        ({"content": text[len(text) // 2 :]}, None),
        ({}, "stop"),
    ]
    events = [
        {**body, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    return [*(f"data: {json.dumps(e)}\n\n".encode() for e in events), b"data: [DONE]\n\n"]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = FaultyServer()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def remote(server: FaultyServer) -> str:
    return f"openai:m@http://127.0.0.1:{server.server_address[1]}/v1"


def test_a_provider_with_every_fault_is_asked_until_it_answers(
    make_suite: SuiteMaker, provider: FaultyServer
) -> None:
    places = {row["input"]: number for number, row in enumerate(ROWS)}

    def fault(question: str, nth: int) -> str | None:
        kind = FAULTS[places[question] % len(FAULTS)]
        return kind if nth == 1 and kind != "empty" else None

    provider.fault = fault
    path = make_suite()
    summary = run(path, models=[remote(provider)])
    assert summary.n_failed == {"default": 2, "zero_shot": 2}  # invalid JSON is not asked again
    exact = summary.values["default"]["exact"]
    assert exact is not None
    assert exact.estimate == pytest.approx(10 / 12)
    assert all(
        "sent what is no answer" in str(r.error) for r in summary.records.values() if r.error
    )
    assert set(provider.n_asked.values()) == {1, 2}
    # Resuming asks for what failed alone, and what was answered comes from nowhere else.
    provider.fault = lambda question, nth: None
    provider.n_asked.clear()
    assert resume(summary.folder).n_failed == {"default": 0, "zero_shot": 0}
    assert sum(provider.n_asked.values()) == 4


def test_a_second_run_is_answered_from_the_cache(
    make_suite: SuiteMaker, provider: FaultyServer
) -> None:
    path = make_suite()
    suite = load_suite(path, models=[remote(provider)])
    first = evaluate(suite, runs=path.parent / "runs")
    n_asked = sum(provider.n_asked.values())
    assert n_asked == 24
    second = evaluate(suite, runs=path.parent / "runs")
    assert sum(provider.n_asked.values()) == n_asked
    assert all(record.cached for record in second.records.values())
    assert not any(record.cached for record in first.records.values())
    assert numbers(second) == numbers(first)
    third = evaluate(suite, runs=path.parent / "runs", throughput=Throughput(use_cache=False))
    assert sum(provider.n_asked.values()) == 2 * n_asked
    assert numbers(third) == numbers(first)


def test_written_tokens_are_estimated_and_cost_where_the_provider_tells_none(
    make_suite: SuiteMaker, provider: FaultyServer
) -> None:
    spec = remote(provider)
    path = make_suite(f"prices: {{'{spec}': {{input: 0, output: 1000000}}}}\n")
    for record in run(path, models=[spec]).records.values():
        assert record.prediction
        n_written = record.prediction.n_generated_tokens
        assert n_written == estimated_text_tokens(record.prediction.text) > 0
        assert record.prediction.cost == n_written


def test_repeats_are_never_answered_from_each_other(
    make_suite: SuiteMaker, provider: FaultyServer
) -> None:
    path = make_suite("repeats: 3\n")
    suite = load_suite(path, models=[remote(provider)], variants=["zero_shot"])
    evaluate(suite, runs=path.parent / "runs")
    assert set(provider.n_asked.values()) == {3}


def test_a_provider_that_always_fails_ends_the_run_and_can_be_resumed(
    make_suite: SuiteMaker, provider: FaultyServer
) -> None:
    provider.fault = lambda question, nth: "garbled"
    path = make_suite()
    with pytest.raises(ProviderError, match=r"the last 2[0-9] answers of .* failed"):
        run(path, models=[remote(provider)])
    provider.fault = lambda question, nth: None
    [folder] = run_folders(path.parent / "runs")
    assert resume(folder).n_failed == {"default": 0, "zero_shot": 0}


@pytest.mark.parametrize("n_bytes", [100, 2500, 4000, 6500])
def test_a_full_disk_is_told_and_what_was_written_goes_on_elsewhere(
    make_suite: SuiteMaker, tmp_path: Path, n_bytes: int
) -> None:
    path = make_suite()
    whole = run(path)
    runs, said = tmp_path / "full", tmp_path / "said"

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        error = ""
        suite = load_suite(path)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, most))
        try:
            evaluate(suite, runs=runs)
        except StoreError as failure:
            error = str(failure)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        said.write_text(error)

    assert forked(work, lambda: False) == 0
    assert "cannot be written (File too large)" in said.read_text()
    folders = run_folders(runs)
    assert ("nothing was asked yet" in said.read_text()) == (not folders)
    if folders:
        assert "--resume" in said.read_text()
        assert numbers(resume(folders[0])) == numbers(whole)


def test_a_folder_that_cannot_be_made_is_told(make_suite: SuiteMaker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="no folder can be made for the run"):
        evaluate(load_suite(make_suite()), runs=tmp_path / "file")


def test_a_second_writer_is_refused_with_status_2(make_suite: SuiteMaker) -> None:
    folder = run(make_suite()).folder
    with RecordFile(folder):
        result = CliRunner().invoke(app, ["eval", "--resume", str(folder)])
    assert getattr(result.exception, "exit_status", None) == 2
    assert "another process is writing to this run" in str(result.exception)


@pytest.mark.parametrize("name", ["token_f1", "exact"])
def test_a_metric_that_raises_costs_its_own_figure_alone(
    make_suite: SuiteMaker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def broken(outcome: object) -> float:
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setitem(METRICS, name, replace(METRICS[name], score=broken))
    path = make_suite("gate: ['exact(default) >= 0.5', 'default not worse than zero_shot by .1']\n")
    summary = run(path)
    assert summary.values["default"][name] is None
    assert summary.values["default"]["contains"] is not None
    why = f"{name} could not be measured: ZeroDivisionError: nothing to divide (in default)"
    assert why in summary.warnings
    for file in ("report.md", "report.html"):
        assert "nothing to divide" in (summary.folder / file).read_text()
    if name == "exact":
        assert summary.headline == "No verdict: exact could not be measured."
        assert not any(result.met for result in summary.gate)
    assert summarise(summary.folder).to_dict() == summary.to_dict()


def test_a_suite_of_one_class_is_measured(make_classifier: Any, tmp_path: Path) -> None:
    make_classifier()
    rows = [{"input": f"Where is card {n}?", "label": "card_lost"} for n in range(8)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = tmp_path / "s.jsonl"
    script.write_text(json.dumps({"match": "", "text": "lost card"}))
    path = tmp_path / "one.yaml"
    path.write_text(
        f"name: one\nbot: sorter\ndata: {{file: data.jsonl}}\nmodels: ['scripted:{script}']\n"
    )
    summary = run(path)
    accuracy = summary.values["default"]["accuracy"]
    assert accuracy is not None
    assert accuracy.estimate == 1.0
    assert not summary.problems
    json.loads((summary.folder / "metrics.json").read_text(), parse_constant=pytest.fail)


def change_manifest(folder: Path, **values: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").write_text("{}"), "suite: field required"),
        (lambda folder: change_manifest(folder, metrics=None), "metrics: input should be a valid"),
        (lambda folder: change_manifest(folder, columns=[{}]), r"columns.0.name: field required"),
        (lambda folder: change_manifest(folder, options={"x": 1}), r"options.x: extra inputs"),
        (lambda folder: (folder / "samples.jsonl").unlink(), "not the samples that the run began"),
        (lambda folder: (folder / "samples.jsonl").write_text(""), "not the samples that the run"),
        (lambda folder: (folder / "samples.jsonl").write_text("{"), "not the samples that the run"),
    ],
)
def test_a_damaged_run_is_told_with_its_file(
    make_suite: SuiteMaker, damage: Callable[[Path], object], message: str
) -> None:
    folder = run(make_suite()).folder
    damage(folder)
    in_manifest = "samples" not in message
    commands = [["report", str(folder)], ["compare", str(folder), str(folder)]]
    for command in [*commands, *([["eval", "--resume", str(folder)]] if in_manifest else [])]:
        result = CliRunner().invoke(app, command)
        assert getattr(result.exception, "exit_status", None) == 2
        assert re.search(rf"{folder}/\w+.jsonl?: .*{message}", str(result.exception))
    if not in_manifest:
        resume(folder)
        summarise(folder)


def test_a_damaged_report_of_a_judge_is_told(make_suite: SuiteMaker) -> None:
    folder = run(make_suite()).folder
    (folder / "judges").mkdir()
    (folder / "judges" / "judges.json").write_text("{")
    with pytest.raises(DataError, match=r"judges.json: what is known of the judges cannot be read"):
        summarise(folder)
