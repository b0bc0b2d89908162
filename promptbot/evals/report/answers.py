"""Every answer of a run as a row of CSV, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
import math

from promptbot.evals.summary import Summary

HEAD = (
    "column", "sample", "seed", "repeat", "kind", "input", "target", "answer", "label", "score",
    "error", "seconds", "prompt_tokens", "reply_tokens",
)  # fmt: skip


def render_csv(summary: Summary) -> str:
    """Return the answers of the columns that a report shows as CSV, in the samples' order.

    `score` is the first metric's, averaged over the seeds and repeats of the sample; empty where
    the metric does not concern it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for column in summary.columns:
        for place, item, record in summary.answers(column):
            prediction, score = record.prediction, summary.scores[column][place]
            writer.writerow(
                [
                    record.column, record.sample, record.seed, record.repeat, item.kind,
                    item.sample.input, item.sample.target,
                    prediction.text if prediction else "",
                    (prediction.label if prediction else None) or "",
                    "" if math.isnan(score) else round(score, 6),
                    record.error or "",
                    round(record.seconds, 6),
                    prediction.n_prompt_tokens if prediction else "",
                    prediction.n_generated_tokens if prediction else "",
                ]
            )  # fmt: skip
    return out.getvalue()
