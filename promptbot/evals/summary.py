"""What a run's records come to: metrics, comparisons, verdict, and everything a report shows."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptbot.errors import InputError
from promptbot.evals.curve import LearningCurve, learning_curve
from promptbot.evals.gate import GateResult, judge
from promptbot.evals.judging import JudgeReport, load_reports
from promptbot.evals.ledger import Ledger, make_ledger
from promptbot.evals.manifest import draws_of, load_evaluation, repeats_of
from promptbot.evals.measures import KeptScore, MeasureFailed, load_kept, run_metric
from promptbot.evals.metrics.labels import confusion, count_labels
from promptbot.evals.metrics.metric import Metric, Outcome, Value
from promptbot.evals.outcomes import outcomes_of
from promptbot.evals.records import Key, Record, load_records, load_samples
from promptbot.evals.samples import EvalSample
from promptbot.evals.verdict import Comparison, Scale, Scores, compare_all


@dataclass(frozen=True, slots=True)
class LabelRow:
    """How well one column finds one label."""

    label: str
    """The label."""
    n: int
    """Its answers wanted, over all seeds and repeats."""
    precision: float
    """Share of its predictions that are right."""
    recall: float
    """Share of its samples that were found."""


@dataclass(frozen=True)
class Summary:
    """Everything that a report says."""

    folder: Path
    """The run's folder."""
    manifest: Mapping[str, Any]
    """What decided the predictions."""
    samples: tuple[EvalSample, ...]
    """On what."""
    records: Mapping[Key, Record]
    """What was answered."""
    columns: tuple[str, ...]
    """Names of the columns, the reference first."""
    metrics: tuple[str, ...]
    """Names of the metrics; the first one decides the verdict."""
    values: Mapping[str, Mapping[str, Value | None]]
    """Metrics by column and name."""
    scores: Mapping[str, tuple[float, ...]]
    """Scores of the first metric by column, in the samples' order, averaged over `draws_of`; nan
    where the metric does not concern the answers to a sample."""
    n_failed: Mapping[str, int]
    """Answers that failed, by column."""
    problems: Mapping[str, str]
    """Metrics that could not be computed, with why; their values are None."""
    comparisons: tuple[Comparison, ...]
    """Every other column against the reference."""
    slices: Mapping[str, Mapping[str, Mapping[str, Value | None]]]
    """The first metric by slice (``kind`` first), its value, and column; without samples that have
    no value there."""
    labels: Mapping[str, tuple[LabelRow, ...]]
    """By column; empty in chat suites."""
    confusions: Mapping[str, tuple[tuple[str, str, int], ...]]
    """The most frequent wrong labels by column, as (wanted, answered, times)."""
    ledgers: Mapping[str, Ledger]
    """Where the spread of each column's scores comes from; empty with one seed and one repeat."""
    gate: tuple[GateResult, ...]
    """The conditions, judged."""
    kept: Mapping[Key, Mapping[str, KeptScore]] = field(default_factory=dict)
    """Scores that were made when the run ended, by answer and metric."""
    judges: tuple[JudgeReport, ...] = ()
    """What is to be known of the judges before they are believed."""
    curve: LearningCurve | None = None
    """Accuracy by budget and what the prompts are worth; None in suites without budgets."""

    @property
    def suite(self) -> str:
        """The suite's name."""
        return str(self.manifest["suite"]["name"])

    @property
    def metric(self) -> Metric:
        """The metric that decides the verdict."""
        return self.metric_named(self.metrics[0])

    def metric_named(self, name: str) -> Metric:
        """Return a metric of the run."""
        return run_metric(self.manifest, name)

    @property
    def kinds(self) -> Mapping[str, Mapping[str, Value | None]]:
        """The first metric by kind of sample and column; empty where samples have no kinds."""
        return self.slices.get("kind", {})

    @property
    def scale(self) -> Scale:
        """What its scores mean."""
        return scale_of(self.metric)

    @property
    def gate_met(self) -> bool:
        """Whether every condition was met; true where there are none."""
        return all(result.met for result in self.gate)

    @property
    def headline(self) -> str:
        """The conclusion in one sentence."""
        if self.metric.name in self.problems and not self.comparisons:
            return f"No verdict: {self.metric.name} could not be measured."
        if self.curve:
            return self.curve.sentence
        return say_headline(self.columns, self.comparisons, self.metric.name)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing the numbers."""
        said = []
        n_answers = len(self.samples) * len(draws_of(self.manifest))
        for column, n in self.n_failed.items():
            if n:
                first = next(
                    r.error for r in self.records.values() if r.column == column and r.error
                )
                said.append(
                    f"{column}: {n} of {n_answers} answers failed and count as wrong; "
                    f"the first: {shorten(first, 200, placeholder=' …')}"
                )
        said += [f"{name} could not be measured: {why}" for name, why in self.problems.items()]
        said += [
            f"{one.name}: {n} of {one.n_asked} judgements could not be read, or failed, and do not "
            f"count; the first: {shorten(one.first_problem, 200, placeholder=' …')}"
            for one in self.judges
            if (n := one.n_unreadable + one.n_failed)
        ]
        if waiting := self.manifest.get("seeds_missing"):
            said.append(
                f"The run is not complete: what has seed {' or '.join(map(str, waiting))} is left "
                f"out. Go on with it: promptbot eval --resume {self.folder}"
            )
        if leaks := self.manifest["leaks"]:
            one = len(leaks) == 1
            said.append(
                f"{len(leaks)} sample{' is' if one else 's are'} also shown as "
                f"{'an example' if one else 'examples'} (--allow-leaks): scores are too high."
            )
        if unknown := self.manifest.get("unknown_targets"):
            said.append(unknown)
        if n_repeated := _count_repeated(self.samples):
            said.append(
                f"{n_repeated} of the samples say{'s' * (n_repeated == 1)} what another one says, "
                "and each counts by itself: verdicts are too sure. Delete them, or give those "
                "that belong together one group (fields: {group: ...})."
            )
        return tuple(said)

    def answers(self, column: str) -> Iterator[tuple[int, EvalSample, Record]]:
        """Yield a column's records in the samples' order, with place and sample of each."""
        draws = draws_of(self.manifest)
        for place, item in enumerate(self.samples):
            for draw in draws:
                yield place, item, self.records[Key(column, item.sample.id, *draw)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready values, the content of ``metrics.json``."""
        return {
            "suite": self.suite,
            "n_samples": len(self.samples),
            "reference": self.columns[0],
            "headline": self.headline,
            "warnings": list(self.warnings),
            "curve": asdict(self.curve) if self.curve else None,
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "gate": [asdict(result) for result in self.gate],
            "columns": {
                name: {
                    "n_failed": self.n_failed[name],
                    "metrics": {
                        metric: asdict(value) if value else None
                        for metric, value in self.values[name].items()
                    },
                    "labels": [asdict(row) for row in self.labels.get(name, ())],
                }
                for name in self.columns
            },
            "judges": [asdict(judge) for judge in self.judges],
            "ledger": {name: asdict(ledger) for name, ledger in self.ledgers.items()},
            "slices": {
                name: {
                    said: {column: asdict(v) if v else None for column, v in row.items()}
                    for said, row in rows.items()
                }
                for name, rows in self.slices.items()
            },
        }


