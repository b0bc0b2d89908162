"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from promptbot.evals.manifest import draws_of
from promptbot.evals.records import Key
from promptbot.evals.report.cells import (
    VERDICT_WORDS,
    difference,
    estimate,
    kind_size,
    method,
    p_value,
    shown_metrics,
)
from promptbot.evals.report.charts import calibration_charts, confusion_matrix, cost_chart
from promptbot.evals.report.curve import about, curve_picture, markdown_lines
from promptbot.evals.report.forest import forest_plot
from promptbot.evals.report.judges import ABOUT as JUDGE_ABOUT
from promptbot.evals.report.judges import HEAD as JUDGE_HEAD
from promptbot.evals.report.judges import judge_rows
from promptbot.evals.report.ledger import ABOUT, HEAD, ledger_rows
from promptbot.evals.summary import Summary

if TYPE_CHECKING:
    from jinja2 import Environment

COSTS = (("prompt_tokens", "tokens read per answer"), ("seconds_p50", "seconds per answer, median"))
"""Metrics against which the first one is drawn."""


def render_html(summary: Summary) -> str:
    """Return the report of a run as HTML.

    Texts of users and models are escaped by Jinja, or travel as JSON and are written with
    ``textContent``, so that none of them can become markup.
    """
    names = shown_metrics(summary)
    return (
        make_environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            verdict_words=VERDICT_WORDS,
            curve_picture=curve_picture(summary.curve) if summary.curve else "",
            curve_tables=list(markdown_lines(summary.curve)) if summary.curve else [],
            curve_about=about(summary.curve) if summary.curve else "",
            differences={c.name: difference(c, summary.scale) for c in summary.comparisons},
            p_values={c.name: p_value(c.p_adjusted) for c in summary.comparisons},
            forest=forest_plot(summary.comparisons, summary.scale),
            costs=[
                chart for cost, caption in COSTS if (chart := cost_chart(summary, cost, caption))
            ],
            calibrations=calibration_charts(summary),
            matrices=[
                (column, matrix)
                for column in (summary.columns if summary.labels else ())
                if (matrix := confusion_matrix(summary, column))
            ],
            judges=judge_rows(summary),
            judge_head=JUDGE_HEAD,
            judge_about=JUDGE_ABOUT,
            ledger=ledger_rows(summary),
            ledger_head=HEAD,
            ledger_about=ABOUT,
            binary=summary.metric.unit == "share",
            metrics=[(name, summary.metric_named(name).about) for name in names],
            cells={
                column: [
                    estimate(summary.metric_named(name), summary.values[column][name])
                    for name in names
                ]
                for column in summary.columns
            },
            slices={
                name: [
                    (
                        word,
                        kind_size(row),
                        [estimate(summary.metric, row[column]) for column in summary.columns],
                    )
                    for word, row in rows.items()
                ]
                for name, rows in summary.slices.items()
            },
            labels=_labels(summary),
            method=method(summary),
            rows=_json(_rows(summary)),
            columns=_json(list(summary.columns)),
            prompts=_packed(_prompts(summary)),
            manifest=json.dumps(dict(summary.manifest), ensure_ascii=False, indent=1),
        )
    )


def make_environment() -> Environment:
    """Return what renders the pages beside this module; every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("promptbot.evals.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _labels(summary: Summary) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return each label with its samples and its precision and recall by column."""
    if not summary.labels:
        return []
    found = {c: {row.label: row for row in rows} for c, rows in summary.labels.items()}
    table = []
    for label in sorted({label for rows in found.values() for label in rows}):
        cells, n = [], 0
        for column in summary.columns:
            row = found[column].get(label)
            n = max(n, row.n if row else 0)
            cells.append(
                (f"{row.precision:.0%}" if row else "", f"{row.recall:.0%}" if row else "")
            )
        table.append((label, n, cells))
    return table


def _rows(summary: Summary) -> list[dict[str, Any]]:
    """Return every sample with every column's answers, as short keys for a small file."""
    draws = draws_of(summary.manifest)
    rows = []
    for place, item in enumerate(summary.samples):
        answers = []
        for column in summary.columns:
            texts, prompts, judged = [], [], []
            score = summary.scores[column][place]
            for draw in draws:
                record = summary.records[key := Key(column, item.sample.id, *draw)]
                judged += [
                    [name, one.why] for name, one in summary.kept.get(key, {}).items() if one.why
                ]
                if record.shown:
                    prompts.append(record.shown)
                if record.prediction is None:
                    texts.append(f"failed: {record.error}")
                else:
                    texts.append(record.prediction.label or record.prediction.text)
            answers.append(
                {
                    "t": list(dict.fromkeys(texts)),
                    # JSON knows no nan.
                    "s": None if math.isnan(score) else round(score, 3),
                    "p": list(dict.fromkeys(prompts)),
                }
                | ({"j": judged} if judged else {})
            )
        rows.append(
            {
                "id": item.sample.id,
                "k": item.kind,
                "i": item.sample.input,
                "w": item.sample.target,
                "a": answers,
            }
        )
    return rows


def _prompts(summary: Summary) -> Iterator[tuple[str, Any]]:
    """Yield every prompt behind an answer that is shown, and its notes, with its hash."""
    found: set[str] = set()
    for column in summary.columns:
        for _, _, record in summary.answers(column):
            prediction = record.prediction
            if record.shown and prediction and record.shown not in found:
                found.add(record.shown)
                yield (
                    record.shown,
                    {
                        "m": [[m.role, m.content] for m in prediction.messages or ()],
                        "n": [n.source for n in prediction.notes or ()],
                    },
                )


def _packed(values: Iterable[tuple[str, Any]]) -> str:
    """Return a JSON object as gzip in base64: prompts of one bot are alike, and opened one at a
    time. It is packed while it is written, since as plain text it may be large."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(b"{")
        for number, (key, value) in enumerate(values):
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            comma = "," if number else ""
            file.write(f"{comma}{json.dumps(key)}:{text}".encode("utf-8", "surrogatepass"))
        file.write(b"}")
    return base64.b64encode(packed.getvalue()).decode()


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
