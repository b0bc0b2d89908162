"""Selectors, the order of examples, and LangChain's interface."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.bot.spec import ExamplesSpec
from promptbot.errors import DataError, InputError, SpecError
from promptbot.interfaces import Selector
from promptbot.prompt.selectors import (
    ORDERS,
    SELECTORS,
    Order,
    arrange,
    as_langchain,
    make_selector,
)
from promptbot.types import Chosen, Example
from tests.encoders import HashingEncoder

TEXTS = ["where is my parcel", "lost my card", "lost card abroad", "what time do you open", "hello"]
POOL = [Example(text, f"answer {n}", line=n) for n, text in enumerate(TEXTS, start=1)]


def make(kind: str, seed: int = 0) -> Selector:
    return make_selector(kind, POOL, encoder=HashingEncoder(), seed=seed)


def inputs(chosen: list[Chosen[Example]]) -> list[str]:
    return [c.item.input for c in chosen]


@pytest.mark.parametrize("kind", SELECTORS)
def test_every_selector_returns_k_distinct_examples(kind: str) -> None:
    for k in range(len(POOL) + 1):
        chosen = make(kind).select("I lost a card", k)
        assert len(chosen) == k
        assert len({c.item.line for c in chosen}) == k


@pytest.mark.parametrize("kind", SELECTORS)
@pytest.mark.parametrize("k", [-1, 6])
def test_k_outside_the_pool_is_the_users_error(kind: str, k: int) -> None:
    with pytest.raises(DataError, match=rf"asks for k = {k} examples, the pool holds 5\."):
        make(kind).select("hello", k)


def test_an_empty_pool_gives_no_examples_and_an_error_beyond() -> None:
    for kind in SELECTORS:
        selector = make_selector(kind, [], encoder=HashingEncoder())
        assert selector.select("hello", 0) == []
        with pytest.raises(DataError, match="the pool holds 0"):
            selector.select("hello", 1)


def test_fixed_returns_the_first_of_the_file_for_any_query() -> None:
    assert inputs(make("fixed").select("one", 2)) == TEXTS[:2]
    assert inputs(make("fixed").select("two", 2)) == TEXTS[:2]


def test_random_depends_on_seed_and_query_and_on_nothing_else() -> None:
    one, other = make("random", seed=3), make("random", seed=3)
    forwards = {q: inputs(one.select(q, 3)) for q in TEXTS}
    backwards = {q: inputs(other.select(q, 3)) for q in reversed(TEXTS)}
    assert forwards == backwards
    assert len(set(map(tuple, forwards.values()))) > 1
    assert forwards != {q: inputs(make("random", seed=4).select(q, 3)) for q in TEXTS}


def test_random_is_the_same_in_another_process() -> None:
    code = (
        "from promptbot.prompt.selectors import make_selector\n"
        "from promptbot.types import Example\n"
        "pool = [Example(str(n), '') for n in range(100)]\n"
        "chosen = make_selector('random', pool, seed=1).select('hi', 6)\n"
        "print([int(c.item.input) for c in chosen])"
    )
    pool = [Example(str(n), "") for n in range(100)]
    here = [int(t) for t in inputs(make_selector("random", pool, seed=1).select("hi", 6))]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here)


def test_random_favours_no_example() -> None:
    selector = make("random")
    drawn = Counter(c.item.line for n in range(2000) for c in selector.select(f"query {n}", 2))
    # 800 expected of each; the standard deviation is sqrt(2000 * .4 * .6), about 22.
    assert all(690 < drawn[example.line] < 910 for example in POOL)


def test_nearest_returns_the_most_similar_first_with_its_similarity() -> None:
    chosen = make("nearest").select("lost my card", 3)
    assert inputs(chosen)[:2] == ["lost my card", "lost card abroad"]
    similarities = [c.similarity for c in chosen]
    assert similarities[0] == 1.0
    assert similarities == sorted(similarities, key=lambda s: -(s or 0))


def test_an_unknown_selector_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(SpecError, match=r'random, nearest\. Did you mean "nearest"'):
        make_selector("nearst", POOL)


def test_settings_and_registries_know_the_same_words() -> None:
    assert set(get_args(ExamplesSpec.model_fields["selector"].annotation)) == set(SELECTORS)
    assert set(get_args(ExamplesSpec.model_fields["order"].annotation)) == set(ORDERS)
    assert set(get_args(Order)) == set(ORDERS)


measured = st.lists(st.tuples(st.integers(0, 30), st.floats(-1, 1)), max_size=8).map(
    lambda rows: [Chosen(Example("x", "y", line=n), s) for n, s in rows]
)


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
    assert arrange(chosen, "nearest_first") == chosen
    assert arrange(chosen, "nearest_last") == chosen[::-1]
    lines = [c.item.line for c in arrange(chosen, "file")]
    assert lines == sorted(lines)


def test_unmeasured_examples_keep_the_selectors_order() -> None:
    chosen = make("fixed").select("hello", 4)
    assert arrange(chosen, "nearest_last") == chosen


def test_a_random_order_differs_between_queries() -> None:
    chosen = make("nearest").select("hello", 5)
    orders = {tuple(inputs(arrange(chosen, "random", query=str(n)))) for n in range(10)}
    assert len(orders) > 5


def test_an_unknown_order_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(SpecError, match="nearest_last, nearest_first, random, file"):
        arrange([], "backwards")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SELECTORS)
def test_a_selector_works_inside_langchains_few_shot_prompt(kind: str) -> None:
    from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate

    prompt = FewShotChatMessagePromptTemplate(
        input_variables=["input"],
        example_selector=as_langchain(make(kind), k=2),
        example_prompt=ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")]),
    )
    messages = prompt.format_messages(input="lost my card")
    chosen = make(kind).select("lost my card", 2)
    assert [m.content for m in messages] == [
        t for c in chosen for t in (c.item.input, c.item.output)
    ]


def test_the_langchain_selector_gives_labels_and_clear_errors() -> None:
    pool = [Example("I lost it", "lost card", label="card_lost")]
    selector = as_langchain(make_selector("fixed", pool), k=1, input_key="question")
    assert selector.select_examples({"question": "hm"}) == [
        {"input": "I lost it", "output": "lost card", "label": "card_lost"}
    ]
    with pytest.raises(InputError, match='no variable "question"'):
        selector.select_examples({"input": "hm"})
    with pytest.raises(DataError, match="pool is fixed"):
        selector.add_example({"input": "a", "output": "b"})


def test_orders_are_different_and_repeatable_with_the_given_one_first() -> None:
    from promptbot.prompt.selectors import orders

    chosen = [Chosen(Example(str(n), "x"), None) for n in range(4)]
    found = orders(chosen, 10, seed=1, query="q")
    assert found[0] == chosen
    assert len({tuple(c.item.input for c in order) for order in found}) == 10
    assert all(sorted(c.item.input for c in order) == ["0", "1", "2", "3"] for order in found)
    assert found == orders(chosen, 10, seed=1, query="q") != orders(chosen, 10, seed=2, query="q")
    assert len(orders(chosen, 100)) == 24
    assert orders([], 5) == [[]]
