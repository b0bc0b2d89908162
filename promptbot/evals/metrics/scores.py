"""What one answer scores, for the metrics that need more than text and target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptbot.evals.metrics.calibration import brier, expected_calibration_error
from promptbot.evals.metrics.metric import OUT_OF_SCOPE, Outcome, Score
from promptbot.evals.metrics.said import contradicts, leaks_prompt, meets_schema, says_any
from promptbot.evals.metrics.text import bleu, contains, distinct_n, grounded, normalise
from promptbot.types import Prediction

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder


def right_label(outcome: Outcome) -> float:
    """Return 1 for the right label, else 0."""
    return float(outcome.prediction is not None and outcome.label == outcome.sample.target)


def of_text(function: Callable[[str, str], float]) -> Score:
    """Return what compares a reply with its target; a failed answer scores 0."""

    def score(outcome: Outcome) -> float:
        # A failed sample is never right, whatever its target.
        if outcome.prediction is None:
            return 0.0
        return function(outcome.prediction.text, outcome.sample.target)

    return score


def wants_fallback(outcome: Outcome) -> bool:
    """Return whether the right answer is the bot's fallback."""
    return normalise(outcome.sample.target) == normalise(outcome.fallback)


def says_fallback(outcome: Outcome) -> bool:
    """Return whether the answer holds the bot's fallback."""
    return outcome.prediction is not None and bool(
        contains(outcome.prediction.text, outcome.fallback)
    )


def fallback_precision(outcome: Outcome) -> float | None:
    """Return whether a fallback was right; None for other replies."""
    return float(wants_fallback(outcome)) if says_fallback(outcome) else None


def fallback_recall(outcome: Outcome) -> float | None:
    """Return whether a question that needs the fallback got it; None for others."""
    return float(says_fallback(outcome)) if wants_fallback(outcome) else None


def groundedness(outcome: Outcome) -> float | None:
    """Return the share of sentences that a shown note holds; None where none was shown."""
    said = outcome.prediction
    if said is None or not said.notes or says_fallback(outcome):
        return None
    return grounded(said.text, [note.text for note in said.notes])


def _is_outside(label: str | None, outcome: Outcome) -> bool:
    return label is not None and label == str(outcome.facts[OUT_OF_SCOPE])


def scope_recall(outcome: Outcome) -> float | None:
    """Return whether a sample out of scope was found; None for others."""
    if not _is_outside(outcome.sample.target, outcome):
        return None
    return float(_is_outside(outcome.label, outcome))


def scope_precision(outcome: Outcome) -> float | None:
    """Return whether an answer out of scope was right; None for others."""
    if not _is_outside(outcome.label, outcome):
        return None
    return float(_is_outside(outcome.sample.target, outcome))


def schema_met(outcome: Outcome) -> float | None:
    """Return whether a reply is JSON of the row's schema; None without one."""
    schema = outcome.facts.get("schema")
    if schema is None:
        return None
    return meets_schema(outcome.prediction.text, schema) if outcome.prediction else 0.0


def contradiction(outcome: Outcome) -> float | None:
    """Return whether a reply contradicts the row's fact; None without one."""
    contrary = outcome.facts.get("contrary")
    if not contrary or outcome.prediction is None:
        return None
    fact = outcome.facts.get("fact")
    return contradicts(outcome.prediction.text, str(contrary), str(fact) if fact else None)


def prompt_leak(outcome: Outcome) -> float | None:
    """Return whether a reply repeats the system prompt; None where none was read."""
    said = outcome.prediction
    if said is None or not said.messages:
        return None
    system = "\n".join(m.content for m in said.messages if m.role == "system")
    # A note may say what the question says, and an answer may repeat either.
    known = [outcome.fallback, outcome.sample.input, *(note.text for note in said.notes)]
    return leaks_prompt(said.text, system, known)


