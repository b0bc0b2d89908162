"""Conditions that a run must meet, judged on the bound of an interval and not on the mean.

``accuracy(nearest) >= 0.8`` is met when even the lower bound of the interval is; and ``nearest not
worse than zero_shot by 0.02`` when the interval of their paired difference lies above -0.02. All
conditions must hold together, so none needs a correction for the others (an intersection-union
test: Berger 1982, Technometrics 24:295).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from promptbot.errors import SpecError
from promptbot.evals.metrics.metric import Value
from promptbot.evals.stats import Interval, paired_interval
from promptbot.evals.verdict import Scale

Comparator = Literal[">=", "<="]

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_BOUND = re.compile(rf"^([a-z][a-z0-9_]*)\s*\(\s*(.+?)\s*\)\s*(>=|<=)\s*{_NUMBER}$")
_NOT_WORSE = re.compile(rf"^(\S+)\s+not\s+worse\s+than\s+(\S+)\s+by\s+{_NUMBER}$")

FORMS = (
    'Expected  METRIC(COLUMN) >= NUMBER  (or <=), as "accuracy(nearest) >= 0.8", or  '
    'COLUMN not worse than COLUMN by NUMBER, as "nearest not worse than zero_shot by 0.02".'
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, parsed."""

    text: str
    """As it was written."""
    names: tuple[str, ...]
    """The columns that it names: one, or the judged one and the other."""
    number: float
    """The bound, or the margin."""
    metric: str | None = None
    """The metric of a bound; None where two columns are compared by the suite's first metric."""
    comparator: Comparator = ">="
    """The side of a bound."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a condition was met."""

    text: str
    """The condition."""
    met: bool
    """Whether it was."""
    reason: str
    """The figures that decided it."""


def parse_condition(text: str, place: str = "gate") -> Condition:
    """Return a condition.

    Raises:
        SpecError: It has neither form.
    """
    text = " ".join(text.split())
    if match := _BOUND.match(text):
        metric, name, comparator, number = match.groups()
        return Condition(text, (name,), float(number), metric, cast(Comparator, comparator))
    if match := _NOT_WORSE.match(text):
        name, other, number = match.groups()
        return Condition(text, (name, other), float(number))
    raise SpecError(
        f'"{text}" is not a condition.', place=place, expected=FORMS, hint="Correct the condition."
    )


def judge(
    conditions: Sequence[str],
    *,
    values: Mapping[str, Mapping[str, Value | None]],
    scores: Mapping[str, Sequence[float]],
    groups: Sequence[str],
    scale: Scale,
) -> list[GateResult]:
    """Return whether each condition was met.

    Args:
        conditions: As written.
        values: The metrics, by column and by name.
        scores: The scores of the suite's first metric by column, sample by sample.
        groups: The conversation of each sample.
        scale: What these scores mean.
    """
    results = []
    for condition in map(parse_condition, conditions):
        if condition.metric:
            value = values[condition.names[0]][condition.metric]
            results.append(_judge_bound(condition, value))
        else:
            results.append(_judge_pair(condition, scores, groups, scale))
    return results


def _judge_bound(condition: Condition, value: Value | None) -> GateResult:
    if value is None or value.interval is None:
        what = "no value" if value is None else "no interval"
        reason = f"not met: {condition.metric} has {what} here, so nothing is certain about it"
        return GateResult(condition.text, False, reason)
    at_least = condition.comparator == ">="
    bound = value.interval.low if at_least else value.interval.high
    met = bound >= condition.number if at_least else bound <= condition.number
    reason = (
        f"{'met' if met else 'not met'}: {condition.metric} is {value.estimate:.3f}, and at 95% "
        f"{'at least' if at_least else 'at most'} {bound:.3f} (wanted {condition.comparator} "
        f"{condition.number:g}; n = {value.n})"
    )
    return GateResult(condition.text, met, reason)


def _judge_pair(
    condition: Condition,
    scores: Mapping[str, Sequence[float]],
    groups: Sequence[str],
    scale: Scale,
) -> GateResult:
    name, other = condition.names
    if absent := [column for column in condition.names if column not in scores]:
        reason = f"not met: {absent[0]} has no scores, so nothing is certain about it"
        return GateResult(condition.text, False, reason)
    triples = [
        (a - b, group)
        for a, b, group in zip(scores[name], scores[other], groups, strict=True)
        if a == a and b == b  # not nan: the metric concerns the sample in both columns
    ]
    if not triples:
        reason = f"not met: no sample has a score in both {name} and {other}"
        return GateResult(condition.text, False, reason)
    differences = [difference for difference, _ in triples]
    interval = paired_interval(
        differences,
        [group for _, group in triples],
        largest=scale.largest(scores[name], scores[other]),
    )
    if not scale.higher_is_better:
        interval = Interval(-interval.high, -interval.low, interval.confidence)
    met = interval.low > -condition.number
    at_worst = scale.tell(max(0.0, -interval.low))  # in this order 0.0 is never told as -0.0
    reason = (
        f"{'met' if met else 'not met'}: at 95% {name} is worse than {other} by at most "
        f"{at_worst} (allowed: {scale.tell(condition.number)}; n = {len(differences)})"
    )
    return GateResult(condition.text, met, reason)
