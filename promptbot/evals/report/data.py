"""What is in a suite's data and what is wrong with it: a page with pictures, and a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from promptbot.evals.data_care import KINDS, SAMPLES, DataReport
from promptbot.evals.report.axes import line, text, ticks
from promptbot.evals.report.html import make_environment

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

METHOD = (
    "Two texts are equal where they differ in case and punctuation alone, and nearly equal where "
    "at least 80% of all their runs of three characters are in both. Likely label errors are the "
    "off-diagonal of the confident joint (Northcutt et al. 2021, arXiv:1911.00068) of a "
    "logistic regression on the frozen encoder's vectors, cross-validated in five parts that keep "
    "near duplicates together: rows to read, not rows that are wrong. They are never dropped."
)

MAX_SHOWN = 200
"""Findings of one kind that the page lists."""

N_BARS = 24
"""Bars of a histogram at most."""

MAX_LABELS = 20
"""Labels that a terminal shows; of more, the commonest and the rarest."""

SIZES_HEAD = ("inputs", "shortest", "median", "95% up to", "longest", "the longest row")


def headline(report: DataReport) -> str:
    """Return in a sentence how many rows there are and how many of them something was found of."""
    n_found = len({one.row for one in report.findings})
    rows = ", ".join(
        f"{sum(row.part == part for row in report.rows):,} {part}" for part in report.parts
    )
    return f"{rows}: {n_found:,} rows to look at" if n_found else f"{rows}: nothing was found"


def count_rows(report: DataReport) -> list[list[str]]:
    """Return what was found, with its number in each part."""
    return [
        [about, *(f"{len(report.of_kind(kind, part)):,}" for part in report.parts)]
        for kind, about in KINDS.items()
        if not (kind == "label_error" and not report.labels)
    ]


def size_rows(report: DataReport) -> list[list[str]]:
    """Return how long the inputs of each part are."""
    rows = []
    for part in report.parts:
        for unit in ("characters", "tokens"):
            if found := report.sizes(part, unit):
                numbers = (found.shortest, found.median, found.most, found.longest)
                rows.append([f"{part}, {unit}", *(f"{n:,.4g}" for n in numbers), found.longest_id])
    return rows


def render_data_html(report: DataReport) -> str:
    """Return the page: counts, the balance of the labels, lengths, and every finding."""
    units = {"characters": report.n_chars, "tokens": report.n_tokens}
    return (
        make_environment()
        .get_template("data.html.j2")
        .render(
            report=report,
            headline=headline(report),
            warnings=[*report.warnings(), *report.not_done],
            counts=count_rows(report),
            balance=balance_chart(report),
            lengths=[
                (f"{unit} of an input", length_chart(report, numbers, unit))
                for unit, numbers in units.items()
                if numbers
            ],
            sizes_head=SIZES_HEAD,
            sizes=size_rows(report),
            findings=[
                (f"{len(found):,} x {about}", _cells(report, kind), max(len(found) - MAX_SHOWN, 0))
                for kind, about in KINDS.items()
                if (found := report.of_kind(kind))
            ],
            method=METHOD,
        )
    )


def _cells(report: DataReport, kind: str) -> list[list[str]]:
    rows = []
    for one in report.of_kind(kind)[:MAX_SHOWN]:
        told = report.tell(one)
        similarity = f"{told['similarity']:.0%}" if "similarity" in told else ""
        rows.append(
            [
                told["id"], told["input"][:500], told["target"][:500], similarity,
                told.get("other_id", ""), told.get("other_input", "")[:500],
                told.get("other_target", told.get("detail", ""))[:500],
            ]
        )  # fmt: skip
    return rows


def balance_chart(report: DataReport) -> Markup:
    """Return the rows of each label as bars, those of each part beside each other."""
    if not report.labels:
        return Markup("")
    width, left, step = 760, 240, 9 * len(report.parts) + 5
    height = step * len(report.labels) + 34
    most = max((n for counts in report.labels.values() for n in counts.values()), default=1)
    scale = ticks(0.0, float(most), 8)

    def x(value: float) -> float:
        return round(left + value / scale[-1] * (width - left - 24), 1)

    parts = [_open(width, height, "Rows of each label")]
    for tick in scale:
        parts.append(line("grid", x(tick), 0, x(tick), height - 30))
        parts.append(text("tick", x(tick), height - 14, f"{tick:g}", "middle"))
    for row, (label, counts) in enumerate(report.labels.items()):
        name = label if len(label) <= 34 else label[:33] + "…"
        parts.append(text("name", left - 8, row * step + step / 2 + 3, name, "end"))
        for place, part in enumerate(report.parts):
            n = counts.get(part, 0)
            title = f"{label}: {n} {part}"
            top = row * step + 2 + 9 * place
            parts.append(_bar(part, left, top, x(n) - left, 8, title))
    return Markup("").join([*parts, Markup("</svg>")])


def length_chart(report: DataReport, numbers: Sequence[int], unit: str) -> Markup:
    """Return how many inputs are how long, the parts above each other in each bar."""
    width, height, left, floor = 460, 240, 46, 200
    longest = max(numbers)
    # What is longer than nearly all others would leave the others in one bar.
    edge = min(longest, 2 * sorted(numbers)[min(int(0.99 * len(numbers)), len(numbers) - 1)])
    size = max(1, -(-(edge + 1) // N_BARS))
    n_bars = edge // size + 1
    counts = {part: [0] * n_bars for part in report.parts}
    for row, n in zip(report.rows, numbers, strict=True):
        counts[row.part][min(n // size, n_bars - 1)] += 1
    highest = max(sum(found[i] for found in counts.values()) for i in range(n_bars))
    scale = ticks(0.0, float(highest), 5)
    step = (width - left - 12) / n_bars
    parts = [_open(width, height, f"Inputs by their {unit}")]
    for tick in scale:
        y = round(floor - tick / scale[-1] * (floor - 12), 1)
        parts.append(line("grid", left, y, width - 12, y))
        parts.append(text("tick", left - 6, y + 4, f"{tick:g}", "end"))
    for i in range(n_bars):
        base = float(floor)
        last = i == n_bars - 1 and edge < longest
        span = f"{i * size} and more" if last else f"{i * size} to {i * size + size - 1}"
        for part, found in counts.items():
            tall = round(found[i] / scale[-1] * (floor - 12), 1)
            base -= tall
            title = f"{span} {unit}: {found[i]} {part}"
            parts.append(_bar(part, left + i * step + 0.5, base, step - 1, tall, title))
        if i % max(1, n_bars // 6) == 0:
            parts.append(text("tick", left + i * step, floor + 16, f"{i * size}", "middle"))
    parts.append(text("tick", (left + width) / 2, height - 8, unit, "middle"))
    return Markup("").join([*parts, Markup("</svg>")])


def _open(width: int, height: int, label: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        width, height, label
    )


def _bar(part: str, x: float, y: float, width: float, height: float, title: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
    ).format(
        "second" if part == SAMPLES else "first",
        round(x, 1), round(y, 1), round(max(width, 0), 1), round(height, 1), title,
    )  # fmt: skip


def render_data_terminal(report: DataReport, n_shown: int = 5) -> RenderableType:
    """Return the report for rich: counts, labels, lengths, and the first findings of each kind."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(_visible(headline(report)), style="bold")]
    parts += [Text(f"! {_visible(warning)}", style="yellow") for warning in report.warnings()]
    parts += [Text(f"! {_visible(problem)}", style="yellow") for problem in report.not_done]
    parts += [Text(), _table(["row that", *report.parts], count_rows(report))]
    if report.labels:
        parts += [Text(), _label_table(report)]
    parts += [Text(), _table(SIZES_HEAD, size_rows(report))]
    for kind, about in KINDS.items():
        found = report.of_kind(kind)
        if not found:
            continue
        parts += [Text(), Text(f"{len(found):,} x {about}", style="bold")]
        for one in found[:n_shown]:
            told = report.tell(one)
            parts.append(_row_line(told["id"], told["input"], told["target"]))
            if "other_id" in told:
                parts.append(
                    _row_line(told["other_id"], told["other_input"], told["other_target"], "dim")
                )
            elif "detail" in told:
                parts.append(Text(f"      {_visible(told['detail'])}", style="dim"))
        if len(found) > n_shown:
            parts.append(Text(f"  … and {len(found) - n_shown:,} more", style="dim"))
    return Group(*parts)


