"""Corrections wait in a file, and become data without a leak, a double or a loss."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot, shipped_bots_folder
from promptbot.corrections import (
    Correction,
    Review,
    append_correction,
    read_corrections,
    review_file,
)
from promptbot.errors import DataError, InputError
from tests.conftest import BotMaker

APPENDER = """
import sys
from pathlib import Path
from promptbot.corrections import Correction, append_correction
for number in range(20):
    append_correction(Path(sys.argv[1]), Correction("good", f"{sys.argv[2]} {number}", "x" * 5000))
"""


@pytest.fixture
def folder(make_bot: BotMaker) -> Path:
    return make_bot()


def keep(folder: Path, *corrections: Correction) -> None:
    for correction in corrections:
        append_correction(review_file(load_bot(folder)), correction)


def fix(text: str, answer: str) -> Correction:
    return Correction("fix", text, answer, replied="Wrong.")


def review(folder: Path) -> Review:
    return Review(load_bot(folder), folder.parent / "held_out.jsonl")


def test_what_was_kept_is_read_again(folder: Path) -> None:
    one = Correction("good", "Hi\u2028you", "您好", session="a", variant="terse", n_earlier=3)
    keep(folder, one, Correction("note", "Tea?", "Yes."))
    found, problems = read_corrections(folder / "review.jsonl")
    assert found == [one, Correction("note", "Tea?", "Yes.", said=found[1].said)]
    assert not problems


def test_a_line_cut_short_costs_only_itself(folder: Path) -> None:
    keep(folder, fix("one", "1"))
    path = folder / "review.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "fix", "inp')
    keep(folder, fix("two", "2"))
    found, problems = read_corrections(path)
    assert [correction.input for correction in found] == ["one", "two"]
    assert [problem.place for problem in problems] == [f"{path}, line 2"]


def test_many_writers_lose_nothing(folder: Path) -> None:
    path = folder / "review.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDER, str(path), str(n)]) for n in range(3)
    ]
    keep(folder, fix("decided", "yes"))
    found = review(folder)
    found.drop(next(c for c in found.pending if c.input == "decided"))
    found.write()  # takes a line out while the others write
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    kept, problems = read_corrections(path)
    assert len(kept) == 60
    assert not problems


def test_bots_that_come_with_an_installation_keep_corrections_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = load_bot(folder)
    assert review_file(bot) == folder / "review.jsonl"
    monkeypatch.setattr("promptbot.corrections.__file__", str(folder.parent / "corrections.py"))
    assert review_file(bot).name == "shop.jsonl"
    assert folder not in review_file(bot).parents
    assert shipped_bots_folder().is_dir()


def test_accepted_examples_are_added_and_every_other_line_stays(folder: Path) -> None:
    before = (folder / "examples.jsonl").read_bytes()
    keep(folder, fix("How do I pay?", "By card."), fix("Do you sell tea?", "No."))
    found = review(folder)
    assert found.accept(found.pending[0], "examples") == "is added"
    assert found.accept(found.pending[1], "held-out") == "is added"
    assert (folder / "examples.jsonl").read_bytes() == before
    found.write()
    added = b'{"input": "How do I pay?", "output": "By card."}\n'
    assert (folder / "examples.jsonl").read_bytes() == before + added
    held_out = json.loads((folder.parent / "held_out.jsonl").read_text())
    assert held_out == {"input": "Do you sell tea?", "output": "No."}
    assert review(folder).pending == []
    assert load_bot(folder).examples[-1].output == "By card."


def test_the_same_message_is_never_there_twice(folder: Path) -> None:
    keep(folder, fix("hello!", "Hi there!"), fix("BYE", "See you."), fix("bye.", "See you."))
    found = review(folder)
    said = [found.accept(correction, "examples") for correction in found.pending]
    assert said == [
        "stands there already, on line 1",
        'replaces the answer on line 2, "Goodbye!"',
        "stands there already, on line 2",
    ]
    (change,) = found.changes
    assert change.diff[3:] == [
        ' {"input": "Hello", "output": "Hi there!"}',
        '-{"input": "Bye", "output": "Goodbye!"}',
        '+{"input": "Bye", "output": "See you."}',
        ' {"input": "Thank you", "output": "You are welcome!"}',
    ]


def test_no_example_gives_a_held_out_answer_away(folder: Path) -> None:
    (folder.parent / "held_out.jsonl").write_text(
        '{"input": "What does the express delivery cost?", "output": "7.90"}\n'
    )
    near = "what does express delivery cost"
    keep(folder, fix(near, "7.90"), fix("Thank you", "Welcome."), fix("a new one", "1"))
    found = review(folder)
    with pytest.raises(DataError, match=r"held_out\.jsonl, line 1: .*held out"):
        found.accept(found.pending[0], "examples")
    with pytest.raises(DataError, match=r"examples\.jsonl, line 3: .*is an example"):
        found.accept(found.pending[1], "held-out")
    found.accept(found.pending[2], "examples")
    with pytest.raises(DataError, match="is an example"):
        found.accept(found.pending[2], "held-out")
    found.write()
    assert [correction.input for correction in review(folder).pending] == [near, "Thank you"]


def test_labels_are_checked_and_written(make_classifier: BotMaker) -> None:
    folder = make_classifier()
    keep(folder, fix("card gone", "card_lost"), fix("card gone", "stolen"))
    found = review(folder)
    with pytest.raises(DataError, match='"stolen" is no label'):
        found.accept(found.pending[1], "examples")
    found.accept(found.pending[0], "examples")
    found.write()
    assert load_bot(folder).examples[-1].label == "card_lost"


@pytest.mark.parametrize("file", ["knowledge.jsonl", "notes.md", "notes"])
def test_notes_become_knowledge(make_bot: BotMaker, file: str) -> None:
    yaml = f"name: shop\nknowledge: {{file: {file}, k: 1}}\n"
    text = {"notes.md": "# Where?\n\nHere.\n", "notes/a.md": "# Where?\n\nHere.\n"}
    folder = make_bot("shop", {"bot.yaml": yaml, **text})
    keep(folder, Correction("note", "Tea?", "Yes, green."), Correction("note", "Tea?", "No."))
    found = review(folder)
    assert found.targets(found.pending[0]) == ("notes",)
    assert found.accept(found.pending[0], "notes") == "is added"
    assert found.accept(found.pending[0], "notes").startswith("stands there already")
    found.write()
    answers = {note.question: note.answer for note in load_bot(folder).notes}
    assert answers["Tea?"] == "Yes, green."
    assert len(answers) > 1


@pytest.mark.parametrize(("file", "elsewhere"), [("notes.md", "notes.md:1"), ("notes", "a.md:1")])
def test_notes_that_contradict_each_other_are_told(
    make_bot: BotMaker, file: str, elsewhere: str
) -> None:
    yaml = f"name: shop\nknowledge: {{file: {file}, k: 1}}\n"
    text = {"notes.md": "# Where?\n\nHere.\n", "notes/a.md": "# Where?\n\nHere.\n"}
    folder = make_bot("shop", {"bot.yaml": yaml, **text})
    keep(folder, *(Correction("note", *one) for one in [("where", "There."), ("Where?", "Here.")]))
    keep(folder, *(Correction("note", *one) for one in [("Tea?", "Yes."), ("tea", "No.")]))
    found = review(folder)
    with pytest.raises(DataError, match=rf'{elsewhere}: the notes answer .*\n.*"Here\."'):
        found.accept(found.pending[0], "notes")
    said = [found.accept(correction, "notes") for correction in found.pending[1:]]
    assert said[0] == f"stands there already, in {elsewhere}"
    assert said[1] == "is added"
    assert said[2].startswith("replaces the answer")
    assert '"Yes."' in said[2]
    found.write()
    notes = {(note.question, note.answer) for note in load_bot(folder).notes}
    assert {answer for _, answer in notes} == {"Here.", "No."}


def test_a_file_that_cannot_be_written_is_told_before_all_is_decided(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptbot.corrections.os.access", lambda path, mode: False)
    keep(folder, fix("new", "1"))
    found = review(folder)
    assert folder not in found.path.parents
    with pytest.raises(DataError, match=r"examples\.jsonl: the file cannot be written"):
        found.accept(found.pending[0], "examples")
    with pytest.raises(DataError, match="Give --data another file"):
        found.accept(found.pending[0], "held-out")
    assert not found.has_decided


REVIEWER = """
import os, signal, sys
from pathlib import Path
from promptbot.bot.folder import load_bot
from promptbot.corrections import Review
left, replace = int(sys.argv[2]), Path.replace
def dying(self, target):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = dying
found = Review(load_bot(sys.argv[1]), Path(sys.argv[1]).parent / "held_out.jsonl")
for correction, target in zip(found.pending, ("examples", "held-out", "examples")):
    found.accept(correction, target)
