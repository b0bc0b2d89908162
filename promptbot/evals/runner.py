"""Asks predictors the samples of a run, one record each, until nothing is missing.

A prompted chain, a fine-tuned baseline and a plain function are all a `Predictor`: the runner
cannot treat them differently, and imports neither torch nor LangChain.

The seconds of a record are those of its own answer. Answers of one call of `predict` share its time
equally; one from the cache keeps the time that the model once took; where calls run side by side,
each is timed from its start to its end, retries and waits for the provider included.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from promptbot.errors import BrokenOff, ProviderError, StoreError
from promptbot.evals.records import Key, Record, RecordFile, iter_missing
from promptbot.evals.samples import EvalSample
from promptbot.evals.suite_spec import PriceSpec
from promptbot.interfaces import HoldsWeights, Predictor, TakesThreads
from promptbot.models.call_cache import noting_replays
from promptbot.models.footprint import watching_memory
from promptbot.models.pace import Pace
from promptbot.types import Prediction, Sample

MAX_FAILED = 20
"""Failures of a remote model in a row that end a run: it would else spend hours on errors."""

MAX_BROKEN_OFF = 2
"""Further tries of a remote answer that broke off in the middle."""

GRACE_S = 10.0
"""How long a run that is stopped waits for answers that are under way, and perhaps paid for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One column under one seed, asked once."""

    column: str
    """The column's name."""
    seed: int
    """Seed of everything random."""
    load: Callable[[], Predictor]
    """Makes the predictor; called only where a sample is missing."""
    repeat: int = 0
    """Which of several equal calls, from 0."""
    remote: bool = False
    """Whether the time goes into waiting, so that several calls may run side by side."""
    n_together: int | None = 1
    """Samples in one call of `predict`. None where an answer depends on all samples of the call:
    then they are asked all at once, also when only some are missing."""
    price: PriceSpec | None = None
    """What tokens cost."""


@dataclass(frozen=True, slots=True)
class Call:
    """Some samples that one predictor is asked."""

    job: Job
    """For what."""
    predictor: Predictor
    """Whom."""
    samples: tuple[Sample, ...]
    """What."""


def run_jobs(
    jobs: Iterable[Job],
    samples: Sequence[EvalSample],
    file: RecordFile,
    done: Mapping[Key, Record],
    *,
    n_parallel: int = 1,
    n_threads: int = 1,
    per_minute: float | None = None,
    on_record: Callable[[Record], None] = lambda record: None,
    on_stop: Callable[[int], None] = lambda n_under_way: None,
    on_memory: Callable[[Job, int], None] = lambda job, n_bytes: None,
) -> None:
    """Ask every job the samples that it has not answered, and append each record as it is made.

    A predictor that raises makes a record with its error, and the run goes on. Records are written
    by this thread alone, whole, in the order in which answers come. However the run ends, answers
    that are under way are waited for and kept, as long as `GRACE_S`.

    Args:
        jobs: What to ask, in this order.
        samples: The samples, the same for all.
        file: Where records go.
        done: Records of an earlier part of this run.
        n_parallel: Calls of remote jobs under way at most.
        n_threads: Calls of a job that answers here under way at most, where its predictor takes
            threads; others are asked one after the other.
        per_minute: Calls of remote jobs that begin in a minute at most; None for no limit.
        on_record: Called with each new record.
        on_stop: Called with the number of calls under way when the run is stopped.
        on_memory: Called at the end of each job that answered here with its memory in bytes: its
            weights, and what answering took beside them at its peak.

    Raises:
        ProviderError: A remote job failed `MAX_FAILED` times in a row.
        StoreError: Records cannot be written.
    """
    n_failed = 0
    crews = {True: Crew(n_parallel), False: Crew(n_threads)}  # of remote jobs, and of others
    crew = crews[True]
    pace = Pace(per_minute)

    def keep(records: Sequence[Record], job: Job) -> None:
        nonlocal n_failed
        for record in records:
            kept = file.append(record)
            n_failed = 0 if record.prediction or not job.remote else n_failed + 1
            on_record(kept)
        if n_failed >= MAX_FAILED:
            raise ProviderError(
                f"the last {n_failed} answers of {job.column} failed; the last: "
                f"{records[-1].error}",
                hint="Mend the cause and go on; what was answered is kept.",
            )

    def keep_next(timeout_s: float | None = None) -> None:
        call, records = crew.next(timeout_s)
        keep(records, call.job)

    def start(call: Call) -> None:
        # As many again wait for a thread, which then need not wait for a record to be written. With
        # a limit on their rate none does: it has its turn when it begins.
        n_waiting = 0 if call.job.remote and per_minute else crew.n
        if crew.n_busy >= crew.n + n_waiting:
            keep_next()
        if call.job.remote:
            pace.wait()
        crew.start(call)

    def finish() -> None:
        while crew.n_busy:
            keep_next()

    try:
        for job in jobs:
            missing = list(iter_missing(samples, job.column, job.seed, job.repeat, done))
            if not missing:
                continue
            if job.n_together is None:
                missing = [item.sample for item in samples]
            size = job.n_together or len(missing)
            predictor = job.load()
            calls = [
                Call(job, predictor, tuple(missing[start : start + size]))
                for start in range(0, len(missing), size)
            ]
            if not job.remote:
                finish()
            crew = crews[job.remote]
            if job.remote:
                for call in calls:
                    start(call)
                continue
            takes_threads = isinstance(predictor, TakesThreads) and predictor.takes_threads
            with watching_memory() as grown:
                for call in calls:
                    if takes_threads and n_threads > 1:
                        start(call)
                    else:
                        keep(ask(call), job)
                finish()
            if isinstance(predictor, HoldsWeights) and grown.n_bytes is not None:
                on_memory(job, predictor.n_bytes + grown.n_bytes)
        finish()
    except BaseException as stop:
        crew.forget_waiting()
        if crew.n_busy and not isinstance(stop, StoreError):
            on_stop(crew.n_busy)
            n_failed = -crew.n_busy  # why the run ends is known already
            deadline = time.monotonic() + GRACE_S
            while crew.n_busy and (left_s := deadline - time.monotonic()) > 0:
                try:
                    keep_next(left_s)
                except queue.Empty:
                    break
        raise


