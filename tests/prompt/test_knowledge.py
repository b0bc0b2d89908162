"""Retrieval of notes."""

from __future__ import annotations

import pytest

from promptbot.prompt.knowledge import Knowledge, Retriever
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


CODES = [
    Note("What does error E17 mean?", "The door is open.", "codes.csv:2"),
    Note("What does error E71 mean?", "The filter is full.", "codes.csv:3"),
    Note("", "Call us about any error.", "codes.csv:4"),
]


def test_bm25_finds_a_code_without_an_encoder_and_leaves_out_what_shares_no_word() -> None:
    knowledge = Knowledge(CODES, None, retriever="bm25")
    chosen = knowledge.retrieve("the machine shows E71", 3)
    assert [c.item.source for c in chosen] == ["codes.csv:3", "codes.csv:2"]  # both say "the"
    assert [c.similarity for c in chosen] == [None, None]
    assert (chosen[0].score or 0) > (chosen[1].score or 0) > 0
    assert knowledge.retrieve("xyzzy", 3) == []


def test_both_fuses_the_rankings_of_meaning_and_of_words() -> None:
    notes = [*NOTES, *CODES]
    query = "what does delivery cost"
    near = Knowledge(notes, HashingEncoder()).retrieve(query, 100)
    fitting = Knowledge(notes, None, retriever="bm25").retrieve(query, 100)
    expected = {note.source: 0.0 for note in notes}
    for ranking in (near, fitting):
        for rank, c in enumerate(ranking, start=1):
            expected[c.item.source] += 1 / (60 + rank)
    chosen = Knowledge(notes, HashingEncoder(), retriever="both").retrieve(query, 6)
    assert {c.item.source: c.score for c in chosen} == pytest.approx(expected, abs=1e-6)
    assert [c.score for c in chosen] == sorted((c.score or 0 for c in chosen), reverse=True)
    similarities = {c.item.source: c.similarity for c in near}
    assert {c.item.source: c.similarity for c in chosen} == similarities


def test_under_the_threshold_no_note_is_shown_however_well_its_words_fit() -> None:
    both = Knowledge(CODES, HashingEncoder(), retriever="both")
    assert both.retrieve("E71", 3, min_similarity=0.9) == []
    assert len(both.retrieve("E71", 3, min_similarity=-1.0)) == 3


@pytest.mark.parametrize("retriever", ["nearest", "bm25", "both"])
def test_no_notes_and_no_k_give_nothing_in_any_way(retriever: Retriever) -> None:
    assert Knowledge([], HashingEncoder(), retriever=retriever).retrieve("open", 3) == []
    assert Knowledge(NOTES, HashingEncoder(), retriever=retriever).retrieve("open", 0) == []
