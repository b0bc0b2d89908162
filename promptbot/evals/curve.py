"""The learning curve of a run: accuracy by budget for every prompt and baseline, and the advice."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptbot.evals.manifest import draws_of
from promptbot.evals.records import Key, Record
from promptbot.evals.samples import EvalSample
from promptbot.evals.worth import Crossover, Estimate, Pair, Scores, compare, resample


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One curve at one budget."""

    budget: str
    """As the suite says it."""
    accuracy: Estimate
    """Share of right labels, over seeds and samples."""
    by_seed: tuple[float, ...]
    """The same under each seed."""
    train_s: float | None
    """Seconds of training, the mean over the seeds; None for prompts."""
    train_bytes: float | None
    """Memory of training at its peak, weights included, the most over the seeds; None for prompts
    and where the system does not tell."""
    answer_s: float
    """Seconds of an answer, the median."""
    answer_bytes: float | None
    """Memory of answering, the weights and what it took beside them at its peak, the most over the
    seeds; None where the model runs elsewhere or the system does not tell."""
    n_tokens: float | None
    """Tokens read and written per answer, the mean; None for predictors that read no prompt."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One prompt or baseline over the budgets."""

    name: str
    """The column without the budget."""
    trained: bool
    """Whether it is a baseline."""
    flat: bool
    """Whether it shows no examples, so that its one result stands for every budget."""
    points: tuple[CurvePoint, ...]
    """By budget, the smallest first."""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What a suite with budgets found."""

    budgets: tuple[str, ...]
    """As the suite says them."""
    sizes: tuple[float, ...]
    """Examples a label that they come to, the mean over the labels."""
    shown: int
    """Which of them the sentence speaks of, from 0."""
    n_samples: int
    """Samples."""
    n_seeds: int
    """Draws of examples."""
    n_labels: int
    """Labels of the pool."""
    curves: tuple[Curve, ...]
    """In the suite's order."""
    pairs: tuple[Pair, ...]
    """Every prompt against every baseline; the one that the sentence speaks of first."""
    sentence: str
    """The advice."""

    def curve(self, name: str) -> Curve:
        """Return the curve of this name."""
        return next(curve for curve in self.curves if curve.name == name)


