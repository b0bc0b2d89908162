"""Conversations survive what can go wrong with a file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import InputError, StoreError
from promptbot.store import SCHEMA_VERSION, SafeHistory, Store, StoredMessage
from promptbot.types import Message

TURN = [Message("user", "Hello"), Message("assistant", "Hi!")]

WRITER = """
import sys
from promptbot.store import Store
from promptbot.types import Message
store = Store(sys.argv[1], bot="shop")
for number in range(int(sys.argv[3])):
    said = f"{sys.argv[4]}-{number}"
    store.append(sys.argv[2], [Message("user", said), Message("assistant", said.upper())])
    print(number, flush=True)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chats.db'}"


def start_writer(url: str, session: str, n_turns: int, mark: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, url, session, str(n_turns), mark]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_a_new_session_is_empty(url: str) -> None:
    assert Store(url).load("amber-otter") == []
    assert Store(url).find("amber-otter") is None


def test_messages_come_back_in_their_order_from_another_store_object(url: str) -> None:
    store = Store(url, bot="shop")
    store.append("a", TURN)
    store.append("b", [Message("user", "other")])
    store.append("a", [Message("user", "再见 👋 שלום"), Message("assistant", "line\n\nline ")])
    assert Store(url).load("a") == [
        *TURN,
        Message("user", "再见 👋 שלום"),
        Message("assistant", "line\n\nline "),
    ]


def test_what_no_database_can_hold_is_replaced(url: str) -> None:
    store = Store(url)
    store.append("a", [Message("user", "nul \0 and lone \ud800 surrogate")])
    assert store.load("a")[0].content == "nul \ufffd and lone ? surrogate"


def test_sessions_are_listed_newest_first_with_bot_and_size(url: str) -> None:
    shop, tutor = Store(url, bot="shop"), Store(url, bot="tutor")
    shop.append("first", TURN)
    tutor.append("second", TURN)
    shop.append("first", TURN)
    listed = Store(url).sessions()
    assert [(s.name, s.bot, s.n_messages) for s in listed] == [
        ("first", "shop", 4),
        ("second", "tutor", 2),
    ]
    assert listed[0].started < listed[0].updated
    assert listed[0].updated.utcoffset() is not None
    assert shop.find("second") == listed[1]


def test_sessions_of_a_bot_are_found_by_how_their_names_begin(url: str) -> None:
    for bot, name in [("shop", "amber"), ("tutor", "ant"), ("shop", "Ale"), ("shop", "a%c")]:
        Store(url, bot=bot).append(name, TURN)

    def names(**wanted: Any) -> list[str]:
        return [session.name for session in Store(url).sessions(**wanted)]

    assert names() == ["a%c", "Ale", "ant", "amber"]
    assert names(bot="shop") == ["a%c", "Ale", "amber"]
    assert names(bot="shop", prefix="a") == ["a%c", "amber"]
    assert names(prefix="a%") == ["a%c"]
    assert names(prefix="a", limit=2) == ["a%c", "ant"]


def test_the_last_turn_can_be_dropped(url: str) -> None:
    store = Store(url)
    store.append("a", TURN)
    store.append("a", [Message("user", "Bye"), Message("assistant", "Goodbye.")])
    dropped = [Message("user", "Bye"), Message("assistant", "Goodbye.")]
    assert store.drop_last_turn("a") == dropped
    assert store.load("a") == TURN
    store.append("a", [Message("user", "again")])
    assert store.drop_last_turn("a") == [Message("user", "again")]
    assert store.drop_last_turn("a") == TURN
    assert store.drop_last_turn("a") == []
    assert store.drop_last_turn("unknown") == []


def test_a_deleted_session_is_gone_and_its_neighbour_stays(url: str) -> None:
    store = Store(url)
    store.append("a", TURN)
    store.append("b", TURN)
    store.delete("a")
    store.delete("never there")
    assert [s.name for s in store.sessions()] == ["b"]
    assert store.load("a") == []
    assert store.load("b") == TURN


