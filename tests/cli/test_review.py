"""Corrections made in a conversation, and reviewed through a pipe and at a terminal."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from promptbot import corrections
from promptbot.corrections import Correction, append_correction
from tests.cli.conftest import Cli, ScriptMaker
from tests.cli.screen import ENTER, Screen
from tests.cli.test_terminal import PROMPTBOT
from tests.conftest import BotMaker


def keep(shop: str, *pairs: tuple[str, str]) -> None:
    for text, answer in pairs:
        append_correction(Path(shop, "review.jsonl"), Correction("fix", text, answer, "Wrong."))


def test_answers_come_through_a_pipe_and_the_difference_is_shown(
    cli: Cli, shop: str, tmp_path: Path
) -> None:
    keep(shop, ("Pay?", "By card."), ("Tea?", "No."), ("Rude", "x"), ("Later", "y"))
    result = cli("review", shop, stdin=b"e\nheld-out\ndrop\n\nyes\n")
    assert result.status == 0, result.err
    assert '+{"input": "Pay?", "output": "By card."}' in result.lines
    assert "Dropped: 1." in result.lines
    held_out = (tmp_path / "evals" / "data" / "shop.jsonl").read_text()
    assert json.loads(held_out) == {"input": "Tea?", "output": "No."}
    listed = cli("review", shop, "--list")
    assert [line.split("\t")[:3] for line in listed.lines] == [["fix", "Later", "y"]]


def test_nothing_is_written_without_yes(cli: Cli, shop: str) -> None:
    keep(shop, ("Pay?", "By card."))
    before = Path(shop, "examples.jsonl").read_bytes()
    for answers in (b"e\n", b"e\nno\n", b""):
        result = cli("review", shop, stdin=answers)
        assert result.status == (1 if answers else 0)
        assert Path(shop, "examples.jsonl").read_bytes() == before
    assert "Pay?" in cli("review", shop, "--list").out


@pytest.mark.parametrize(
    ("n_before", "told"), [(0, "Nothing was written"), (1, "Interrupted while it was written")]
)
def test_ctrl_c_says_whether_anything_was_written(
    cli: Cli, shop: str, monkeypatch: pytest.MonkeyPatch, n_before: int, told: str
) -> None:
    keep(shop, ("Pay?", "By card."), ("Tea?", "No."))
    replace = corrections._replace
    n_written = 0

    def interrupted(path: Path, text: str) -> None:
        nonlocal n_written
        if n_written == n_before:
            raise KeyboardInterrupt
        n_written += 1
        replace(path, text)

    def asked(question: str) -> str:
        raise KeyboardInterrupt

    if n_before:
        monkeypatch.setattr(corrections, "_replace", interrupted)
    else:
        monkeypatch.setattr("promptbot.cli.review._ask", asked)
    result = cli("review", shop, stdin=b"e\nh\nyes\n")
    assert result.status == 130
    assert told in result.err
    assert len(cli("review", shop, "--list").lines) == 2


def test_a_review_without_a_standard_input_decides_nothing(shop: str) -> None:
    keep(shop, ("Pay?", "By card."))
    command = f"{shlex.join([*PROMPTBOT, 'review', shop])} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing was decided" in done.stdout


def test_an_answer_that_is_none_ends_the_pipe(cli: Cli, shop: str) -> None:
    keep(shop, ("Pay?", "By card."))
    result = cli("review", shop, stdin=b"maybe\nyes\n")
    assert result.status == 2
    assert '"maybe" is no answer to number 1' in result.err


def test_a_leak_is_refused_and_left_for_later(cli: Cli, shop: str, tmp_path: Path) -> None:
    keep(shop, ("Hello", "Hi."), ("Tea?", "No."))
    data = tmp_path / "own.jsonl"
    result = cli("review", shop, "--data", str(data), stdin=b"h\nh\nyes\n")
    assert result.status == 1
    assert "would be given it away" in result.err
    assert json.loads(data.read_text())["input"] == "Tea?"
    assert len(cli("review", shop, "--list").lines) == 1


def test_nothing_to_review_is_said(cli: Cli, shop: str) -> None:
    result = cli("review", shop)
    assert result.status == 0
    assert result.out.startswith("Nothing waits for review")


def test_from_a_correction_to_an_example_at_a_terminal(shop: str, script: ScriptMaker) -> None:
    model = script("Good evening.", "It is free.")
    folder = Path(shop).parent
    with Screen([*PROMPTBOT, "run", "./shop", "--model", model], cwd=folder) as screen:
        screen.write("/good")
        screen.expect("No reply yet")
        screen.write("Good evening")
        screen.expect("turn 1")
        screen.write("/good")
        screen.expect("Kept as right; 1 to review: promptbot review ./shop")
        screen.write("Express?")
        screen.expect("It is free.")
        screen.write("/fix")
        screen.expect("what should the last reply have been?")
        screen.write("/fix Express costs 7.90.")
        screen.expect("Kept as corrected; 2 to review")
        screen.write("/note Tea? | Yes.")
        screen.expect("shop reads no notes.")
        screen.write("/quit")
        assert screen.wait() == 0
    with Screen([*PROMPTBOT, "review", "./shop"], cwd=folder, columns=60) as screen:
        screen.expect("1 of 2  good · default")
        screen.expect("quit ›")
        screen.send("x" + ENTER)
        screen.expect('"x" is no answer')
        screen.send("d" + ENTER)
        screen.expect("2 of 2  fix")
        screen.expect("After 2 earlier messages: can it be understood alone?\nexamples · held-out")
        assert "wanted  Express costs 7.90." in screen.text
        screen.send("e" + ENTER)
        screen.expect("examples: is added")
        screen.expect('+{"input": "Express?"')
        screen.expect("yes/no")
        screen.send("yes" + ENTER)
        screen.expect("Written: shop/examples.jsonl.")
        assert screen.wait() == 0
    assert Path(shop, "review.jsonl").read_text() == ""


def test_a_narrow_window_cuts_nothing_off(shop: str) -> None:
    address = "https://example.org/" + "a-long-path/" * 8 + "end"
    line = {"kind": "fix", "input": "Where?", "replied": address, "output": address + "?"}
    Path(shop, "review.jsonl").write_text(json.dumps(line) + "\n")
    command = [*PROMPTBOT, "review", "./shop", "--list"]
    with Screen(command, cwd=Path(shop).parent, columns=40) as screen:
        assert screen.wait() == 0
        shown = "".join(line[8:] for line in screen.lines if not line.startswith("1 of"))
    assert shown == f"Where?{address}{address}?"


def test_a_right_reply_keeps_the_shops_own_number(make_bot: BotMaker, script: ScriptMaker) -> None:
    said = "Call 020 7946 0018."
    yaml = "name: shop\nguard: {redact: [phone]}\n"
    files = {"bot.yaml": yaml, "system.j2": f"Say: {said}"}
    folder = make_bot(files=files)
    with Screen([*PROMPTBOT, "run", str(folder), "--model", script(said)]) as screen:
        screen.write("Your number? Mine is 07911 123456.")
        screen.expect("turn 1")
        screen.write("/good")
        screen.expect("Kept as right")
        screen.write("/fix Ring 020 7946 0018, not 07911 123456.")
        screen.expect("Kept as corrected")
        screen.write("/quit")
        assert screen.wait() == 0
    lines = (folder / "review.jsonl").read_text(encoding="utf-8").splitlines()
    good, fix = map(json.loads, lines)
    assert good["output"] == good["replied"] == said
    assert good["input"] == "Your number? Mine is [phone]."
    assert fix["output"] == "Ring 020 7946 0018, not [phone]."
