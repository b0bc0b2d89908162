"""The forest plot: every difference with its interval on one axis, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from promptbot.evals.report.axes import shorten, text
from promptbot.evals.report.axes import ticks as round_ticks
from promptbot.evals.verdict import Comparison, Scale

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 760, 30, 190, 20, 8, 40


def forest_plot(comparisons: Sequence[Comparison], scale: Scale) -> Markup:
    """Return the differences of a run as SVG; colours come from the page's style sheet.

    Args:
        comparisons: One row each.
        scale: What a difference means; shares are drawn in points.
    """
    if not comparisons:
        return Markup("")
    factor = 100 if scale.bounded else 1
    bounds = [b * factor for c in comparisons for b in (c.interval.low, c.interval.high)]
    ticks = round_ticks(min(0.0, *bounds), max(0.0, *bounds))
    low, high = ticks[0], ticks[-1]
    height = TOP + ROW * len(comparisons) + BOTTOM

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    bottom = TOP + ROW * len(comparisons)
    parts = [
        Markup('<svg class="forest" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, height, f"Differences from {comparisons[0].reference} with their intervals"
        )
    ]
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        parts.append(
            Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                kind, x(tick), x(tick), TOP, bottom
            )
        )
        parts.append(text("tick", x(tick), bottom + 16, f"{tick:g}", "middle"))
    side = "higher is better" if scale.higher_is_better else "lower is better"
    caption = f"{scale.unit or 'difference'} against {comparisons[0].reference} ({side})"
    parts.append(text("tick", (LEFT + WIDTH - RIGHT) / 2, bottom + 34, caption, "middle"))
    for number, c in enumerate(comparisons):
        y = TOP + ROW * number + ROW / 2
        start, end = x(c.interval.low * factor), x(c.interval.high * factor)
        parts.append(text("name", LEFT - 12, y + 4, shorten(c.name, 24), "end"))
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title><line x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<circle cx="{}" cy="{}" r="5"/></g>'
            ).format(c.outcome, c.sentence, start, end, y, y, x(c.difference * factor), y)
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)
