"""Nothing that is used to measure may be trained on."""

from __future__ import annotations

import pytest

from pretraining.corpus import LeakFilter, clean, grams, normalise

EVALS = ("I still have not received my new card, I ordered over a week ago.", "What is my PIN?")


@pytest.fixture(scope="module")
def leak() -> LeakFilter:
    return LeakFilter(EVALS, tests=["book a table for two at noon", "yes please"])


@pytest.mark.parametrize(
    "text",
    [
        "I still have not received my new card, I ordered over a week ago.",
        "i still have NOT received my new card -- i ordered over a week ago",
        "I still have not received my card, I ordered it over a week ago.",
        "what is my pin",
        "Book a table for two, at noon!",
    ],
)
def test_filter_finds_equal_and_near_texts(leak: LeakFilter, text: str) -> None:
    assert leak.leaks(text)


@pytest.mark.parametrize(
    "text",
    [
        "I have received my new card today.",
        "book a table for five at nine",  # near a test text of a trained set: only equality counts
        "yes please",  # too short to tell anything about its set
        "",
    ],
)
def test_filter_keeps_other_texts(leak: LeakFilter, text: str) -> None:
    assert not leak.leaks(text)


def test_filter_agrees_with_comparing_every_pair() -> None:
    words = ["red", "blue", "card", "lost", "order", "week", "table", "seven", "night"]
    texts = [" ".join((words * 3)[i : i + 5 + i % 3]) for i in range(18)]
    leak = LeakFilter(texts[:9])
    for text in texts:
        a = grams(normalise(text))
        near = any(len(a & b) / len(a | b) >= leak.near for b in map(grams, texts[:9]))
        assert leak.leaks(text) == near


def test_clean_joins_what_tokenisation_split() -> None:
    assert clean("I 'm  here , are you ?") == "I'm here, are you?"
