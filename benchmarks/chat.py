"""What a conversation costs, beside the bars that it has to keep: ``python -m benchmarks.chat``.

- ``first token``: seconds to the first token at turn 20 beside those at turn 2 of one conversation
  with buffer memory and the embedded model; both after the same number of new tokens,
  medians over conversations.
- ``open``: opening a store of 10,000 sessions and 200,000 turns and reading one session of it,
  beside an empty store: in a process that has used SQLAlchemy before, and as a process of its own,
  Python's start and all imports included.
- ``durable``: appending a turn to that store, on the disk when it returns, beside writing and
  syncing a file of the same size.
- ``key``: from a key press to its letter on the screen of a terminal: at the line; while a reply of
  400 words is written at 20 words a second; and at a random moment of the 0.4 s after Enter, while
  the embedded model reads the prompt and writes about 75 tokens. The bar holds for 95 of 100 keys.
  What the emulator needs to draw counts.

Ratios say more than seconds where the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bars import HEADER, Bar
from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, InMemoryHistory
from promptbot.models.registry import load_model
from promptbot.session import Session
from promptbot.store import Store
from promptbot.types import Message

if TYPE_CHECKING:
    from tests.cli.screen import Screen

ROOT = Path(__file__).parent.parent

BOT = """\
name: talk
memory: {kind: buffer}
decoding: {temperature: 0.0, max_new_tokens: 12}
"""
LONG_BOT = """\
name: talk
knowledge: {file: knowledge.jsonl, k: 1, retriever: bm25}
memory: {kind: window, max_tokens: 60}
decoding: {temperature: 0.0, max_new_tokens: 300}
"""
LONG_TEMPLATE = """\
You are the assistant of a shop. Answer with the notes.
{% for note in knowledge %}

