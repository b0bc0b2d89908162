"""Finds texts that are nearly the same: samples that are also shown as examples, and duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptbot.evals.metrics.text import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """
    index = NearTexts(examples, near)
    leaks = []
    for place, text in enumerate(samples):
        found, similarities = index.find(text)
        if len(found):
            best = int(similarities.argmax())  # the first of several
            leaks.append(Leak(place, int(found[best]), float(similarities[best])))
    return leaks


class NearTexts:
    """Texts among which those are found that equal another one, or nearly.

    Only pairs that share one of their rarest trigrams are compared, which misses none. What is kept
    of a text are the numbers of its trigrams.

    Args:
        texts: What is searched.
        near: Similarity from which a pair counts, in (0, 1].

    Source:
        Prefix filtering: Chaudhuri et al. (2006), ICDE.
    """

    def __init__(self, texts: Sequence[str], near: float = NEAR) -> None:
        self._near = near
        grams = [_trigrams(text) for text in texts]
        self._sizes = np.array([len(one) for one in grams], dtype=np.int64)  # (n_texts,)
        self._ends = np.cumsum(self._sizes)
        every = np.concatenate(grams) if grams else np.zeros(0, np.uint64)
        self._known, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
        # Any order of the trigrams would do, as long as it is one for all: rare ones come first.
        self._ranks = np.empty(len(counts), dtype=np.int64)
        self._ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
        rows = np.repeat(np.arange(len(grams)), self._sizes)
        order = np.lexsort((self._ranks[inverse], rows))
        self._flat = self._ranks[inverse][order]  # every text's trigrams, the rarest first
        within = np.arange(len(every)) - np.repeat(self._ends - self._sizes, self._sizes)
        kept = within < np.repeat(_n_rarest(self._sizes, near), self._sizes)
        by_gram = np.argsort(self._flat[kept], kind="stable")
        self._posted = rows[kept][by_gram]  # texts, by the trigrams that they are found by
        self._starts = np.searchsorted(self._flat[kept][by_gram], np.arange(len(counts) + 1))
        self._marked = np.zeros(len(counts), dtype=bool)

    def find(
        self, text: str, before: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return places and similarities of the texts that equal this one, or nearly.

        Args:
            text: What they are compared with.
            before: Only texts before this place.

        Returns:
            Places in increasing order, and the Jaccard similarity of the trigrams of each, from
            `near` to 1.
        """
        grams = _trigrams(text)
        places = np.searchsorted(self._known, grams)
        places[places == len(self._known)] = 0
        is_known = self._known[places] == grams if len(self._known) else np.zeros(0, bool)
        ranks = np.sort(self._ranks[places[is_known]]) if len(self._known) else places[:0]
        # Trigrams that no text has are the rarest of all.
        n_tried = max(int(_n_rarest(len(grams), self._near)) - (len(grams) - len(ranks)), 0)
        posted = [self._posted[self._starts[r] : self._starts[r + 1]] for r in ranks[:n_tried]]
        if not posted:
            return np.zeros(0, np.int64), np.zeros(0)
        found = np.unique(np.concatenate(posted))
        if before is not None:
            found = found[found < before]
        sizes = self._sizes[found]
        alike = (sizes >= self._near * len(grams)) & (len(grams) >= self._near * sizes)
        found, sizes = found[alike], sizes[alike]
        if not len(found):
            return found, np.zeros(0)
        starts = np.cumsum(sizes) - sizes
        steps = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        self._marked[ranks] = True
        hits = self._marked[self._flat[np.repeat(self._ends[found] - sizes, sizes) + steps]]
        self._marked[ranks] = False
        n_shared = np.add.reduceat(hits, starts, dtype=np.int64)
        similarities = n_shared / (sizes + len(grams) - n_shared)
        is_near = similarities >= self._near
        return found[is_near], similarities[is_near]


def plain_form(text: str) -> str:
    """Return what two equal texts have in common; a text of marks alone stands for itself."""
    return normalise(text) or text.strip()


def _trigrams(text: str) -> NDArray[np.uint64]:
    """Return the text's different runs of three characters, each as a number, sorted."""
    padded = f"  {plain_form(text)} ".encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(padded, dtype="<u4").astype(np.uint64)  # each below 2 ** 21
    shift = np.uint64(21)
    return np.unique((((codes[:-2] << shift) | codes[1:-1]) << shift) | codes[2:])


def _n_rarest(n_grams: NDArray[np.int64] | int, near: float) -> NDArray[np.int64]:
    """Return how many of a text's rarest trigrams suffice to find all that are near.

    Two sets this similar share at least near * n_grams, so they cannot differ in all of the
    n_grams - near * n_grams + 1 rarest ones.
    """
    sizes = np.asarray(n_grams)
    return sizes - (near * sizes - 1e-9).astype(np.int64)