def scale_of(metric: Metric) -> Scale:
    """Return what a metric's scores mean."""
    if metric.unit == "share":
        return Scale()
    return Scale(
        bounded=False,
        unit="" if metric.unit == "score" else metric.unit,
        higher_is_better=metric.higher_is_better,
    )


def summarise(folder: Path) -> Summary:
    """Return everything that a report of a run says; only the run's folder is read.

    Raises:
        InputError: The run is not complete.
        DataError: Its files cannot be read.
    """
    manifest = load_evaluation(folder)
    samples = load_samples(folder, manifest["data_hash"])
    records = load_records(folder, with_shown=True)
    columns = shown_names(manifest)
    metrics = tuple(manifest["metrics"])
    draws = draws_of(manifest)
    missing = Counter(
        draw[0]
        for column in manifest["columns"]
        for draw in draws
        for item in samples
        if Key(column["name"], item.sample.id, *draw) not in records
    )
    n_missing = missing.total()
    complete = [seed for seed in manifest["seeds"] if not missing[seed]]
    if n_missing and manifest.get("budgets") and complete:
        # A curve is asked seed by seed: the seeds that are there make one already.
        manifest |= {"seeds": complete, "seeds_missing": sorted(missing)}
        draws = draws_of(manifest)
    elif n_missing:
        raise InputError(
            f"the run is not complete: {n_missing} answers are missing.",
            place=str(folder),
            hint=f"Go on with it: promptbot eval --resume {folder}",
        )
    kept = load_kept(folder)
    scored = {key: {name: one.score for name, one in row.items()} for key, row in kept.items()}
    outcomes = {
        column: outcomes_of(column, samples, records, manifest, scored) for column in columns
    }
    metric = run_metric(manifest, metrics[0])
    set_of = metric.set_of or (lambda outcome: outcome.group)
    groups = [str(set_of(outcome)) for outcome in outcomes[columns[0]][: len(samples)]]
    tables = {}
    for column in columns:
        # A metric of the user's that raises is told as a problem of its value, below.
        with contextlib.suppress(Exception):
            tables[column] = _score_table(metric, outcomes[column], len(draws))
    scores = {column: tuple(_mean_draws(table).tolist()) for column, table in tables.items()}
    values, problems = _measure(manifest, metrics, outcomes)
    for name, said in manifest.get("measures", {}).items():
        if said["problem"]:
            problems.setdefault(name, said["problem"])
    judges = load_reports(folder)
    for one in judges:
        if one.kind == "pairwise":  # that the reference ties with itself says nothing
            values[columns[0]][one.name] = None
    scale = scale_of(metric)
    # Two columns that failed alike would look equal: one without any answer is not compared.
    silent = {c for c in columns if all(o.prediction is None for o in outcomes[c])}
    silent |= {column for column in columns if column not in scores}
    compared = [
        c
        for c in columns[1:]
        if not silent & {c, columns[0]} and _share_samples(scores[c], scores[columns[0]])
    ]
    comparisons = compare_all(
        Scores(columns[0], scores.get(columns[0], ())),
        [Scores(column, scores[column]) for column in compared],
        groups=groups,
        scale=scale,
        margin=float(manifest["suite"]["margin"]),
    )
    classify = manifest["task"] == "classify"
    return Summary(
        folder=folder,
        manifest=manifest,
        samples=samples,
        records=records,
        columns=columns,
        metrics=metrics,
        values=values,
        scores={column: scores.get(column, (0.0,) * len(samples)) for column in columns},
        problems=problems,
        n_failed={
            column: sum(outcome.prediction is None for outcome in outcomes[column])
            for column in columns
        },
        comparisons=tuple(comparisons),
        slices=_by_slice(metric, outcomes, samples, len(draws)),
        labels={c: _label_rows(outcomes[c]) for c in columns} if classify else {},
        confusions={c: _confusions(outcomes[c]) for c in columns} if classify else {},
        curve=learning_curve(manifest, samples, records),
        kept=kept,
        judges=judges,
        ledgers=_ledgers(tables, manifest),
        gate=tuple(
            judge(
                manifest["suite"]["gate"], values=values, scores=scores, groups=groups, scale=scale
            )
        ),
    )


