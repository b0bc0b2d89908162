"""The report in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from promptbot.evals.report.cells import estimate, kind_size, method, p_value, shown_metrics
from promptbot.evals.report.curve import terminal_parts
from promptbot.evals.report.judges import ABOUT as JUDGE_ABOUT
from promptbot.evals.report.judges import HEAD as JUDGE_HEAD
from promptbot.evals.report.judges import judge_rows
from promptbot.evals.report.ledger import ABOUT, HEAD, ledger_rows
from promptbot.evals.summary import Summary
from promptbot.evals.verdict import Comparison

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

STYLES = {"better": "green", "worse": "red", "no_difference": "cyan", "underpowered": "yellow"}
GAP = 2
"""Spaces between two columns of a table."""
MAX_NAME = 24
"""Letters of a column's name that are kept on one line."""
MARKS = {"better": "▲", "worse": "▼", "no_difference": "=", "underpowered": "?"}


def render_terminal(summary: Summary) -> RenderableType:
    """Return the report of a run for rich: the verdict first, then the numbers."""
    parts: list[RenderableType] = [Text(summary.headline, style="bold"), Text()]
    for warning in summary.warnings:
        parts.append(Text(f"! {warning}", style="yellow"))
    if summary.curve:
        parts += terminal_parts(summary.curve)
    for comparison in summary.comparisons:
        parts.append(verdict_line(comparison))
    if summary.gate:
        parts.append(Text())
        for result in summary.gate:
            style = "green" if result.met else "red"
            parts.append(
                Text.assemble((f"gate  {result.text}\n", ""), (f"      {result.reason}", style))
            )
    parts += [Text(), _table(summary)]
    for name in summary.slices:
        parts += [Text(), _slice(summary, name)]
    if judges := judge_rows(summary):
        parts += [Text(), _rows(JUDGE_HEAD, judges), Text(JUDGE_ABOUT, style="dim")]
    if ledger := ledger_rows(summary):
        parts += [Text(), *_ledger(ledger), Text(ABOUT, style="dim")]
    parts += [Text(), Padding(Text(method(summary), style="dim"), (0, 0, 1, 0))]
    return Group(*parts)


def verdict_line(comparison: Comparison) -> Text:
    """Return a comparison's sentence with its mark and its p-value."""
    mark = Text(f"{MARKS[comparison.outcome]} ", style=STYLES[comparison.outcome])
    p = p_value(comparison.p_adjusted)
    told = Text(f"  p {p if p.startswith('<') else f'= {p}'}", style="dim")
    return Text.assemble(mark, comparison.sentence, told)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _ledger(rows: Sequence[Sequence[str]]) -> list[RenderableType]:
    """Return the ledger without what it has nothing on, its advice below: lines are short."""
    *numbers, _ = range(len(HEAD))
    kept = [i for i in numbers if any(row[i] for row in rows)]
    table = _rows([HEAD[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return [table, *(Text(f"{row[0]}: {row[-1]}") for row in rows)]


def _table(summary: Summary) -> SideBySide:
    rows = []
    for name in shown_metrics(summary):
        cells = []
        for column in summary.columns:
            value, bounds = estimate(summary.metric_named(name), summary.values[column][name])
            cells.append(Text.assemble(value, (f"\n{bounds}" if bounds else "", "dim")))
        rows.append(((name,), cells))
    return SideBySide(("metric",), summary.columns, rows)


def _slice(summary: Summary, name: str) -> SideBySide:
    rows = [
        (
            (kind, str(kind_size(row))),
            [Text(estimate(summary.metric, row[column])[0]) for column in summary.columns],
        )
        for kind, row in summary.slices[name].items()
    ]
    return SideBySide((f"{summary.metric.name} by {name}", "n"), summary.columns, rows)


@dataclass(frozen=True)
class SideBySide:
    """A table with the columns of a run; where they do not fit, several tables, one below another.

    A number that is broken over lines cannot be read.
    """

    head: tuple[str, ...]
    """Over the words with which each row begins."""
    columns: Sequence[str]
    """Names of the run's columns."""
    rows: Sequence[tuple[tuple[str, ...], Sequence[Text]]]
    """The words with which a row begins, and a cell for each column."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        first = [
            max(cell_len(word) for word in (name, *(words[i] for words, _ in self.rows))) + GAP
            for i, name in enumerate(self.head)
        ]
        room = max(options.max_width - sum(first), 1)
        wanted = [
            min(
                max(
                    *(len_of_longest(cells[i]) for _, cells in self.rows),
                    min(cell_len(name), MAX_NAME),
                )
                + GAP,
                room,
            )
            for i, name in enumerate(self.columns)
        ]
        start = 0
        while start < len(wanted):
            stop = start + 1
            while stop < len(wanted) and sum(wanted[start : stop + 1]) <= room:
                stop += 1
            if start:
                yield Text()
            table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim")
            for name in self.head:
                table.add_column(name, no_wrap=True)
            for name, width in zip(self.columns[start:stop], wanted[start:stop], strict=True):
                table.add_column(name, overflow="fold", width=width - GAP)
            for words, cells in self.rows:
                table.add_row(*words, *cells[start:stop])
            yield table
            start = stop


def len_of_longest(text: Text) -> int:
    """Return the width of a text's longest line."""
    return max((line.cell_len for line in text.split(allow_blank=True)), default=0)
