"""The variance ledger as a table of words, the same in every form of a report."""

from __future__ import annotations

import math

from promptbot.evals.ledger import Ledger
from promptbot.evals.metrics.metric import Metric
from promptbot.evals.report.cells import number
from promptbot.evals.summary import Summary

ABOUT = (
    "Where the spread comes from: standard deviations of the random-effects model, and each "
    "source's share of the mean's uncertainty. A user meets one draw of examples."
)
HEAD = (
    "", "mean", "worst seed", "best seed", "between seeds", "between repeats",
    "uncertainty comes from", "",
)  # fmt: skip


def ledger_rows(summary: Summary) -> list[list[str]]:
    """Return a row for each column; empty where a run has one seed and one repeat."""
    return [[column, *_cells(summary.metric, ledger)] for column, ledger in summary.ledgers.items()]


def _cells(metric: Metric, ledger: Ledger) -> list[str]:
    several = ledger.of_seeds is not None
    shares = ", ".join(f"{name} {share:.0%}" for name, share in ledger.uncertainty)
    return [
        number(metric, ledger.mean),
        f"{number(metric, ledger.lowest[0])} (seed {ledger.lowest[1]})" if several else "",
        f"{number(metric, ledger.highest[0])} (seed {ledger.highest[1]})" if several else "",
        _deviation(metric, ledger.of_seeds),
        _deviation(metric, ledger.of_repeats),
        shares,
        ledger.advice,
    ]


def _deviation(metric: Metric, variance: float | None) -> str:
    if variance is None:
        return ""
    return number(metric, math.sqrt(variance)).replace("%", " points")
