"""Finds samples that are also shown as examples: answers that were given away."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from promptbot.evals.metrics.text import normalise

NEAR = 0.8
"""Jaccard similarity of character trigrams from which two texts count as nearly the same."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A sample and the example that gives it away."""

    sample: int
    """The sample's place in the given list, from 0."""
    example: int
    """The example's place in the given list, from 0."""
    similarity: float
    """1 for equal texts (but for case and punctuation), else Jaccard similarity of trigrams."""


def find_leaks(samples: Sequence[str], examples: Sequence[str], near: float = NEAR) -> list[Leak]:
    """Return every sample that equals an example, or nearly, with its most similar example.

    Args:
        samples: Inputs of the samples.
        examples: Inputs of the example pool.
        near: Similarity from which a pair counts, in (0, 1].

    Returns:
        One leak per sample at most, in the samples' order.

    Source:
        Only pairs that share one of their rarest trigrams are compared, which misses none:
        Chaudhuri et al. (2006), ICDE (prefix filtering).
    """
    if not examples:
        return []
    pool = [_trigrams(text) for text in examples]
    # Any order of the trigrams would do, as long as it is one for all.
    frequency = Counter(gram for grams in pool for gram in grams)
    by_gram: dict[str, list[int]] = defaultdict(list)
    for number, grams in enumerate(pool):
        for gram in _rarest(grams, frequency, near):
            by_gram[gram].append(number)
    leaks = []
    for place, text in enumerate(samples):
        grams = _trigrams(text)
        candidates = {
            number for gram in _rarest(grams, frequency, near) for number in by_gram[gram]
        }
        best = max(
            ((_jaccard(grams, pool[number]), -number) for number in candidates), default=(0.0, 0)
        )
        if best[0] >= near:
            leaks.append(Leak(place, -best[1], best[0]))
    return leaks


def _trigrams(text: str) -> frozenset[str]:
    padded = f"  {normalise(text)} "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def _rarest(grams: frozenset[str], frequency: Counter[str], near: float) -> list[str]:
    # Two sets this similar share at least near * |A| grams, so they cannot differ in all of the
    # |A| - near * |A| + 1 rarest ones.
    n_kept = len(grams) - int(near * len(grams) - 1e-9)
    return sorted(grams, key=lambda gram: (frequency[gram], gram))[:n_kept]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
