"""What a conversation costs: ``python -m benchmarks.chat``.

- ``turn 20 / turn 2``: seconds to the first token at turn 20, as a multiple of those at turn 2, of
  one conversation with a window of 1,000 tokens and the embedded model; both after the same number
  of new tokens, medians over conversations.
- ``open``: opening a store of 10,000 sessions and 200,000 messages, beside opening an empty one.
- ``durable turn``: appending a turn to that store, on the disk when it returns, beside writing and
  syncing a file of the same size.
- ``key to screen``: from a key press to its letter on the screen of a terminal; median. While a
  reply streams, nothing is typed: keys pressed then are for the next message.

Ratios say more than seconds where the machine is shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, InMemoryHistory
from promptbot.models.registry import load_model
from promptbot.session import Session
from promptbot.store import Store
from promptbot.types import Message

BOT = """\
name: talk
memory: {kind: window, max_tokens: 1000}
decoding: {temperature: 0.0, max_new_tokens: 12}
"""
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


def stores(n_sessions: int, n_messages: int) -> None:
    """Print what opening and writing cost."""
    with tempfile.TemporaryDirectory() as place:
        full, empty = Path(place) / "full.db", Path(place) / "empty.db"
        fill(full, n_sessions, n_messages)
        fill(empty, 1, 2)
        command = "from promptbot.store import Store; import sys; Store(sys.argv[1]).load('first')"

        def opening(file: Path) -> float:
            def run() -> None:
                subprocess.run([sys.executable, "-c", command, f"sqlite:///{file}"], check=True)

            return median_s(run, 5)

        def in_process(file: Path) -> float:
            return median_s(lambda: Store(f"sqlite:///{file}").load("session 7"), 9)

        in_process(empty)  # the libraries are loaded once
        print(
            f"open, {n_sessions:,} sessions, {n_messages:,} messages: {in_process(full):.3f} s "
            f"in a running process, {in_process(empty):.3f} s empty; a whole new process "
            f"{opening(full):.2f} s, {opening(empty):.2f} s empty"
        )
        store = Store(f"sqlite:///{full}", bot="talk")
        print(f"list all {n_sessions:,}: {median_s(store.sessions, 5):.3f} s")
        turn = [Message("user", "x" * 80), Message("assistant", "y" * 80)]
        append = median_s(lambda: store.append("session 9", turn), 60)
        plain = Path(place) / "plain"

        def synced() -> None:
            with plain.open("ab") as file:
                file.write(b"z" * 160)
                file.flush()
                os.fsync(file.fileno())

        floor = median_s(synced, 60)
        print(
            f"durable turn: {1000 * append:.1f} ms; writing and syncing 160 bytes "
            f"{1000 * floor:.1f} ms"
        )


def keys(n: int) -> None:
    """Print the time from a key press to the screen, in a real terminal."""
    from tests.cli.screen import Screen

    with tempfile.TemporaryDirectory() as place:
        make_bot(Path(place))
        (Path(place) / "said.jsonl").write_text('"Hello."\n', encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "promptbot",
            "run",
            "./talk",
            "--model",
            "scripted:said.jsonl",
        ]
        with Screen(command, cwd=place) as screen:
            screen.ready()
            seconds = []
            for number in range(n):
                letter = "abcdefghij"[number % 10]
                count = screen.text.count(letter)
                began = time.perf_counter()
                screen.send(letter)
                screen.expect(letter, count=count + 1)
                seconds.append(time.perf_counter() - began)
            print(f"key to screen: median {1000 * statistics.median(seconds):.1f} ms")


parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--conversations", type=int, default=7)
parser.add_argument("--sessions", type=int, default=10_000)
parser.add_argument("--messages", type=int, default=200_000)


def main() -> None:
    """Measure and print."""
    given = parser.parse_args()
    early, late = first_tokens(given.conversations)
    print(
        f"first token: turn 2 {1000 * early:.0f} ms, turn 20 {1000 * late:.0f} ms, "
        f"{late / early:.2f} times"
    )
    stores(given.sessions, given.messages)
    keys(40)


if __name__ == "__main__":
    main()
