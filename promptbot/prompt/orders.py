"""In which order the model reads the chosen examples."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal, get_args

from promptbot.errors import SpecError, known_words
from promptbot.types import Chosen, Example

Order = Literal["nearest_last", "nearest_first", "random", "file", "label_interleaved"]
ORDERS: tuple[str, ...] = get_args(Order)
"""Every order by the name that bot.yaml uses."""


def arrange(
    chosen: Sequence[Chosen[Example]], order: Order, *, seed: int = 0, query: str = ""
) -> list[Chosen[Example]]:
    """Return the chosen examples in the order in which the model reads them.

    Order matters: models lean towards what they read last (Zhao et al. 2021), which is why the
    nearest example usually stands beside the question (Liu et al. 2021), and why a run of examples
    of one label pulls towards that label.

    Args:
        chosen: Examples as a selector returns them.
        order: ``nearest_last``, ``nearest_first``, ``random``, ``file`` (by line), or
            ``label_interleaved``: the labels take turns, and the last round holds the nearest
            example of each label. Where nothing was measured, the selector's own order stands for
            nearness in ``label_interleaved``, and is kept by the two nearest orders.
        seed: Of ``random``, together with the query; the same pair gives the same order.
        query: The user's text.

    Raises:
        SpecError: There is no such order.

    Source:
        Zhao et al. (2021), arXiv:2102.09690 (``label_interleaved`` is ours, against the biases
        that they measured); Liu et al. (2021), arXiv:2101.06804;
        Lu et al. (2022), arXiv:2104.08786.
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
        return generator("arrange", seed, query).sample(chosen, len(chosen))
    measured = all(c.nearness is not None for c in chosen)
    # Some selectors choose by more than nearness, so their order is not yet the nearest first.
    nearest = sorted(chosen, key=lambda c: -(c.nearness or 0.0)) if measured else list(chosen)
    if order == "label_interleaved":
        return _interleave(nearest)
    return nearest[::-1] if order == "nearest_last" and measured else nearest


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
    drawn = generator("permute", seed, query)
    found = {tuple(range(len(chosen))): None}
    while len(found) < n:
        found[tuple(drawn.sample(range(len(chosen)), len(chosen)))] = None
    return [[chosen[index] for index in order] for order in found]


def generator(purpose: str, seed: int, query: str) -> random.Random:
    """Return a random generator of its own for one purpose, seed and query."""
    # repr keeps the three apart, and lone surrogates from being an error.
    digest = hashlib.sha256(repr((purpose, seed, query)).encode("ascii", "backslashreplace"))
    return random.Random(digest.digest())


def _interleave(nearest: Sequence[Chosen[Example]]) -> list[Chosen[Example]]:
    by_label: dict[str | None, list[Chosen[Example]]] = {}
    for c in nearest:
        by_label.setdefault(c.item.label, []).append(c)
    rounds = zip_longest(*by_label.values())  # the first holds the nearest of each label
    return [c for round_ in rounds for c in round_ if c is not None][::-1]
