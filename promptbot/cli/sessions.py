"""`promptbot sessions`: stored conversations, listed, searched, shown, exported, deleted."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from promptbot.store import Store, StoredSession

sessions = typer.Typer(invoke_without_command=True, help="List stored conversations, newest first.")

Db = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The database they are in (SQLAlchemy URL)."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A conversation's name.")]


@sessions.callback()
def list_sessions(context: typer.Context, db: Db = None) -> None:
    """List stored conversations, newest first."""
    context.obj = db
    if context.invoked_subcommand:
        return
    found = _store(context).sessions()
    if not sys.stdout.isatty():
        for session in found:
            moment = session.updated.isoformat(timespec="seconds")
            print("\t".join((session.name, session.bot, str(session.n_messages), moment)))
        return
    from promptbot.cli.style import make_console

    console = make_console()
    if not found:
        console.print("No conversation is stored yet. Hold one: promptbot run customer_service")
        return
    console.print(sessions_table(found, datetime.now(UTC)))


@sessions.command()
def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was said.")],
    db: Db = None,
) -> None:
    """Find the messages that hold a text, in capital or small letters; the newest talk first."""
    from rich.text import Text

    from promptbot.cli.style import ACCENT, QUIET, make_console
    from promptbot.errors import InputError

    if not text.strip():
        raise InputError(
            "the text to search for is empty.", place="search", hint="Give a word that was said."
        )
    found = _store(context, db).search(text)
    console = make_console() if sys.stdout.isatty() else None
    for name, message in found:
        around = excerpt(message.content, text)
        if console:
            line = Text.assemble((f"{name}  ", ACCENT), (f"{message.role}  ", QUIET), around)
            line.highlight_words([text], "bold", case_sensitive=False)
            console.print(line)
        else:
            print("\t".join((name, message.role, around)))
    if not found:
        print(f'No message holds "{text}".', file=sys.stderr)
        raise typer.Exit(1)


@sessions.command()
def show(context: typer.Context, name: Name, db: Db = None) -> None:
    """Show a conversation."""
    from promptbot.transcript import render_transcript

    stored, store = _find(context, name, db)
    document = render_transcript(name, stored.bot, store.transcript(name), "md")
    if sys.stdout.isatty():
        from promptbot.cli.markdown import ReplyMarkdown
        from promptbot.cli.style import make_console, visible

        make_console().print(ReplyMarkdown(visible(document)))
    else:
        print(document, end="")


@sessions.command()
def export(
    context: typer.Context,
    name: Name,
    to: Annotated[Literal["json", "md", "html"], typer.Option(help="Kind of document.")] = "json",
    db: Db = None,
) -> None:
    """Print a conversation as JSON, Markdown or a page of HTML."""
    from promptbot.transcript import render_transcript

    stored, store = _find(context, name, db)
    print(render_transcript(name, stored.bot, store.transcript(name), to), end="")


@sessions.command()
def rm(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A conversation's name.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="All that were silent for so long: 30d, 12h, 8w."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: they are meant.")] = False,
    db: Db = None,
) -> None:
    """Delete a conversation, or all that are old, for good.

    --older-than asks first; where nobody can be asked, in a script, it wants --yes.
    """
    from promptbot.cli.style import visible
    from promptbot.errors import InputError

    if (name is None) == (older_than is None):
        raise InputError(
            "it is not clear what to delete.",
            place="rm",
            expected="Expected a conversation's name, or --older-than.",
            hint="As in: promptbot sessions rm amber-otter-42, or: "
            "promptbot sessions rm --older-than 30d",
        )
    if older_than is not None:
        moment = datetime.now(UTC) - age(older_than)
        store = _store(context, db)
        if not (yes or _is_meant(store, moment, older_than)):
            print("Nothing was deleted.", file=sys.stderr)
            raise typer.Exit(1)
        deleted = store.delete_older(moment)
    else:
        assert name is not None
        stored, store = _find(context, name, db)
        store.delete(name)
        deleted = [stored]
    for session in deleted:
        print(f"Deleted {visible(session.name)}, {session.n_messages} messages.")
    if not deleted:
        print("Nothing is that old.")


def _is_meant(store: Store, moment: datetime, older_than: str) -> bool:
    """Ask at a terminal whether the conversations before a moment are to be deleted.

    Raises:
        InputError: There are some, and nobody can be asked.
    """
    from promptbot.errors import InputError

    n_old = sum(session.updated < moment for session in store.sessions())
    if not n_old:
        return True
    things = "1 conversation" if n_old == 1 else f"{n_old} conversations"
    if not sys.stdin.isatty():
        raise InputError(
            f"{things} would be deleted for good, and nobody can be asked: standard input is no "
            "terminal.",
            place="rm",
            hint=f"If they are meant: promptbot sessions rm --older-than {older_than} --yes",
        )
    print(f"Delete {things} for good? yes/no › ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def age(text: str) -> timedelta:
    """Return the time that ``30d``, ``12h`` or ``8w`` means.

    Raises:
        InputError: It is none of these, or reaches back further than there are dates.
    """
    from promptbot.errors import InputError

    units = {"h": "hours", "d": "days", "w": "weeks"}
    match = re.fullmatch(r"(\d{1,5})([hdw])", text.strip().lower())
    if not match:
        raise InputError(
            f'"{text}" is not an age.',
            place="--older-than",
            expected="Expected a number of hours, days or weeks, as 12h, 30d or 8w.",
            hint="Give one of these.",
        )
    return timedelta(**{units[match[2]]: int(match[1])})


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, as a person says it."""
    minutes = int((now - moment).total_seconds() // 60)
    for size, unit in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
        if n := minutes // size:
            return f"{n} {unit}{'' if n == 1 else 's'} ago"
    return "just now"


def excerpt(content: str, text: str, n_around: int = 30) -> str:
    """Return the words around the place where a message holds a text, on one line."""
    from promptbot.cli.style import visible

    start = max(content.lower().find(text.lower()), 0)
    first, last = max(start - n_around, 0), start + len(text) + n_around
    cut = " ".join(visible(content[first:last]).split())
    return ("…" if first else "") + cut + ("…" if last < len(content) else "")


def sessions_table(found: Sequence[StoredSession], now: datetime) -> Table:
    """Return the table of stored conversations."""
    from rich.table import Table
    from rich.text import Text

    from promptbot.cli.style import ACCENT, QUIET, visible

    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET)
    table.add_column("name", style=ACCENT, overflow="fold")
    table.add_column("bot", overflow="fold")
    table.add_column("messages", justify="right")
    table.add_column("last")
    for session in found:
        row = (session.name, session.bot, str(session.n_messages), ago(session.updated, now))
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _store(context: typer.Context, db: str | None = None) -> Store:
    from promptbot.errors import StoreError
    from promptbot.store import Store

    url = db or context.obj
    store = Store(url)
    if url is not None and store.is_missing:
        raise StoreError(
            "there is no such file.",
            place=f"--db {url}",
            expected=f"It would be {store.place}",
            hint="Check its name; promptbot run BOT --db URL makes one.",
        )
    return store


def _find(context: typer.Context, name: str, db: str | None) -> tuple[StoredSession, Store]:
    from promptbot.errors import InputError, known_words

    store = _store(context, db)
    stored = store.find(name)
    if stored is None:
        names = [session.name for session in store.sessions(limit=10)]
        raise InputError(
            f'there is no conversation "{name}".',
            place=store.place,
            hint=known_words("Newest", name, names),
        )
    return stored, store
