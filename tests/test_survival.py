"""A conversation that is killed, and a store that many write to: nothing acknowledged is lost.

Each conversation and each writer is a process of its own. They are forked from one that has the
libraries loaded already, which is what makes hundreds of them possible in a test.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

from promptbot.cli.main import main
from promptbot.store import Store
from promptbot.types import Message
from tests.cli.conftest import SHOP_YAML
from tests.conftest import BotMaker

N_MESSAGES = 2000

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        __name__,
        "promptbot.chain",
        "promptbot.models.scripted",
        "promptbot.cli.plain",
        "sqlalchemy.dialects.sqlite.pysqlite",
    ]
)


def talk(folder: Path, session: str) -> None:
    """Run the command line with every message in its standard input."""
    os.chdir(folder)
    os.dup2(os.open("asked.txt", os.O_RDONLY), 0)
    os.dup2(os.open(f"{session}.txt", os.O_WRONLY | os.O_CREAT), 1)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    command = ["run", "shop", "--model", "scripted:said.jsonl", "--session", session]
    sys.argv = ["promptbot", *command, "--db", "sqlite:///chats.db"]
    main()


def n_lines(file: Path) -> int:
    """Return how many whole lines stand in a file; none where there is no such file."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_a_hundred_kills_lose_no_turn_that_was_shown(make_bot: BotMaker) -> None:
    folder = Path(make_bot("shop", {"bot.yaml": SHOP_YAML})).parent
    replies = "".join(f"{json.dumps(f'reply {n}')}\n" for n in range(N_MESSAGES))
    (folder / "said.jsonl").write_text(replies, encoding="utf-8")
    (folder / "asked.txt").write_text("".join(f"message {n}\n" for n in range(N_MESSAGES)))
    moments = random.Random(100)
    n_shown_in_all, n_silent = 0, 0
    for number in range(100):
        process = FORKS.Process(target=talk, args=(folder, session := f"s{number}"))
        process.start()
        shown = folder / f"{session}.txt"
        while number % 2 and not n_lines(shown):  # every other one is killed while it opens
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -9, "the conversation was over before it was killed"
        n_shown = n_lines(shown)
        n_shown_in_all += n_shown
        n_silent += not n_shown
        store = Store(f"sqlite:///{folder / 'chats.db'}")
        messages = store.load(session)
        store.close()
        assert len(messages) % 2 == 0, "half a turn was stored"
        assert len(messages) >= 2 * n_shown, "a reply was shown before it was stored"
        for n, (said, answered) in enumerate(zip(messages[::2], messages[1::2], strict=True)):
            assert (said.content, answered.content) == (f"message {n}", f"reply {n}")
    assert n_shown_in_all > 100, "the kills came before the conversations went on"
    assert n_silent, "no kill met a conversation that was opening"


def write(url: str, session: str, mark: str, n_turns: int) -> None:
    """Add turns to a session."""
    store = Store(url, bot="shop")
    for number in range(n_turns):
        said = f"{mark}-{number}"
        store.append(session, [Message("user", said), Message("assistant", said.upper())])


def test_fifty_processes_write_to_one_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    work = [(url, f"s{n % 5}", f"w{n}", 20) for n in range(50)]
    writers = [FORKS.Process(target=write, args=one) for one in work]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 50
    said = [message.content for n in range(5) for message in Store(url).load(f"s{n}")]
    assert set(said[::2]) == {f"w{n}-{turn}" for n in range(50) for turn in range(20)}
    assert said[1::2] == [one.upper() for one in said[::2]]
    assert len(said) == 2 * 50 * 20
