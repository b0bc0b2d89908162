"""What is to be known of a run's judges, the same in every form of a report."""

from __future__ import annotations

from promptbot.evals.judging import JudgeReport
from promptbot.evals.stats import Interval
from promptbot.evals.summary import Summary

ABOUT = (
    "A judge is a model: believe it as far as it agrees with people, reads both orders of a pair "
    "alike, and favours no place. Agreement is Cohen's kappa: 0 is chance, 1 is complete."
)
HEAD = ("", "model", "asked", "not read", "prefers the first shown", "orders disagree", "people")


def judge_rows(summary: Summary) -> list[list[str]]:
    """Return a row for each judge; empty where a run has none."""
    return [
        [
            judge.name,
            judge.model,
            str(judge.n_asked),
            str(judge.n_unreadable + judge.n_failed),
            _share(judge.first_shown),
            _share(judge.disagree),
            _people(judge),
        ]
        for judge in summary.judges
    ]


def _share(found: tuple[float, Interval, int] | None) -> str:
    if found is None:
        return ""
    share, interval, n = found
    return f"{share:.0%} ({interval.low:.0%} to {interval.high:.0%}, n = {n})"


def _people(judge: JudgeReport) -> str:
    human = judge.human
    if human is None:
        return "not measured"
    if human.kappa is None:
        return f"nothing to tell (n = {human.n})"
    low_high = f"{human.interval.low:.2f} to {human.interval.high:.2f}, " if human.interval else ""
    return f"kappa {human.kappa:.2f} ({low_high}n = {human.n})"
