"""Retrieval of notes."""

from __future__ import annotations

import pytest

from promptbot.prompt.knowledge import Knowledge
from promptbot.types import Note
from tests.encoders import HashingEncoder

NOTES = [
    Note("When are you open?", "From nine to five.", "knowledge.jsonl:1"),
    Note("What is the address?", "In Mill Street, behind the church.", "knowledge.jsonl:2"),
    Note("", "Delivery costs four euros.", "prices.md:1"),
]


def sources(query: str, k: int, min_similarity: float | None = None) -> list[str]:
    chosen = Knowledge(NOTES, HashingEncoder()).retrieve(query, k, min_similarity=min_similarity)
    return [c.item.source for c in chosen]


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("when are you open", "knowledge.jsonl:1"),
        ("are you behind the church", "knowledge.jsonl:2"),  # stands in the answer only
        ("delivery costs", "prices.md:1"),  # has no question
    ],
)
def test_a_note_is_found_by_its_question_and_by_its_answer(query: str, source: str) -> None:
    assert sources(query, 1) == [source]


def test_notes_come_nearest_first_and_all_of_them_when_k_is_large() -> None:
    chosen = Knowledge(NOTES, HashingEncoder()).retrieve("when do you open", 10)
    similarities = [c.similarity or 0.0 for c in chosen]
    assert len(chosen) == 3
    assert similarities == sorted(similarities, reverse=True)


def test_a_note_that_is_the_message_itself_has_similarity_one() -> None:
    (chosen,) = Knowledge(NOTES[2:], HashingEncoder()).retrieve("Delivery costs four euros.", 1)
    assert chosen.similarity == 1.0


def test_under_the_threshold_no_note_is_shown() -> None:
    assert sources("xyzzy", 3, min_similarity=0.5) == []
    assert sources("Delivery costs four euros", 3, min_similarity=0.9) == ["prices.md:1"]


def test_no_notes_and_no_k_give_nothing() -> None:
    assert sources("open", 0) == []
    assert Knowledge([], HashingEncoder()).retrieve("open", 3) == []
