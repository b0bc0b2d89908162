"""One conversation in a real terminal that uses each command, its screens compared as text."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path

import pytest

from promptbot.cli.commands import COMMANDS
from promptbot.store import Store
from tests.cli.conftest import ScriptMaker
from tests.cli.screen import CTRL_C, ENTER, TAB, Screen
from tests.cli.test_terminal import PROMPTBOT
from tests.conftest import BotMaker

BOT_YAML = """\
name: kiosk
description: Sells papers.
examples: {file: examples.jsonl, selector: fixed, k: 1, order: file}
knowledge: {file: knowledge.jsonl, k: 1, retriever: bm25}
guard: {fallback: I will ask.}
vars: {company: Acme}
"""

SCRIPT = (
    {"match": "Papers", "text": "Two euros."},
    {"match": "magazines", "text": "Five euros."},
    {"match": "", "text": "Good day."},
)

EDITOR = f"""\
#!{sys.executable}
import sys, pathlib
pathlib.Path(sys.argv[1]).write_text("from my\\neditor\\n")
"""


@pytest.fixture
def folder(make_bot: BotMaker, script: ScriptMaker, tmp_path: Path) -> Path:
    make_bot("kiosk", {"bot.yaml": BOT_YAML})
    script(*SCRIPT)
    editor = tmp_path / "editor"
    editor.write_text(EDITOR)
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def test_each_command_does_what_it_says(folder: Path) -> None:
    used: set[str] = set()

    def command(line: str) -> list[str]:
        used.add(line.split()[0])
        return screen.shown(line)

    run = [*PROMPTBOT, "run", "./kiosk", "--model", "scripted:script.jsonl"]
    env = {"EDITOR": str(folder / "editor")}
    with Screen([*run, "--session", "first"], columns=72, rows=400, cwd=folder, env=env) as screen:
        screen.expect("A new conversation: first.")
        assert command("/why") == ["  No reply yet: say something first."]
        assert screen.shown("Open? Papers?") == ["  Two euros."]
        listed = command("/help")
        assert [line.split()[0] for line in listed if line.startswith("  /")] == list(COMMANDS)
        assert [steady(line) for line in command("/why")] == WHY
        assert "influence" in command("/why --influence")[0]
        prompt = command("/prompt")
        assert any("You work at Acme" in line for line in prompt)
        assert "tokens" in command("/tokens")[-1]
        assert command("/good") == ["  Kept as right; 1 to review: promptbot review ./kiosk"]
        assert command("/fix Three euros.") == [
            "  Kept as corrected; 2 to review: promptbot review ./kiosk"
        ]
        assert command("/note Tea? | No, papers.") == [
            "  Noted for this conversation; 3 to review: promptbot review ./kiosk"
        ]
        assert command("/variant") == ["  Variants: default (now), zero_shot."]
        assert command("/variant zero_shot") == ["  From here on: zero_shot."]
        assert command("/set decoding.temperature 0.5") == [
            "  From here on: decoding.temperature 0.0 → 0.5."
        ]
        screen.expect("zero_shot*")
        assert command("/set decoding.temperature") == ["  decoding.temperature is 0.5."]
        assert command("/set decoding.temprature 1")[0].startswith("  error: /set: unknown")
        assert command("/set default") == ["  From here on: decoding.temperature 0.5 → 0.0."]
        assert command("/model") == ["  Model: scripted:script.jsonl."]
        assert command("/model embeded")[0] == '  error: unknown model "embeded".'
        assert command("/model scripted:script.jsonl") == ["  From here on: scripted:script.jsonl."]
        assert command("/retry")[-2:] == ["› Open? Papers?", "  Two euros."]
        used.add("/ab")
        screen.ready()
        screen.send("/ab default zero_shot" + ENTER)
        screen.expect("Both say the same.")
        assert screen.shown("hello")[-1] == "  Good day."
        used.add("/edit")
        screen.ready()
        screen.send("/edit" + ENTER)
        screen.expect("› hello", count=2)
        screen.send(" and magazines?" + ENTER)
        screen.expect("  Five euros.")
        said = [message.content for message in Store().load("first")]
        assert said == [
            "Open? Papers?",
            "Two euros.",
            "hello and magazines?",
            "Five euros.",
        ]
        used.add("/editor")
        screen.ready()
        screen.send("/editor" + ENTER)
        screen.expect("  editor")
        screen.expect("  Good day.", count=2)
        assert command("/undo") == ["  Taken back: from my editor"]
        assert command("/fork second") == ["  From here on this is second; first stays as it is."]
        assert screen.shown("only here")[-1] == "  Good day."
        assert len(Store().load("first")) == 4
        assert len(Store().load("second")) == 6
        assert command("/rename third") == ["  This conversation is now third."]
        assert command("/save talk.json") == ["  Saved 6 messages to talk.json."]
        assert [line.split()[0] for line in command("/sessions")] == ["name", "third", "first"]
        assert command("/resume first")[0] == "  Continuing first, 4 messages so far."
        assert command("/load talk.json")[-2:] == ["› only here", "  Good day."]
        used.add("/delete")
        screen.ready()
        screen.send("/delete third" + ENTER)
        screen.expect("Delete third, 6 messages, for good? yes/no")
        screen.send("no" + ENTER)
        screen.expect("Nothing was deleted.")
        screen.ready()
        screen.send("/delete third" + ENTER)
        screen.expect("Delete third, 6 messages, for good? yes/no", count=2)
        screen.send("yes" + ENTER)
        screen.expect("Deleted third.")
        assert Store().load("third") == []
        used.add("/clear")
        screen.ready()
        screen.send("/clear" + ENTER)
        screen.expect("is kept: /resume goes back.")
        assert screen.lines[0].startswith("  A new conversation.")
        used.add("/quit")
        screen.write("/quit")
        assert screen.wait() == 0
        assert "Traceback" not in screen.text
    assert used == set(COMMANDS)
    kept = [json.loads(line) for line in (folder / "kiosk/review.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["output"]) for line in kept] == [
        ("good", "Two euros."),
        ("fix", "Three euros."),
        ("note", "No, papers."),
    ]


def steady(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"\d+ tokens/s", "n tokens/s", re.sub(r"[\d.]+ m?s\b", "n s", line))
    return re.sub(r"\b[0-9a-f]{12}\b", "hash", line)


WHY = """\
  why this reply
  ├── prompt  31 tokens
  │   system    23  ━━━━━━━━━━━━━━━━━━━━━━━━
  │   examples   5  ━━━━━
  │   question   3  ━━━
  ├── notes  1
  │   0.36  When are you open?
  ├── examples  1
  │      –  Hello
  ├── cost
  │   compose n s · first token n s · whole answer n s
  │   to select n s · retrieve n s · render n s
  │   read 31 · wrote 2 · n tokens/s
  └── made by
      bot    kiosk, variant default  hash
      model  scripted:script.jsonl  hash
      seed   0