def shown_names(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns whose samples and verdicts a report shows: of a curve, one budget's."""
    shown = manifest.get("shown_budget")
    return tuple(c["name"] for c in manifest["columns"] if c.get("budget") in (None, shown))


def say_headline(columns: Sequence[str], comparisons: Sequence[Comparison], metric: str) -> str:
    """Return a run's conclusion in one sentence."""
    if not comparisons and len(columns) > 1:
        return "No verdict: the reference, or every other column, failed on all samples."
    if not comparisons:
        return f"One column was measured, {columns[0]}: there is nothing to compare it with."
    reference = columns[0]
    better = [c.name for c in comparisons if c.outcome == "better"]
    worse = [c.name for c in comparisons if c.outcome == "worse"]
    alike = [c.name for c in comparisons if c.outcome == "no_difference"]
    open_ = [c.name for c in comparisons if c.outcome == "underpowered"]
    parts = []
    if better:
        parts.append(f"{_listed(better)} {_is(better)} better than {reference}")
    if worse:
        parts.append(f"{_listed(worse)} {_is(worse)} worse")
    if alike:
        parts.append(f"{_listed(alike)} {_is(alike)} no different in any way that matters")
    if open_:
        parts.append(f"too few samples to tell for {_listed(open_)}")
    against = "" if better else f" (against {reference})"
    return f"By {metric}{against}: {'; '.join(parts)}."


def _count_repeated(samples: Sequence[EvalSample]) -> int:
    """Return how many samples have input and target of another one of another group."""
    found = {(item.sample.input, item.sample.target, item.group) for item in samples}
    return len(found) - len({(given, target) for given, target, _ in found})


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _measure(
    manifest: Mapping[str, Any], metrics: Sequence[str], outcomes: Mapping[str, Sequence[Outcome]]
) -> tuple[dict[str, dict[str, Value | None]], dict[str, str]]:
    """Return the metrics by column and name, and why some of them could not be computed."""
    values: dict[str, dict[str, Value | None]] = {}
    problems: dict[str, str] = {}
    for column, found in outcomes.items():
        values[column] = {}
        for name in metrics:
            value = None
            try:
                value = run_metric(manifest, name).value(found)
            except MeasureFailed as error:
                problems.setdefault(name, str(error))
            except Exception as error:  # one metric must not cost the report
                problems.setdefault(name, f"{type(error).__name__}: {error} (in {column})")
            values[column][name] = value
    return values, problems


def _ledgers(
    tables: Mapping[str, NDArray[np.float64]], manifest: Mapping[str, Any]
) -> dict[str, Ledger]:
    seeds, n_repeats = list(manifest["seeds"]), repeats_of(manifest)
    if len(seeds) * n_repeats < 2:
        return {}
    return {
        column: make_ledger(whole.reshape(len(seeds), n_repeats, -1), seeds)
        for column, table in tables.items()
        if (whole := table[:, ~np.isnan(table).any(axis=0)]).size
    }


def _score_table(metric: Metric, outcomes: Sequence[Outcome], n_draws: int) -> NDArray[np.float64]:
    """Return the score of every call; nan where it concerns none.  # (n_draws, n_samples)"""
    # A failed answer without a score of its own (tokens, seconds) must not count in its favour.
    scores = metric.score_all(outcomes)
    found = [score for score in scores if score is not None]
    worst = 0.0 if metric.higher_is_better else max(found, default=0.0)
    table = np.array(
        [
            score if score is not None else worst if outcome.prediction is None else np.nan
            for score, outcome in zip(scores, outcomes, strict=True)
        ],
        np.float64,
    )
    return table.reshape(n_draws, -1)


def _mean_draws(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each sample's mean over the draws that concern it, else nan.  # (n_samples,)"""
    n = (~np.isnan(table)).sum(axis=0)
    means: NDArray[np.float64] = np.where(
        n > 0, np.nansum(table, axis=0) / np.maximum(n, 1), np.nan
    )
    return means


def _share_samples(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether the first metric concerns any sample in both columns."""
    return any(a == a and b == b for a, b in zip(one, other, strict=True))


def _value(metric: Metric, outcomes: Sequence[Outcome]) -> Value | None:
    """Return a metric; None also where it raises, which `Summary.problems` tells."""
    try:
        return metric.value(outcomes)
    except Exception:
        return None


def _by_slice(
    metric: Metric,
    outcomes: Mapping[str, Sequence[Outcome]],
    samples: Sequence[EvalSample],
    n_draws: int,
) -> dict[str, dict[str, dict[str, Value | None]]]:
    said = [{"kind": item.kind} | dict(item.slices) for item in samples] * n_draws
    found: dict[str, dict[str, dict[str, Value | None]]] = {}
    for name in dict.fromkeys(name for values in said for name in values):
        words = [values.get(name, "") for values in said]
        rows = {
            word: {
                column: _value(
                    metric, [o for o, w in zip(answers, words, strict=True) if w == word]
                )
                for column, answers in outcomes.items()
            }
            for word in dict.fromkeys(words)
            if word
        }
        # Of words that the metric does not concern there is nothing to say.
        if told := {word: row for word, row in rows.items() if any(row.values())}:
            found[name] = told
    return found


def _label_rows(outcomes: Sequence[Outcome]) -> tuple[LabelRow, ...]:
    targets = [outcome.sample.target for outcome in outcomes]
    predicted = [outcome.label for outcome in outcomes]
    counts = count_labels(targets, predicted)
    return tuple(
        LabelRow(label, int(counts.wanted[i]), float(counts.precision[i]), float(counts.recall[i]))
        for i, label in enumerate(counts.labels)
    )


def _confusions(outcomes: Sequence[Outcome], n: int = 10) -> tuple[tuple[str, str, int], ...]:
    targets = [outcome.sample.target for outcome in outcomes]
    predicted = [outcome.label for outcome in outcomes]
    found = confusion(targets, predicted)
    return tuple((t, p or "(no label)", times) for (t, p), times in list(found.items())[:n])
