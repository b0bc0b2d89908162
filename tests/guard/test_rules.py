"""Patterns of words: what meets them and what does not."""

from __future__ import annotations

import pytest

from promptbot.bot.folder import load_bot
from promptbot.bot.spec import RuleSpec
from promptbot.guard.rules import first_match

CHEST = RuleSpec(patterns=["chest pain|tight*", "cant breathe"], reply="112")


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


def test_a_message_that_repeats_a_word_without_end_is_read() -> None:
    assert first_match("chest " * 30_000 + "tight", [CHEST])


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
    ],
)
def test_the_clinics_rules_leave_everyday_questions_to_the_model(text: str) -> None:
    assert first_match(text, load_bot("clinic").spec.guard.emergency) is None


@pytest.mark.parametrize(
    "text",
    [
        "my dad can't breathe",
        "I think grandma is having a stroke",
        "she is bleeding a lot",
        "the baby turned blue",
        "he swallowed bleach",
        "he cannot lift his left arm",
        "I feel like killing myself",
    ],
)
def test_the_clinics_rules_answer_emergencies(text: str) -> None:
    assert first_match(text, load_bot("clinic").spec.guard.emergency)
