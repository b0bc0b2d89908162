"""Which examples a prompt shows; docs/selectors.md says how to choose among the selectors.

In which order the model reads them is decided by `promptbot.prompt.orders`. Every selector returns
first what it would keep longest, should the prompt become too long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from promptbot.data import check_k
from promptbot.errors import DataError, InputError, SpecError, known_words
from promptbot.prompt.orders import generator
from promptbot.prompt.words import words
from promptbot.types import Chosen, Example, Message

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.example_selectors import BaseExampleSelector
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder, Selector

CANDIDATES_PER_EXAMPLE = 10
"""How many of the nearest examples `diverse` considers for each one that it shows."""

CountTokens = Callable[[Sequence[Message]], int]


class FixedSelector:
    """Chooses the first k examples of the file, whatever the input."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = tuple(examples)

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return the first k examples of the pool, in its order.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        check_k(k, len(self._examples))
        return [Chosen(example, similarity=None) for example in self._examples[:k]]


class LengthSelector:
    """Chooses examples that fit into a budget, the file's first ones first.

    The budget is shared with the message, so a long message leaves room for fewer examples. An
    example that is too long is passed over for those that follow it.

    Args:
        examples: The pool.
        count_tokens: Tokens of some messages, as the model counts them.
        max_tokens: Of the message and the examples together.

    Source:
        LangChain's LengthBasedExampleSelector, which stops at the first that does not fit.
    """

    def __init__(
        self, examples: Sequence[Example], count_tokens: CountTokens, max_tokens: int
    ) -> None:
        self._examples = tuple(examples)
        self._count = count_tokens
        self._max_tokens = max_tokens

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return at most k examples, in the file's order.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        check_k(k, len(self._examples))
        left = self._max_tokens - self._count([Message("user", query)])
        chosen: list[Chosen[Example]] = []
        for example, n_tokens in zip(self._examples, self._n_tokens, strict=True):
            if len(chosen) == k:
                break
            if n_tokens <= left:
                left -= n_tokens
                chosen.append(Chosen(example, similarity=None))
        return chosen

    @cached_property
    def _n_tokens(self) -> list[int]:
        return [
            self._count([Message("user", e.input), Message("assistant", e.output)])
            for e in self._examples
        ]


class RandomSelector:
    """Chooses k examples at random for each input.

    The same seed and query give the same choice in every process, whatever was asked before.
    """

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self._examples = tuple(examples)
        self._seed = seed

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k examples drawn without replacement, in the order of the draw.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        check_k(k, len(self._examples))
        drawn = generator("select", self._seed, query).sample(self._examples, k)
        return [Chosen(example, similarity=None) for example in drawn]


class BalancedSelector:
    """Chooses at random for each input, and as many examples of each label.

    Where k is no multiple of the number of labels, which labels come once more is random too; a
    label that has no example left is passed over.
    """

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self._n_examples = len(examples)
        self._by_label = _by_label("balanced", examples)
        self._seed = seed

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k examples, one of each label, then a second one of each, and so on.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        check_k(k, self._n_examples)
        random = generator("balanced", self._seed, query)
        shuffled = [random.sample(of_one, len(of_one)) for of_one in self._by_label.values()]
        drawn: list[Example] = []
        while len(drawn) < k:
            for examples in random.sample(shuffled, len(shuffled)):
                if examples and len(drawn) < k:
                    drawn.append(examples.pop())
        return [Chosen(example, similarity=None) for example in drawn]


class ScoredSelector:
    """Chooses the k examples of the highest scores, such as BM25's.

    Args:
        examples: The pool.
        scores: Gives every example's score for a query, the pool's order.
    """

    def __init__(
        self, examples: Sequence[Example], scores: Callable[[str], NDArray[np.float32]]
    ) -> None:
        self._examples = tuple(examples)
        self._scores = scores

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return the k best examples, best first, ties in the file's order.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        from promptbot.prompt.ranking import best, plain

        check_k(k, len(self._examples))
        if k == 0:
            return []
        scores = self._scores(query)
        return [
            Chosen(self._examples[index], similarity=None, score=plain(scores[index]))
            for index in best(scores, k)
        ]


