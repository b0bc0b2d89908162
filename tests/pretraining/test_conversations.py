"""Conversations show the notes of the newest message, and train nothing that the prompt lacks."""

from __future__ import annotations

from random import Random

import pytest

from pretraining import conversations
from pretraining.businesses import Note
from pretraining.chats import N_SHOWN, SOCIAL, UNSEEN, Scene, make_business, notes_part
from pretraining.conversations import (
    Conversation,
    class_notes,
    conversation,
    entwined,
    greeting,
    name_asked,
    retrieve,
    talk_notes,
    whole_bot,
)
from pretraining.episodes import Mark, Turn
from pretraining.world import World

SEEDS = 150


def talk(world: World, seed: int, n_notes: int = 12) -> Conversation:
    """Return a conversation with a bot that keeps each note under its first question."""
    r = Random(seed)
    b = make_business(r, world.lists, n_notes=n_notes)
    return Conversation(r, world, Scene(b, "Ask them."), [(n.questions[0], n) for n in b.notes])


def targets(turns: list[Turn]) -> list[Turn]:
    """Return the assistant's messages that are trained on."""
    return [t for t in turns if t.role == "assistant" and t.weight >= 1.0]


def test_the_nearest_note_by_the_deployed_encoder_comes_last(world: World) -> None:
    notes = [(f"question {i}", Note((f"question {i}",), str(i), "t")) for i in range(6)]
    found = retrieve(world, "question 4", notes, 3)
    assert [len(found), found[-1][0]] == [3, "question 4"]
    assert len(retrieve(world, "question 4", notes, 9)) == 6


def test_a_question_is_answered_by_a_note_that_is_shown_or_by_the_fallback(world: World) -> None:
    n_answered = 0
    for seed in range(SEEDS):
        c = talk(world, seed)
        answer = c.question(absent=False)[1].content
        shown = {note.answer for _, note in c.picked}
        assert answer in shown | {"Ask them."}
        n_answered += answer in shown
    # The test's encoder finds a note by chance, so that the right one is often missing.
    assert n_answered > SEEDS / 3


def test_without_its_note_a_question_gets_the_fallback_beside_the_next_best(world: World) -> None:
    for seed in range(SEEDS):
        c = talk(world, seed)
        words, answer = c.question(absent=True)
        assert answer.content == "Ask them."
        assert len(c.picked) in N_SHOWN
        assert all(words.content not in note.questions for _, note in c.picked)


def test_an_earlier_answer_is_trained_only_where_its_note_is_shown_now(world: World) -> None:
    n_past = 0
    for seed in range(SEEDS):
        c = talk(world, seed)
        c.question(absent=True)
        shown = {note.answer for _, note in c.picked}
        kept = {note.answer for _, note in c.notes}
        for turn in (c.past()[1] for _ in range(4)):
            if turn.content in kept:
                assert (turn.weight == UNSEEN) == (turn.content not in shown)
                assert (turn.weight == UNSEEN) != isinstance(turn.pieces[0], Mark)
                n_past += turn.weight == UNSEEN
    assert n_past > SEEDS


def test_a_further_question_about_a_note_not_shown_gets_the_fallback(world: World) -> None:
    seen = set()
    for seed in range(SEEDS):
        c = talk(world, seed)
        c.question(absent=False)
        shown = {note.answer for _, note in c.picked}
        hidden = {note.answer for _, note in c.notes} - shown
        answer = c.more(set())[1].content
        assert answer not in hidden
        seen.add("fallback" if answer == "Ask them." else "note" if answer in shown else "talk")
    assert seen == {"fallback", "note", "talk"}


def test_a_greeting_with_a_name_is_answered_as_the_examples_greet(world: World) -> None:
    c = talk(world, 1)
    said, answer = greeting(c, "Edda")
    assert "Edda" in said.content
    assert answer.content == SOCIAL["greet"][1][0]
    c.known = {"greet": "Come in!"}
    assert greeting(c, "Edda")[1].content == "Come in!"
    asked, told = name_asked(c, "Edda")
    assert "Edda" not in asked.content
    assert told.content == "Your name is Edda."


def test_names_stand_before_they_are_asked_for(world: World) -> None:
    asked = 0
    for seed in range(SEEDS):
        turns = conversation(Random(seed), world)
        for i, turn in enumerate(turns):
            if turn.content.startswith("Your name is "):
                name = turn.content.removeprefix("Your name is ").split(".")[0]
                assert any(name in t.content for t in turns[:i])
                asked += 1
    assert asked > SEEDS / 10