class Tally:
    """Tells the accuracy of each column under each seed as soon as it is complete.

    Args:
        manifest: Of a run with budgets.
        samples: Its samples.
        records: What is answered already.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        samples: Sequence[EvalSample],
        records: Mapping[Key, Record],
    ) -> None:
        self._items = {item.sample.id: item for item in samples}
        self._n_wanted = len(samples) * int(manifest.get("repeats", 1))
        self._n_columns = len(manifest["columns"])
        self._right: dict[tuple[str, int], dict[tuple[str, int], bool]] = {}
        self._complete: dict[int, int] = {}
        for record in records.values():
            self.add(record)

    def add(self, record: Record) -> list[str]:
        """Return what is complete with this record, as lines to show; mostly none."""
        if record.prediction is None:
            return []
        cell = self._right.setdefault((record.column, record.seed), {})
        key = (record.sample, record.repeat)
        if key in cell:
            return []
        cell[key] = _is_right(record, self._items[record.sample])
        if len(cell) < self._n_wanted:
            return []
        n = self._complete[record.seed] = self._complete.get(record.seed, 0) + 1
        accuracy = sum(cell.values()) / len(cell)
        lines = [f"{record.column}, seed {record.seed}: {accuracy:.1%}"]
        if n == self._n_columns:
            lines.append(f"The curve with seed {record.seed} is complete.")
        return lines


def learning_curve(
    manifest: Mapping[str, Any], samples: Sequence[EvalSample], records: Mapping[Key, Record]
) -> LearningCurve | None:
    """Return what a run over budgets found; None for a run without budgets.

    The sentence compares the suite's reference, or its first prompt, with the baseline that does
    best at the shown budget: the prompt was chosen before anything was measured, and a choice
    among baselines after the fact is one in their favour.
    """
    if not manifest.get("budgets"):
        return None
    counts: Mapping[str, int] = manifest["pool"]
    sizes: dict[Any, float] = {}
    for budget in sorted(manifest["budgets"], key=lambda b: math.inf if b == "all" else b):
        most = math.inf if budget == "all" else budget
        size = sum(min(most, n) for n in counts.values()) / len(counts)
        if not sizes or size > max(sizes.values()):  # no label had more examples
            sizes[budget] = size
    budgets = list(sizes)
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for column in manifest["columns"]:
        columns.setdefault(column["curve"], []).append(column)
    measured = [
        Scores(
            name, bool(found[0]["baseline"]), _scores(found, budgets, manifest, samples, records)
        )
        for name, found in columns.items()
    ]
    resampled = resample(measured, list(sizes.values()), [item.group for item in samples])
    curves = tuple(
        Curve(
            one.name,
            one.trained,
            columns[one.name][0]["budget"] is None,
            tuple(
                _point(
                    _column(columns[one.name], budget),
                    budget,
                    accuracy,
                    one.values[number].mean(axis=1).tolist(),
                    manifest,
                    samples,
                    records,
                )
                for number, (budget, accuracy) in enumerate(
                    zip(budgets, resampled.accuracy(one.name), strict=True)
                )
            ),
        )
        for one in measured
    )
    shown_budget = manifest["shown_budget"]
    shown = budgets.index(shown_budget) if shown_budget in budgets else len(budgets) - 1
    prompts = [one.name for one in measured if not one.trained]
    baselines = sorted(
        (one.name for one in measured if one.trained),
        key=lambda name: -resampled.points[name][shown],
    )
    pairs = tuple(compare(resampled, p, b) for p in prompts for b in baselines)
    names = tuple(map(str, budgets))
    margin = float(manifest["suite"]["margin"])
    return LearningCurve(
        budgets=names,
        sizes=tuple(sizes.values()),
        shown=shown,
        n_samples=len(samples),
        n_seeds=len(manifest["seeds"]),
        n_labels=len(counts),
        curves=curves,
        pairs=pairs,
        sentence=recommend(pairs[0], tuple(sizes.values()), shown, margin)
        if pairs
        else "A curve of one kind alone: without a prompt and a baseline nothing is compared.",
    )


def recommend(pair: Pair, sizes: Sequence[float], shown: int, margin: float) -> str:
    """Return what to do with as many examples as are there, and when that changes.

    Args:
        pair: The prompt and the baseline.
        sizes: Examples a label, by budget.
        shown: Which of them is there.
        margin: The smallest difference that matters.
    """
    d = pair.differences[shown]
    at = f"At {say_size(sizes[shown])} {_examples(sizes[shown])} a label"
    largest = sizes[-1]
    passes = say_crossover(pair.crossover, pair.baseline, largest)
    if d.low > 0:
        return (
            f"Prompt. {at} {pair.prompt} is {d.value * 100:.1f} points better than {pair.baseline} "
            f"[{d.low * 100:.1f}, {d.high * 100:.1f}]; {passes}."
        )
    if d.high < 0:
        return (
            f"Fine-tune. {at} {pair.baseline} is {-d.value * 100:.1f} points better than "
            f"{pair.prompt} [{-d.high * 100:.1f}, {-d.low * 100:.1f}]; {passes}."
        )
    between = f"[{d.low * 100:+.1f}, {d.high * 100:+.1f}]"
    if max(-d.low, d.high) <= margin:
        return (
            f"Prompt, for it needs no training. {at} {pair.prompt} and {pair.baseline} differ by "
            f"less than {margin * 100:g} points ({d.value * 100:+.1f} {between}); {passes}."
        )
    return (
        f"Not decided. {at} {pair.prompt} and {pair.baseline} are {abs(d.value) * 100:.1f} points "
        f"apart, which may be chance ({d.value * 100:+.1f} {between}); {passes}. "
        "More samples or seeds would tell."
    )


def say_crossover(crossover: Crossover, baseline: str, largest: float) -> str:
    """Return in words from when on a baseline is better, ``it`` being known from before."""
    if crossover.kind == "never":
        text = f"{baseline} does not pass it within the {say_size(largest)} examples a label"
        text += " measured here"
        if crossover.low is not None and crossover.low < largest * 0.999:
            text += f" (at the earliest at {say_size(crossover.low)})"
        return text
    if crossover.kind == "always":
        text = f"{baseline} is ahead from the fewest examples measured here"
        if crossover.high is None:
            return f"{text}, though not for certain"
        return f"{text} (for certain from {say_size(crossover.high)} a label on)"
    assert crossover.budget is not None
    low = "fewer than measured" if crossover.low is None else say_size(crossover.low)
    high = "more than measured" if crossover.high is None else say_size(crossover.high)
    return (
        f"{baseline} is ahead from about {say_size(crossover.budget)} [{low}, {high}] "
        "examples a label on"
    )


def say_size(n: float) -> str:
    """Return a number of examples with two digits, as ``1.5``, ``45`` or ``130``."""
    if n < 10:
        return f"{round(n, 1):g}"
    digits = 10 ** max(0, math.floor(math.log10(n)) - 1)
    return f"{round(n / digits) * digits:g}"


def _examples(n: float) -> str:
    return "example" if n == 1 else "examples"


def _column(found: Sequence[Mapping[str, Any]], budget: Any) -> Mapping[str, Any]:
    return next(column for column in found if column["budget"] in (None, budget))


def _draws(manifest: Mapping[str, Any]) -> list[list[tuple[int, int]]]:
    """Return seed and repeat of every answer to a sample, those of one seed together."""
    draws = draws_of(manifest)
    return [[draw for draw in draws if draw[0] == seed] for seed in manifest["seeds"]]


def _scores(
    found: Sequence[Mapping[str, Any]],
    budgets: Sequence[Any],
    manifest: Mapping[str, Any],
    samples: Sequence[EvalSample],
    records: Mapping[Key, Record],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return which answers are right.  # (n_budgets, n_seeds, n_samples)"""
    return np.array(
        [
            [
                [
                    statistics.fmean(
                        _is_right(records[Key(column["name"], item.sample.id, *draw)], item)
                        for draw in draws
                    )
                    for item in samples
                ]
                for draws in _draws(manifest)
            ]
            for column in (_column(found, budget) for budget in budgets)
        ]
    )


