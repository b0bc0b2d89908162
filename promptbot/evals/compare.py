"""Two runs of a suite against each other: what changed between them, and what it did."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from promptbot.errors import InputError
from promptbot.evals.manifest import draws_of
from promptbot.evals.records import Key, Record
from promptbot.evals.samples import EvalSample
from promptbot.evals.summary import Summary
from promptbot.evals.verdict import Comparison, Scores, compare_pairs

MAX_FLIPS = 10
"""Samples of each kind that a comparison lists for a column."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample that one run answers better than the other."""

    column: str
    """The column's name."""
    sample: str
    """The sample's id."""
    input: str
    """Its input."""
    target: str
    """What was wanted."""
    before: str
    """The first run's answer, under its first seed."""
    now: str
    """The second run's."""
    is_gain: bool
    """Whether the second run scores higher."""


@dataclass(frozen=True)
class RunComparison:
    """The second run compared with the first, column by column, on the samples of both."""

    before: Summary
    """The first run."""
    now: Summary
    """The second run."""
    n_shared: int
    """Samples with the same input and target in both."""
    n_only: tuple[int, int]
    """Samples of the first run alone, and of the second."""
    comparisons: tuple[Comparison, ...]
    """The second run's columns against the first run's of the same name; one family."""
    changes: tuple[str, ...]
    """What differs between the runs, one sentence each."""
    prompt_diffs: Mapping[str, str]
    """By column: a unified diff of the first prompt that differs; empty where none was kept."""
    flips: tuple[Flip, ...]
    """Samples whose score changed, at most `MAX_FLIPS` gains and losses for each column."""

    @property
    def headline(self) -> str:
        """The conclusion in one sentence."""
        by_outcome = {
            outcome: [c.name for c in self.comparisons if c.outcome == outcome]
            for outcome in ("better", "worse", "no_difference", "underpowered")
        }
        words = {
            "better": "better than before",
            "worse": "worse than before",
            "no_difference": "no different in any way that matters",
            "underpowered": "too few samples to tell",
        }
        parts = [
            f"{', '.join(names)}: {words[outcome]}"
            for outcome, names in by_outcome.items()
            if names
        ]
        return f"By {self.now.metric.name}: {'; '.join(parts)}."

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready values."""
        return {
            "before": str(self.before.folder),
            "now": str(self.now.folder),
            "metric": self.now.metric.name,
            "n_shared": self.n_shared,
            "n_only_before": self.n_only[0],
            "n_only_now": self.n_only[1],
            "headline": self.headline,
            "changes": list(self.changes),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "prompt_diffs": dict(self.prompt_diffs),
            "flips": [asdict(flip) for flip in self.flips],
        }


def compare_runs(before: Summary, now: Summary) -> RunComparison:
    """Return the second run compared with the first.

    Columns are paired by name and samples by input and target, so a suite may have grown between
    the runs. Scores are those of the second run's first metric.

    Raises:
        InputError: The runs share no column or no sample, or the first metric differs.
    """
    if before.metric.name != now.metric.name:
        raise InputError(
            f"the verdict of one run is by {before.metric.name}, of the other by "
            f"{now.metric.name}.",
            place=str(now.folder),
            hint="Compare runs of one suite, or run it again with one metric.",
        )
    columns = [name for name in now.columns if name in before.columns]
    places = _shared_samples(before.samples, now.samples)
    if not columns or not places:
        what = "column" if not columns else "sample"
        raise InputError(
            f"the runs share no {what}.",
            place=f"{before.folder} and {now.folder}",
            expected=f"Columns: {', '.join(before.columns)}; and {', '.join(now.columns)}.",
            hint="Compare two runs of one suite.",
        )
    silent = {
        name
        for run in (before, now)
        for name in columns
        if run.n_failed[name] == len(run.samples) * len(draws_of(run.manifest))
    }
    columns = [name for name in columns if name not in silent] or columns
    told = [
        name
        for name in columns
        if any(
            before.scores[name][i] == before.scores[name][i]
            and now.scores[name][j] == now.scores[name][j]
            for i, j in places
        )
    ]
    pairs = [
        (
            Scores("before", [before.scores[name][i] for i, _ in places]),
            Scores(name, [now.scores[name][j] for _, j in places]),
        )
        for name in told
    ]
    return RunComparison(
        before=before,
        now=now,
        n_shared=len(places),
        n_only=(len(before.samples) - len(places), len(now.samples) - len(places)),
        comparisons=tuple(
            compare_pairs(
                pairs,
                groups=[now.samples[j].group for _, j in places],
                scale=now.scale,
                margin=float(now.manifest["suite"]["margin"]),
            )
        ),
        changes=tuple(_changes(before.manifest, now.manifest, columns)),
        prompt_diffs={
            name: diff for name in columns if (diff := _prompt_diff(before, now, name, places))
        },
        flips=tuple(flip for name in columns for flip in _flips(before, now, name, places)),
    )


def _shared_samples(
    before: Sequence[EvalSample], now: Sequence[EvalSample]
) -> list[tuple[int, int]]:
    """Return the places of equal samples in both runs; each is used once."""
    known: dict[tuple[str, str], list[int]] = {}
    for i, item in enumerate(before):
        known.setdefault((item.sample.input, item.sample.target), []).append(i)
    shared = []
    for j, item in enumerate(now):
        if found := known.get((item.sample.input, item.sample.target)):
            shared.append((found.pop(0), j))
    return shared


def _changes(
    before: Mapping[str, Any], now: Mapping[str, Any], columns: Sequence[str]
) -> list[str]:
    said = []
    if before["suite"]["name"] != now["suite"]["name"]:
        said.append(f"The suite: {before['suite']['name']}, now {now['suite']['name']}.")
    if before["data_hash"] != now["data_hash"]:
        said.append("The samples.")
    specs = [{c["name"]: c for c in run["columns"]} for run in (before, now)]
    for name in columns:
        old, new = specs[0][name], specs[1][name]
        if old["model"] != new["model"]:
            said.append(f"{name}: the model was {old['model']}, now {new['model']}.")
        hashes = [
            {key: value for key, value in run["bot_hashes"].items() if key.startswith(f"{name}/")}
            for run in (before, now)
        ]
        if any(hashes[0].get(key, value) != value for key, value in hashes[1].items()):
            said.append(f"{name}: its prompt: template, settings, examples or notes.")
    for spec, revision in now["models"].items():
        if before["models"].get(spec, revision) != revision:
            said.append(f"The weights of {spec}.")
    for what in ("seeds", "repeats"):
        if before.get(what, 1) != now.get(what, 1):
            said.append(f"{what.capitalize()}: {before.get(what, 1)}, now {now.get(what, 1)}.")
    for package, version in now["versions"].items():
        old_version = before["versions"].get(package)
        if old_version != version:
            said.append(f"{package}: {old_version or 'not there'}, now {version}.")
    return said


def _first(run: Summary, column: str, place: int) -> Record:
    """Return a sample's record under the run's first seed."""
    seed, repeat = draws_of(run.manifest)[0]
    return run.records[Key(column, run.samples[place].sample.id, seed, repeat)]


def _prompt_diff(
    before: Summary, now: Summary, column: str, places: Sequence[tuple[int, int]]
) -> str:
    """Return how the first prompt that differs has changed, as a unified diff."""
    for i, j in places:
        old, new = _lines(_first(before, column, i)), _lines(_first(now, column, j))
        if old and new and old != new:
            diff = difflib.unified_diff(old, new, "before", "now", lineterm="", n=2)
            return "\n".join(diff)
    return ""


def _lines(record: Record) -> list[str]:
    """Return the prompt of an answer, line by line; empty where it was not kept."""
    messages = record.prediction.messages if record.prediction else None
    return [line for m in messages or () for line in f"[{m.role}] {m.content}".splitlines()]


def _flips(
    before: Summary, now: Summary, column: str, places: Sequence[tuple[int, int]]
) -> list[Flip]:
    found: dict[bool, list[Flip]] = {True: [], False: []}
    for i, j in places:
        old, new = before.scores[column][i], now.scores[column][j]
        if not abs(old - new) >= 1e-12:  # also where either is nan
            continue
        is_gain = (new > old) == now.metric.higher_is_better
        if len(found[is_gain]) < MAX_FLIPS:
            sample = now.samples[j].sample
            found[is_gain].append(
                Flip(
                    column,
                    sample.id,
                    sample.input,
                    sample.target,
                    before=_answer(_first(before, column, i)),
                    now=_answer(_first(now, column, j)),
                    is_gain=is_gain,
                )
            )
    return found[False] + found[True]


def _answer(record: Record) -> str:
    if record.prediction is None:
        return f"failed: {record.error}"
    return record.prediction.label or record.prediction.text