def test_the_default_store_is_private_and_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    Store().append("a", TURN)
    file = Path(Store().place)
    assert file.is_relative_to(tmp_path)
    assert file.stat().st_mode & 0o077 == 0
    assert Store().load("a") == TURN


def test_every_acknowledged_turn_survives_a_kill(url: str) -> None:
    moments = random.Random(7)
    acknowledged: dict[str, int] = {}
    for attempt in range(4):
        session = f"s{attempt}"
        writer = start_writer(url, session, 10_000, "turn")
        assert writer.stdout is not None
        acknowledged[session] = int(writer.stdout.readline())
        time.sleep(moments.uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout.read().split(b"\n")[:-1]:
            acknowledged[session] = int(line)
        writer.wait()
    store = Store(url)
    for session, last in acknowledged.items():
        messages = store.load(session)
        assert len(messages) >= 2 * (last + 1)
        assert len(messages) % 2 == 0, "half a turn was stored"
        expected = [f"turn-{number}" for number in range(len(messages) // 2)]
        assert [m.content for m in messages[::2]] == expected
        assert store.find(session).n_messages == len(messages)  # type: ignore[union-attr]


def test_two_processes_write_to_one_new_store_and_one_session_at_once(url: str) -> None:
    writers = [start_writer(url, "shared", 40, mark) for mark in ("a", "b")]
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0]
    messages = Store(url).load("shared")
    assert len(messages) == 160
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        assert answer.content == question.content.upper(), "two turns were mixed"
    for mark in "ab":
        of_one = [m.content for m in messages[::2] if m.content.startswith(mark)]
        assert of_one == [f"{mark}-{number}" for number in range(40)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("These are my notes, and they are longer than a header. " * 20)
    with pytest.raises(StoreError) as caught:
        Store(f"sqlite:///{file}").load("a")
    assert str(file) in str(caught.value)
    assert "not a database" in str(caught.value)
    assert "Move that file away" in str(caught.value)
    assert file.read_text().startswith("These are my notes")


def test_a_store_of_a_newer_schema_is_refused(tmp_path: Path, url: str) -> None:
    Store(url).append("a", TURN)
    with sqlite3.connect(tmp_path / "chats.db") as connection:
        connection.execute("UPDATE promptbot_schema SET version = ?", (SCHEMA_VERSION + 1,))
    with pytest.raises(StoreError, match="newer promptbot") as caught:
        Store(url).append("a", TURN)
    assert "Update promptbot" in str(caught.value)


def make_schema_1(file: Path) -> None:
    """Write a store as schema 1 made it."""
    with sqlite3.connect(file) as connection:
        connection.executescript(
            """
            CREATE TABLE promptbot_schema (
                id INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (id));
            CREATE TABLE sessions (
                id INTEGER NOT NULL, name VARCHAR(200) NOT NULL, bot VARCHAR(200) NOT NULL,
                n_messages INTEGER NOT NULL, started DATETIME NOT NULL, updated DATETIME NOT NULL,
                PRIMARY KEY (id), UNIQUE (name));
            CREATE INDEX ix_sessions_updated ON sessions (updated);
            CREATE TABLE messages (
                session_id INTEGER NOT NULL, position INTEGER NOT NULL, role VARCHAR(20) NOT NULL,
                content TEXT NOT NULL, said DATETIME NOT NULL,
                PRIMARY KEY (session_id, position),
                FOREIGN KEY(session_id) REFERENCES sessions (id));
            INSERT INTO promptbot_schema VALUES (1, 1);
            INSERT INTO sessions VALUES
                (1, 'a', 'shop', 2, '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05.000006');
            INSERT INTO messages VALUES
                (1, 0, 'user', 'Hello', '2026-01-02 03:04:05.000006'),
                (1, 1, 'assistant', 'Hi!', '2026-01-02 03:04:05.000006');
            """
        )


def test_a_store_of_schema_1_is_brought_up_to_date_with_all_it_holds(
    tmp_path: Path, url: str
) -> None:
    make_schema_1(tmp_path / "chats.db")
    store = Store(url, bot="shop")
    assert store.load("a") == TURN
    store.append("a", TURN, stopped=True)
    assert [message.stopped for message in Store(url).transcript("a")] == [False] * 3 + [True]
    said = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert store.transcript("a")[0] == StoredMessage("user", "Hello", said)
    with sqlite3.connect(tmp_path / "chats.db") as connection:
        assert connection.execute("SELECT version FROM promptbot_schema").fetchall() == [(2,)]
    new = tmp_path / "new.db"
    Store(f"sqlite:///{new}").append("a", TURN)
    assert _columns(new) == _columns(tmp_path / "chats.db")


def _columns(file: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(file) as connection:
        return [
            (table, name, kind)
            for table in ("promptbot_schema", "sessions", "messages")
            for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")
        ]


def test_processes_that_meet_an_old_store_at_once_migrate_it_once(tmp_path: Path, url: str) -> None:
    make_schema_1(tmp_path / "chats.db")
    writers = [start_writer(url, f"s{n}", 3, str(n)) for n in range(4)]
    assert [writer.communicate() and writer.returncode for writer in writers] == [0] * 4
    assert [len(Store(url).load(f"s{n}")) for n in range(4)] == [6] * 4
    assert Store(url).load("a") == TURN


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("chats.db", "is not the URL of a database"),
        ("nosuchdb://host/name", "is not the URL of a database"),
        ("sqlite:////nowhere/at/all/chats.db", "unable to open"),
        ("mysql+pymysql://user:secret@host/name", "needs the package pymysql"),
        ("postgresql://user:secret@host:port/name", "is not the URL of a database"),
        ("sqlite:///chats.db?nothing=1", "is not the URL of a database"),
        ("sqlite:///chats%00.db", "is not the URL of a database"),
    ],
)
def test_a_wrong_url_is_explained_without_its_password(url: str, found: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url).load("a")
    assert found in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_full_disk_loses_nothing_that_was_stored(url: str) -> None:
    script = WRITER.replace(
        "store = ",
        "import resource\n"
        "store = Store(sys.argv[1]); store.append('kept', [Message('user', 'before')])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "store = ",
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url, "big", "100000", "x" * 5000],
        capture_output=True,
        text=True,
    )
    assert "StoreError" in done.stderr
    assert "--db sqlite:///FILE" in done.stderr
    assert Store(url).load("kept") == [Message("user", "before")]
    assert len(Store(url).load("big")) == 2 * len(done.stdout.split())


def open_to_others(folder: Path) -> None:
    """Let every user look into a temporary folder; a test as root gives its rights away first."""
    while folder != Path(tempfile.gettempdir()):
        folder.chmod(0o755)
        folder = folder.parent


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o555)
    script = (
        "import os, sys\nfrom promptbot.store import Store\n"
        "from promptbot.errors import StoreError\n"
        "import sqlalchemy.dialects.sqlite.pysqlite\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: Store(sys.argv[1]).load('a')\n"
        "except StoreError as error: print(error)\n"
    )
    open_to_others(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script, f"sqlite:///{folder}/chats.db"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert f"{folder}/chats.db: the conversations cannot be read or written" in done.stdout
    assert "unable to open database file" in done.stdout


def test_a_file_that_may_only_be_read_is_explained_and_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chats.db"
    Store(url).append("a", TURN)
    (tmp_path / "chats.db").chmod(0o444)
    script = (
        "import os, sys\nfrom promptbot.store import Store\n"
        "from promptbot.errors import StoreError\nfrom promptbot.types import Message\n"
        "import sqlalchemy.dialects.sqlite.pysqlite\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: Store(sys.argv[1]).append('a', [Message('user', 'more')])\n"
        "except StoreError as error: print(error)\n"
    )
    open_to_others(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script, url],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "attempt to write a readonly database" in done.stdout
    assert "Check its permissions" in done.stdout
    (tmp_path / "chats.db").chmod(0o644)
    assert Store(url).load("a") == TURN


def test_safe_history_goes_on_in_memory_when_the_store_fails(tmp_path: Path) -> None:
    failures: list[StoreError] = []
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    history = SafeHistory(Store(f"sqlite:///{blocked}/chats.db"), failures.append)
    history.append("a", TURN)
    history.append("a", TURN)
    assert history.load("a") == TURN * 2
    assert len(failures) == 1
    assert not history.is_stored


def test_safe_history_keeps_what_the_store_held_before_it_failed(url: str, tmp_path: Path) -> None:
    Store(url).append("a", TURN)
    failures: list[StoreError] = []
    history = SafeHistory(Store(url), failures.append)
    assert history.load("a") == TURN
    with sqlite3.connect(tmp_path / "chats.db") as connection:
        connection.execute("DROP TABLE messages")
    history.append("a", TURN)
    assert history.load("a") == TURN * 2
    assert len(failures) == 1


def test_safe_history_drops_and_deletes_in_the_store_too(url: str) -> None:
    history = SafeHistory(Store(url), lambda error: pytest.fail(str(error)))
    history.append("a", TURN)
    history.append("a", [Message("user", "oops"), Message("assistant", "What?")])
    taken = history.drop_last_turn("a")
    assert [message.content for message in taken] == ["oops", "What?"]
    assert history.load("a") == Store(url).load("a") == TURN
    history.delete("a")
    assert history.load("a") == Store(url).load("a") == []
    assert history.is_stored


def test_a_history_without_a_store_remembers(url: str) -> None:
    history = SafeHistory(None, lambda error: pytest.fail(str(error)))
    history.append("a", TURN)
    assert history.load("a") == TURN
    assert history.drop_last_turn("a") == TURN
    assert history.drop_last_turn("a") == []


def test_a_copy_holds_everything_and_grows_alone(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/x.db", bot="shop")
    turn = [Message("user", "Hi"), Message("assistant", "Hel")]
    store.append("one", turn, stopped=True)
    store.copy("one", "two")
    store.append("two", turn)
    assert [message.stopped for message in store.transcript("two")] == [False, True, False, False]
    assert store.transcript("one") == store.transcript("two")[:2]
    found = store.find("two")
    assert found is not None
    assert (found.bot, found.n_messages) == ("shop", 4)
    with pytest.raises(InputError, match="already a conversation"):
        store.copy("one", "two")
    store.copy("nobody", "three")
    assert store.find("three") is None


AGAIN = [Message("user", "Hello"), Message("assistant", "Good day!")]


def test_a_turn_in_the_place_of_another_is_one_write(url: str) -> None:
    store = Store(url)
    store.append("a", TURN)
    store.append("a", AGAIN, instead=True)
    assert store.load("a") == AGAIN
    found = store.find("a")
    assert found is not None
    assert found.n_messages == 2
    store.append("new", TURN, instead=True)
    assert store.load("new") == TURN


@pytest.mark.parametrize("stored", [True, False])
def test_a_hidden_turn_is_on_the_disk_until_another_is_written(url: str, stored: bool) -> None:
    history = SafeHistory(Store(url) if stored else None, lambda error: pytest.fail(str(error)))
    for turn in (TURN, AGAIN):
        history.append("a", turn)
    with history.hidden_last_turn("a"):
        assert history.load("a") == TURN
        if stored:  # what a process would leave that is killed now
            assert Store(url).load("a") == [*TURN, *AGAIN]
    assert history.load("a") == [*TURN, *AGAIN]
    with history.hidden_last_turn("a"):
        history.append("a", TURN)
        assert history.load("a") == [*TURN, *TURN]
    assert history.load("a") == [*TURN, *TURN]
