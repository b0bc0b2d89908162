"""A bot that follows its folder, and what a conversation sets on top of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.bot.live import LiveBot
from promptbot.errors import InputError, SpecError, TemplateError, UserError
from tests.conftest import BotMaker


@pytest.fixture
def folder(make_bot: BotMaker) -> Path:
    return make_bot()


def test_nothing_saved_changes_nothing(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    before = live.bot
    os.utime(folder / "system.j2", (1, 1))
    assert live.refresh() == []
    assert live.bot is before


def test_a_saved_template_is_used_and_named_with_its_lines(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    text = (folder / "system.j2").read_text()
    (folder / "system.j2").write_text(text.replace("You work", "Now you work") + "Be brief.\n")
    assert live.refresh() == ["system.j2 (+2 −1 lines)"]
    assert live.bot.system.text.startswith("Now you work")
    assert live.refresh() == []


def test_settings_examples_and_notes_are_named(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    yaml = folder / "bot.yaml"
    yaml.write_text(yaml.read_text() + "decoding: {temperature: 0.7}\n")
    with (folder / "examples.jsonl").open("a") as file:
        file.write('{"input": "Hm", "output": "Yes?"}\n')
    (folder / "knowledge.jsonl").write_text('{"question": "Where?", "answer": "Here."}\n')
    assert live.refresh() == [
        "decoding.temperature 0.0 → 0.7",
        "examples (+1)",
        "notes (+1 −3)",
    ]


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        ("system.j2", "Hello\n{% if x %}\n", "system.j2, line"),
        ("system.j2", "Hello\n{{ nobody }}\n", "system.j2, line 2"),
        ("bot.yaml", "name: shop\nexmples: {k: 1}\n", "bot.yaml, line 2"),
        ("examples.jsonl", '{"input": "Hi"}\n', "examples.jsonl, line 1"),
    ],
)
def test_a_mistake_is_told_once_and_the_last_good_bot_stays(
    folder: Path, file: str, text: str, place: str
) -> None:
    live = LiveBot(load_bot(folder))
    before, good = live.bot, (folder / file).read_text()
    (folder / file).write_text(text)
    with pytest.raises(UserError) as raised:
        live.refresh()
    assert place in str(raised.value)
    assert live.bot is before
    assert live.refresh() == []
    (folder / file).write_text(good)
    assert live.refresh() == ["as before the mistake"]


def test_what_the_conversation_set_outlives_a_save(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    assert live.change_setting("decoding.temperature", "0.5") == ["decoding.temperature 0.0 → 0.5"]
    live.add_note("Do you sell tea?", "Yes.")
    (folder / "system.j2").write_text("Short.\n")
    assert live.refresh() == ["system.j2 (+1 −6 lines)"]
    assert live.bot.spec.decoding.temperature == 0.5
    assert live.bot.notes[-1].answer == "Yes."
    assert live.change_variant("zero_shot") == ["examples.k 2 → 0"]
    assert live.bot.spec.decoding.temperature == 0.5
    assert live.change_setting("decoding.temperature", "default") == [
        "decoding.temperature 0.5 → 0.0"
    ]
    assert live.settings == {}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("decoding.temprature", "1", 'Did you mean "temperature"?'),
        ("decoding.temperature", "hot", "/set: decoding.temperature is 'hot'"),
        ("examples.selector", "nearst", 'Did you mean "nearest"?'),
        ("examples.k", "100", "/set: asks for k = 100 examples, the pool holds 3"),
        ("template", "other.j2", 'there is no template "other.j2"'),
        ("vars.x", "[1", "is not a value of YAML"),
    ],
)
def test_a_setting_is_validated_as_in_bot_yaml(
    folder: Path, key: str, value: str, said: str
) -> None:
    live = LiveBot(load_bot(folder))
    before = live.bot
    with pytest.raises((SpecError, UserError)) as raised:
        live.change_setting(key, value)
    assert said in str(raised.value)
    assert live.bot is before
    assert live.settings == {}


def test_a_mistake_in_a_file_is_not_blamed_on_the_setting(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    (folder / "bot.yaml").write_text("name: shop\ndecoding: {top_p: 7}\n")
    with pytest.raises(SpecError, match=r"bot\.yaml, line 2"):
        live.change_setting("decoding.temperature", "0.5")


def test_what_was_not_set_cannot_be_taken_back(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    with pytest.raises(InputError, match="was not set"):
        live.change_setting("decoding.temperature", "default")


def test_a_bot_without_knowledge_takes_no_notes(make_bot: BotMaker) -> None:
    folder = make_bot(
        "plain", {"bot.yaml": "name: plain\n", "system.j2": "Hi\n", "knowledge.jsonl": None}
    )
    with pytest.raises(InputError, match="reads no notes"):
        LiveBot(load_bot(folder)).add_note("Q", "A")


def test_a_template_that_vanished_keeps_the_last_good_one(folder: Path) -> None:
    live = LiveBot(load_bot(folder))
    (folder / "system.j2").unlink()
    with pytest.raises(TemplateError):
        live.refresh()
    assert live.bot.system.text
