"""Conversations, kept in a database: SQLite in the user's data folder, or any SQLAlchemy URL."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from promptbot.errors import InputError, StoreError
from promptbot.types import Message, Role

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, MetaData, Select, Table

SCHEMA_VERSION = 2
"""Version of the tables below; a store of a newer one is refused, never guessed at."""

_MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE messages ADD COLUMN mark VARCHAR(20)",),
}
"""What makes the tables of a version those of the next one."""

_STOPPED = "stopped"
"""Mark of a reply that was interrupted."""

BUSY_TIMEOUT_S = 20
"""How long a writer waits for the writers before it."""

MAX_NAME_LENGTH = 200
"""Characters of a session's name at most."""

_DRIVERS = {"psycopg": "promptbot[postgres]", "MySQLdb": "mysqlclient"}
"""What installs a database's driver, where that has another name."""

PLACE_HINT = "Check its permissions and the space left, or give another with --db sqlite:///FILE."


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One stored conversation, without its messages."""

    name: str
    """Its session name."""
    bot: str
    """The bot it was held with."""
    n_messages: int
    """Messages of both sides."""
    started: datetime
    """When it was first written to, in UTC."""
    updated: datetime
    """When it was last written to, in UTC."""


@dataclass(frozen=True, slots=True)
class StoredMessage(Message):
    """A message with what is known of it beside its text."""

    said: datetime
    """When it was stored, in UTC."""
    stopped: bool = False
    """Whether it is a reply that was interrupted."""


class Store:
    """Keeps the messages of sessions in a database.

    Every method is one transaction: what `append` took is on the disk when it returns, whole or not
    at all, and any number of processes may write at the same time.

    Args:
        url: An SQLAlchemy URL; None for ``conversations.db`` in the user's data folder.
        bot: The bot that new sessions are held with.
    """

    def __init__(self, url: str | None = None, *, bot: str = "") -> None:
        self._url = url
        self._bot = bot

    @property
    def place(self) -> str:
        """Where the conversations are, for a person to read; without a password."""
        if self._url is None:
            return str(_default_file())
        url = _parse_url(self._url)
        if url is None:
            return _without_password(self._url)
        is_file = url.drivername.startswith("sqlite") and url.database
        return str(url.database) if is_file else url.render_as_string(hide_password=True)

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that does not exist yet; the first look into it would make it."""
        if self._url is None:
            return not _default_file().exists()
        url = _parse_url(self._url)
        name = url.database or "" if url else ""
        if not url or not url.drivername.startswith("sqlite") or name in ("", ":memory:"):
            return False
        return not name.startswith("file:") and not Path(name).exists()

    def load(self, session: str) -> list[Message]:
        """Return the messages of a session, oldest first; an empty list for a new one.

        Raises:
            StoreError: The store cannot be opened or read.
        """
        with self._transaction() as connection:
            return _messages(connection.execute(_messages_of(session)).all())

    def transcript(self, session: str) -> list[StoredMessage]:
        """Return the messages of a session with their times, oldest first.

        Raises:
            StoreError: The store cannot be opened or read.
        """
        with self._transaction() as connection:
            rows = connection.execute(_messages_of(session)).all()
            return [_stored_message(row) for row in rows]

    def append(
        self,
        session: str,
        messages: Sequence[Message],
        *,
        stopped: bool = False,
        instead: bool = False,
    ) -> None:
        """Add messages to a session; all of them are on the disk on return, or none.

        Args:
            session: The session's name.
            messages: What was said, in its order.
            stopped: Whether the last of them is a reply that was interrupted.
            instead: Whether they take the place of the newest turn, in the same transaction.

        Raises:
            StoreError: The store cannot be opened or written.
        """
        from sqlalchemy.exc import IntegrityError

        if not messages:
            return
        with self._explained():
            try:
                self._append(session, messages, stopped, instead)
            except IntegrityError:  # another process has just begun the same session
                self._append(session, messages, stopped, instead)

    def sessions(
        self, *, bot: str | None = None, prefix: str = "", limit: int | None = None
    ) -> list[StoredSession]:
        """Return stored sessions, the newest first.

        Args:
            bot: Only those held with this bot.
            prefix: Only those whose names begin so, in these capital and small letters.
            limit: How many at most; no more are read.

        Raises:
            StoreError: The store cannot be opened or read.
        """
        from sqlalchemy import func

        sessions = _tables().sessions
        query = sessions.select().order_by(sessions.c.updated.desc(), sessions.c.id.desc())
        if bot is not None:
            query = query.where(sessions.c.bot == bot)
        if prefix:  # LIKE would take a for A in SQLite
            query = query.where(func.substr(sessions.c.name, 1, len(prefix)) == prefix)
        with self._transaction() as connection:
            return [_stored_session(row) for row in connection.execute(query.limit(limit))]

    def find(self, session: str) -> StoredSession | None:
        """Return a session without its messages; None when nothing of it is stored.

        Raises:
            StoreError: The store cannot be opened or read.
        """
        sessions = _tables().sessions
        with self._transaction() as connection:
            row = connection.execute(
                sessions.select().where(sessions.c.name == session)
            ).one_or_none()
            return _stored_session(row) if row else None

    def search(self, text: str) -> list[tuple[str, StoredMessage]]:
        """Return the messages that hold a text, each behind its session's name.

        Capital and small letters are alike. The session last written to comes first; its messages
        are in their order.

        Raises:
            StoreError: The store cannot be opened or read.
        """
        from sqlalchemy import select

        t = _tables()
        query = (
            select(t.sessions.c.name, t.messages)
            .join(t.sessions, t.sessions.c.id == t.messages.c.session_id)
            .where(t.messages.c.content.icontains(text, autoescape=True))
            .order_by(t.sessions.c.updated.desc(), t.sessions.c.id, t.messages.c.position)
        )
        with self._transaction() as connection:
            return [(row.name, _stored_message(row)) for row in connection.execute(query)]

    def rename(self, session: str, new: str) -> None:
        """Give a session another name; nothing happens where there is none.

        Raises:
            InputError: Another session has that name.
            StoreError: The store cannot be opened or written.
        """
        from sqlalchemy.exc import IntegrityError

        sessions = _tables().sessions
        change = sessions.update().where(sessions.c.name == session).values(name=new)
        with self._explained():
            try:
                with self._engine.begin() as connection:
                    connection.execute(change)
            except IntegrityError:
                raise _name_is_taken(new) from None

    def copy(self, session: str, new: str) -> None:
        """Store a second session with the same messages; nothing happens where there is none.

        Raises:
            InputError: Another session has that name.
            StoreError: The store cannot be opened or written.
        """
        from sqlalchemy import literal, select
        from sqlalchemy.exc import IntegrityError

        t = _tables()
        kept = [column for column in t.messages.c if column.name != "session_id"]
        with self._explained():
            try:
                with self._engine.begin() as connection:
                    key = _lock(connection, session)
                    if key is None:
                        return
                    row = connection.execute(t.sessions.select().where(t.sessions.c.id == key))
                    values = {k: v for k, v in row.one()._mapping.items() if k != "id"}
                    made = connection.execute(t.sessions.insert().values(values | {"name": new}))
                    copied = int(cast(Any, made.inserted_primary_key)[0])
                    connection.execute(
                        t.messages.insert().from_select(
                            ["session_id", *(column.name for column in kept)],
                            select(literal(copied), *kept).where(t.messages.c.session_id == key),
                        )
                    )
            except IntegrityError:
                raise _name_is_taken(new) from None

    def drop_last_turn(self, session: str) -> list[Message]:
        """Take the newest user message and everything after it out of a session.

        Returns:
            What was taken out, oldest first; empty when the session holds no turn.

        Raises:
            StoreError: The store cannot be opened or written.
        """
        with self._transaction() as connection:
            key = _lock(connection, session)
            if key is None:
                return []
            taken, n_left = _drop_last_turn(connection, key)
            if taken and not n_left:
                sessions = _tables().sessions  # one without a message is none
                connection.execute(sessions.delete().where(sessions.c.id == key))
            return taken

    def delete(self, session: str) -> None:
        """Delete a session with its messages for good; nothing happens where there is none.

        SQLite overwrites what is deleted, so that it cannot be read from the file either.

        Raises:
            StoreError: The store cannot be opened or written.
        """
        t = _tables()
        with self._transaction() as connection:
            key = _lock(connection, session)
            connection.execute(t.messages.delete().where(t.messages.c.session_id == key))
            connection.execute(t.sessions.delete().where(t.sessions.c.id == key))
        self._forget_log()

    def delete_older(self, moment: datetime) -> list[StoredSession]:
        """Delete the sessions last written to before a moment, for good, and return them.

        Raises:
            StoreError: The store cannot be opened or written.
        """
        from sqlalchemy import select

        t = _tables()
        is_old = t.sessions.c.updated < moment
        with self._transaction() as connection:
            # Writing comes before reading; see `_lock`.
            connection.execute(t.sessions.update().where(is_old).values(bot=t.sessions.c.bot))
            old = connection.execute(t.sessions.select().where(is_old).order_by(t.sessions.c.id))
            deleted = [_stored_session(row) for row in old]
            keys = select(t.sessions.c.id).where(is_old)
            connection.execute(t.messages.delete().where(t.messages.c.session_id.in_(keys)))
            connection.execute(t.sessions.delete().where(is_old))
        self._forget_log()
        return deleted

    def _forget_log(self) -> None:
        """Empty SQLite's log, which holds pages as they were before a deletion."""
        with self._explained():
            if self._engine.dialect.name == "sqlite":
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the database."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    def _append(
        self, session: str, messages: Sequence[Message], stopped: bool, instead: bool
    ) -> None:
        t, now = _tables(), datetime.now(UTC)
        with self._engine.begin() as connection:
            key = _lock(connection, session)
            if key is None:
                new = {"name": session, "bot": self._bot, "n_messages": 0, "started": now}
                inserted = connection.execute(t.sessions.insert().values(**new, updated=now))
                key = int(cast(Any, inserted.inserted_primary_key)[0])
            elif instead:
                _drop_last_turn(connection, key)
            n_messages = _count_messages(connection, key, len(messages))
            rows: list[dict[str, Any]] = [
                {
                    "session_id": key,
                    "position": position,
                    "role": message.role,
                    "content": _storable(message.content),
                    "said": now,
                    "mark": None,
                }
                for position, message in enumerate(messages, start=n_messages - len(messages))
            ]
            if stopped:
                rows[-1]["mark"] = _STOPPED
            connection.execute(t.messages.insert(), rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database complains about into a StoreError that says where."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
            if "not a database" in reason:
                hint = "Move that file away, or give another place with --db sqlite:///FILE."
            else:
                hint = PLACE_HINT
            raise StoreError(
                f"the conversations cannot be read or written ({reason.rstrip('.')}).",
                place=self.place,
                hint=hint,
            ) from error

    @cached_property
    def _engine(self) -> Engine:
        engine = self._create_engine()
        try:
            _prepare(engine, self.place)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _create_engine(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SAWarning

        if self._url is None:
            file = _default_file()
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.touch(mode=0o600)  # conversations are nobody else's business
        refused = StoreError(
            f'"{_without_password(self._url or "")}" is not the URL of a database.',
            place="--db",
            expected="Expected one like sqlite:///chats.db or postgresql://user@host/name.",
            hint="Correct it, or leave --db out.",
        )
        url = _parse_url(self._url if self._url is not None else f"sqlite:///{_default_file()}")
        if url is None:
            raise refused
        if url.drivername == "postgresql":  # SQLAlchemy 2.0 would look for psycopg2
            url = url.set(drivername="postgresql+psycopg")
        sqlite = url.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S} if sqlite else {}
        try:
            with warnings.catch_warnings():
                # An argument of the URL that the driver does not know would be left out.
                warnings.simplefilter("error", SAWarning)
                engine = create_engine(url, connect_args=arguments)
        except (ArgumentError, NoSuchModuleError, SAWarning):
            raise refused from None
        except ModuleNotFoundError as error:
            package = _DRIVERS.get(error.name or "", error.name)
            raise StoreError(
                f"this database needs the package {error.name}.",
                place=f"--db {self.place}",
                hint=f'Install it with: pip install "{package}"',
            ) from None
        if sqlite:
            event.listen(engine, "connect", _set_up_sqlite)
        return engine


def _before_last_turn(said: Sequence[Message]) -> int:
    """Return how many messages come before the newest user message; all where there is none."""
    users = (i for i, message in enumerate(said) if message.role == "user")
    return max(users, default=len(said))


class SafeHistory:
    """Keeps sessions in a store, and in memory from the moment the store fails.

    Args:
        store: The store; None to keep everything in memory.
        on_failure: Told once, with what went wrong.
    """

    def __init__(self, store: Store | None, on_failure: Callable[[StoreError], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._messages: dict[str, list[StoredMessage]] = {}
        self._hidden: set[str] = set()
        """Sessions whose newest turn waits for another in its place."""

    @property
    def store(self) -> Store | None:
        """The store; None where there is none, or none any more."""
        return self._store

    @property
    def is_stored(self) -> bool:
        """Whether what is said is kept when the program ends."""
        return self._store is not None

    def load(self, session: str) -> list[Message]:
        """Return the messages of a session, oldest first."""
        said = self.transcript(session)
        return _plain(said[: _before_last_turn(said)] if session in self._hidden else said)

    def transcript(self, session: str) -> list[StoredMessage]:
        """Return the messages of a session with their times, oldest first, hidden ones too."""
        stored = self._attempt(lambda store: store.transcript(session))
        if stored is not None:
            self._messages[session] = stored
        return list(self._messages.get(session, []))

    def append(self, session: str, messages: Sequence[Message], *, stopped: bool = False) -> None:
        """Add messages to a session, or put them in the place of a hidden turn; see `Store`."""
        instead = session in self._hidden
        self._attempt(
            lambda store: store.append(session, messages, stopped=stopped, instead=instead)
        )
        said = self._messages.setdefault(session, [])
        if instead:
            del said[_before_last_turn(said) :]
            self._hidden.discard(session)
        now, last = datetime.now(UTC), len(messages) - 1
        said.extend(
            StoredMessage(message.role, message.content, now, stopped and number == last)
            for number, message in enumerate(messages)
        )

    @contextlib.contextmanager
    def hidden_last_turn(self, session: str) -> Iterator[None]:
        """Hide the newest turn of a session until another takes its place, in one write.

        Where nothing is appended, or the process dies before, the turn stays as it was.
        """
        self.load(session)
        self._hidden.add(session)
        try:
            yield
        finally:
            self._hidden.discard(session)

    def drop_last_turn(self, session: str) -> list[Message]:
        """Take the newest turn out of a session and return its messages; see `Store`."""
        self.load(session)
        self._attempt(lambda store: store.drop_last_turn(session))
        said = self._messages.get(session, [])
        first = _before_last_turn(said)
        taken, self._messages[session] = said[first:], said[:first]
        return _plain(taken)

    def delete(self, session: str) -> None:
        """Forget a session."""
        self._attempt(lambda store: store.delete(session))
        self._messages.pop(session, None)

    def rename(self, session: str, new: str) -> None:
        """Give a session another name.

        Raises:
            InputError: Another session has that name.
        """
        self._attempt(lambda store: store.rename(session, new))
        if session in self._messages:
            self._messages[new] = self._messages.pop(session)

    def copy(self, session: str, new: str) -> None:
        """Keep a second session with the same messages.

        Raises:
            InputError: Another session has that name.
        """
        messages = self.transcript(session)
        self._attempt(lambda store: store.copy(session, new))
        self._messages[new] = messages

    def _attempt(self, action: Callable[[Store], Any]) -> Any:
        if self._store is None:
            return None
        try:
            return action(self._store)
        except StoreError as error:
            self._store = None
            self._on_failure(error)
            return None


def _plain(messages: Sequence[Message]) -> list[Message]:
    return [Message(message.role, message.content) for message in messages]


def _name_is_taken(name: str) -> InputError:
    return InputError(f'there is already a conversation "{name}".', hint="Choose another name.")


class _Tables(NamedTuple):
    metadata: MetaData
    schema: Table
    sessions: Table
    messages: Table


@cache
def _tables() -> _Tables:
    from sqlalchemy import (
        Column,
        DateTime,
        ForeignKey,
        Integer,
        MetaData,
        String,
        Table,
        Text,
    )

    metadata, moment = MetaData(), DateTime(timezone=True)
    return _Tables(
        metadata,
        schema=Table(
            "promptbot_schema",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("version", Integer, nullable=False),
        ),
        sessions=Table(
            "sessions",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(MAX_NAME_LENGTH), nullable=False, unique=True),
            Column("bot", String(200), nullable=False),
            Column("n_messages", Integer, nullable=False),
            Column("started", moment, nullable=False),
            Column("updated", moment, nullable=False, index=True),
        ),
        messages=Table(
            "messages",
            metadata,
            Column("session_id", Integer, ForeignKey("sessions.id"), primary_key=True),
            Column("position", Integer, primary_key=True),
            Column("role", String(20), nullable=False),
            Column("content", Text, nullable=False),
            Column("said", moment, nullable=False),
            Column("mark", String(20)),
        ),
    )


def _parse_url(text: str) -> URL | None:
    """Return a database's URL; None where a text is none."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the latter where the port is no number
        return None
    return None if "\0" in (url.database or "") else url


def _without_password(url: str) -> str:
    return re.sub(r"(?<=:)[^:/@]+(?=@)", "***", url)


def _default_file() -> Path:
    from platformdirs import user_data_dir

    return Path(user_data_dir("promptbot", appauthor=False)) / "conversations.db"


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # WAL lets readers go on while one process writes; each commit still reaches the disk. Changing
    # to it needs the file alone, and SQLite does not always wait for that by itself.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")
    # SQLite's own knows ASCII alone; searching is to find ÄRGER for Ärger.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return text.lower() if text is not None else None


def _prepare(engine: Engine, place: str) -> None:
    """Make the tables, or bring them up to date; refuse those of a newer promptbot."""
    version = _read_version(engine) or _create_tables(engine)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the conversations were stored by a newer promptbot (schema {version}).",
            place=place,
            expected=f"This one knows schema {SCHEMA_VERSION}.",
            hint="Update promptbot, or give another place with --db sqlite:///FILE.",
        )
    if version < SCHEMA_VERSION:
        _migrate(engine)


def _read_version(engine: Engine) -> int | None:
    from sqlalchemy import inspect

    with engine.connect() as connection:
        if not inspect(connection).has_table("promptbot_schema"):
            return None
        row = connection.execute(_tables().schema.select()).first()
        return int(row.version) if row else None


def _migrate(engine: Engine) -> None:
    """Bring the tables up to date in one transaction, which keeps every message or changes none."""
    schema = _tables().schema
    with engine.begin() as connection:
        # Writing comes before reading (see `_lock`): another process may be doing the same.
        connection.execute(schema.update().values(version=schema.c.version))
        found = int(connection.execute(schema.select()).one().version)
        for version in range(found, SCHEMA_VERSION):
            for statement in _MIGRATIONS[version]:
                connection.exec_driver_sql(statement)
        connection.execute(schema.update().values(version=max(found, SCHEMA_VERSION)))


def _create_tables(engine: Engine) -> int:
    from sqlalchemy.exc import DBAPIError

    t = _tables()
    try:
        with engine.begin() as connection:
            t.metadata.create_all(connection)
            connection.execute(t.schema.insert().values(id=1, version=SCHEMA_VERSION))
    except DBAPIError:
        # Another process may have made them at the same moment: what it made stands.
        for _ in range(50):
            if version := _read_version(engine):
                return version
            time.sleep(0.02)
        raise
    return SCHEMA_VERSION


def _lock(connection: Connection, session: str) -> int | None:
    """Return the key of a session, locked until the transaction ends; None where there is none.

    Writing comes before reading, because that takes SQLite's write lock and PostgreSQL's lock on
    the row: two writers never see the same state and then both change it.
    """
    sessions = _tables().sessions
    connection.execute(
        sessions.update().where(sessions.c.name == session).values(updated=datetime.now(UTC))
    )
    row = connection.execute(sessions.select().where(sessions.c.name == session)).one_or_none()
    return int(row.id) if row else None


def _drop_last_turn(connection: Connection, key: int) -> tuple[list[Message], int]:
    """Take the newest user message and what follows it out of a locked session.

    Returns:
        What was taken out, oldest first, and how many messages are left.
    """
    messages = _tables().messages
    of_session = messages.select().where(messages.c.session_id == key)
    newest = connection.execute(
        of_session.where(messages.c.role == "user").order_by(messages.c.position.desc())
    ).first()
    if newest is None:
        return [], 0
    is_last_turn = messages.c.position >= newest.position
    taken = connection.execute(of_session.where(is_last_turn).order_by(messages.c.position)).all()
    connection.execute(messages.delete().where(messages.c.session_id == key, is_last_turn))
    return _messages(taken), _count_messages(connection, key, -len(taken))


def _count_messages(connection: Connection, key: int, more: int) -> int:
    """Return how many messages a session holds with `more` added, and note it."""
    sessions = _tables().sessions
    this = sessions.c.id == key
    counted = sessions.c.n_messages + more
    connection.execute(sessions.update().where(this).values(n_messages=counted))
    return int(connection.execute(sessions.select().where(this)).one().n_messages)


def _messages_of(session: str) -> Select[Any]:
    t = _tables()
    return (
        t.messages.select()
        .join(t.sessions, t.sessions.c.id == t.messages.c.session_id)
        .where(t.sessions.c.name == session)
        .order_by(t.messages.c.position)
    )


def _messages(rows: Sequence[Any]) -> list[Message]:
    return [Message(cast(Role, row.role), row.content) for row in rows]


def _stored_message(row: Any) -> StoredMessage:
    return StoredMessage(cast(Role, row.role), row.content, _utc(row.said), row.mark == _STOPPED)


def _stored_session(row: Any) -> StoredSession:
    return StoredSession(row.name, row.bot, row.n_messages, _utc(row.started), _utc(row.updated))


def _utc(moment: datetime) -> datetime:
    # SQLite keeps no time zones; what was written is UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _storable(text: str) -> str:
    """Return a text that every database takes: no lone surrogates, no NUL."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
