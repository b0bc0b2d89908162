"""Scores that are made once, when a run ends, and kept in its folder.

A judge costs money, a reference model takes time, and a user's own function is code that a report
must not run. So what they say is written to ``scores.jsonl``, one line per answer and metric, and
the manifest says what the numbers mean (``measures``); reports read only these.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptbot.errors import DataError
from promptbot.evals.lines import whole_lines
from promptbot.evals.manifest import load_manifest
from promptbot.evals.metrics.metric import Metric, Outcome
from promptbot.evals.metrics.registry import known_metric
from promptbot.evals.records import (
    Key,
    save_json,
    save_text,
)
from promptbot.evals.suite import Suite

SCORES = "scores.jsonl"
"""The file in a run's folder."""


@dataclass(frozen=True, slots=True)
class KeptScore:
    """What one metric says of one answer."""

    metric: str
    """The metric's name."""
    key: Key
    """Of which answer."""
    score: float | None
    """The score; None where the metric does not concern the answer, or could not be read."""
    why: str = ""
    """What a judge said for it; empty for others."""

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        values = {"metric": self.metric, **self.key._asdict(), "score": self.score}
        return json.dumps(values | ({"why": self.why} if self.why else {}), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one metric says of a whole run."""

    metric: Metric
    """The metric, with the unit that its scores turned out to have."""
    scores: tuple[KeptScore, ...]
    """Of every answer; empty where there is a problem."""
    problem: str | None = None
    """Why it could not be measured."""


def measure_own(suite: Suite, outcomes: Mapping[str, Sequence[Outcome]]) -> list[Measured]:
    """Return what the metrics of the suite's Python files say of a run's answers, by column."""
    return [_measure(metric, outcomes) for metric in suite.own_metrics.values()]


def _measure(metric: Metric, outcomes: Mapping[str, Sequence[Outcome]]) -> Measured:
    found: list[KeptScore] = []
    values: list[float | None] = []
    for column, of_column in outcomes.items():
        answered = [outcome for outcome in of_column if outcome.prediction is not None]
        try:
            scored = metric.score_all(answered)
        except Exception as error:  # the user's code; it must not cost the run
            return Measured(metric, (), f"{type(error).__name__}: {error} (in {column})")
        values += scored
        found += [
            KeptScore(metric.name, key_of(column, outcome), None if s is None else float(s))
            for s, outcome in zip(scored, answered, strict=True)
        ]
    said = [value for value in values if value is not None]
    if metric.unit == "score" and said and all(isinstance(value, bool) for value in said):
        metric = Metric(metric.name, metric.about, "share", metric.higher_is_better)
    return Measured(metric, tuple(found))


def key_of(column: str, outcome: Outcome) -> Key:
    """Return what an outcome's record answers."""
    return Key(column, outcome.sample.id, outcome.seed, outcome.repeat)


def save_measured(folder: Path, measured: Sequence[Measured]) -> None:
    """Write what was measured into a run's folder, in place of what was there."""
    lines = [score.to_line() + "\n" for one in measured for score in one.scores]
    save_text(folder / SCORES, "".join(lines))
    manifest = load_manifest(folder)
    manifest["measures"] = {one.metric.name: _said(one.metric, one.problem) for one in measured}
    save_json(folder / "manifest.json", manifest)


def not_measured(metrics: Iterable[Metric], folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of kept metrics before the run ends."""
    problem = f"the run was stopped before; go on with it: promptbot eval --resume {folder}"
    return {metric.name: _said(metric, problem) for metric in metrics}


def _said(metric: Metric, problem: str | None) -> dict[str, Any]:
    return {
        "about": metric.about,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "problem": problem,
    }


def load_kept(folder: Path) -> dict[Key, dict[str, KeptScore]]:
    """Return the kept scores of a run, by answer and metric.

    Raises:
        DataError: A line is no score.
    """
    found: dict[Key, dict[str, KeptScore]] = {}
    path = folder / SCORES
    for number, line in whole_lines(path):
        try:
            values = json.loads(line)
            key = Key(values["column"], values["sample"], values["seed"], values["repeat"])
            score = KeptScore(values["metric"], key, values["score"], values.get("why", ""))
        except (ValueError, KeyError, TypeError):
            raise DataError(
                "this line is no score.",
                place=f"{path}, line {number}",
                hint="Delete the file and resume the run: it is made anew.",
            ) from None
        found.setdefault(key, {})[score.metric] = score
    return found


def run_metric(manifest: Mapping[str, Any], name: str) -> Metric:
    """Return a metric of a run: one that it kept scores of, ours, or an installed package's.

    Raises:
        SpecError: It is not known here.
    """
    said = manifest.get("measures", {}).get(name)
    if said is None:
        return known_metric(name)

    def score(outcome: Outcome) -> float | None:
        if said["problem"]:
            raise MeasureFailed(said["problem"])
        return outcome.kept.get(name)

    return Metric(name, said["about"], said["unit"], said["higher_is_better"], score=score)


class MeasureFailed(Exception):
    """A kept metric has no scores; the text says why."""
