"""Patterns of words: what meets them and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.bot.patterns import parse_pattern
from promptbot.bot.spec import RuleSpec
from promptbot.errors import SpecError
from promptbot.guard.rules import first_match

CHEST = RuleSpec(patterns=["chest pain|tight*", "cant breathe"], reply="112")
MESSAGES = [
    json.loads(line)
    for line in (Path(__file__).parent / "messages.jsonl").read_text(encoding="utf-8").splitlines()
]


def meets(pattern: str, text: str, *unless: str) -> bool:
    rule = RuleSpec(patterns=[pattern], unless=list(unless), reply="x")
    return first_match(text, [rule]) is not None


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("I have chest pain", True),
        ("there is a TIGHTNESS in my Chest!", True),
        ("I can't breathe", True),
        ("I can’t really breathe", True),
        ("pain in my knee", False),
        ("chestnuts are tight", False),
        ("", False),
        ("my chest is fine. Some other day we could talk about the terrible pain", False),
    ],
)
def test_all_words_of_a_pattern_must_be_near(text: str, met: bool) -> None:
    assert (first_match(text, [CHEST]) is not None) is met


@pytest.mark.parametrize(
    ("pattern", "text", "met"),
    [
        ("want > die", "I want to die", True),
        ("want > die", "the plants die, I want new ones", False),
        ("want > die", "I want to ask whether the plants might die", False),
        ("take > all > pills", "take it, all of my pills", True),
        ("take > all > pills chest", "my chest: take all pills", True),
        ("all > pills > take", "take all pills", False),
        ("heart_attack*", "a heart attack!", True),
        ("heart_attack*", "two heart-attacks", True),
        ("heart_attack*", "a heartattack", True),
        ("heart_attack*", "an attack of the heart", False),
        ("no|not > longer|point_in > live", "there is no point in wanting to live", True),
        ("chest-pain", "chest pain", True),
        ("chest-pain", "chest-pain", True),
        ("chest-pain", "pain in the chest", False),
        ("überdosis", "eine Ueberdosis, Uberdosis", True),
        ("uberdosis", "Überdosis!", True),
        ("corazon", "el corazón", True),
        ("unconscious", "he is unconcious", True),
        ("unconscious", "he is nuconscious", False),
        ("collaps*", "dad colapsed", True),
        ("breathe", "she cannot braethe", True),
        ("tablets", "a tablet", True),
        ("stroke", "a strike", False),
        ("bleach", "the beach", False),
        ("दर्द सीने", "मेरे सीने में दर्द है", True),
        ("दर्द", "दरवाजा", False),
    ],
)
def test_order_neighbours_and_slips(pattern: str, text: str, met: bool) -> None:
    assert meets(pattern, text) is met


def test_words_behind_unless_hush_a_pattern_where_they_are_near() -> None:
    pattern = "cut* myself unless shav*|years_ago"
    assert meets(pattern, "I cut myself")
    assert not meets(pattern, "cut myself shaving")
    assert not meets(pattern, "some years ago I cut myself")
    assert meets(pattern, "this year, ago or not, I cut myself")
    assert meets(pattern, "shaving is something that I like. " * 2 + "Now listen: I cut myself")
    assert meets(pattern, "cut myself shaving, " + "well " * 20 + "and tonight I cut myself")
    assert not meets("cut myself", "I cut myself cooking", "cook*", "kitchen")
    assert meets("cut myself", "I cut myself", "cook*")
    assert not meets("胸痛 unless 没有", "没有胸痛")
    assert meets("胸痛 unless 没有", "我胸痛")


def test_the_first_rule_that_is_met_speaks_and_names_its_pattern() -> None:
    other = RuleSpec(patterns=["pain"], reply="later")
    met = first_match("pain in the chest", [CHEST, other])
    assert met == (CHEST, "chest pain|tight*")
    met = first_match("pain", [CHEST, other])
    assert met is not None
    assert met[0].reply == "later"


def test_scripts_without_spaces_are_looked_for_anywhere() -> None:
    rule = RuleSpec(patterns=["胸 痛|闷"], reply="120")
    assert first_match("我胸口很痛", [rule])
    assert not first_match("我的胸口很好", [rule])
    assert meets("หายใจไม่ออก", "ตอนนี้ผมหายใจไม่ออกครับ")


@pytest.mark.parametrize("text", ["chest " * 30_000 + "tight", "x chest tight " * 10_000])
def test_a_message_that_repeats_a_word_without_end_is_read(text: str) -> None:
    assert first_match(text, [CHEST])


def test_a_long_message_of_different_words_is_read_by_all_rules_of_the_clinic() -> None:
    text = " ".join(f"w{i} chest cant" for i in range(20_000))
    assert first_match(text, load_bot("clinic").spec.guard.emergency) is None


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("*", "without letters"),
        ("a||b", "without letters"),
        ("a | b", "without spaces"),
        ("a| b", "without spaces"),
        ("chest, pain", "marks are no part"),
        ("pain!", "marks are no part"),
        ("pa*n", "at its end"),
        ("*pain", "at its end"),
        ("a b c d e f g h i", "has 9 words"),
        ("> a", "before a >"),
        ("a >", "behind a >"),
        ("a > > b", "before a >"),
        ("a unless", "unless"),
        ("unless a", "unless"),
        ("a unless b unless c", "unless"),
        ("a unless b,", "marks are no part"),
    ],
)
def test_what_could_never_be_met_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_pattern(pattern)


def share(kind: str, half: str) -> float:
    rules = load_bot("clinic").spec.guard.emergency
    texts = [row["text"] for row in MESSAGES if row["kind"] == kind and row["half"] == half]
    return sum(first_match(text, rules) is not None for text in texts) / len(texts)


@pytest.mark.parametrize(
    ("half", "met", "alarms"),
    [("dev", 0.97, 0.03), ("test", 0.95, 0.03), ("fresh", 0.6, 0.11), ("blind", 0.99, 0.01)],
)
def test_the_clinics_rules_are_as_good_as_they_are_said_to_be(
    half: str, met: float, alarms: float
) -> None:
    assert share("emergency", half) >= met
    assert share("everyday", half) <= alarms


@pytest.mark.parametrize(
    "text",
    [
        "What are your opening hours?",
        "I have a cough, can I come in today?",
        "My ear hurts, do you have time on Monday?",
        "Can I still get an appointment, I can't come on Friday",
        "Do you take blood in the morning?",
        "I need a new prescription for my heart tablets",
        "Is there a bus that stops at the practice?",
        "I want a chest x-ray appointment",
        "My daughter ate breakfast, may she still have the blood test?",
        "I'd like to talk to the doctor",
        "I cannot see you tomorrow, can we talk on the phone?",
        "My face is burning after a day in the sun",
        "I no longer live in Linden Street",
        "I hurt myself playing football",
        "I cut myself shaving",
        "I do not want to wait, can I see someone living nearby?",
        "I had a stroke in 2012, can I have the flu shot?",
        "My father had a heart attack five years ago. Can he get the flu shot?",
        "I need a lot of blood tests",
        "I can't move my appointment on the left side of the calendar",
        "Will I see someone suddenly if I move?",
        "My face mask hangs down, do you have another?",
        "Do you have a leaflet about nose bleeds?",
        "The number of my leg brace has changed",
    ],
)
def test_the_clinics_rules_leave_everyday_questions_to_the_model(text: str) -> None:
    assert first_match(text, load_bot("clinic").spec.guard.emergency) is None


@pytest.mark.parametrize(
    "text",
    [
        "my dad can't breathe",
        "I think grandma is having a stroke",
        "My husband had a heart attack 20 minutes ago",
        "She lost consciousness ten minutes ago",
        "she is bleeding a lot",
        "the baby turned blue",
        "he swallowed bleach",
        "he cannot lift his left arm",
        "I feel like killing myself",
        "I want to end my life tonight",
        "I am going to end it all",
        "I will jump off a bridge",
        "a crushing weight on my breastbone",
        "blood is spurting from the cut",
        "she took a box of paracetamol",
        "I swallowed a bottle of pills",
        "I have taken all my sleeping tablets",
        "he took fifty tablets",
        "a wasp stung her and her tongue gets bigger",
        "he stopped breathing",
        "I cannot lift my arms",
        "chestpain",
        "Ich bekomme keine Luft mehr",
        "starke Schmerzen in der Brust",
        "Ich will nicht mehr leben",
    ],
)
def test_the_clinics_rules_answer_emergencies(text: str) -> None:
    assert first_match(text, load_bot("clinic").spec.guard.emergency)