def ask(call: Call) -> list[Record]:
    """Return the records of a call, one for each sample.

    Where several samples fail together they are asked one by one, so that an error is kept with
    the sample that it belongs to.
    """
    started = time.perf_counter()
    try:
        with noting_replays() as replay:
            predictions = _predict(call)
            seconds = time.perf_counter() - started + replay.seconds
        if len(predictions) != len(call.samples):
            raise ValueError(f"{len(predictions)} answers to {len(call.samples)} samples")
    except Exception as failure:  # whatever it is, it belongs to these samples and is kept
        if len(call.samples) > 1:
            alone = [replace(call, samples=(sample,)) for sample in call.samples]
            return [record for one in alone for record in ask(one)]
        seconds = time.perf_counter() - started
        error = f"{type(failure).__name__}: {failure}"
        return [_record(call, call.samples[0], None, error, seconds)]
    cached = replay.n_hits > 0 and replay.n_misses == 0
    if cached and len(predictions) == 1 and predictions[0].first_token_s is not None:
        predictions = [replace(predictions[0], first_token_s=replay.first_token_s)]
    return [
        _record(
            call, sample, _priced(prediction, call.job), None, seconds / len(predictions), cached
        )
        for sample, prediction in zip(call.samples, predictions, strict=True)
    ]


def _predict(call: Call) -> list[Prediction]:
    """Return the answers to a call; one that broke off is asked for again."""
    for _ in range(MAX_BROKEN_OFF):
        try:
            return call.predictor.predict(call.samples)
        except BrokenOff:  # nobody has seen its beginning, so the next one may be another
            continue
    return call.predictor.predict(call.samples)


def _record(
    call: Call,
    sample: Sample,
    prediction: Prediction | None,
    error: str | None,
    seconds: float,
    cached: bool = False,
) -> Record:
    job = call.job
    return Record(
        job.column, sample.id, job.seed, prediction, error, seconds, job.repeat, cached=cached
    )


def _priced(prediction: Prediction, job: Job) -> Prediction:
    """Return a prediction with what it cost, where that is known."""
    n_read = prediction.n_prompt_tokens
    if job.price is None or n_read is None:
        return prediction
    return replace(prediction, cost=job.price.of(n_read, prediction.n_generated_tokens or 0))


class Crew:
    """Threads that ask, as many as are needed.

    They end with the process, so that a stopped run never hangs on a provider that is silent.

    Args:
        n: Threads at most.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        """Threads at most."""
        self.n_busy = 0
        """Calls under way, and those that wait for a thread."""
        self._threads: list[threading.Thread] = []
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Call, list[Record]]] = queue.SimpleQueue()

    def start(self, call: Call) -> None:
        """Let a thread ask."""
        self.n_busy += 1
        self._calls.put(call)
        if len(self._threads) < min(self.n, self.n_busy):
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()

    def forget_waiting(self) -> None:
        """Let no call begin any more that has not begun."""
        with suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
                self.n_busy -= 1

    def next(self, timeout_s: float | None = None) -> tuple[Call, list[Record]]:
        """Return the call that is answered next, with its records.

        Raises:
            queue.Empty: There was none in this time.
        """
        answered = self._answers.get(timeout=timeout_s)
        self.n_busy -= 1
        return answered

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            self._answers.put((call, ask(call)))