def _row_line(row: str, given: str, target: str, style: str = "") -> RenderableType:
    from rich.text import Text

    start = "    " if style else "  "
    words = f"{start}{row}  {_short(given, 100)}  [{_short(target, 60)}]"
    return Text(words, style=style, overflow="ellipsis", no_wrap=True)


def _label_table(report: DataReport) -> Table:
    items = list(report.labels.items())
    shown = next((part for part in report.parts if part != SAMPLES), SAMPLES)
    most = max((counts.get(shown, 0) for _, counts in items), default=0) or 1
    rows = [
        [
            label,
            *(f"{counts.get(part, 0):,}" for part in report.parts),
            "━" * round(20 * counts.get(shown, 0) / most),
        ]
        for label, counts in items
    ]
    if len(rows) > MAX_LABELS:
        half = MAX_LABELS // 2
        between = [f"… {len(rows) - 2 * half} between", *("" for _ in report.parts), ""]
        rows = [*rows[:half], between, *rows[-half:]]
    return _table(["label", *report.parts, ""], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(head):
        table.add_column(name, overflow="fold", justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*map(_visible, row))
    return table


def _short(words: str, n: int) -> str:
    flat = " ".join(_visible(words[: 4 * n]).split())
    return flat if len(flat) <= n else flat[: n - 1] + "…"


def _visible(words: str) -> str:
    """Return a text without control characters, which could move a terminal's cursor."""
    return "".join(c for c in words if c.isprintable() or c in "\n ")