""".splitlines()


def test_what_is_saved_in_the_folder_answers_the_next_message(folder: Path) -> None:
    template = folder / "kiosk" / "system.j2"
    run = [*PROMPTBOT, "run", "./kiosk", "--model", "scripted:script.jsonl"]
    with Screen(run, columns=60, rows=100, cwd=folder) as screen:
        assert screen.shown("hello") == ["  Good day."]
        template.write_text("Now you work at {{ company }}.\n")
        assert screen.shown("again") == [
            "  Changed on disk: system.j2 (+1 −6 lines).",
            "  Good day.",
        ]
        assert any("Now you work at Acme." in line for line in screen.shown("/prompt"))
        template.write_text("Fine\n{% if %}\n")
        broken = screen.shown("and now")
        assert broken[0].startswith("  error: kiosk/system.j2, line 2:")
        assert broken[-2:] == ["  Until then the last good version answers.", "  Good day."]
        assert screen.shown("still") == ["  Good day."]
        template.write_text("Mended at {{ company }}.\n")
        assert screen.shown("well")[0].startswith("  Changed on disk: system.j2")
        screen.write("/quit")
        assert screen.wait() == 0


def test_what_may_follow_a_command_is_completed(folder: Path) -> None:
    run = [*PROMPTBOT, "run", "./kiosk", "--model", "scripted:script.jsonl"]
    typed = {
        "/va": "/variant",
        "/variant z": "/variant zero_shot",
        "/set decoding.temp": "/set decoding.temperature",
        "/set memory.kind b": "/set memory.kind buffer",
        "/set vars.c": "/set vars.company",
        "/model emb": "/model embedded",
        "/load scr": "/load script.jsonl",
        "/ab default z": "/ab default zero_shot",
        "/why --i": "/why --influence",
    }
    with Screen(run, columns=60, rows=40, cwd=folder) as screen:
        screen.expect("scripted:script.jsonl", count=2)
        for begun, whole in typed.items():
            screen.ready()
            screen.send(begun)
            screen.expect(f"› {begun}")
            screen.send(TAB)
            screen.expect(f"› {whole}")
            screen.send(CTRL_C)
        screen.ready()
        screen.write("/quit")
        assert screen.wait() == 0


def test_two_variants_are_compared_unseen(folder: Path) -> None:
    (folder / "script.jsonl").write_text('"Hello."\n"One way."\n"Another way."\n')
    run = [*PROMPTBOT, "run", "./kiosk", "--model", "scripted:script.jsonl"]
    with Screen(run, columns=60, rows=100, cwd=folder) as screen:
        assert screen.shown("hello") == ["  Hello."]
        assert "two variants are compared" in screen.shown("/ab default")[0]
        screen.write("/ab default zero_shot")
        screen.expect("reply 2")
        screen.expect("Which is better?")
        assert "default was" not in screen.text
        assert "was default" not in screen.text
        screen.send("7" + ENTER)
        screen.expect("Which is better?", count=2)
        screen.send("2" + ENTER)
        screen.expect("e-value 1.0")
        screen.write("/quit")
        assert screen.wait() == 0
    (run,) = (folder / "runs/kiosk-ab").iterdir()
    (pick,) = [json.loads(line) for line in (run / "picks.jsonl").read_text().splitlines()]
    assert set(pick["replies"]) == {"default", "zero_shot"}
    assert pick["replies"][pick["winner"]] == "Another way."
    assert pick["winner"] == list(pick["replies"])[1]


def test_a_narrow_window_holds_every_line(folder: Path) -> None:
    run = [*PROMPTBOT, "run", "./kiosk", "--model", "scripted:script.jsonl"]
    with Screen(run, columns=40, rows=300, cwd=folder) as screen:
        for line in (
            "Open? Papers?",
            "/help",
            "/why",
            "/prompt",
            "/tokens",
            "/set",
            "/sessions",
        ):
            screen.shown(line)
        lines = screen.lines
        screen.write("/quit")
        assert screen.wait() == 0
    assert max(map(len, lines)) <= 40
    assert not [line for line in lines if line.endswith("…") and line.startswith("  /")]
