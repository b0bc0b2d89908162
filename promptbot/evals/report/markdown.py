"""The report as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptbot.evals.report.cells import (
    VERDICT_WORDS,
    difference,
    estimate,
    kind_size,
    method,
    p_value,
    shown_metrics,
)
from promptbot.evals.report.curve import about, markdown_lines
from promptbot.evals.report.judges import ABOUT as JUDGE_ABOUT
from promptbot.evals.report.judges import HEAD as JUDGE_HEAD
from promptbot.evals.report.judges import judge_rows
from promptbot.evals.report.ledger import ABOUT, HEAD, ledger_rows
from promptbot.evals.summary import Summary

CURVE_FILE = "learning_curve.svg"
"""The picture beside a Markdown report of a suite with budgets."""

CURVE_ALT = "Accuracy by labelled examples of each label"


def render_markdown(summary: Summary) -> str:
    """Return the report of a run as Markdown."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"# {escape(summary.suite)}: {escape(summary.headline)}"
    yield ""
    for warning in summary.warnings:
        yield f"> **Warning:** {escape(warning)}"
        yield ">"
    if summary.curve:
        yield f"![{CURVE_ALT}]({CURVE_FILE})"
        yield ""
        for head, cells in markdown_lines(summary.curve):
            yield from table_lines(head, cells)
        yield about(summary.curve)
        yield ""
    for comparison in summary.comparisons:
        yield f"- {escape(comparison.sentence)}"
    yield ""
    if summary.gate:
        yield f"Gate: **{'met' if summary.gate_met else 'not met'}**"
        yield ""
        for result in summary.gate:
            yield f"- `{result.text}`: {escape(result.reason)}"
        yield ""
    if summary.comparisons:
        yield from table_lines(
            [f"{summary.metric.name} against {summary.columns[0]}", "difference", "verdict",
             "p (Holm)", "only it higher", "only reference higher"],
            [
                [
                    c.name,
                    difference(c, summary.scale),
                    VERDICT_WORDS[c.outcome],
                    p_value(c.p_adjusted),
                    str(c.n_higher),
                    str(c.n_lower),
                ]
                for c in summary.comparisons
            ],
        )  # fmt: skip
    names = shown_metrics(summary)
    yield from table_lines(
        ["", *names],
        [[column, *(_cell(summary, column, name) for name in names)] for column in summary.columns],
    )
    for name, rows in summary.slices.items():
        yield from table_lines(
            [f"{summary.metric.name} by {name}", "n", *summary.columns],
            [
                [
                    kind,
                    str(kind_size(row)),
                    *(estimate(summary.metric, row[c])[0] for c in summary.columns),
                ]
                for kind, row in rows.items()
            ],
        )
    if judges := judge_rows(summary):
        yield JUDGE_ABOUT
        yield ""
        yield from table_lines(JUDGE_HEAD, judges)
    if ledger := ledger_rows(summary):
        yield ABOUT
        yield ""
        yield from table_lines(HEAD, ledger)
    yield method(summary)
    yield ""
    manifest = summary.manifest
    yield (
        f"{len(summary.samples)} samples, seeds {', '.join(map(str, manifest['seeds']))}, data "
        f"`{manifest['data_hash']}`, promptbot {manifest['versions'].get('promptbot', '')}, "
        f"started {manifest['started'].replace('T', ' ')}."
    )


def _cell(summary: Summary, column: str, name: str) -> str:
    value, bounds = estimate(summary.metric_named(name), summary.values[column][name])
    return f"{value} ({bounds})" if bounds else value


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty one."""
    yield "| " + " | ".join(map(escape, head)) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(map(escape, row)) + " |"
    yield ""


def escape(text: str) -> str:
    """Return a text on one line in which no mark means anything."""
    for mark in "\\`*_<|":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
