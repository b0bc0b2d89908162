"""The runner: what runs side by side, what a stop costs, and what failures become."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from promptbot.errors import BrokenOff, ProviderError
from promptbot.evals import runner
from promptbot.evals.records import RecordFile, load_records
from promptbot.evals.runner import MAX_FAILED, Job, run_jobs
from promptbot.evals.samples import EvalSample
from promptbot.evals.suite_spec import PriceSpec
from promptbot.models.call_cache import CachedModel, CallCache
from promptbot.models.scripted import ScriptedModel
from promptbot.types import Prediction, Sample

SAMPLES = tuple(
    EvalSample(Sample(f"d:{n}", f"question {n}", f"answer {n}"), "", f"#{n}", n) for n in range(40)
)


class Plain:
    """Answers with a function of one sample, and counts its calls."""

    def __init__(self, answer: Callable[[Sample], str]) -> None:
        self.answer = answer
        self.calls: list[tuple[str, ...]] = []

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        self.calls.append(tuple(sample.id for sample in samples))
        return [Prediction(self.answer(sample), n_prompt_tokens=10) for sample in samples]


class Threaded(Plain):
    """The same, as a model that computes in several threads at once."""

    takes_threads = True


def run(folder: Path, job: Job, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    with RecordFile(folder) as file:
        run_jobs([job], SAMPLES, file, load_records(folder), **settings)
    return folder


def right(sample: Sample) -> str:
    return sample.target


def side_by_side(n: int) -> pytest.MarkDecorator:
    """Return the mark of a test over remote calls and over threads, so many of them at once."""
    return pytest.mark.parametrize(
        ("kind", "remote", "allowed"),
        [(Plain, True, {"n_parallel": n}), (Threaded, False, {"n_threads": n})],
    )


@side_by_side(5)
def test_calls_run_side_by_side_and_never_more_than_allowed(
    tmp_path: Path, kind: type[Plain], remote: bool, allowed: dict[str, int]
) -> None:
    lock, busy, most = threading.Lock(), 0, 0
    meet = threading.Barrier(5, timeout=30)

    def answer(sample: Sample) -> str:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        meet.wait()  # passes only where five are under way at once
        with lock:
            busy -= 1
        return sample.target

    folder = run(tmp_path / "r", Job("a", 0, lambda: kind(answer), remote=remote), **allowed)
    assert most == 5
    records = load_records(folder)
    assert len(records) == 40
    assert all(r.prediction and r.prediction.text.startswith("answer") for r in records.values())


@pytest.mark.parametrize(("kind", "n_threads"), [(Plain, 5), (Threaded, 1)])
def test_other_local_calls_are_made_one_by_one_by_the_calling_thread(
    tmp_path: Path, kind: type[Plain], n_threads: int
) -> None:
    threads = set()

    def answer(sample: Sample) -> str:
        threads.add(threading.current_thread())
        return sample.target

    run(tmp_path / "r", Job("a", 0, lambda: kind(answer)), n_parallel=5, n_threads=n_threads)
    assert threads == {threading.current_thread()}


def test_a_stopped_run_keeps_the_answers_that_are_under_way_and_begins_no_other(
    tmp_path: Path,
) -> None:
    release = threading.Event()

    def answer(sample: Sample) -> str:
        if sample.id in ("d:0", "d:1", "d:2"):
            return sample.target
        release.wait(30)
        return sample.target

    told = []

    def on_record(record: object) -> None:
        if not told:
            raise KeyboardInterrupt

    def on_stop(n: int) -> None:
        told.append(n)
        release.set()

    plain = Plain(answer)
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path / "r",
            Job("a", 0, lambda: plain, remote=True),
            n_parallel=4,
            on_record=on_record,
            on_stop=on_stop,
        )
    assert 3 <= told[0] <= 6  # up to two that were answered, and four
    kept = load_records(tmp_path / "r").values()
    assert len(kept) == 1 + told[0]
    assert {record.sample for record in kept} == {asked for [asked] in plain.calls}


@side_by_side(2)
def test_the_next_call_begins_while_a_record_is_written(
    tmp_path: Path, kind: type[Plain], remote: bool, allowed: dict[str, int]
) -> None:
    begun = threading.Semaphore(0)
    waited = []

    def answer(sample: Sample) -> str:
        begun.release()
        return sample.target

    def on_record(record: object) -> None:
        if not waited:  # of the two that began first, at least one is answered
            waited.append(all(begun.acquire(timeout=30) for _ in range(4)))

    job = Job("a", 0, lambda: kind(answer), remote=remote)
    run(tmp_path / "r", job, on_record=on_record, **allowed)
    assert waited == [True]


def test_a_stopped_run_leaves_answers_that_do_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    silent = threading.Event()

    def answer(sample: Sample) -> str:
        if sample.id != "d:0":
            silent.wait(60)
        return sample.target

    def on_record(record: object) -> None:
        raise KeyboardInterrupt

    job = Job("a", 0, lambda: Plain(answer), remote=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", job, n_parallel=4, on_record=on_record)
    assert len(load_records(tmp_path / "r")) == 1
    silent.set()


def test_samples_that_are_read_together_share_the_time_and_keep_their_own_errors(
    tmp_path: Path,
) -> None:
    def answer(sample: Sample) -> str:
        if sample.id == "d:7":
            raise ValueError("seven")
        return sample.target

    plain = Plain(answer)
    records = load_records(run(tmp_path / "r", Job("a", 0, lambda: plain, n_together=16)))
    assert [len(call) for call in plain.calls] == [16, *[1] * 16, 16, 8]
    failed = [record for record in records.values() if record.error]
    assert [(record.sample, record.error) for record in failed] == [("d:7", "ValueError: seven")]
    later = {r.seconds for r in records.values() if r.sample in plain.calls[-1]}
    assert len(later) == 1


def test_answers_that_depend_on_each_other_are_asked_all_at_once_again(tmp_path: Path) -> None:
    folder = run(tmp_path / "r", Job("a", 0, lambda: Plain(right)))
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:-1]))
    plain = Plain(lambda sample: "anew")
    run(folder, Job("a", 0, lambda: plain, n_together=None))
    assert [len(call) for call in plain.calls] == [40]
    assert {r.prediction.text for r in load_records(folder).values() if r.prediction} == {"anew"}


def test_a_predictor_that_answers_too_little_is_an_error(tmp_path: Path) -> None:
    class Short:
        def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
            return []

    records = load_records(run(tmp_path / "r", Job("a", 0, Short)))
    assert {record.error for record in records.values()} == {"ValueError: 0 answers to 1 samples"}


@pytest.mark.parametrize("n_parallel", [1, 4])
def test_a_remote_model_that_only_fails_ends_the_run(tmp_path: Path, n_parallel: int) -> None:
    def answer(sample: Sample) -> str:
        if sample.id == "d:2":
            return sample.target
        raise ConnectionError("no route")

    job = Job("a", 0, lambda: Plain(answer), remote=True)
    with pytest.raises(ProviderError, match=r"last \d+ answers of a failed.*no route"):
        run(tmp_path / "r", job, n_parallel=n_parallel)
    assert MAX_FAILED < len(load_records(tmp_path / "r")) < 40
    run(tmp_path / "r", replace(job, load=lambda: Plain(right)))
    assert all(record.prediction for record in load_records(tmp_path / "r").values())


def test_tokens_are_priced(tmp_path: Path) -> None:
    job = Job("a", 0, lambda: Plain(right), price=PriceSpec(input=2.0, output=8.0))
    [record, *_] = load_records(run(tmp_path / "r", job)).values()
    assert record.prediction is not None
    assert record.prediction.cost == pytest.approx(10 * 2e-6)


def test_an_answer_from_the_cache_keeps_the_seconds_of_the_first_time(tmp_path: Path) -> None:
    cache = CallCache(tmp_path / "answers.sqlite")
    model = CachedModel(ScriptedModel(answers=[{"match": "", "text": "yes"}]), cache)

    class Asking:
        def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
            text = model.invoke([HumanMessage(samples[0].input)]).text
            return [Prediction(str(text), first_token_s=1e-6)]

    run(tmp_path / "first", Job("a", 0, Asking))
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        [[answer], *_] = db.execute("SELECT answer FROM answers").fetchall()
        slow = json.loads(answer) | {"seconds": 100.0, "first_token_s": 40.0}
        db.execute("UPDATE answers SET answer = ?", (json.dumps(slow),))
    records = load_records(run(tmp_path / "second", Job("a", 0, Asking))).values()
    assert all(record.cached and record.seconds > 100 for record in records)
    assert {r.prediction.first_token_s for r in records if r.prediction} == {40.0}
    assert not any(record.cached for record in load_records(tmp_path / "first").values())


def test_an_answer_that_broke_off_is_asked_for_again_twice(tmp_path: Path) -> None:
    n_asked: Counter[str] = Counter()

    def answer(sample: Sample) -> str:
        n_asked[sample.id] += 1
        if (sample.id == "d:3" and n_asked["d:3"] < 3) or sample.id == "d:4":
            raise BrokenOff("half an answer", hint="Ask again.")
        return sample.target

    records = load_records(run(tmp_path / "r", Job("a", 0, lambda: Plain(answer))))
    assert [record.sample for record in records.values() if record.error] == ["d:4"]
    assert (n_asked["d:3"], n_asked["d:4"], n_asked["d:5"]) == (3, 3, 1)


def test_a_rate_spaces_calls_out(tmp_path: Path) -> None:
    started: list[float] = []

    def answer(sample: Sample) -> str:
        started.append(time.monotonic())
        return sample.target

    job = Job("a", 0, lambda: Plain(answer), remote=True)
    run(tmp_path / "r", job, n_parallel=8, per_minute=6000)
    assert max(started) - min(started) >= 39 * 0.01 - 0.02  # a lower bound, however loaded
