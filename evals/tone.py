"""Metrics of the suite tone: how the shop's assistant sounds."""

from __future__ import annotations

from promptbot.evals.metrics.metric import Outcome

MOST_WORDS = 25


def is_short(outcome: Outcome) -> bool:
    """replies of at most 25 words"""
    assert outcome.prediction is not None
    return len(outcome.prediction.text.split()) <= MOST_WORDS


def n_questions(outcome: Outcome) -> int:
    """questions that a reply asks"""
    assert outcome.prediction is not None
    return outcome.prediction.text.count("?")