class _IndexSelector:
    """A selector that compares the vectors of the examples' inputs with that of the message."""

    def __init__(
        self, examples: Sequence[Example], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        from promptbot.prompt.similarity import SimilarityIndex

        self._examples = tuple(examples)
        self._index = SimilarityIndex([e.input for e in self._examples], encoder, cache_dir)


class NearestSelector(_IndexSelector):
    """Chooses the k examples whose inputs are most similar to the user's message.

    Source:
        Liu et al. (2021), arXiv:2101.06804.
    """

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return the k examples nearest to the query, nearest first, ties in the file's order.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        check_k(k, len(self._examples))
        return [
            Chosen(self._examples[index], similarity)
            for index, similarity in self._index.search(query, k)
        ]


class NearestPerLabelSelector(_IndexSelector):
    """Chooses the nearest example of every label, then the second nearest of every label, ...

    Every label has its say where k reaches the number of labels, and the labels nearest to the
    message where it does not.
    """

    def __init__(
        self, examples: Sequence[Example], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        super().__init__(examples, encoder, cache_dir)
        labels = list(_by_label("nearest_per_label", examples))
        code = {label: number for number, label in enumerate(labels)}
        self._codes = [code[str(e.label)] for e in self._examples]

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k examples, round by round, within a round nearest first.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        import numpy as np

        from promptbot.prompt.ranking import plain

        check_k(k, len(self._examples))
        if k == 0:
            return []
        similarities = self._index.similarities(query)
        nearest = np.argsort(-similarities, kind="stable")
        codes = np.array(self._codes)[nearest]
        # An example's round is the number of nearer ones of its label: sorted by label, what it
        # stands behind its label's first one.
        by_label = np.argsort(codes, kind="stable")
        firsts = np.searchsorted(codes[by_label], codes[by_label])
        rounds = np.empty(len(codes), dtype=np.int64)
        rounds[by_label] = np.arange(len(codes)) - firsts
        chosen = nearest[np.argsort(rounds, kind="stable")[:k]]
        return [Chosen(self._examples[i], plain(similarities[i])) for i in chosen]


class DiverseSelector(_IndexSelector):
    """Chooses near examples that are unlike each other, among the nearest ones.

    Source:
        Maximal marginal relevance: Carbonell & Goldstein (1998), SIGIR.
    """

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k of the 10 k nearest examples, in the order of choice: the nearest first.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        import numpy as np

        from promptbot.prompt.ranking import plain
        from promptbot.prompt.sets import most_diverse

        check_k(k, len(self._examples))
        nearest = self._index.search(query, CANDIDATES_PER_EXAMPLE * k)
        if not nearest:
            return []
        relevance = np.array([similarity for _, similarity in nearest], dtype=np.float32)
        vectors = self._index.vectors()[[index for index, _ in nearest]]
        return [
            Chosen(self._examples[nearest[i][0]], nearest[i][1], score=plain(value))
            for i, value in most_diverse(relevance, vectors, k)
        ]


class CoverageSelector:
    """Chooses the examples whose words together come nearest to every word of the message.

    A word is covered as well as the most similar word of the set covers it; rare words weigh
    more. That is Set-BSR of the paper, with the vectors that the encoder gives single words in
    place of a language model's vectors of words in context.

    Source:
        Gupta, Gardner & Singh (2023), arXiv:2305.14907.
    """

    def __init__(
        self, examples: Sequence[Example], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        from promptbot.prompt.similarity import SimilarityIndex

        self._examples = tuple(examples)
        self._encoder = encoder
        distinct = [list(dict.fromkeys(words(e.input))) for e in self._examples]
        self._n_holding = Counter(word for of_one in distinct for word in of_one)
        number = {word: n for n, word in enumerate(self._n_holding)}
        self._word_numbers = [number[word] for of_one in distinct for word in of_one]
        self._n_words = [len(of_one) for of_one in distinct]
        self._vocabulary = SimilarityIndex(list(number), encoder, cache_dir)

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return k examples in the order of choice, each with how well it covers alone.

        Raises:
            DataError: The pool holds fewer than k examples.
        """
        import numpy as np

        from promptbot.prompt.ranking import plain
        from promptbot.prompt.sets import best_cover

        check_k(k, len(self._examples))
        if k == 0:
            return []
        asked = list(dict.fromkeys(words(query)))
        weights = np.array([self._rarity(word) for word in asked], dtype=np.float32)
        weights /= weights.sum()
        similarity = self._encoder.encode(asked) @ self._vocabulary.vectors().T
        starts = np.cumsum([0, *self._n_words[:-1]])
        cover = np.maximum.reduceat(similarity[:, self._word_numbers], starts, axis=1)
        alone = weights @ cover  # (n_examples,)
        return [
            Chosen(self._examples[index], similarity=None, score=plain(alone[index]))
            for index in best_cover(cover, weights, k)
        ]

    def _rarity(self, word: str) -> float:
        """Return the smoothed inverse document frequency of a word in the pool, at least 1."""
        return math.log((1 + len(self._examples)) / (1 + self._n_holding[word])) + 1


class VoteKSelector(_IndexSelector):
    """Chooses the nearest among a few examples that stand for the whole pool.

    The few are chosen once, before the first message, from the inputs alone; so they are also the
    ones to label first, where labels cost.

    Args:
        examples: The pool.
        encoder: Frozen sentence encoder.
        keep: How many examples are kept; of a smaller pool all.
        cache_dir: Folder of the cached vectors; the user's cache folder when None.

    Source:
        Su et al. (2022), arXiv:2209.01975.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encoder: Encoder,
        keep: int,
        cache_dir: Path | None = None,
    ) -> None:
        super().__init__(examples, encoder, cache_dir)
        self._keep = min(keep, len(self._examples))
        self._lock = Lock()  # a chain's batch selects from several threads

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return the k examples nearest to the query among those kept, nearest first.

        Raises:
            DataError: Fewer than k examples are kept.
        """
        from promptbot.prompt.ranking import best, plain

        check_k(k, self._keep)
        if k == 0:
            return []
        with self._lock:
            kept = self.kept
        similarities = self._index.similarities(query)[kept]
        return [
            Chosen(self._examples[kept[i]], plain(similarities[i])) for i in best(similarities, k)
        ]

    @cached_property
    def kept(self) -> list[int]:
        """The indices of the examples that stand for the pool, in its order."""
        from promptbot.prompt.sets import most_representative

        if not self._examples:
            return []
        return sorted(most_representative(self._index.vectors(), self._keep))


@dataclass(frozen=True)
class Pool:
    """The examples to choose from, and what the selectors need beside them."""

    examples: Sequence[Example]
    """In the file's order."""
    encoder: Encoder | None = None
    """Measures similarity; for the selectors in `NEEDS_ENCODER`."""
    seed: int = 0
    """Of ``random`` and ``balanced``."""
    count_tokens: CountTokens | None = None
    """Tokens of some messages, as the model counts them; for ``length``."""
    max_tokens: int = 200
    """Of message and examples together, for ``length``."""
    keep: int = 100
    """How many examples ``votek`` keeps."""
    cache_dir: Path | None = None
    """Folder of the pool's cached vectors; the user's cache folder when None."""

    @property
    def measure(self) -> Encoder:
        """The encoder, where a selector needs it."""
        if self.encoder is None:
            raise ValueError("this selector needs an encoder")
        return self.encoder


def _make_bm25(pool: Pool) -> Selector:
    from promptbot.prompt.word_index import WordIndex

    return ScoredSelector(pool.examples, WordIndex([e.input for e in pool.examples]).scores)


def _make_ngram(pool: Pool) -> Selector:
    from promptbot.prompt.word_index import NgramIndex

    return ScoredSelector(pool.examples, NgramIndex([e.input for e in pool.examples]).scores)


def _make_length(pool: Pool) -> Selector:
    if pool.count_tokens is None:
        raise ValueError("the length selector needs a way to count tokens")
    return LengthSelector(pool.examples, pool.count_tokens, pool.max_tokens)


SELECTORS: Mapping[str, Callable[[Pool], Selector]] = {
    "fixed": lambda pool: FixedSelector(pool.examples),
    "length": _make_length,
    "random": lambda pool: RandomSelector(pool.examples, pool.seed),
    "balanced": lambda pool: BalancedSelector(pool.examples, pool.seed),
    "ngram": _make_ngram,
    "bm25": _make_bm25,
    "nearest": lambda pool: NearestSelector(pool.examples, pool.measure, pool.cache_dir),
    "nearest_per_label": lambda pool: NearestPerLabelSelector(
        pool.examples, pool.measure, pool.cache_dir
    ),
    "diverse": lambda pool: DiverseSelector(pool.examples, pool.measure, pool.cache_dir),
    "coverage": lambda pool: CoverageSelector(pool.examples, pool.measure, pool.cache_dir),
    "votek": lambda pool: VoteKSelector(pool.examples, pool.measure, pool.keep, pool.cache_dir),
}
"""Every kind of selector by the name that bot.yaml uses."""

NEEDS_ENCODER = frozenset({"nearest", "nearest_per_label", "diverse", "coverage", "votek"})
"""The kinds that compare vectors."""


def make_selector(kind: str, pool: Pool) -> Selector:
    """Return a selector over a pool of examples.

    Args:
        kind: A key of `SELECTORS`.
        pool: The examples, and what the kind needs beside them.

    Raises:
        SpecError: There is no such kind.
        DataError: The kind goes by label, and an example has none.
    """
    if kind not in SELECTORS:
        raise SpecError(
            f'unknown selector "{kind}".',
            place="examples.selector",
            hint=known_words("Known", kind, SELECTORS),
        )
    return SELECTORS[kind](pool)


def as_langchain(selector: Selector, k: int, input_key: str = "input") -> BaseExampleSelector:
    """Return the selector as a LangChain example selector.

    It gives dictionaries with ``input`` and ``output`` (and ``label`` in classify bots), nearest
    first as LangChain's own similarity selector does, ready for `FewShotChatMessagePromptTemplate`.

    Args:
        selector: Any `Selector`.
        k: How many examples each call chooses.
        input_key: The prompt variable that holds the user's text.
    """
    from langchain_core.example_selectors import BaseExampleSelector

    class LangChainSelector(BaseExampleSelector):
        """A promptbot selector behind LangChain's interface."""

        def add_example(self, example: dict[str, str]) -> Any:
            raise DataError(
                "an example cannot be added: the pool is fixed, so that a prompt can be repeated.",
                hint="Add it to the examples file and load the bot again.",
            )

        def select_examples(self, input_variables: dict[str, str]) -> list[dict[str, Any]]:
            if input_key not in input_variables:
                raise InputError(
                    f'the prompt has no variable "{input_key}".',
                    place="as_langchain",
                    hint=known_words("Variables", input_key, input_variables),
                )
            return [_as_dictionary(c.item) for c in selector.select(input_variables[input_key], k)]

    return LangChainSelector()


def _as_dictionary(example: Example) -> dict[str, str]:
    values = {"input": example.input, "output": example.output}
    return values if example.label is None else {**values, "label": example.label}


def _by_label(kind: str, examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Return the examples of each label, labels in the order of the file.

    Raises:
        DataError: An example has no label.
    """
    found: dict[str, list[Example]] = {}
    for example in examples:
        if example.label is None:
            raise DataError(
                f'"{example.input}" has no label.',
                place="examples.selector",
                expected=f"{kind} chooses by label.",
                hint="Set task: classify with labels:, or choose another selector.",
            )
        found.setdefault(example.label, []).append(example)
    return found
