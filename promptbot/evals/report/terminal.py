"""The report in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    from rich.console import RenderableType

STYLES = {"better": "green", "worse": "red", "no_difference": "cyan", "underpowered": "yellow"}
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
        parts += [Text(), _rows(HEAD, ledger), Text(ABOUT, style="dim")]
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


def _table(summary: Summary) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("metric", no_wrap=True)
    for column in summary.columns:
        table.add_column(column, overflow="fold")
    for name in shown_metrics(summary):
        cells = []
        for column in summary.columns:
            value, bounds = estimate(summary.metric_named(name), summary.values[column][name])
            cells.append(Text.assemble(value, (f"\n{bounds}" if bounds else "", "dim")))
        table.add_row(name, *cells)
    return table


def _slice(summary: Summary, name: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"{summary.metric.name} by {name}", no_wrap=True)
    table.add_column("n", justify="right")
    for column in summary.columns:
        table.add_column(column, overflow="fold")
    for kind, row in summary.slices[name].items():
        cells = [estimate(summary.metric, row[column])[0] for column in summary.columns]
        table.add_row(kind, str(kind_size(row)), *cells)
    return table
