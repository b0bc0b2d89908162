"""Transcripts as they are written, and replayed against another variant."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from promptbot.turn_file import read_turns
from tests.cli.conftest import Cli, ScriptMaker
from tests.cli.screen import CTRL_C, Screen
from tests.cli.test_terminal import PROMPTBOT, SLOW_TALK


@pytest.fixture
def talk(cli: Cli, shop: str, script: ScriptMaker, tmp_path: Path) -> str:
    path = tmp_path / "talk.jsonl"
    arguments = ["run", shop, "--model", script("One.", "Two.", "Three."), "--transcript"]
    assert cli(*arguments, str(path), stdin=b"first\nsecond\nthird\n").out == "One.\nTwo.\nThree.\n"
    return str(path)


def test_each_turn_is_appended_with_what_made_it(
    cli: Cli, talk: str, shop: str, script: ScriptMaker
) -> None:
    assert [turn.reply for turn in read_turns(Path(talk))] == ["One.", "Two.", "Three."]
    first = json.loads(Path(talk).read_text().splitlines()[0])
    assert (first["bot"], first["variant"], first["user"]) == ("shop", "default", "first")
    assert first["n_prompt_tokens"] > 0
    cli("run", shop, "--model", script("Four."), "--once", "fourth", "--transcript", talk)
    assert read_turns(Path(talk))[-1].reply == "Four."


def test_a_transcript_is_refused_before_anything_is_loaded(cli: Cli, shop: str) -> None:
    result = cli("run", shop, "--model", "nothing", "--once", "x", "--transcript", "talk.txt")
    assert result.status == 2
    assert ".jsonl or .md" in result.err


def test_a_replay_shows_both_replies(cli: Cli, talk: str, shop: str, script: ScriptMaker) -> None:
    model = script("One.", "Deux.", "Trois.")
    arguments = ["replay", talk, "--bot", shop, "--model", model, "--variant", "zero_shot"]
    result = cli(*arguments)
    assert result.status == 0, result.err
    assert result.out == (
        "1. first\n   both: One.\n\n"
        "2. second\n   default: Two.\n   zero_shot now: Deux.\n\n"
        "3. third\n   default: Three.\n   zero_shot now: Trois.\n\n"
        "1 of 3 replies are the same.\n"
    )


def test_a_replay_is_a_conversation_of_its_own(
    cli: Cli, talk: str, shop: str, script: ScriptMaker
) -> None:
    model = script("Eins.", "Deux.", "Trois.")
    result = cli("replay", talk, "--bot", shop, "--model", model, "--json")
    last = [json.loads(line) for line in result.lines][-1]
    (turns,) = (p for p in last["now"]["trace"]["prompt"]["parts"] if p["kind"] == "turns")
    assert [m["content"] for m in turns["messages"]] == ["first", "Eins.", "second", "Deux."]
    assert (last["before"]["text"], last["same"]) == ("Three.", False)


def test_a_turn_that_fails_is_told_and_the_others_go_on(
    cli: Cli, shop: str, script: ScriptMaker, tmp_path: Path
) -> None:
    talk = tmp_path / "talk.jsonl"
    lines = [{"user": "word " * 9000, "reply": "x"}, {"user": "Hi", "reply": "Hello."}]
    talk.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = cli("replay", str(talk), "--model", script("Hello."))
    assert result.status == 2
    assert "which bot" in result.err
    result = cli("replay", str(talk), "--bot", shop, "--model", script())
    assert result.status == 2
    assert result.out.count("error:") == 2
    assert "0 of 2" in result.out


@pytest.mark.parametrize(("columns", "beside"), [(80, True), (40, False)])
def test_a_wide_window_shows_them_side_by_side(
    talk: str, shop: str, script: ScriptMaker, columns: int, beside: bool
) -> None:
    model = script("One.", "Deux.", "Trois.")
    command = [*PROMPTBOT, "replay", talk, "--bot", shop, "--model", model]
    with Screen(command, columns=columns) as screen:
        assert screen.wait() == 0
        assert "both the same" in screen.text
        line = next(line for line in screen.lines if "Two." in line)
        assert ("Deux." in line) == beside
        assert "1 of 3 replies are the same." in screen.text


def test_a_stopped_reply_is_marked_in_the_transcript(shop: str, tmp_path: Path) -> None:
    talk = tmp_path / "talk.jsonl"
    with Screen([sys.executable, SLOW_TALK, shop, str(talk)]) as screen:
        screen.expect("leaves.")
        screen.write("count")
        screen.expect("number9")
        screen.send(CTRL_C)
        screen.expect("— stopped")
        screen.write("thanks")
        screen.expect("All right.")
        screen.write("/quit")
        assert screen.wait() == 0
    first, second = read_turns(talk)
    assert (first.user, first.stopped) == ("count", True)
    assert first.reply.startswith("number0 number1 ")
    assert (second.reply, second.stopped) == ("All right.", False)
