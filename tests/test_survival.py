"""A conversation that is killed, and a store that many write to: nothing acknowledged is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptbot.store import Store
from tests.cli.conftest import SHOP_YAML
from tests.conftest import BotMaker
from tests.test_store import start_writer

N_MESSAGES = 400


def talk_and_die(folder: Path, session: str, seconds: float) -> int:
    """Talk to the bot through a pipe and kill it; return how many replies were shown whole."""
    command = [sys.executable, "-m", "promptbot", "run", "shop", "--model", "scripted:said.jsonl"]
    command += ["--session", session, "--db", "sqlite:///chats.db"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"".join(b"message %d\n" % n for n in range(N_MESSAGES)))
    process.stdin.flush()  # left open: the conversation waits for more
    shown = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    shown += process.stdout.read()
    process.wait()
    process.stdin.close()
    return shown.count(b"\n")


def kill_conversations(make_bot: BotMaker, n_kills: int) -> None:
    folder = Path(make_bot("shop", {"bot.yaml": SHOP_YAML})).parent
    replies = [json.dumps(f"reply {n}") for n in range(N_MESSAGES)]
    (folder / "said.jsonl").write_text("\n".join(replies) + "\n", encoding="utf-8")
    moments = random.Random(n_kills)
    n_shown_in_all = 0
    for number in range(n_kills):
        session = f"s{number}"
        n_shown = talk_and_die(folder, session, moments.uniform(0, 0.4))
        n_shown_in_all += n_shown
        store = Store(f"sqlite:///{folder / 'chats.db'}")
        messages = store.load(session)
        assert len(messages) % 2 == 0, "half a turn was stored"
        assert len(messages) >= 2 * n_shown, "a reply was shown before it was stored"
        for n, (said, answered) in enumerate(zip(messages[::2], messages[1::2], strict=True)):
            assert (said.content, answered.content) == (f"message {n}", f"reply {n}")
    assert n_shown_in_all > n_kills, "the kills came before the conversation began"


def test_kills_lose_no_turn_that_was_shown(make_bot: BotMaker) -> None:
    kill_conversations(make_bot, 3)


@pytest.mark.slow
def test_a_hundred_kills_lose_no_turn_that_was_shown(make_bot: BotMaker) -> None:
    kill_conversations(make_bot, 100)


def write_from(n_processes: int, n_turns: int, url: str) -> None:
    writers = [start_writer(url, f"s{n % 5}", n_turns, f"w{n}") for n in range(n_processes)]
    assert [one.communicate() and one.returncode for one in writers] == [0] * n_processes
    said = [message.content for n in range(5) for message in Store(url).load(f"s{n}")]
    expected = {f"w{n}-{turn}" for n in range(n_processes) for turn in range(n_turns)}
    assert set(said[::2]) == expected
    assert said[1::2] == [one.upper() for one in said[::2]]
    assert len(said) == 2 * len(expected)


def test_several_processes_write_to_one_store(tmp_path: Path) -> None:
    write_from(6, 5, f"sqlite:///{tmp_path / 'chats.db'}")


@pytest.mark.slow
def test_fifty_processes_write_to_one_store(tmp_path: Path) -> None:
    write_from(50, 20, f"sqlite:///{tmp_path / 'chats.db'}")
