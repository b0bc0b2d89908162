"""Baselines alone: how well they do, over the number of labelled examples that they learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from promptbot.errors import DataError, SpecError
from promptbot.evals.column_spec import ColumnSpec
from promptbot.evals.columns import Workshop
from promptbot.evals.metrics.text import exact
from promptbot.evals.stats import Interval, share_interval
from promptbot.evals.suite import Suite
from promptbot.evals.suite_spec import Budget
from promptbot.learn.baseline import Baseline
from promptbot.learn.search import Trial
from promptbot.learn.spec import CAUSAL, BaselineSpec
from promptbot.types import Prediction, Sample


@dataclass(frozen=True, slots=True)
class Trained:
    """One baseline, trained and measured."""

    name: str
    """The baseline's name."""
    budget: Budget | None
    """Labelled examples of each label; None for what the suite says."""
    seed: int
    """Of the draw."""
    baseline: Baseline
    """What was trained."""
    searched: bool
    """Whether a search for its settings was asked for."""
    scores: tuple[float, ...]
    """1 for each sample with the right label, or in chat bots the wanted answer word for word, else
    0; in the samples' order."""
    unseen: tuple[str, ...]
    """Labels among the samples that training never saw: no such sample can be right."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy of one baseline with one budget, over the seeds."""

    name: str
    """The baseline's name."""
    budget: Budget | None
    """Labelled examples of each label; None for what the suite says."""
    estimate: float
    """Share of right labels, in [0, 1]; the mean over the seeds."""
    interval: Interval
    """Of the samples, the seeds held fixed; at 95%."""
    lowest: float
    """Accuracy under the worst seed."""
    highest: float
    """Accuracy under the best seed."""
    n_seeds: int
    """Seeds."""


def with_baselines(suite: Suite, baselines: dict[str, BaselineSpec]) -> Suite:
    """Return a suite with these baselines in place of its own.

    Raises:
        SpecError: The bot's task has no labels to learn, or there are no baselines.
    """
    wrong = [b.method for b in baselines.values() if b.method not in CAUSAL]
    if suite.task != "classify" and wrong:
        raise SpecError(
            f"the bot's task is {suite.task}; {wrong[0]} learns labels.",
            place=str(suite.path),
            hint=f"Take --method {CAUSAL[0]} or {CAUSAL[1]}, or a suite of a classify bot.",
        )
    if not baselines:
        raise SpecError(
            "the suite names no baseline.",
            place=str(suite.path),
            hint="Add a line  baseline: linear_probe  or give --method linear_probe.",
        )
    prompted = tuple(column for column in suite.columns if not column.baseline)
    trained = tuple(
        ColumnSpec(name, prompted[0].variant, spec.starts_from(prompted[0].model), baseline=True)
        for name, spec in baselines.items()
    )
    spec = suite.spec.model_copy(update={"baseline": baselines})
    return replace(suite, spec=spec, columns=prompted + trained)


def train(
    suite: Suite,
    budgets: Sequence[Budget] = (),
    on_trial: Callable[[str, Trial], None] = lambda name, trial: None,
    on_memory: Callable[[str, int], None] = lambda name, n_bytes: None,
) -> Iterator[Trained]:
    """Yield every baseline of a suite, trained and measured, by budget and seed.

    Nothing is trained twice: what was trained before comes from the cache.

    Args:
        suite: With baselines.
        budgets: Labelled examples of each label; the suite's own where none are given.
        on_trial: Called with ``COLUMN/SEED`` and each setting that a search tries.
        on_memory: Called with it and about how many bytes a training takes, before it starts.

    Raises:
        DataError: Budgets are given and the suite has no pool to draw from; or a budget leaves
            fewer than two labels.
        UserError: An encoder cannot be loaded.
    """
    inputs = [item.sample for item in suite.samples]
    if budgets and suite.spec.pool is None:
        raise DataError(
            "a budget is given, but the suite has no pool to draw examples from.",
            place=str(suite.path),
            expected="Expected pool: {file: ...} with labelled examples.",
            hint="Leave the budget out: the bot's own examples are used.",
        )
    workshop = Workshop(suite, on_trial=on_trial, on_memory=on_memory)
    for budget in budgets or suite.spec.budgets or (None,):
        for column in suite.columns:
            if not column.baseline:
                continue
            for seed in suite.spec.seeds:
                baseline = workshop.baseline(replace(column, budget=budget), seed)
                predictions = baseline.predictor.predict(inputs)
                scores = tuple(
                    float(_is_right(prediction, sample, suite.task))
                    for prediction, sample in zip(predictions, inputs, strict=True)
                )
                unseen = set[str]()
                if suite.task == "classify":
                    unseen = {sample.target for sample in inputs} - set(baseline.labels)
                searched = suite.spec.baseline[column.curve or column.name].search > 0
                yield Trained(
                    column.name, budget, seed, baseline, searched, scores, tuple(sorted(unseen))
                )


def _is_right(prediction: Prediction, sample: Sample, task: str) -> bool:
    if task == "classify":
        return prediction.label == sample.target
    return bool(exact(prediction.text, sample.target))


def accuracies(suite: Suite, trained: Sequence[Trained]) -> list[Accuracy]:
    """Return the accuracy of each baseline and budget over its seeds, in their order."""
    groups = [item.group for item in suite.samples]
    found: dict[tuple[str, Budget | None], list[Trained]] = {}
    for item in trained:
        found.setdefault((item.name, item.budget), []).append(item)
    rows = []
    for (name, budget), items in found.items():
        means = [
            sum(column) / len(items) for column in zip(*(i.scores for i in items), strict=True)
        ]
        by_seed = [sum(item.scores) / len(item.scores) for item in items]
        interval = share_interval(means, groups)
        rows.append(
            Accuracy(
                name,
                budget,
                sum(means) / len(means),
                interval,
                min(by_seed),
                max(by_seed),
                len(items),
            )
        )
    return rows