Q: {{ note.question }}
A: {{ note.answer }}
{% endfor %}
"""
LONG_NOTE = {
    "question": "How can I return a lamp?",
    "answer": "Pack the lamp in its box and put the letter that came with it inside. Print the "
    "label from the page of your order and glue it on the box. Bring the box to any post office "
    "within thirty days and keep the receipt that you get there. When the box has arrived with us "
    "we look at the lamp, which takes two or three days. Then we send the money back to the "
    "account that you paid from.",
}
QUESTIONS = ("Where is my order?", "How much is delivery?", "Can I return a lamp?", "Thank you!")


def make_bot(place: Path) -> Path:
    """Write the bot of these conversations, and return its folder."""
    folder = place / "talk"
    folder.mkdir()
    (folder / "bot.yaml").write_text(BOT, encoding="utf-8")
    (folder / "system.j2").write_text("You are a kind shop assistant.\n", encoding="utf-8")
    return folder


def first_tokens(n_conversations: int) -> tuple[float, float]:
    """Return median seconds to the first token at turn 2 and at turn 20."""
    with tempfile.TemporaryDirectory() as place:
        bot, model = load_bot(make_bot(Path(place))), load_model("embedded")
        seconds: dict[int, list[float]] = {2: [], 20: []}
        for number in range(n_conversations):
            session = Session(Chain(bot, model, history=InMemoryHistory()), f"talk {number}")
            for turn in range(1, 21):
                began = time.perf_counter()
                pieces = session.stream(f"{QUESTIONS[turn % 4]} It is number {number}.")
                next(pieces)
                if turn in seconds:
                    seconds[turn].append(time.perf_counter() - began)
                for _ in pieces:
                    pass
    return statistics.median(seconds[2]), statistics.median(seconds[20])


def fill(file: Path, n_sessions: int, n_messages: int) -> None:
    """Write a store of many sessions, past its own interface, which makes each turn durable."""
    import sqlite3

    store = Store(f"sqlite:///{file}", bot="talk")
    store.append("first", [Message("user", "hi"), Message("assistant", "hello")])
    each, now = n_messages // n_sessions, "2026-01-02 03:04:05.000006"
    with sqlite3.connect(file) as connection:
        connection.executemany(
            "INSERT INTO sessions VALUES (?, ?, 'talk', ?, ?, ?)",
            ((n, f"session {n}", each, now, now) for n in range(2, n_sessions + 1)),
        )
        connection.executemany(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, NULL)",
            (
                (n, i, "user" if i % 2 == 0 else "assistant", f"message {i} of session {n}", now)
                for n in range(2, n_sessions + 1)
                for i in range(each)
            ),
        )


def median_s(work: Callable[[], object], n: int) -> float:
    """Return the median seconds of a piece of work."""
    seconds = []
    for _ in range(n):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def turns(n_conversations: int) -> Iterator[Bar]:
    """Talk for 20 turns."""
    early, late = first_tokens(n_conversations)
    ours, beside = f"{1000 * late:.0f} ms", f"turn 2 {1000 * early:.0f} ms"
    yield Bar("first token at turn 20", ours, beside, late / early, 1.5, at_most=True)


def stores(n_sessions: int, n_turns: int) -> Iterator[Bar]:
    """Open a store that holds much, and write to it."""
    with tempfile.TemporaryDirectory() as place:
        full, empty = Path(place) / "full.db", Path(place) / "empty.db"
        fill(full, n_sessions, 2 * n_turns)
        fill(empty, 1, 2)
        command = "from promptbot.store import Store; import sys; Store(sys.argv[1]).load('first')"

        def in_process(file: Path) -> float:
            return median_s(lambda: Store(f"sqlite:///{file}").load("session 7"), 9)

        def as_process(file: Path) -> float:
            def run() -> None:
                subprocess.run([sys.executable, "-c", command, f"sqlite:///{file}"], check=True)

            return median_s(run, 9)

        in_process(empty)  # the libraries are loaded once
        what = f"opening {n_sessions:,} sessions, {n_turns:,} turns"
        for way, opening in ((what, in_process), (f"{what}, a process of its own", as_process)):
            seconds, alone = opening(full), opening(empty)
            beside = f"empty store {1000 * alone:.0f} ms"
            yield Bar(way, f"{1000 * seconds:.0f} ms", beside, seconds, 0.3, True, "s")
        store = Store(f"sqlite:///{full}", bot="talk")
        turn = [Message("user", "x" * 80), Message("assistant", "y" * 80)]
        append = 1000 * median_s(lambda: store.append("session 9", turn), 200)
        floor = 1000 * median_s(lambda: sync(Path(place) / "plain"), 200)
        beside = f"160 bytes synced {floor:.1f} ms"
        yield Bar("a durable turn", f"{append:.1f} ms", beside, append, 5, True, "ms")


def sync(file: Path) -> None:
    """Append 160 bytes to a file and wait for the disk."""
    with file.open("ab") as out:
        out.write(b"z" * 160)
        out.flush()
        os.fsync(out.fileno())


def keys(n: int) -> Iterator[Bar]:
    """Press keys in a real terminal, and wait for their letters on its screen."""
    from tests.cli.screen import CTRL_C, CTRL_D, ENTER, Screen

    promptbot = [sys.executable, "-m", "promptbot", "run", "./talk"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        talk = make_bot(folder)
        (folder / "said.jsonl").write_text('"Hello."\n', encoding="utf-8")
        window = {"columns": 80, "rows": 24, "cwd": place}
        with Screen([*promptbot, "--model", "scripted:said.jsonl"], **window) as screen:
            screen.ready()
            yield key_bar("at the line", type_letters(screen, n))
        slow = [sys.executable, str(ROOT / "tests" / "cli" / "slow_talk.py"), str(talk)]
        with Screen(slow, **window, env={"XDG_DATA_HOME": place}) as screen:
            screen.write("count")
            screen.expect("number9")
            seconds = type_letters(screen, n)
            if "number399" in screen.text:
                sys.exit("the reply was over before the last key")
            yield key_bar("while a reply streams", seconds)
            screen.send(CTRL_C)
            screen.expect("stopped")
            screen.send(CTRL_C + CTRL_D)
        (talk / "bot.yaml").write_text(LONG_BOT, encoding="utf-8")
        (talk / "system.j2").write_text(LONG_TEMPLATE, encoding="utf-8")
        (talk / "knowledge.jsonl").write_text(json.dumps(LONG_NOTE) + "\n", encoding="utf-8")
        with Screen(promptbot, **window, env={"XDG_DATA_HOME": place}) as screen:
            moments, seconds = random.Random(0), []
            screen.shown(LONG_NOTE["question"])  # the model is loaded meanwhile
            for _ in range(n):
                screen.ready()
                screen.send(LONG_NOTE["question"] + ENTER)
                time.sleep(moments.uniform(0.02, 0.4))
                seconds += type_letters(screen, 1)
                screen.send("\x15")
            yield key_bar("while the embedded model answers", seconds)


def type_letters(screen: Screen, n: int) -> list[float]:
    """Press keys, one about every 0.08 s, and return the seconds until each was shown."""
    moments, typed, seconds = random.Random(n), "", []
    for number in range(n):
        time.sleep(moments.uniform(0.04, 0.12))
        typed += "QXZVJKWY"[number % 8]
        began = time.perf_counter()
        screen.send(typed[-1])
        screen.expect(f"› {typed}"[-60:])
        seconds.append(time.perf_counter() - began)
    return seconds


def key_bar(when: str, seconds: list[float]) -> Bar:
    """Return the row of keys pressed at some time."""
    in_order = sorted(1000 * one for one in seconds)
    late = in_order[min(len(in_order) - 1, int(0.95 * len(in_order)))]
    ours = f"median {statistics.median(in_order):.1f} ms, n {len(in_order)}"
    return Bar(f"key to screen {when}", ours, "-", late, 20, at_most=True, unit="ms (p95)")


parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--conversations", type=int, default=7)
parser.add_argument("--sessions", type=int, default=10_000)
parser.add_argument("--turns", type=int, default=200_000)
parser.add_argument("--keys", type=int, default=60)


def main() -> None:
    """Measure, and print each row as soon as it is known."""
    given = parser.parse_args()
    print(HEADER, flush=True)
    measures = (turns(given.conversations), stores(given.sessions, given.turns), keys(given.keys))
    for measure in measures:
        for bar in measure:
            print(bar.row(), flush=True)


if __name__ == "__main__":
    main()
