"""How fluent replies are, by a frozen reference model: made once, when a run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from promptbot.errors import ContextOverflow, InputError, UserError
from promptbot.evals.measures import KeptScore, Measured, key_of
from promptbot.evals.metrics.metric import Outcome
from promptbot.evals.metrics.registry import METRICS

if TYPE_CHECKING:
    from promptbot.interfaces import FrozenModel

BITS = "bits_per_byte"
"""The metric whose scores are kept; the perplexity is made from them."""

FLUENCY = (BITS, "perplexity")
"""Metrics that need the reference model."""


def measure_fluency(spec: str, outcomes: Mapping[str, Sequence[Outcome]]) -> Measured:
    """Return the bits per byte of every reply under a model, as a text that stands alone.

    Args:
        spec: The reference model.
        outcomes: By column.

    Returns:
        The scores; a problem where the model cannot be loaded, or only writes.

    Source:
        Gao et al. (2020), "The Pile", arXiv:2101.00027, section 3.1: bits per byte compare
        models, and texts, whatever the tokenizer.
    """
    from promptbot.models.registry import load_model

    known: dict[str, float | None] = {}
    found = []
    try:
        model = load_model(spec)
        for column, of_column in outcomes.items():
            for outcome in of_column:
                if outcome.prediction is None:
                    continue
                text = outcome.prediction.text
                if text not in known:
                    known[text] = _bits(model, text)
                found.append(KeptScore(BITS, key_of(column, outcome), known[text]))
    except UserError as error:  # the answers are there, and a report of them is still wanted
        return Measured(METRICS[BITS], (), f"{error.problem} (reference_model: {spec})")
    return Measured(METRICS[BITS], tuple(found))


def _bits(model: FrozenModel, text: str) -> float | None:
    try:
        return -model.loglikelihood(text).per_byte / math.log(2)
    except (InputError, ContextOverflow):  # nothing to score, or more than the model can read
        return None
