"""Wordings are made by composition, read well, and are none of those that measure the model."""

from __future__ import annotations

from random import Random

from pretraining import chats, measure, wordings
from pretraining.grammar import HELD_TOPICS, TOPICS
from pretraining.wordings import pick, spread, told_wording, value
from pretraining.world import World

EVERY = (*wordings.THINGS, *wordings.TOLD)
PATTERNS = sorted(
    {p for w in EVERY for p in (*w.said, *w.asked)}
    | {p for both in wordings.MORE_FACTS.values() for part in both for p in part}
    | {p for both in wordings.COPIES.values() for part in both for p in part}
    | {*wordings.END_RULES, *wordings.ONE_WORD, *wordings.HELPING, *wordings.ENDINGS}
    | {*wordings.GREETED, *wordings.USER_NAMED, *wordings.HEARD, *wordings.COPY_RULES}
    | {*wordings.MANNERS, *wordings.ROLES}
)
WRITTEN = sorted(
    {t for f in chats.FACTS.values() for t in (*f.said, *f.asked)}
    | {t for says, _, asks, _ in chats.TOLD.values() for t in (*says, *asks)}
    | {t for says, reply, _ in wordings.PAIRS for t in (says, reply)}
    | {q.replace("{x}", "{}") for _, asks, _ in wordings.WORD_FACTS for q in asks}
)
HELD = (
    *(text for both in measure.HELD_FACTS.values() for part in both for text in part),
    *measure.HELD_ENDING_RULES,
    *measure.HELD_ENDINGS,
    *measure.HELD_ONE_WORD,
    *(text for says, reply, _ in measure.HELD_COPIES for text in (says, reply)),
    *(text for says, _, asks, _ in measure.HELD_TOLD for text in (says, asks)),
)


def test_a_pattern_stands_for_all_its_choices() -> None:
    assert spread("[the |]{} is [here|there].") == (
        "The {} is here.",
        "The {} is there.",
        "{} is here.",
        "{} is there.",
    )


def test_every_bracket_is_closed_and_no_choice_leaves_two_spaces() -> None:
    assert len(PATTERNS) > 9000
    for pattern in PATTERNS:
        for text in spread(pattern):
            assert not set("[]|") & set(text), pattern
            assert "  " not in text, pattern
            assert text == text.strip(), pattern


def test_statements_and_replies_hold_one_value_and_questions_none(world: World) -> None:
    for wording in EVERY:
        for seed in range(3):
            known = wordings.drawn(Random(seed), world, wording)
            assert all(t.count("{}") == 1 for p in known.said for t in spread(p)), wording.reply
            assert all("{" not in t for p in known.asked for t in spread(p)), wording.reply
            assert known.reply.count("{}") == 1
            assert value(Random(seed), world, known.values)


def test_details_and_words_have_their_places() -> None:
    for kind, (said, replies) in wordings.COPIES.items():
        assert all(t.count("{}") == 1 for p in (*said, *replies) for t in spread(p)), kind
    assert all(s.count("{}") == r.count("{}") == 1 for s, r, _ in wordings.PAIRS)
    assert {kind for _, _, kind in wordings.PAIRS} <= set(wordings.COPIES)
    for said, asked, _ in wordings.WORD_FACTS:
        assert said.count("{}") == said.count("{x}") == 1
        assert all("{x}" in q for q in asked)


def _grams(text: str) -> set[str]:
    plain = " " + "".join(c for c in text.lower() if c.isalnum() or c == " ") + " "
    return {plain[i : i + 4] for i in range(len(plain) - 3)}


def test_no_wording_is_near_to_one_that_measures_the_model() -> None:
    made = {t: _grams(t) for p in PATTERNS for t in spread(p)} | {t: _grams(t) for t in WRITTEN}
    for held in HELD:
        grams = _grams(held)
        near = [t for t, g in made.items() if len(g & grams) / len(g | grams) >= 0.7]
        assert not near, (held, near)


def test_a_statement_is_typed_with_or_without_an_opening() -> None:
    typed = {told_wording(Random(seed), "My dog is {}", "so ") for seed in range(20)}
    assert typed == {"so my dog is {}", "So my dog is {}"}
    assert told_wording(Random(1), "I like {}", "oh, ")[4:] == "I like {}"


def test_an_echo_runs_beside_the_detail_as_the_message_does_or_nearly() -> None:
    made = {
        wordings.echoing(Random(s), "Yes, {} is fine.", "would {} suit you?") for s in range(80)
    }
    after = {f"{{}} suit{end} is fine." for end in ("", "s", "ed", "ing")}
    both = {f"Yes, would {a}" for a in after}
    beside = {"Yes, would {} is fine."} | both | {f"Yes, {a}" for a in after}
    assert made == beside | {"Would {} is fine."}  # that begins with a word of the message
    assert wordings.echoing(Random(0), "Yes, {} is fine.", "{}") == "Yes, {} is fine."


def test_forms_have_one_place_for_the_detail_and_are_many(world: World) -> None:
    r = Random(0)
    forms = [wordings.sentence(r, world) for _ in range(200)]
    assert all(f.count("{}") == 1 for f in forms)
    assert len(set(forms)) > 100
    assert all(wordings.telling(r, world).count("{}") == 1 for _ in range(50))
    assert pick(r, wordings.END_RULES).count("{}") == 1


def test_no_question_for_a_note_is_near_to_one_that_measures_the_model() -> None:
    made = [_grams(q) for t in TOPICS for q in t.questions]
    held = {q: _grams(q) for t in HELD_TOPICS for q in t.questions}
    assert len(HELD_TOPICS) == 52
    for question, grams in held.items():
        assert all(len(g & grams) / len(g | grams) < 0.7 for g in made), question
    names = [t.name for t in (*TOPICS, *HELD_TOPICS)]
    assert len(names) == len(set(names))
