"""Conversations in a real terminal, compared as the text on its screen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from promptbot.store import Store
from promptbot.types import Message
from tests.cli.conftest import ScriptMaker
from tests.cli.screen import ALT_ENTER, CTRL_C, CTRL_D, ENTER, TAB, Screen

PROMPTBOT = [sys.executable, "-m", "promptbot"]
SLOW_TALK = str(Path(__file__).with_name("slow_talk.py"))


def test_a_conversation_from_greeting_to_farewell(shop: str, script: ScriptMaker) -> None:
    script(
        "Hello, **friend**!",
        "| Service | Price |\n|---|---|\n| Express | 9.90 |\n\nFirst\nsecond\n\n- one\n- two",
        "Third reply.",
    )
    command = [*PROMPTBOT, "run", "./shop", "--model", "scripted:script.jsonl"]
    folder = Path(shop).parent
    with Screen(command, cwd=folder) as screen:
        screen.expect("leaves.")
        assert screen.lines[:3] == [
            "  shop  variant default, model scripted:script.jsonl",
            "  Answers questions about the shop.",
            "  /help shows what you can do, Ctrl-D leaves.",
        ]
        screen.write("hi")
        screen.expect("  Hello, friend!")
        screen.expect("turn 1")
        screen.write("a table" + ALT_ENTER + "please")
        screen.expect("   • two")
        screen.expect("turn 2")
        table = screen.lines.index("   Service  Price")
        assert screen.lines[table - 2 : table + 11] == [
            "› a table",
            "  please",
            "   Service  Price",
            "   ──────────────",
            "   Express  9.90",
            "",
            "  First",
            "  second",
            "",
            "   • one",
            "   • two",
            "",
            "›",
        ]
        screen.write("/why")
        screen.expect("made by")
        screen.expect("bot    shop, variant default")
        assert "tokens" in screen.text
        screen.write("/wy")
        screen.expect('There is no command /wy. Did you mean "/why"?')
        screen.write("/quit")
        assert screen.wait() == 0
        assert "  promptbot run ./shop --session " in screen.text
        name = screen.text.split("Kept as ")[1].split(".")[0]
        assert "\x1b[?25h" in screen.raw.decode(), "the cursor stays hidden"
    stored = Store().load(name)
    assert [message.content for message in stored[::2]] == ["hi", "a table\nplease"]
    with Screen([*command, "--session", name], cwd=folder) as screen:
        screen.expect(f"Continuing {name}, 4 messages so far.")
        screen.expect("Express  9.90")
        screen.send(CTRL_D)
        assert screen.wait() == 0


def test_ctrl_c_stops_the_reply_and_keeps_session_and_words(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop], columns=40) as screen:
        screen.expect("leaves.")
        screen.write("count")
        screen.expect("number9")
        screen.send(CTRL_C)
        screen.expect("— stopped")
        said = Store().load("slow-fox-10")
        assert said[0] == Message("user", "count")
        assert said[1].content.startswith("number0 number1 ")
        assert "number399" not in said[1].content
        assert [message.stopped for message in Store().transcript("slow-fox-10")] == [False, True]
        screen.write("/why")
        screen.expect("was stopped")
        screen.write("fail")
        screen.expect("error: slow: the server is down.")
        screen.write("word " * 500)
        screen.expect("error: system prompt and message")
        screen.write("thanks")
        screen.expect("All right.")
        screen.write("/undo")
        screen.expect("Taken back: thanks")
        assert len(Store().load("slow-fox-10")) == 2
        screen.ready()
        screen.send("half a line")
        screen.expect("› half a line")
        screen.send(CTRL_C)
        screen.ready()
        screen.send(CTRL_C)
        screen.expect("Ctrl-C once more, or Ctrl-D, leaves.")
        screen.ready()
        screen.send(CTRL_C)
        assert screen.wait() == 130
        assert "Traceback" not in screen.text
    assert all(len(line) <= 40 for line in screen.lines)


def test_slash_commands_change_the_conversation(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.expect("leaves.")
        screen.write("/help")
        screen.expect("/retry")
        screen.write("/why")
        screen.expect("No reply yet")
        screen.write("hello")
        screen.expect("All right.")
        screen.write("/variant")
        screen.expect("Variants: default (now), zero_shot.")
        screen.write("/variant zero_shoot")
        screen.expect('Did you mean "zero_shot"?')
        screen.write("/variant zero_shot")
        screen.expect("From here on: zero_shot.")
        screen.write("/retry")
        screen.expect("All right.", count=2)
        screen.write("/prompt")
        screen.expect("user · question")
        assert "examples" not in screen.text.split("From here on")[1]
        assert len(Store().load("slow-fox-10")) == 2
        screen.write("/delete")
        screen.expect("for good? yes/no")
        screen.send("yes" + ENTER)
        screen.expect("Deleted slow-fox-10.")
        assert Store().load("slow-fox-10") == []
        screen.send(CTRL_D)
        assert screen.wait() == 0
        assert "Kept as" not in screen.text


def test_a_model_that_cannot_be_loaded_ends_the_waiting(shop: str) -> None:
    with Screen([*PROMPTBOT, "run", shop, "--model", "nothing:x"]) as screen:
        assert screen.wait() == 2
        assert "error: " in screen.text
        assert "Traceback" not in screen.text


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_plain_terminals_get_plain_text(
    shop: str, script: ScriptMaker, env: dict[str, str]
) -> None:
    model = script("Hello, **friend**!")
    with Screen([*PROMPTBOT, "run", shop, "--model", model], env=env) as screen:
        screen.expect("leaves.")
        screen.write("hi")
        screen.expect("friend")
        screen.send(CTRL_D)
        assert screen.wait() == 0
        raw = screen.raw.decode()
        colours = [code for code in ("\x1b[36m", "\x1b[1;36m", "\x1b[0;36") if code in raw]
        assert not colours
        if env.get("TERM") == "dumb":
            assert "Hello, **friend**!" in raw


def test_a_home_that_cannot_be_written_costs_a_warning(
    shop: str, script: ScriptMaker, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    env = {"XDG_DATA_HOME": str(tmp_path / "file")}
    with Screen([*PROMPTBOT, "run", shop, "--model", script("One.", "Two.")], env=env) as screen:
        screen.expect("leaves.")
        screen.write("first")
        screen.expect("One.")
        screen.expect("goes on in memory")
        screen.write("second")
        screen.expect("Two.")
        screen.send(CTRL_D)
        assert screen.wait() == 0
        assert screen.text.count("error:") == 1


def test_conversations_are_listed_resumed_renamed_and_saved(shop: str, tmp_path: Path) -> None:
    Store(bot="shop").append("old-talk", [Message("user", "ping"), Message("assistant", "pong")])
    Store(bot="other").append("foreign", [Message("user", "x"), Message("assistant", "y")])
    with Screen([sys.executable, SLOW_TALK, shop], cwd=tmp_path) as screen:
        screen.expect("leaves.")
        screen.write("hello")
        screen.expect("All right.")
        screen.write("/tokens")
        screen.expect("of 4")
        screen.write("/rename old-talk")
        screen.expect("There is already a conversation old-talk.")
        screen.write("/rename my-talk")
        screen.expect("This conversation is now my-talk.")
        screen.write("/sessions")
        screen.expect("just now", count=2)
        assert "foreign" not in screen.text
        screen.write("/save talk.txt")
        screen.expect("ends with .json, .md or .html.")
        screen.write("/save talk.md")
        screen.expect("Saved 2 messages to talk.md.")
        screen.write("/save talk.md")
        screen.expect("talk.md exists already")
        screen.write("/resume foreign")
        screen.expect("No such conversation.")
        screen.send("/resume old")
        screen.expect("            old-talk")
        screen.send(TAB)
        screen.expect("/resume old-talk")
        screen.send(ENTER + ENTER)
        screen.expect("Continuing old-talk, 2 messages so far.")
        screen.expect("pong")
        screen.write("thanks")
        screen.expect("All right.", count=2)
        screen.write("/rename old talk")
        screen.expect("This conversation is now old talk.")
        screen.send(CTRL_D)
        assert screen.wait() == 0
        assert "--session 'old talk'" in screen.text
    assert [message.content for message in Store().load("old talk")] == [
        "ping",
        "pong",
        "thanks",
        "All right.",
    ]
    assert len(Store().load("my-talk")) == 2
    assert "All right." in (tmp_path / "talk.md").read_text()


def test_a_pasted_block_is_one_message(shop: str, script: ScriptMaker) -> None:
    script("Read it.")
    command = [*PROMPTBOT, "run", "./shop", "--model", "scripted:script.jsonl", "--session", "p"]
    with Screen(command, cwd=Path(shop).parent) as screen:
        screen.ready()
        screen.send("\x1b[200~first line\n\n  third line\x1b[201~")
        screen.expect("third line")
        assert "Read it." not in screen.text
        screen.send(ENTER)
        screen.expect("Read it.")
        screen.write("/quit")
        assert screen.wait() == 0
    assert Store().load("p")[0] == Message("user", "first line\n\n  third line")


@pytest.mark.parametrize(
    "reply",
    [
        "שלום וברוכים הבאים לחנות שלנו " * 4,
        "مرحبا بكم في متجرنا الصغير " * 4,
        "欢迎光临我们的小店，" * 12,
    ],
    ids=["hebrew", "arabic", "chinese"],
)
def test_no_word_of_another_script_is_lost_in_a_narrow_window(
    shop: str, script: ScriptMaker, reply: str
) -> None:
    script(reply.strip())
    command = [*PROMPTBOT, "run", "./shop", "--model", "scripted:script.jsonl"]
    with Screen(command, columns=40, cwd=Path(shop).parent) as screen:
        answer = screen.shown("hi")
        # Wide characters take two cells; pyte leaves the second one empty.
        told = "".join(line.replace("\x00", "") for line in answer if "turn 1" not in line)
        assert told.replace(" ", "").startswith(reply.replace(" ", ""))
        assert len([line for line in answer if line.strip()]) > 2, "nothing was wrapped"
        screen.send(CTRL_D)
        assert screen.wait() == 0
