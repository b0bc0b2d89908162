"""Asks predictors the samples of a run, one record each, until nothing is missing.

A prompted chain, a fine-tuned baseline and a plain function are all a `Predictor`: the runner
cannot treat them differently, and imports neither torch nor LangChain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from promptbot.evals.records import Key, Record, RecordFile, iter_missing
from promptbot.evals.suite import EvalSample
from promptbot.interfaces import Predictor
from promptbot.types import Sample


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


def run_jobs(
    jobs: Iterable[Job],
    samples: Sequence[EvalSample],
    file: RecordFile,
    done: Mapping[Key, Record],
    on_record: Callable[[Record], None] | None = None,
) -> None:
    """Ask every job the samples that it has not answered, and append each record as it is made.

    A predictor that raises makes a record with its error, and the run goes on. Samples are asked
    one by one, so that the seconds of a record are those of its answer alone.

    Args:
        jobs: What to ask, in this order.
        samples: The samples, the same for all.
        file: Where records go.
        done: Records of an earlier part of this run.
        on_record: Called with each new record.
    """
    for job in jobs:
        missing = list(iter_missing(samples, job.column, job.seed, job.repeat, done))
        if not missing:
            continue
        predictor = job.load()
        for sample in missing:
            record = file.append(ask(predictor, sample, job))
            if on_record:
                on_record(record)


def ask(predictor: Predictor, sample: Sample, job: Job) -> Record:
    """Return the record of one sample."""
    prediction, error = None, None
    started = time.perf_counter()
    try:
        [prediction] = predictor.predict([sample])
    except Exception as failure:  # whatever it is, it belongs to this sample and is kept with it
        error = f"{type(failure).__name__}: {failure}"
    seconds = time.perf_counter() - started
    return Record(job.column, sample.id, job.seed, prediction, error, seconds, job.repeat)
