"""What a report draws beside the differences: accuracy against cost, and calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from promptbot.evals.metrics.calibration import N_BINS, Bin, reliability
from promptbot.evals.report.axes import Axes, dot, line, shorten, text, ticks
from promptbot.evals.summary import Summary

MAX_NAME = 22
"""Letters of a column's name beside a chart."""

MAX_MATRIX = 24
"""Labels up to which confusions are drawn as a matrix."""


def cost_chart(summary: Summary, cost: str, caption: str) -> Markup:
    """Return the first metric of each column against what it costs; empty where that is unknown.

    Args:
        summary: Of a run whose first metric is a share.
        cost: Name of a metric: tokens or seconds.
        caption: What it counts.
    """
    points = []
    for column in summary.columns:
        values = summary.values[column]
        score, spent = values.get(summary.metric.name), values.get(cost)
        if score and spent and math.isfinite(spent.estimate):
            points.append((column, spent.estimate, score))
    if summary.metric.unit != "share" or len(points) < 2:
        return Markup("")
    intervals = [known.interval for _, _, known in points if known.interval]
    bounds = [known.estimate for _, _, known in points]
    bounds += [bound for one in intervals for bound in (one.low, one.high)]
    axes = Axes(
        ticks(0.0, max(paid for _, paid, _ in points) * 1.15, 6),
        ticks(max(0.0, min(bounds)), min(1.0, max(bounds)), 6),
        caption,
        summary.metric.name,
        right=150,
    )
    inside = []
    outcomes = {c.name: c.outcome for c in summary.comparisons}
    points.sort(key=lambda point: -point[2].estimate)
    heights = spread([axes.y(value.estimate) for *_, value in points], axes.height - axes.bottom)
    for (column, paid, value), at in zip(points, heights, strict=True):
        x, y = axes.x(paid), axes.y(value.estimate)
        kind = outcomes.get(column, "reference")
        # Columns that cost alike would cover one another's names: these stand at the side.
        edge = axes.width - axes.right
        inside.append(line("leader", x, y, edge + 8, at))
        inside.append(text("name", edge + 12, at + 4, shorten(column, MAX_NAME), "start"))
        if value.interval:
            inside.append(line(kind, x, axes.y(value.interval.low), x, axes.y(value.interval.high)))
        inside.append(dot(kind, x, y, 5, f"{column}: {value.estimate:.1%}, {paid:.4g} {caption}"))
    return axes.draw(f"{summary.metric.name} against {caption}", inside, lambda v: f"{v:g}")


def spread(heights: Sequence[float], floor: float, gap: float = 13.0) -> list[float]:
    """Return heights for names, near the given ones, which grow, and apart from one another.

    Args:
        heights: Where names would stand, from the top down.
        floor: None stands below, unless there are too many.
        gap: Between two names, in pixels.
    """
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + gap) if found else height)
    limit = floor
    for number in reversed(range(len(found))):
        found[number] = min(found[number], limit)
        limit = found[number] - gap
    return found


def calibration_charts(summary: Summary) -> list[tuple[str, Markup]]:
    """Return the reliability diagram of each column that gives probabilities.

    Source:
        Guo et al. (2017), arXiv:1706.04599, figure 1; the area of a dot is its number of answers.
    """
    charts = []
    for column in summary.columns:
        confidences, right = [], []
        for _, item, record in summary.answers(column):
            prediction = record.prediction
            if prediction and prediction.label_logprobs:
                confidences.append(math.exp(max(prediction.label_logprobs.values())))
                right.append(prediction.label == item.sample.target)
        if confidences:
            charts.append((column, _reliability_chart(reliability(confidences, right))))
    return charts


def _reliability_chart(bins: Sequence[Bin]) -> Markup:
    share = tuple(i / 5 for i in range(6))
    axes = Axes(share, share, "confidence", "right answers", width=300, height=280)
    total = sum(one.n for one in bins)
    inside = [line("zero", axes.x(0.0), axes.y(0.0), axes.x(1.0), axes.y(1.0))]
    for one in bins:
        radius = 3 + 12 * math.sqrt(one.n / total)
        title = f"{one.n} answers: confidence {one.confidence:.0%}, right {one.accuracy:.0%}"
        inside.append(dot("reference", axes.x(one.confidence), axes.y(one.accuracy), radius, title))
    return axes.draw(f"Calibration in {N_BINS} bins", inside, lambda v: f"{v:.0%}")


def confusion_matrix(
    summary: Summary, column: str
) -> tuple[list[str], list[tuple[str, list[tuple[int, float]]]]] | None:
    """Return answered labels, and for each wanted label its answers as (times, share of its row).

    None where the labels are so many that only the most frequent confusions can be read.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for _, item, record in summary.answers(column):
        answered = (record.prediction.label if record.prediction else None) or "(no label)"
        counts[item.sample.target, answered] += 1
    rows = sorted({one for one, _ in counts})
    answers = sorted({two for _, two in counts} | set(rows), key=lambda x: (x == "(no label)", x))
    if len(answers) > MAX_MATRIX or not counts:
        return None
    totals = {row: sum(counts[row, a] for a in answers) for row in rows}
    return answers, [
        (row, [(counts[row, a], counts[row, a] / totals[row]) for a in answers]) for row in rows
    ]