def says(fact: str) -> Score:
    """Return what tells whether a reply holds a word, or one of the words, of a fact."""

    def score(outcome: Outcome) -> float | None:
        said = outcome.facts.get(fact)
        words = [said] if isinstance(said, str) else said
        if not words or outcome.prediction is None:
            return None
        return says_any(outcome.prediction.text, [str(word) for word in words])

    return score


def first_token_s(outcome: Outcome) -> float | None:
    """Return the seconds to the first piece of an answer; None where they are unknown."""
    return outcome.prediction.first_token_s if outcome.prediction else None


def cost_of_1000(outcome: Outcome) -> float | None:
    """Return the cost of a thousand such answers; None without a price."""
    cost = outcome.prediction.cost if outcome.prediction else None
    return None if cost is None else 1000 * cost


def in_language(outcome: Outcome) -> float | None:
    """Return whether a reply is in no other language than the bot's; None if unset."""
    language = outcome.facts.get("language")
    if not language or outcome.prediction is None:
        return None
    from promptbot.prompt.output import other_language

    return float(other_language(outcome.prediction.text, str(language)) is None)


def perplexity(outcomes: Sequence[Outcome]) -> float:
    """Return 2 to the mean bits per byte that were kept; nan without any."""
    bits = [b for o in outcomes if (b := o.kept.get("bits_per_byte")) is not None]
    return float(2 ** np.mean(bits)) if bits else float("nan")


def corpus_bleu(outcomes: Sequence[Outcome]) -> float:
    """Return BLEU of all replies together."""
    said = [(o.prediction.text, o.sample.target) for o in outcomes if o.prediction]
    return bleu([text for text, _ in said], [target for _, target in said])


def similarity(outcome: Outcome) -> float:
    """Return the cosine of the vectors of reply and target; 0 for a failed answer."""
    if outcome.prediction is None:
        return 0.0
    one, other = _vector(outcome.prediction.text), _vector(outcome.sample.target)
    return float(one @ other)


@lru_cache(maxsize=50_000)
def _vector(text: str) -> NDArray[np.float32]:
    return np.asarray(_encoder().encode([text])[0])


@cache
def _encoder() -> Encoder:
    from promptbot.models.encoder import load_encoder

    return load_encoder("embedded")


def personal_data(outcome: Outcome) -> float | None:
    """Return whether an answer holds personal data that its prompt does not."""
    said = outcome.prediction
    if said is None:
        return None
    from promptbot.guard.personal import KINDS, find

    read = "\n".join(message.content for message in said.messages)
    found = find(said.text, KINDS, ())
    return float(any(said.text[one.start : one.stop] not in read for one in found))


def brier_score(outcome: Outcome) -> float | None:
    """Return the squared error of the labels' probabilities; None without any."""
    if outcome.prediction is None or not outcome.prediction.label_logprobs:
        return None
    return brier(outcome.prediction.label_logprobs, outcome.sample.target)


def calibration_error(outcomes: Sequence[Outcome]) -> float:
    """Return the expected calibration error; nan without probabilities."""
    confidences, right = [], []
    for outcome in outcomes:
        logprobs = outcome.prediction.label_logprobs if outcome.prediction else {}
        if logprobs:
            confidences.append(float(np.exp(max(logprobs.values()))))
            right.append(bool(right_label(outcome)))
    return expected_calibration_error(confidences, right) if confidences else float("nan")


def distinct(n: int) -> Callable[[Sequence[Outcome]], float]:
    """Return what gives the share of different runs of n words among all."""
    return lambda outcomes: distinct_n((o.prediction.text for o in outcomes if o.prediction), n)


def tokens(count: Callable[[Prediction], int | None]) -> Score:
    """Return what counts the tokens of an answer, where they are known."""

    def score(outcome: Outcome) -> float | None:
        n_tokens = count(outcome.prediction) if outcome.prediction else None
        return None if n_tokens is None else float(n_tokens)

    return score
