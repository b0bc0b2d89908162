"""Search over a pool of texts by the words and letters that they share with a question."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from promptbot.prompt.words import letter_ngrams, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1, B = 1.5, 0.75
"""How soon a repeated word stops counting, and how much long texts are discounted."""


class WordIndex:
    """Scores a pool's texts by BM25: rare words that they share with a question count most.

    Nothing is indexed before the first search. The arithmetic is bm25s's.

    Args:
        texts: The pool.

    Source:
        Robertson & Zaragoza (2009), doi:10.1561/1500000019, in Lucene's form;
        bm25s: Lù (2024), arXiv:2407.03618.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._lock = Lock()  # a chain's batch searches from several threads

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the BM25 score of every text; 0 where it shares no word.  # (n_texts,)"""
        import numpy as np

        from promptbot.prompt.ranking import DECIMALS

        if not self._texts:
            return np.zeros(0, dtype=np.float32)
        with self._lock:
            index = self._index
        return np.asarray(index.get_scores(words(query)), dtype=np.float32).round(DECIMALS)

    @cached_property
    def _index(self) -> Any:
        import bm25s

        index = bm25s.BM25(method="lucene", k1=K1, b=B)
        index.index([words(text) for text in self._texts], show_progress=False)
        return index


class NgramIndex:
    """Scores a pool's texts by the letter sequences that they share with a question.

    It forgives misspellings and endings, and needs no spaces between words: two texts are as alike
    as the share of all their sequences of two and three letters that both have.

    Args:
        texts: The pool.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._lock = Lock()

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the Jaccard similarity of n-grams with every text, in [0, 1].  # (n_texts,)"""
        import numpy as np

        from promptbot.prompt.ranking import DECIMALS

        with self._lock:
            places, sizes = self._index
        sought = letter_ngrams(query)
        known = [places[gram] for gram in sought if gram in places]
        shared = np.bincount(np.concatenate(known), minlength=len(sizes)) if known else 0 * sizes
        jaccard = shared / (len(sought) + sizes - shared)
        return jaccard.astype(np.float32).round(DECIMALS)

    @cached_property
    def _index(self) -> tuple[dict[str, NDArray[np.int32]], NDArray[np.int64]]:
        """Return the texts that hold each n-gram, and how many n-grams each text has."""
        import numpy as np

        grams = [letter_ngrams(text) for text in self._texts]
        holders: dict[str, list[int]] = {}
        for number, found in enumerate(grams):
            for gram in found:
                holders.setdefault(gram, []).append(number)
        places = {gram: np.array(numbers, dtype=np.int32) for gram, numbers in holders.items()}
        return places, np.array([len(found) for found in grams], dtype=np.int64)
