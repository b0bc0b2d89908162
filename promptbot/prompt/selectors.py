"""Which examples a prompt shows, and in which order the model reads them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptbot.data import check_k
from promptbot.errors import DataError, InputError, SpecError, known_words
from promptbot.types import Chosen, Example

if TYPE_CHECKING:
    from langchain_core.example_selectors import BaseExampleSelector

    from promptbot.interfaces import Encoder, Selector

Order = Literal["nearest_last", "nearest_first", "random", "file"]


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
        drawn = _generator("select", self._seed, query).sample(self._examples, k)
        return [Chosen(example, similarity=None) for example in drawn]


class NearestSelector:
    """Chooses the k examples whose inputs are most similar to the user's message.

    Source:
        Liu et al. (2021), arXiv:2101.06804.
    """

    def __init__(
        self, examples: Sequence[Example], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        from promptbot.prompt.similarity import SimilarityIndex

        self._examples = tuple(examples)
        self._index = SimilarityIndex([e.input for e in self._examples], encoder, cache_dir)

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


def _make_nearest(
    examples: Sequence[Example], encoder: Encoder | None, seed: int, cache_dir: Path | None
) -> Selector:
    if encoder is None:
        raise ValueError("the nearest selector needs an encoder")
    return NearestSelector(examples, encoder, cache_dir)


SELECTORS: Mapping[
    str, Callable[[Sequence[Example], Encoder | None, int, Path | None], Selector]
] = {
    "fixed": lambda examples, encoder, seed, cache_dir: FixedSelector(examples),
    "random": lambda examples, encoder, seed, cache_dir: RandomSelector(examples, seed),
    "nearest": _make_nearest,
}
"""Every kind of selector by the name that bot.yaml uses."""


def make_selector(
    kind: str,
    examples: Sequence[Example],
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
) -> Selector:
    """Return a selector over a pool of examples.

    Args:
        kind: A key of `SELECTORS`.
        examples: The pool, in the file's order.
        encoder: Measures similarity; only ``nearest`` needs it.
        seed: Of ``random``.
        cache_dir: Folder of the pool's cached vectors; the user's cache folder when None.

    Raises:
        SpecError: There is no such kind.
    """
    if kind not in SELECTORS:
        raise SpecError(
            f'unknown selector "{kind}".',
            place="examples.selector",
            hint=known_words("Known", kind, SELECTORS),
        )
    return SELECTORS[kind](examples, encoder, seed, cache_dir)


def arrange(
    chosen: Sequence[Chosen[Example]], order: Order, *, seed: int = 0, query: str = ""
) -> list[Chosen[Example]]:
    """Return the chosen examples in the order in which the model reads them.

    Order matters: models lean towards what they read last (Zhao et al. 2021), which is why the
    nearest example usually stands beside the question (Liu et al. 2021).

    Args:
        chosen: Examples as a selector returns them, nearest first.
        order: ``nearest_last``, ``nearest_first``, ``random``, or ``file`` (by line). Where no
            similarity was measured, the two nearest orders keep the selector's own order.
        seed: Of ``random``, together with the query; the same pair gives the same order.
        query: The user's text.

    Raises:
        SpecError: There is no such order.

    Source:
        Zhao et al. (2021), arXiv:2102.09690; Liu et al. (2021), arXiv:2101.06804.
    """
    if order not in ORDERS:
        raise SpecError(
            f'unknown order "{order}".',
            place="examples.order",
            hint=known_words("Known", order, ORDERS),
        )
    if order == "file":
        return sorted(chosen, key=lambda c: c.item.line)
    if order == "random":
        return _generator("arrange", seed, query).sample(chosen, len(chosen))
    measured = all(c.similarity is not None for c in chosen)
    return list(reversed(chosen)) if order == "nearest_last" and measured else list(chosen)


ORDERS = ("nearest_last", "nearest_first", "random", "file")
"""Every order by the name that bot.yaml uses."""


def orders(
    chosen: Sequence[Chosen[Example]], n: int, *, seed: int = 0, query: str = ""
) -> list[list[Chosen[Example]]]:
    """Return n different orders of the chosen examples, the given one first.

    There are fewer where n different ones do not exist. The same seed and query give the same
    orders.

    Source:
        Orders decide as much as the choice: Lu et al. (2022), arXiv:2104.08786.
    """
    n = min(n, math.factorial(len(chosen)))
    generator = _generator("permute", seed, query)
    found = {tuple(range(len(chosen))): None}
    while len(found) < n:
        found[tuple(generator.sample(range(len(chosen)), len(chosen)))] = None
    return [[chosen[index] for index in order] for order in found]


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


def _generator(purpose: str, seed: int, query: str) -> random.Random:
    """Return a generator of its own for one purpose, seed and query."""
    # repr keeps the three apart, and lone surrogates from being an error.
    digest = hashlib.sha256(repr((purpose, seed, query)).encode("ascii", "backslashreplace"))
    return random.Random(digest.digest())
