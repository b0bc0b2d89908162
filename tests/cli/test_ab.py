"""`promptbot run BOT --ab A B` through a pipe and at a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import load_chain
from promptbot.cli.ab import SharedHistory, compare_turns
from promptbot.models.scripted import ScriptedModel
from promptbot.picks import PickRun, load_picks
from tests.cli.conftest import SHOP_YAML, Cli, ScriptMaker
from tests.cli.screen import Screen
from tests.conftest import BotMaker

ENTER = "\r"


@pytest.fixture
def shop(make_bot: BotMaker) -> str:
    """Return a shop whose two variants can be told apart in the prompt."""
    terse = "vars: {company: Acme Ltd}\n"
    return str(make_bot("shop", {"bot.yaml": SHOP_YAML, "variants/terse.yaml": terse}))


def said_first(line: str) -> str:
    return line.split("1 was ")[1].split(",")[0]


def test_a_pipe_alternates_messages_and_picks(
    cli: Cli, shop: str, script: ScriptMaker, tmp_path: Path
) -> None:
    model = script("One.", "Two.", "Three.", "Four.", "Same.", "Same.", "Seven.", "Eight.")
    typed = b"hello\n1\nagain\n=\nand\n2\nlast\ns\n"
    found = cli("run", shop, "--model", model, "--ab", "default", "terse", stdin=typed)
    assert (found.status, found.err) == (0, "")
    assert found.lines[:2] == ["1: One.", "2: Two."]
    picked = said_first(found.lines[2])
    assert "Both say the same." in found.lines
    [folder] = (tmp_path / "runs" / "shop-ab").iterdir()
    picks = load_picks(folder)
    assert [p.winner for p in picks] == [picked, None, None, None]
    assert [p.skipped for p in picks] == [False, False, False, True]
    assert [p.n_earlier for p in picks] == [0, 2, 4, 6]
    assert list(picks[0].replies.values()) == ["One.", "Two."]
    assert (folder / "report.html").exists()
    assert found.lines[-1].endswith("report.html")
    assert "not decided by 3 picks" in found.lines[-2]


def test_personal_data_reaches_neither_the_picks_nor_the_next_prompt(
    cli: Cli, make_bot: BotMaker, script: ScriptMaker, tmp_path: Path
) -> None:
    settings = SHOP_YAML.replace("guard: {", "guard: {redact: [email], ")
    shop = make_bot("shop", {"bot.yaml": settings, "variants/terse.yaml": "vars: {company: A}\n"})
    model = script({"match": "jane", "text": "I know you."}, {"match": "", "text": "Hello."})
    typed = b"I am jane@example.com\n1\nwho am I?\n1\n"
    found = cli("run", str(shop), "--model", model, "--ab", "default", "terse", stdin=typed)
    assert found.status == 0
    [folder] = (tmp_path / "runs" / "shop-ab").iterdir()
    assert [pick.input for pick in load_picks(folder)] == ["I am [email]", "who am I?"]
    assert "I know you" not in found.out
    kept = "".join(file.read_text() for file in folder.iterdir() if file.is_file())
    assert "jane" not in kept


def test_both_read_the_reply_that_was_picked(shop: str, tmp_path: Path) -> None:
    model = ScriptedModel(answers=["One.", "Two.", "Three.", "Four."])
    bots = load_bot(shop), load_bot(shop, "terse")
    history = SharedHistory()
    first = load_chain(bots[0], model=model, history=history)
    chains = first, first.under(bot=bots[1])
    answers = iter(["2", "1"])
    turns = iter([(text, lambda same: next(answers)) for text in ("hello", "again")])
    with PickRun(bots, (model, model), tmp_path / "runs") as run:
        compare_turns(("default", "terse"), chains, history, turns, run, at_terminal=False)
    assert [m.content for m in history.said] == ["hello", "Two.", "again", "Three."]
    for prompt in model.prompts[2:]:
        assert [m.content for m in prompt[-3:]] == ["hello", "Two.", "again"]


def test_runs_and_report_show_the_picks(cli: Cli, shop: str, script: ScriptMaker) -> None:
    model = script("One.", "Two.")
    cli("run", shop, "--model", model, "--ab", "default", "terse", stdin=b"hello\n1\n")
    assert "not decided by 1 pick " in cli("runs").out
    shown = cli("report").out
    assert "not decided by 1 pick " in shown
    assert "One." in shown
    assert "Two." in shown
    assert json.loads(cli("report", "--json").out)["standing"]["n_ties"] == 0
    assert "| hello |" in cli("report", "--markdown").out
    assert cli("report", "--csv").lines[0].startswith("input,default,terse")
    assert cli("compare", "last", "last").status == 2
    assert cli("eval", "--resume", "last").status == 2


def test_a_pick_that_is_none_ends_the_pipe_and_keeps_the_others(
    cli: Cli, shop: str, script: ScriptMaker, tmp_path: Path
) -> None:
    model = script("One.", "Two.", "Three.", "Four.")
    typed = b"hello\n1\nagain\nwhat else?\n"
    found = cli("run", shop, "--model", model, "--ab", "default", "terse", stdin=typed)
    assert found.status == 2
    assert '"what else?" is no pick' in found.err
    [folder] = (tmp_path / "runs" / "shop-ab").iterdir()
    assert len(load_picks(folder)) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--ab", "default", "default"), "compared with itself"),
        (("--ab", "default", "tersse"), "terse"),
        (("--ab", "default", "terse", "--json", "--once", "hi"), "--once, --json"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(
    cli: Cli, shop: str, arguments: tuple[str, ...], told: str
) -> None:
    found = cli("run", shop, "--model", "nothing-of-this-name", *arguments)
    assert found.status == 2
    assert told in found.err


def test_at_a_terminal_nothing_tells_who_is_who_before_the_pick(shop: str, tmp_path: Path) -> None:
    (tmp_path / "script.jsonl").write_text('"One way."\n"Another way."\n')
    command = [
        sys.executable, "-m", "promptbot", "run", shop,
        "--model", "scripted:script.jsonl", "--ab", "default", "terse",
    ]  # fmt: skip
    with Screen(command, columns=70, rows=60, cwd=tmp_path) as screen:
        screen.expect("Ctrl-D leaves.")
        screen.write("hello")
        screen.expect("reply 2")
        screen.expect("Which is better?")
        assert "was default" not in screen.text
        screen.send("7" + ENTER)
        screen.expect("Which is better?", count=2)
        screen.send("2" + ENTER)
        screen.expect("e-value 1.0")
        screen.ready()
        screen.send("\x04")
        screen.expect("report.html")
        assert screen.wait() == 0
    [folder] = (tmp_path / "runs" / "shop-ab").iterdir()
    [pick] = load_picks(folder)
    assert pick.winner == list(pick.replies)[1]
