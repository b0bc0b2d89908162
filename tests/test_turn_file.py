"""Conversations in files, turn by turn."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promptbot.errors import DataError, InputError
from promptbot.store import StoredMessage
from promptbot.transcript import render_transcript
from promptbot.turn_file import Turn, TurnFile, read_turns
from promptbot.types import Reply


def test_turns_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    file = TurnFile(path)
    file.add("Hi\nyou", Reply("Hello 您好", "a"), session="a", bot="shop")
    TurnFile(path).add("More", "Half a", session="a", bot="shop", stopped=True)
    assert read_turns(path) == [
        Turn("Hi\nyou", "Hello 您好", bot="shop"),
        Turn("More", "Half a", stopped=True, bot="shop"),
    ]


def test_a_turn_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"user": "half a li')
    TurnFile(path).add("Hi", "Hello", session="a", bot="shop")
    torn, whole = path.read_text().splitlines()
    assert torn == '{"user": "half a li'
    assert json.loads(whole)["reply"] == "Hello"
    with pytest.raises(DataError, match="line 1"):
        read_turns(path)


def test_markdown_is_appended_for_people(tmp_path: Path) -> None:
    path = tmp_path / "talk.md"
    path.write_text("# Mine\n\n")
    TurnFile(path).add("Hi", "Hel", session="a", bot="shop", stopped=True)
    assert path.read_text().startswith("# Mine\n\n**You** · ")
    assert path.read_text().endswith("Hi\n\n**shop**\n\nHel\n\n*(stopped here)*\n\n")


def test_a_saved_document_is_read_too(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    messages = [
        StoredMessage("user", "one", now),
        StoredMessage("assistant", "1", now, stopped=True),
        StoredMessage("user", "two", now),
    ]
    path = tmp_path / "talk.json"
    path.write_text(render_transcript("a", "shop", messages, "json"))
    assert read_turns(path) == [Turn("one", "1", True, "shop"), Turn("two", "", False, "shop")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.md", "Hi", "are for people"),
        ("x.jsonl", "", "holds no turn"),
        ("x.jsonl", '{"text": "Hi"}\n', "line 1: this line is no turn"),
        ("x.jsonl", '{"user": "Hi", "rep', r"line 1: .*is not JSON(.|\n)*cut short"),
        ("x.jsonl", "\0", "is not a UTF-8 text"),
        ("x.json", "[]", "is no conversation"),
        ("x.json", '{"messages": []}', "holds no turn"),
    ],
)
def test_what_is_no_conversation_is_told(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_turns(path)
    with pytest.raises(DataError):
        read_turns(tmp_path / "missing.json")


@pytest.mark.parametrize("name", ["talk.txt", "talk", "missing/talk.jsonl"])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        TurnFile(tmp_path / name)


def test_every_line_of_a_transcript_is_whole_json(tmp_path: Path) -> None:
    file = TurnFile(tmp_path / "talk.jsonl")
    for number in range(3):
        file.add(f"line\u2028{number}", "\ud800", session="a", bot="shop")
    lines = file.path.read_bytes().split(b"\n")
    assert [json.loads(line)["user"] for line in lines[:-1]] == [f"line\u2028{n}" for n in range(3)]
