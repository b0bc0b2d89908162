"""What a run would read, write and cost, from a few prompts, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from promptbot.errors import PromptbotError
from promptbot.evals.column_spec import ColumnSpec
from promptbot.evals.columns import Workshop
from promptbot.evals.suite import Suite

N_PROMPTS = 12
"""Prompts of each column that are made to estimate its tokens, spread over the samples."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one column would take."""

    column: str
    """The column's name."""
    n_answers: int
    """How often it would be asked."""
    n_read: float | None = None
    """Tokens of a prompt, the mean of a few; None for baselines and where `problem` says why."""
    n_written: int | None = None
    """Tokens of an answer at most; 0 where labels are scored."""
    cost: tuple[float, float] | None = None
    """Of the whole column: if nothing were written, and at most; None without a price."""
    problem: str | None = None
    """Why nothing is known."""


def estimate(suite: Suite) -> list[Estimate]:
    """Return what every column would take; models are loaded, to count tokens, and not asked."""
    workshop = Workshop(suite)
    return [_estimate(suite, workshop, column) for column in suite.columns]


def _estimate(suite: Suite, workshop: Workshop, column: ColumnSpec) -> Estimate:
    from promptbot.chain import Chain

    n_answers = len(suite.samples) * len(suite.spec.seeds) * suite.spec.repeats
    if column.baseline or column.function:
        return Estimate(column.name, n_answers)
    step = max(1, len(suite.samples) // N_PROMPTS)
    inputs = [item.sample.input for item in suite.samples[::step][:N_PROMPTS]]
    try:
        chain = workshop.predictor(column, suite.spec.seeds[0])
        assert isinstance(chain, Chain)
        prompts = [chain.compose(text).n_tokens for text in inputs]
    except PromptbotError as error:
        return Estimate(column.name, n_answers, problem=str(error).partition("\n")[0])
    spec = chain.bot.spec
    scored = bool(spec.labels) and spec.verbalizer.mode == "score" and chain.model.can_score
    n_read, n_written = sum(prompts) / len(prompts), 0 if scored else spec.decoding.max_new_tokens
    n_all = round(n_read * n_answers)
    price = suite.spec.prices.get(column.model)
    return Estimate(
        column.name,
        n_answers,
        n_read,
        n_written,
        cost=(price.of(n_all, 0), price.of(n_all, n_written * n_answers)) if price else None,
    )