def test_what_is_copied_stood_before_and_fallbacks_are_a_good_part(world: World) -> None:
    usual = {replies[0] for _, replies in SOCIAL.values()} | set(world.replies.values())
    notes = fallbacks = 0
    for seed in range(SEEDS):
        turns = conversation(Random(seed), world)
        for turn in targets(turns):
            copied = turn.pieces[0]
            if not isinstance(copied, Mark) or copied.text in usual:
                continue
            before = [p for t in turns[: turns.index(turn)] for p in t.pieces]
            same = [p for p in before if isinstance(p, Mark) and p.text == copied.text]
            assert same
            notes += any(p.about is not None for p in same)
            fallbacks += all(p.about is None for p in same)
    assert 0.35 < fallbacks / (notes + fallbacks) < 0.75


@pytest.mark.parametrize("seed", range(6))
def test_notes_of_real_questions_have_answers_of_their_own(world: World, seed: int) -> None:
    notes = class_notes(Random(seed), world, 5)
    assert 1 < len(notes) <= 5
    assert len({n.topic for n in notes}) == len(notes)
    for note in notes:
        assert {world.labels[world.texts.index(q)] for q in note.questions} == {note.topic}


def test_notes_about_small_talk_are_answered_wherever_they_are_the_question(world: World) -> None:
    for seed in range(20):
        c = talk(world, seed)
        c.notes = [(n.questions[0], n) for n in talk_notes(Random(seed), world, 1)]
        answer = c.question(absent=True)[1].content
        assert answer == c.notes[0][1].answer
        assert answer not in world.replies.values()


def test_a_piece_recurs_in_notes_and_fallback_and_leaves_the_rest_as_it_was(world: World) -> None:
    before = tuple(Note(("q",), f"one{i} two{i} three{i}", "t") for i in range(8))
    for seed in range(20):
        after, fallback = entwined(Random(seed), world, before, "Ask the desk")
        longer = [n.answer.split() for n in after if len(n.answer.split()) > 3]
        assert longer
        pieces = {
            " ".join(w for w in words if w not in before[i].answer.split())
            for i, words in enumerate(n.answer.split() for n in after)
            if len(words) > 3
        }
        assert len(pieces) == 1
        assert fallback == "Ask the desk" or next(iter(pieces)) in fallback


def test_a_rule_that_is_sure_offers_no_fallback() -> None:
    for seed in range(20):
        notes = [("Are you open?", "At ten.")]
        offered = notes_part(Random(seed), "Ask them.", notes)
        sure = notes_part(Random(seed), "Ask them.", notes, is_sure=True)
        assert Mark("Ask them.") in offered
        assert "Ask them." not in "".join(str(p) for p in sure)
        assert Mark("At ten.", "Are you open?") in sure


@pytest.mark.parametrize("floor", [-1.0, 0.0, 2.0])
def test_a_whole_bot_says_what_its_prompt_shows(
    world: World, monkeypatch: pytest.MonkeyPatch, floor: float
) -> None:
    # The test's encoder draws vectors, whose cosines lie around 0.
    monkeypatch.setattr(conversations, "FLOOR", floor)
    monkeypatch.setattr(conversations, "SURE_FROM", 0.05)
    monkeypatch.setattr(conversations, "LOW_FLOOR", floor)
    kinds = {"note": 0, "example": 0, "fallback": 0}
    for seed in range(SEEDS):
        turns = whole_bot(Random(seed), world)
        marks = [p for p in turns[0].pieces if isinstance(p, Mark)]
        notes = {m.text for m in marks if isinstance(m.about, tuple)}
        examples = {t.content for t in turns if t.role == "assistant" and t.weight < 1.0}
        for turn in targets(turns):
            text = turn.pieces[0]
            assert isinstance(text, Mark)
            kind = "note" if text.text in notes else "example" if text.text in examples else ""
            if not kind:
                assert text in turns[0].pieces, turn.content  # offered
                kind = "fallback"
            kinds[kind] += 1
    assert kinds["example"] > SEEDS / 4
    assert kinds["fallback"] > SEEDS / 10
    assert (kinds["note"] > SEEDS / 4) == (floor < 1)
