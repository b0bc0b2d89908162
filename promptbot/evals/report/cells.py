"""Numbers as a report writes them."""

from __future__ import annotations

from collections.abc import Mapping

from promptbot.evals.metrics.metric import Metric, Value
from promptbot.evals.summary import Summary
from promptbot.evals.verdict import Comparison, Scale


def number(metric: Metric, value: float) -> str:
    """Return a value in its metric's unit: shares in percent."""
    if metric.unit == "share":
        return f"{value * 100:.1f}%"
    if metric.unit == "tokens":
        return f"{value:.0f}"
    return f"{value:.3f}"


def estimate(metric: Metric, value: Value | None) -> tuple[str, str]:
    """Return a metric's estimate and its interval; empty texts where it has none."""
    if value is None:
        return "", ""
    interval = value.interval
    if interval is None:
        # A mean of few values, or of values that hardly differ; other metrics have none at all.
        return number(metric, value.estimate), "no interval" if metric.has_scores else ""
    return (
        number(metric, value.estimate),
        f"{number(metric, interval.low)} to {number(metric, interval.high)}",
    )


def difference(comparison: Comparison, scale: Scale) -> str:
    """Return a difference with its interval, as ``+3.2 (0.4 to 6.1) points``."""
    low = scale.tell(comparison.interval.low, sign=True).partition(" ")[0]
    high = scale.tell(comparison.interval.high, sign=True).partition(" ")[0]
    first, _, unit = scale.tell(comparison.difference, sign=True).partition(" ")
    return f"{first} ({low} to {high}) {unit}".strip()


def p_value(p: float) -> str:
    """Return a p-value with three digits, or that it is smaller."""
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def kind_size(values: Mapping[str, Value | None]) -> int:
    """Return how many samples a kind has, of its values by column."""
    return max((value.n for value in values.values() if value), default=0)


def shown_metrics(summary: Summary) -> list[str]:
    """Return the metrics of which at least one column has a value."""
    return [
        name
        for name in summary.metrics
        if any(summary.values[column][name] for column in summary.columns)
    ]


def _count(n: int) -> str:
    return f"{n} sample{'s' * (n != 1)}"


VERDICT_WORDS = {
    "better": "better",
    "worse": "worse",
    "no_difference": "no difference that matters",
    "underpowered": "underpowered",
}
"""The verdicts in a reader's words."""


def method(summary: Summary) -> str:
    """Return how the verdict was reached, in a few sentences."""
    n = len(summary.comparisons)
    tests = {comparison.test for comparison in summary.comparisons}
    words = {"mcnemar": "McNemar's exact test", "permutation": "a paired permutation test"}
    used = " and ".join(words[test] for test in sorted(tests))
    text = (
        f"Every column answered the same {_count(len(summary.samples))}. "
        "Shares have Wilson intervals at 95%. "
    )
    if not n:
        return text.strip()
    whole = "the comparison" if n == 1 else f"all {n} comparisons together"
    hold = f"hold at 95% for {whole}"
    if len({comparison.interval.confidence for comparison in summary.comparisons}) > 1:
        # Intervals of Holm's later steps are narrower than those that hold for all at once.
        hold = (
            f"{hold}, but of columns that are better or worse each at the level of its step in "
            "Holm's correction, at least 95% for it alone"
        )
    return text + (
        f"Differences are paired by sample; their intervals (BCa bootstrap, and Bonett-Price "
        f"where columns hardly differ) {hold}. Verdicts come from {used}, "
        f"corrected by Holm, so that a report says better or worse without reason in at most 5 "
        f"of 100 cases. The smallest difference that matters here: "
        f"{summary.scale.tell(float(summary.manifest['suite']['margin']))}."
    )
