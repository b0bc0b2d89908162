"""Agreement of answers that should be the same: over paraphrases, repeats, seeds and groups.

Source:
    Elazar et al. (2021), "Measuring and improving consistency in pretrained language models",
    TACL, arXiv:2102.01017: the share of pairs of paraphrases with the same prediction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from promptbot.evals.metrics.text import normalise

if TYPE_CHECKING:
    from promptbot.evals.metrics.metric import Outcome

SetOf = Callable[["Outcome"], Hashable | None]
"""The set that an outcome belongs to; None where it belongs to none."""


def agreement(set_of: SetOf) -> Callable[[Sequence[Outcome]], list[float | None]]:
    """Return what gives each answer the share of the other answers of its set that are the same.

    Two answers are the same where they have one label, or in chat the same words but for case and
    punctuation. A failed answer agrees with none. An answer without others has no score.
    """

    def scores(outcomes: Sequence[Outcome]) -> list[float | None]:
        keys = [set_of(outcome) for outcome in outcomes]
        said = [_said(outcome) for outcome in outcomes]
        counts: dict[Hashable, Counter[str | None]] = defaultdict(Counter)
        for key, answer in zip(keys, said, strict=True):
            counts[key][answer] += 1
        found: list[float | None] = []
        for key, answer in zip(keys, said, strict=True):
            n_others = counts[key].total() - 1
            if key is None or n_others < 1:
                found.append(None)
            else:
                n_same = counts[key][answer] - 1 if answer is not None else 0
                found.append(n_same / n_others)
        return found

    return scores


def disagreement(set_of: SetOf) -> Callable[[Sequence[Outcome]], list[float | None]]:
    """Return what gives each answer the share of the other answers of its set that differ."""
    of = agreement(set_of)
    return lambda outcomes: [None if a is None else 1 - a for a in of(outcomes)]


def by_field(name: str) -> SetOf:
    """Return what keeps answers together whose rows have the same value, in each draw alone."""

    def set_of(outcome: Outcome) -> Hashable | None:
        value = outcome.facts.get(name)
        return None if value in (None, "") else (str(value), outcome.seed, outcome.repeat)

    return set_of


def cluster_by(name: str) -> Callable[[Outcome], Hashable]:
    """Return what keeps samples together by a field of their rows, over all draws."""
    return lambda outcome: str(outcome.facts.get(name) or outcome.group)


def over_repeats(outcome: Outcome) -> Hashable:
    """Return what equal calls share."""
    return outcome.sample.id, outcome.seed


def over_seeds(outcome: Outcome) -> Hashable:
    """Return what calls share that differ in the seed alone."""
    return outcome.sample.id, outcome.repeat


def _said(outcome: Outcome) -> str | None:
    if outcome.prediction is None:
        return None
    return f"label {label}" if (label := outcome.label) else normalise(outcome.prediction.text)
