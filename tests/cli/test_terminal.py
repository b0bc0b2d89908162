"""Conversations in a real terminal, compared as the text on its screen."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.output import DummyOutput
from rich.console import Console

import promptbot.store
from promptbot.cli import kept
from promptbot.cli.interrupts import Working, noted_interrupts
from promptbot.cli.keyboard import typed_text
from promptbot.cli.line import make_line
from promptbot.cli.markdown import MarkdownStream
from promptbot.cli.terminal import _UNBROKEN, Talk
from promptbot.store import SafeHistory, Store, StoredSession
from promptbot.types import Message
from tests.cli.conftest import SHOP_YAML, ScriptMaker
from tests.cli.screen import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_E,
    CTRL_R,
    CTRL_Z,
    ENTER,
    TAB,
    Screen,
)
from tests.conftest import BotMaker

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


def test_what_is_typed_while_a_reply_is_written_is_shown_below_it(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.write("count")
        screen.expect("number9")
        screen.send("and them\x7fn")
        screen.expect("› and then")
        assert "number399" not in screen.text, "the reply was over"
        shown = screen.lines.index("› and then")
        assert "number" in screen.lines[shown - 2]
        assert not screen.lines[shown - 1]
        screen.expect("number29")
        assert screen.text.count("and then") == 1
        screen.send(CTRL_C)
        screen.expect("— stopped")
        screen.expect("› and then")
        screen.send(" this" + ENTER)
        screen.expect("All right.")
        assert Store().load("slow-fox-10")[2] == Message("user", "and then this")


def test_what_is_sent_while_a_reply_is_written_is_sent_after_it(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.write("count")
        screen.expect("number9")
        screen.send("first" + ENTER + "\x1b[200~a block\rof lines\x1b[201~")
        screen.expect("› first\n  a block\n  of lines")
        screen.send(CTRL_C)
        screen.expect("All right.")
        screen.expect("› a block\n  of lines")
        assert screen.text.count("All right.") == 1, "the block was sent before Enter was pressed"
        screen.send(ENTER)
        screen.expect("All right.", count=2)
        asked = [message.content for message in Store().load("slow-fox-10")[2::2]]
        assert asked == ["first", "a block\nof lines"]
        modes = [screen.raw.rfind(f"\x1b[?2004{mode}".encode()) for mode in "hl"]
        screen.send(CTRL_D)
        assert screen.wait() == 0
        assert screen.raw.rfind(b"\x1b[?2004l") > max(modes), "the shell would get marked pastes"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("a\x7f\x7fb", "b"),
        ("two words\x17x", "two x"),
        ("one\x15", ""),
        ("one\ntwo\x15three", "one\nthree"),
        ("left\x1b[D\x1bb\x12", "left"),
        ("one\x1b\rtwo", "one\ntwo"),
        ("\x1b[200~a\r\nb\rc\x1b[201~", "a\nb\nc"),
        ("\udcff", "?"),
    ],
)
def test_the_text_of_keys_is_what_they_write(keys: str, text: str) -> None:
    presses: list[KeyPress] = []
    parser = Vt100Parser(presses.append)
    parser.feed(keys)
    parser.flush()
    assert typed_text(presses) == text


def test_ctrl_z_waits_for_the_end_of_a_reply_and_leaves_the_shell_in_order(shop: str) -> None:
    env = {"PS1": "shell> "}
    with Screen(["bash", "--noprofile", "--norc", "-i"], env=env) as screen:
        screen.expect("shell>")
        screen.send(f"{sys.executable} {SLOW_TALK} {shop}" + ENTER)
        screen.expect("leaves.")
        screen.write("count")
        screen.expect("number9")
        screen.send(CTRL_Z)
        screen.expect("number29")
        assert "Stopped" not in screen.text
        screen.send(CTRL_C)
        screen.expect("Stopped")
        screen.send("echo still $((6 * 7))" + ENTER)
        screen.expect("still 42")
        assert "echo still" in screen.text, "the shell shows nothing that is typed"
        assert screen.raw.rfind(b"\x1b[?25h") > screen.raw.rfind(b"\x1b[?25l"), "no cursor"
        screen.send("fg" + ENTER)
        screen.ready()
        assert screen.shown("thanks") == ["  All right."]


def test_ctrl_r_finds_what_was_typed_before(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.shown("a first question")
        screen.send(CTRL_R + "first")
        screen.expect("› a first question", count=2)
        screen.send(CTRL_C)
        screen.ready()
        screen.send(CTRL_R + "first")
        screen.expect("› a first question", count=2)
        screen.send(ENTER + CTRL_E + ", again" + ENTER)
        screen.expect("All right.", count=2)
        assert Store().load("slow-fox-10")[2] == Message("user", "a first question, again")


def test_ctrl_c_breaks_off_neither_a_drawing_nor_a_turn_that_is_stored() -> None:
    class Pressing(io.StringIO):
        def write(self, text: str) -> int:
            signal.raise_signal(signal.SIGINT)
            return super().write(text)

    class PressingStore(Store):
        def append(self, *args: Any, **kwargs: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            super().append(*args, **kwargs)

    console = Console(file=Pressing(), force_terminal=True, width=40)
    with noted_interrupts(_UNBROKEN) as pressed:
        with MarkdownStream(console) as screen:
            screen.add("one\n\ntwo")
        assert pressed.is_set()
        SafeHistory(PressingStore(), pytest.fail).append("a", [Message("user", "kept")])
    assert "two" in cast(io.StringIO, console.file).getvalue()
    assert Store().load("a") == [Message("user", "kept")]
    with pytest.raises(KeyboardInterrupt), noted_interrupts(_UNBROKEN):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_at_the_beginning_or_end_of_a_spinner_leaves_neither_spinner_nor_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Pressing(io.StringIO):
        n_before = 0

        def write(self, text: str) -> int:
            if threading.current_thread() is threading.main_thread():
                if self.n_before == 0:
                    signal.raise_signal(signal.SIGINT)
                self.n_before -= 1
            return super().write(text)

    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    stopped = []
    for n_before in range(6):
        file = Pressing()
        file.n_before = n_before
        others = threading.enumerate()
        try:
            with Working(Console(file=file, force_terminal=True, width=40), "it is made"):
                pass
        except KeyboardInterrupt:
            stopped.append(n_before)
        for spinner in set(threading.enumerate()) - set(others):
            spinner.join(10)
            assert not spinner.is_alive(), "a spinner turns on"
        shown = file.getvalue()
        assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor stays hidden"
    assert stopped
    assert len(stopped) < 6, "no interrupt came at the end"
    with noted_interrupts(()) as pressed:
        Destroyed()
        assert pressed.is_set()
    assert "Traceback" not in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_behind_enter_ends_nothing_that_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with create_pipe_input() as source, create_app_session(input=source, output=DummyOutput()):
        line = make_line(lambda width: "", lambda command, typed: [], lambda text: text)

        sent = []

        def interrupt_when_it_has_ended() -> None:
            if line.app.future is None:
                line.app.key_processor.send_sigint()
                sent.append(True)
            else:
                asyncio.get_running_loop().call_soon(interrupt_when_it_has_ended)

        def send() -> None:
            asyncio.get_running_loop().call_soon(line.app.exit, "sent")
            asyncio.get_running_loop().call_soon(interrupt_when_it_has_ended)

        assert line.prompt(pre_run=send) == "sent"
    assert sent
    assert not caplog.records, "asyncio writes the traceback of what a key did"


def test_what_nobody_foresaw_ends_a_reply_or_a_command_and_not_the_conversation(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        assert screen.shown("hello") == ["  All right."]
        told = screen.shown("break")
        assert "ZeroDivisionError: nobody foresaw this" in told[0]
        assert "Please report it" in told[2]
        screen.ready()
        screen.send("/model " + "a" * 300 + ENTER)
        screen.expect("Give a shorter one.")
        assert screen.shown("thanks") == ["  All right."]
        assert len(Store().load("slow-fox-10")) == 4
        assert "Traceback" not in screen.raw.decode()


def test_ctrl_c_ends_a_command_and_not_the_conversation(shop: str, tmp_path: Path) -> None:
    with Screen([sys.executable, SLOW_TALK, shop], cwd=tmp_path) as screen:
        screen.write("count")
        screen.expect("number9")
        screen.send(CTRL_C)
        screen.expect("— stopped")
        screen.write("/ab default zero_shot")
        screen.expect("two replies are written")
        screen.send(CTRL_C)
        screen.expect("— stopped", count=2)
        screen.ready()
        screen.send(CTRL_C)
        screen.expect("Ctrl-C once more, or Ctrl-D, leaves.")
        assert screen.shown("hello") == ["  All right."]
        assert not list(tmp_path.glob("runs/**/picks.jsonl"))
        assert "two replies" not in screen.text, "a spinner turns on"


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
    command = [*PROMPTBOT, "run", shop, "--model", script("One.", "Two.")]
    with Screen(command, env=env, cwd=tmp_path) as screen:
        screen.expect("leaves.")
        screen.write("first")
        screen.expect("One.")
        screen.expect("goes on in memory")
        screen.write("second")
        screen.expect("Two.")
        assert screen.shown("/save talk.json") == ["  Saved 4 messages to talk.json."]
        screen.send(CTRL_D)
        assert screen.wait() == 0
        assert screen.text.count("error:") == 1
    saved = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert [message["content"] for message in saved] == ["first", "One.", "second", "Two."]


def test_a_database_that_was_asked_for_and_cannot_be_opened_is_told_at_once(
    shop: str, script: ScriptMaker, tmp_path: Path
) -> None:
    (tmp_path / "own.db").write_text("not a database at all " * 100)
    command = [*PROMPTBOT, "run", shop, "--model", script("One.")]
    with Screen([*command, "--db", f"sqlite:///{tmp_path}/own.db"]) as screen:
        assert screen.wait() == 2
        assert "not a database" in screen.text
        assert "Traceback" not in screen.text


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


def test_names_are_completed_from_a_few_of_many_conversations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(bot="shop")
    for number in range(120):
        store.append(f"talk {number}", [Message("user", "ping")])
    n_read = 0
    made = promptbot.store._stored_session

    def counted(row: Any) -> StoredSession:
        nonlocal n_read
        n_read += 1
        return made(row)

    monkeypatch.setattr(promptbot.store, "_stored_session", counted)
    talk = cast(
        Talk,
        SimpleNamespace(history=SafeHistory(store, pytest.fail), bot=SimpleNamespace(name="shop")),
    )
    assert kept.resumable(talk, "talk 7") == [f"talk {n}" for n in (*range(79, 69, -1), 7)]
    assert n_read == 11, "others were read to be thrown away"
    assert len(kept.resumable(talk, "")) == n_read - 11 == kept.N_COMPLETED


def test_in_a_narrow_window_each_command_is_explained_below_it(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop], columns=40, rows=120) as screen:
        screen.ready()
        screen.send("/help" + ENTER)
        screen.expect("search what you wrote before")
        start = screen.lines.index("  /note QUESTION | ANSWER")
        assert screen.lines[start + 1 : start + 4] == [
            "    tell the bot something for this",
            "    conversation",
            "  /good",
        ]
        assert all(len(line) <= 40 for line in screen.lines)


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


def test_a_turn_that_is_asked_again_in_vain_stays(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.shown("hello")
        before = Store().transcript("slow-fox-10")
        screen.send("/edit" + ENTER)
        screen.expect("› hello", count=2)
        screen.send("\x15fail" + ENTER)
        screen.expect("error: slow: the server is down.")
        screen.expect("The turn before stays as it was.")
        after = Store().transcript("slow-fox-10")
        assert [m.content for m in after] == [m.content for m in before] == ["hello", "All right."]
        assert screen.shown("/retry")[-1] == "  All right."
        assert len(Store().load("slow-fox-10")) == 2


def test_a_stopped_turn_that_is_asked_again_in_vain_stays_marked(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.write("count")
        screen.expect("number9")
        screen.send(CTRL_C)
        screen.expect("— stopped")
        screen.ready()
        screen.send("/edit" + ENTER)
        screen.expect("› count", count=2)
        screen.send("\x15fail" + ENTER)
        screen.expect("The turn before stays as it was.")
        assert [message.stopped for message in Store().transcript("slow-fox-10")] == [False, True]


def test_a_correction_is_of_the_message_that_was_answered(shop: str) -> None:
    with Screen([sys.executable, SLOW_TALK, shop]) as screen:
        screen.shown("hello")
        elsewhere = [Message("user", "from another window"), Message("assistant", "Yes.")]
        Store(bot="shop").append("slow-fox-10", elsewhere)
        screen.shown("/good")
    kept = json.loads((Path(shop) / "review.jsonl").read_text())
    assert (kept["input"], kept["output"]) == ("hello", "All right.")


def test_what_is_loaded_from_a_file_is_heard_first(make_bot: BotMaker, tmp_path: Path) -> None:
    settings = SHOP_YAML.replace("guard: {", "guard: {redact: [email], ")
    settings = settings.replace("{company: Acme}", "{company: Acme, mail: help@acme.example}")
    shop = make_bot("shop", {"bot.yaml": settings})
    turn = {"user": "I am jane@example.com", "reply": "Not joe@x.org? Write to help@acme.example."}
    (tmp_path / "talk.jsonl").write_text(json.dumps(turn) + "\n")
    with Screen([sys.executable, SLOW_TALK, str(shop)], cwd=tmp_path) as screen:
        screen.shown("/load talk.jsonl")
        screen.shown("/rename jane@example.com")
        screen.expect("does not keep")
        screen.shown("/fork jane@example.com")
    [stored] = Store().sessions()
    assert [message.content for message in Store().load(stored.name)] == [
        "I am [email]",
        "Not [email]? Write to help@acme.example.",
    ]


def test_a_long_file_is_loaded_at_once_and_stopped_replies_stay_marked(tmp_path: Path) -> None:
    class CountingStore(Store):
        n_writes = 0

        def append(self, *args: Any, **kwargs: Any) -> None:
            self.n_writes += 1
            super().append(*args, **kwargs)

    turns = [{"user": f"q{n}", "reply": f"a{n}", "stopped": n == 50} for n in range(200)]
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    store = CountingStore(bot="shop")
    named: list[str] = []
    talk = SimpleNamespace(
        history=SafeHistory(store, pytest.fail),
        bot=SimpleNamespace(own_texts=[]),
        hear=lambda text, own=(): text,
        switch_to=lambda name, shown: named.append(name),
    )
    kept.load(cast(Talk, talk), str(file))
    said = store.transcript(named[0])
    assert [m.content for m in said] == [t[k] for t in turns for k in ("user", "reply")]
    assert [n for n, message in enumerate(said) if message.stopped] == [101]
    assert store.n_writes == 2


def test_files_of_nobody_known_and_conversations_without_a_word(shop: str, tmp_path: Path) -> None:
    with Screen([sys.executable, SLOW_TALK, shop], cwd=tmp_path) as screen:
        assert screen.shown("/save talk.md") == [
            "  There is nothing to save yet: say something first."
        ]
        assert screen.shown("/load ~nobody-here/a.json") == [
            "  error: ~nobody-here/a.json: there is no such file.",
            "  Give a file that holds a conversation.",
        ]
        screen.shown("hello")
        assert "cannot be written" in screen.shown("/save ~nobody-here/a.json")[0]
        assert screen.shown("/undo") == ["  Taken back: hello"]
        assert screen.shown("/sessions") == ["  No conversation with this bot is stored yet."]
        assert not list(tmp_path.glob("talk*"))
