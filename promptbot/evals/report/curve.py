"""The learning curve in every form of a report: picture, tables, and letters on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from promptbot.evals.curve import Curve, LearningCurve, say_size
from promptbot.evals.report.axes import Axes, dot, text, ticks
from promptbot.evals.worth import Estimate, Pair

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

N_COLOURS = 6
"""Curves that are told apart by colour; further ones begin anew."""

STYLE = """
.chart { font: 12px system-ui, sans-serif; background: #fff; }
.chart text { fill: #1b1f24; } .chart .tick { fill: #5b6570; font-size: 11px; }
.chart .grid { stroke: #d9dee4; }
"""
"""Of a picture that stands alone, as in Markdown."""

COLOURS = ("#1f6fae", "#1a7f4b", "#96690a", "#7a4fb5", "#5b6570", "#0b7a75")
"""Of prompts."""

TRAINED = ("#c0362c", "#e07b39", "#a3195b")
"""Of baselines: they are drawn with broken lines besides."""

HEIGHT, WIDTH = 14, 60
"""Lines and letters of the picture on a terminal."""


def colour_of(curves: tuple[Curve, ...], curve: Curve) -> str:
    """Return a curve's colour: prompts are cool, baselines warm."""
    alike = [one.name for one in curves if one.trained == curve.trained]
    palette = TRAINED if curve.trained else COLOURS
    return palette[alike.index(curve.name) % len(palette)]


def curve_picture(found: LearningCurve, *, alone: bool = False) -> Markup:
    """Return accuracy over the budgets with bands, as SVG.

    Args:
        found: The curves.
        alone: Whether it is a file of its own, which brings its styles.
    """
    points = [point.accuracy for curve in found.curves for point in curve.points]
    logs = [math.log10(size) for size in found.sizes]
    axes = Axes(
        tuple(logs),
        ticks(max(0.0, min(p.low for p in points)), min(1.0, max(p.high for p in points)), 6),
        "labelled examples of each label",
        "accuracy",
        width=760,
        height=400,
        right=170,
    )
    inside: list[Markup] = []
    names: list[tuple[float, Curve]] = []
    for curve in found.curves:
        colour = colour_of(found.curves, curve)
        places = [axes.x(value) for value in logs]
        upper = [
            f"{x},{axes.y(p.accuracy.high)}" for x, p in zip(places, curve.points, strict=True)
        ]
        lower = [f"{x},{axes.y(p.accuracy.low)}" for x, p in zip(places, curve.points, strict=True)]
        middle = [
            f"{x},{axes.y(p.accuracy.value)}" for x, p in zip(places, curve.points, strict=True)
        ]
        broken = "6 4" if curve.trained else "2 4" if curve.flat else "none"
        inside.append(
            Markup(
                '<g style="color:{}"><polygon points="{}" fill="currentColor" fill-opacity=".13"/>'
                '<polyline points="{}" fill="none" stroke="currentColor" stroke-width="2.2" '
                'stroke-dasharray="{}"/></g>'
            ).format(colour, " ".join([*upper, *reversed(lower)]), " ".join(middle), broken)
        )
        for x, p in zip(places, curve.points, strict=True):
            title = f"{curve.name} with {p.budget} a label: {_share(p.accuracy)}"
            mark = dot("point", x, axes.y(p.accuracy.value), 3.2, title)
            inside.append(Markup('<g style="fill:{}">{}</g>').format(colour, mark))
        names.append((axes.y(curve.points[-1].accuracy.value), curve))
    bottom = -math.inf
    for y, curve in sorted(names, key=lambda pair: pair[0]):
        bottom = max(y + 4, bottom + 15)
        label = text("name", axes.width - axes.right + 10, bottom, curve.name, "start")
        styled = Markup(str(label).replace("<text ", '<text style="fill:currentColor" ', 1))
        inside.append(
            Markup('<g style="color:{}">{}</g>').format(colour_of(found.curves, curve), styled)
        )
    by_log = dict(zip(logs, found.budgets, strict=True))
    svg = axes.draw("Accuracy by labelled examples of each label", inside, lambda v: by_log[v])
    if not alone:
        return svg
    start, _, rest = str(svg).partition(">")
    named = start.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return Markup(f"{named}><style>{STYLE}</style>{rest}")


def accuracy_rows(found: LearningCurve) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each curve's name with estimate and interval by budget."""
    return [
        (
            curve.name,
            [
                (
                    f"{p.accuracy.value:.1%}",
                    f"{p.accuracy.low * 100:.1f} to {p.accuracy.high * 100:.1f}",
                )
                for p in curve.points
            ],
        )
        for curve in found.curves
    ]


WORTH_HEAD = ("prompt", "against", "difference", "training is ahead from", "prompt saves")
"""Of `worth_rows`; the difference is that at the shown budget."""


def worth_rows(found: LearningCurve) -> list[tuple[str, ...]]:
    """Return every prompt against every baseline, in words."""
    rows: list[tuple[str, ...]] = [
        (
            pair.prompt,
            pair.baseline,
            _points(pair.differences[found.shown]),
            _passes(pair, found.sizes),
            "" if pair.mean_saved is None else _saved(pair.mean_saved),
        )
        for pair in found.pairs
    ]
    return rows


ADVANTAGE_HEAD = ("accuracy", "prompt", "training", "the prompt saves")
"""Of `advantage_rows`; in examples a label."""


def advantage_rows(found: LearningCurve) -> list[tuple[str, ...]]:
    """Return what round accuracies cost the pair that the sentence speaks of."""
    if not found.pairs:
        return []
    rows: list[tuple[str, ...]] = [
        (
            f"{row.accuracy:.0%}",
            say_size(row.prompt),
            say_size(row.baseline),
            _saved(row.saved),
        )
        for row in found.pairs[0].advantages
    ]
    return rows


COST_HEAD = ("", "training", "training memory", "an answer", "tokens an answer", "answering memory")
"""Of `cost_rows`."""


def cost_rows(found: LearningCurve) -> list[tuple[str, ...]]:
    """Return what each curve costs at the shown budget."""
    rows: list[tuple[str, ...]] = []
    for curve in found.curves:
        p = curve.points[found.shown]
        trained = "none" if not curve.trained else "" if p.train_s is None else f"{p.train_s:.1f} s"
        tokens = "none" if p.n_tokens is None else f"{p.n_tokens:.0f}"
        rows.append(
            (
                curve.name,
                trained,
                "none" if not curve.trained else _megabytes(p.train_bytes),
                f"{p.answer_s * 1000:.1f} ms",
                tokens,
                _megabytes(p.answer_bytes),
            )
        )
    return rows


def _megabytes(n_bytes: float | None) -> str:
    """Return memory in words; nothing where it is not known."""
    return "" if n_bytes is None else f"{n_bytes / 1e6:,.0f} MB"


def about(found: LearningCurve) -> str:
    """Return how the curve was measured."""
    seeds = f"{found.n_seeds} draws of examples" if found.n_seeds > 1 else "one draw of examples"
    return (
        f"{found.n_samples} samples, {found.n_labels} labels, {seeds}. Prompts show, and baselines "
        "learn from, the same examples; all answer the same samples. Intervals at 95% are over "
        "draws and samples together (two-way bootstrap), those of differences paired. Curves are "
        "made monotone and interpolated over the logarithm of the budget."
    )


def markdown_lines(found: LearningCurve) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield each table as its head and its rows."""
    yield (
        ["accuracy by examples a label", *found.budgets],
        [
            [name, *(f"{value} ({bounds})" for value, bounds in cells)]
            for name, cells in accuracy_rows(found)
        ],
    )
    if found.pairs:
        head = list(WORTH_HEAD)
        head[2] = f"difference at {found.budgets[found.shown]}"
        yield head, [list(row) for row in worth_rows(found)]
    if rows := advantage_rows(found):
        yield list(ADVANTAGE_HEAD), [list(row) for row in rows]
    head = list(COST_HEAD)
    head[0] = f"cost at {found.budgets[found.shown]} a label"
    yield head, [list(row) for row in cost_rows(found)]


def terminal_parts(found: LearningCurve) -> list[RenderableType]:
    """Return picture and tables for rich."""
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = [_letters(found), Text()]
    for head, rows in markdown_lines(found):
        parts += [_table(head, rows), Text()]
    parts.append(Padding(Text(about(found), style="dim"), (0, 0, 1, 0)))
    return parts


def _letters(found: LearningCurve) -> RenderableType:
    """Return the curves as letters on lines, one letter a curve."""
    from rich.text import Text

    levels = ticks(
        min(p.accuracy.value for c in found.curves for p in c.points),
        max(p.accuracy.value for c in found.curves for p in c.points),
        5,
    )
    low, high = levels[0], levels[-1]
    logs = [math.log(size) for size in found.sizes]
    span = logs[-1] - logs[0]
    columns = [round((value - logs[0]) / span * (WIDTH - 1)) for value in logs]
    cells = [[(" ", "") for _ in range(WIDTH)] for _ in range(HEIGHT)]

    def line(value: float) -> int:
        return round((high - value) / (high - low) * (HEIGHT - 1))

    for letter, curve in reversed(list(zip(_names(found), found.curves, strict=True))):
        colour = colour_of(found.curves, curve)
        values = [p.accuracy.value for p in curve.points]
        for number in range(len(columns) - 1):
            for x in range(columns[number], columns[number + 1]):
                share = (x - columns[number]) / (columns[number + 1] - columns[number])
                y = line(values[number] + share * (values[number + 1] - values[number]))
                if cells[y][x][0] == " ":
                    cells[y][x] = ("·", colour)
        for x, value in zip(columns, values, strict=True):
            cells[line(value)][x] = (letter, f"bold {colour}")
    by_line = {line(level): f"{level:.0%}" for level in levels}
    picture = Text("accuracy\n", style="dim")
    for number, row in enumerate(cells):
        picture.append(f"{by_line.get(number, ''):>5} ", style="dim")
        for mark, style in row:
            picture.append(mark, style=style)
        picture.append("\n")
    axis = [" "] * (WIDTH + 4)
    for x, budget in zip(columns, found.budgets, strict=True):
        axis[x : x + len(budget)] = budget
    picture.append("      " + "".join(axis).rstrip() + "  examples a label\n", style="dim")
    for letter, curve in zip(_names(found), found.curves, strict=True):
        colour = colour_of(found.curves, curve)
        picture.append(f"      {letter} ", style=f"bold {colour}")
        picture.append(f"{curve.name}{' (trained)' if curve.trained else ''}\n")
    picture.rstrip()
    return picture


def _names(found: LearningCurve) -> list[str]:
    """Return a letter for each curve."""
    return [chr(ord("A") + number % 26) for number in range(len(found.curves))]


def _table(head: list[str], rows: list[list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in head:
        table.add_column(name)
    for first, *rest in rows:
        cells = []
        for cell in rest:
            value, _, bounds = cell.partition(" (")
            cells.append(
                Text.assemble(value, ("\n" + bounds.rstrip(")"), "dim")) if bounds else value
            )
        table.add_row(first, *cells)
    return table


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} [{estimate.low * 100:.1f}, {estimate.high * 100:.1f}]"


def _points(d: Estimate) -> str:
    return f"{d.value * 100:+.1f} [{d.low * 100:+.1f}, {d.high * 100:+.1f}] points"


def _saved(saved: Estimate) -> str:
    return f"{_signed(saved.value)} [{_signed(saved.low)}, {_signed(saved.high)}] a label"


def _signed(n: float) -> str:
    text = say_size(abs(n))
    return "0" if text == "0" else f"{'+' if n > 0 else '-'}{text}"


def _passes(pair: Pair, sizes: Sequence[float]) -> str:
    crossover, largest = pair.crossover, sizes[-1]
    low = f"<{say_size(sizes[0])}" if crossover.low is None else say_size(crossover.low)
    high = f">{say_size(largest)}" if crossover.high is None else say_size(crossover.high)
    if crossover.kind == "always":
        return f"the first [{low}, {high}]"
    if crossover.kind == "never":
        return f"not within {say_size(largest)} [{low}, {high}]"
    assert crossover.budget is not None
    return f"{say_size(crossover.budget)} [{low}, {high}]"