def _is_right(record: Record, item: EvalSample) -> bool:
    return record.prediction is not None and record.prediction.label == item.sample.target


def _point(
    column: Mapping[str, Any],
    budget: Any,
    accuracy: Estimate,
    by_seed: Sequence[float],
    manifest: Mapping[str, Any],
    samples: Sequence[EvalSample],
    records: Mapping[Key, Record],
) -> CurvePoint:
    keys = [
        Key(column["name"], item.sample.id, *draw)
        for draw in draws_of(manifest)
        for item in samples
    ]
    answers = [records[key] for key in keys]
    tokens = [
        record.prediction.n_prompt_tokens + (record.prediction.n_generated_tokens or 0)
        for record in answers
        if record.prediction and record.prediction.n_prompt_tokens is not None
    ]
    names = [f"{column['name']}/{seed}" for seed in manifest["seeds"]]
    trained = [manifest.get("trained", {}).get(name, {}) for name in names]
    seconds = [one["train_seconds"] for one in trained if one]
    training = [one["train_bytes"] for one in trained if one.get("train_bytes")]
    answering = [n for name in names if (n := manifest.get("answer_bytes", {}).get(name))]
    return CurvePoint(
        budget=str(budget),
        accuracy=accuracy,
        by_seed=tuple(by_seed),
        train_s=statistics.fmean(seconds) if seconds else None,
        train_bytes=max(training, default=None),
        answer_bytes=max(answering, default=None),
        answer_s=statistics.median(record.seconds for record in answers),
        n_tokens=statistics.fmean(tokens) if tokens else None,
    )