found.write()
"""


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_review_that_is_killed_while_it_writes_is_done_again(folder: Path, n: int) -> None:
    keep(folder, fix("new", "1"), fix("Do you rent bikes?", "2"), fix("Bye", "3"))
    command = [sys.executable, "-c", REVIEWER, str(folder)]
    status = subprocess.run([*command, str(n)], check=False).returncode
    assert status == (-9 if n < 4 else 0)
    assert len(review(folder).pending) == (3 if n < 4 else 0)
    assert load_bot(folder).examples
    assert subprocess.run([*command, "99"], check=False).returncode == 0
    examples = [(one.input, one.output) for one in load_bot(folder).examples]
    assert examples == [
        ("Hello", "Hi there!"),
        ("Bye", "3"),
        ("Thank you", "You are welcome!"),
        ("new", "1"),
    ]
    held_out = json.loads((folder.parent / "held_out.jsonl").read_text())
    assert held_out == {"input": "Do you rent bikes?", "output": "2"}
    assert review(folder).pending == []


def test_a_file_changed_meanwhile_is_not_overwritten(folder: Path) -> None:
    keep(folder, fix("new", "1"))
    found = review(folder)
    found.accept(found.pending[0], "examples")
    (folder / "examples.jsonl").write_text('{"input": "Mine", "output": "Kept"}\n' * 2)
    with pytest.raises(InputError, match="changed during the review"):
        found.write()
    assert "Kept" in (folder / "examples.jsonl").read_text()
    assert len(review(folder).pending) == 1


def test_examples_that_are_no_jsonl_are_told(make_bot: BotMaker) -> None:
    folder = make_bot(
        "shop",
        {
            "bot.yaml": "name: shop\nexamples: {file: e.csv, k: 1}\n",
            "e.csv": "input,output\na,b\n",
        },
    )
    keep(folder, fix("new", "1"))
    found = review(folder)
    with pytest.raises(DataError, match=r"Expected a \.jsonl"):
        found.accept(found.pending[0], "examples")
