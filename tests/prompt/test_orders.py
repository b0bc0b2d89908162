"""The order in which the model reads the examples."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.errors import SpecError
from promptbot.prompt.orders import ORDERS, Order, arrange, orders
from promptbot.types import Chosen, Example

measured = st.lists(
    st.tuples(st.integers(0, 30), st.floats(-1, 1), st.sampled_from("abc")), max_size=8
).map(lambda rows: [Chosen(Example("x", "y", label, line=n), s) for n, s, label in rows])


def lettered(*scores: float | None) -> list[Chosen[Example]]:
    """Make examples a, b, c ... of these similarities."""
    return [Chosen(Example(chr(97 + n), ""), s) for n, s in enumerate(scores)]


def spelled(chosen: list[Chosen[Example]]) -> str:
    return "".join(c.item.input for c in chosen)


@given(measured, st.sampled_from(ORDERS), st.integers(), st.text())
def test_an_order_keeps_every_example_once(
    chosen: list[Chosen[Example]], order: Order, seed: int, query: str
) -> None:
    arranged = arrange(chosen, order, seed=seed, query=query)
    assert Counter(map(id, arranged)) == Counter(map(id, chosen))
    assert arranged == arrange(chosen, order, seed=seed, query=query)


@given(measured)
def test_the_nearest_stands_last_or_first_and_the_file_goes_by_line(
    chosen: list[Chosen[Example]],
) -> None:
    nearness = [c.similarity or 0.0 for c in arrange(chosen, "nearest_first")]
    assert nearness == sorted(nearness, reverse=True)
    assert arrange(chosen, "nearest_last") == arrange(chosen, "nearest_first")[::-1]
    lines = [c.item.line for c in arrange(chosen, "file")]
    assert lines == sorted(lines)


def test_a_choice_that_is_not_by_nearness_is_still_ordered_by_it() -> None:
    assert spelled(arrange(lettered(0.9, 0.1, 0.5), "nearest_first")) == "acb"
    assert spelled(arrange(lettered(0.9, 0.1, 0.5), "nearest_last")) == "bca"


def test_where_no_similarity_was_measured_the_score_stands_for_it() -> None:
    chosen = [
        Chosen(Example(text, ""), None, score) for text, score in zip("ab", (1.0, 2.0), strict=True)
    ]
    assert spelled(arrange(chosen, "nearest_last")) == "ab"
    assert spelled(arrange(chosen, "nearest_first")) == "ba"


def test_unmeasured_examples_keep_the_selectors_order() -> None:
    chosen = lettered(None, None, None)
    assert arrange(chosen, "nearest_last") == chosen == arrange(chosen, "nearest_first")


def test_interleaved_labels_take_turns_and_end_with_the_nearest_of_each() -> None:
    rows = [("a", 0.9), ("a", 0.8), ("a", 0.7), ("b", 0.6), ("c", 0.5), ("b", 0.4)]
    chosen = [Chosen(Example(f"{label}{s}", "", label), s) for label, s in rows]
    arranged = [c.item.input for c in arrange(chosen, "label_interleaved")]
    assert arranged == ["a0.7", "b0.4", "a0.8", "c0.5", "b0.6", "a0.9"]


@given(measured)
def test_interleaved_labels_stand_apart_while_another_label_is_left(
    chosen: list[Chosen[Example]],
) -> None:
    labels = [c.item.label for c in arrange(chosen, "label_interleaved")][::-1]
    counts = Counter(labels)
    n_rounds = sorted(counts.values())[-2] if len(counts) > 1 else 0
    # From the end, two labels at least are left in each of these rounds, so none stands twice.
    n_apart = sum(min(count, n_rounds) for count in counts.values())
    assert all(one != other for one, other in pairwise(labels[:n_apart]))


def test_a_random_order_differs_between_queries() -> None:
    orders = {spelled(arrange(lettered(*[0.5] * 5), "random", query=str(n))) for n in range(10)}
    assert len(orders) > 5


def test_an_unknown_order_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(SpecError, match="nearest_last, nearest_first, random, file, label_inter"):
        arrange([], "backwards")  # type: ignore[arg-type]


def test_orders_are_different_and_repeatable_with_the_given_one_first() -> None:
    chosen = [Chosen(Example(str(n), "x"), None) for n in range(4)]
    found = orders(chosen, 10, seed=1, query="q")
    assert found[0] == chosen
    assert len({tuple(c.item.input for c in order) for order in found}) == 10
    assert all(sorted(c.item.input for c in order) == ["0", "1", "2", "3"] for order in found)
    assert found == orders(chosen, 10, seed=1, query="q") != orders(chosen, 10, seed=2, query="q")
    assert len(orders(chosen, 100)) == 24
    assert orders([], 5) == [[]]
