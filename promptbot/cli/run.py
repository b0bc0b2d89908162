"""`promptbot run`: talk to a bot."""

from __future__ import annotations

import gc
import io
import shlex
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot
    from promptbot.errors import StoreError
    from promptbot.session import Session
    from promptbot.store import SafeHistory, Store
    from promptbot.turn_file import TurnFile


def run(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="A bot's name or folder.")],
    once: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Answer this message and leave."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each reply with its trace as a line of JSON.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="Which frozen model answers: embedded, a folder, openai:NAME, ..."
        ),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="One of the bot's variants.")] = None,
    ab: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--ab", metavar="A B", help="Two variants answer unseen; pick, and see which wins."
        ),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="NAME", help="Continue or begin a stored conversation.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Keep conversations in this database (SQLAlchemy URL)."),
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append each turn to this .jsonl or .md too."),
    ] = None,
) -> None:
    """Talk to a bot, or send it messages through a pipe, one a line.

    With --ab, each message is answered by both variants in random order, and you pick: 1, 2, = for
    neither, or s to skip. In a pipe a line with the pick follows each line with a message.

    Conversations at a terminal are kept; those of --once and of pipes only with --session.
    """
    from promptbot.bot.folder import load_bot
    from promptbot.cli.names import check_session_name
    from promptbot.errors import InputError
    from promptbot.guard.guard import Guard
    from promptbot.store import SafeHistory, Store
    from promptbot.turn_file import TurnFile

    if once is not None and not once.strip():
        raise InputError(
            "the message is empty.", place="--once", hint='Write something, as --once "Hello".'
        )
    if ab is not None:
        others: dict[str, object] = {
            "--once": once,
            "--json": as_json or None,
            "--variant": variant,
        }
        others |= {"--session": session, "--db": db, "--transcript": transcript}
        if given := [name for name, value in others.items() if value is not None]:
            raise InputError(
                f"it does not go together with {', '.join(given)}.",
                place="--ab",
                expected="Two variants are compared, and the picks are kept as a run.",
                hint=f"As in: promptbot run {bot} --ab {ab[0]} {ab[1]}",
            )
        from promptbot.cli.ab import hold

        raise typer.Exit(hold(bot, ab, model=model, seed=seed, at_terminal=_is_terminal()))
    loaded = load_bot(bot, variant)
    if session is not None:
        session = check_session_name(session, lambda text: Guard(loaded.spec).hear(text).text)
    turns = TurnFile(transcript) if transcript else None
    at_terminal = once is None and not as_json and _is_terminal()
    if db is not None and session is None and not at_terminal:
        raise InputError(
            "nothing would be kept there.",
            place="--db",
            expected="Messages of --once and of pipes are kept only with a session's name.",
            hint="Add --session NAME.",
        )
    store = None
    if session is not None or at_terminal:
        store = Store(db, bot=loaded.name)
    if store is not None and session is not None:
        check_same_bot(store, session, loaded.name, db)
    elif store is not None and db is not None:
        store.sessions(limit=1)  # what was asked for and cannot be had is told at once
    if at_terminal:
        again = shlex.join(["promptbot", "run", bot, *(["--db", db] if db else [])])
        status = _talk(loaded, store, model, session, seed, bot, again, turns)
    else:
        opened = _open(loaded, SafeHistory(store, _warn_not_kept), model, session, seed)
        status = _answer(opened, once, as_json=as_json, transcript=turns)
    raise typer.Exit(status)


def check_same_bot(store: Store, session: str, bot: str, db: str | None = None) -> None:
    """Raise InputError when a stored conversation was held with another bot."""
    from promptbot.bot.folder import bot_folders
    from promptbot.errors import InputError

    stored = store.find(session)
    if stored and stored.bot != bot:
        # Only the bot's name is stored: its folder may be one that is not found by name.
        other = stored.bot if stored.bot in bot_folders() else "FOLDER"
        command = ["promptbot", "run", other, "--session", session, *(["--db", db] if db else [])]
        raise InputError(
            f'the conversation "{session}" was held with {stored.bot}.',
            place="--session",
            expected=f"This is {bot}.",
            hint=f"Give another name, or: {shlex.join(command)}",
        )


def _talk(
    bot: Bot,
    store: Store | None,
    model: str | None,
    name: str | None,
    seed: int,
    place: str,
    again: str,
    transcript: TurnFile | None,
) -> int:
    from promptbot.cli.names import new_session_name
    from promptbot.cli.terminal import Talk
    from promptbot.store import SafeHistory

    failures: list[StoreError] = []
    history = SafeHistory(store, failures.append)

    def open_session() -> Session:
        chosen = name or new_session_name(lambda made_up: bool(history.load(made_up)))
        return _open(bot, history, model, chosen, seed)

    return Talk(
        bot,
        history=history,
        open_session=open_session,
        model=model or bot.spec.model,
        place=place,
        again=again,
        failures=failures,
        resumed=name,
        transcript=transcript,
    ).hold()


def _open(
    bot: Bot, history: SafeHistory, model: str | None, name: str | None, seed: int
) -> Session:
    # A start makes modules and models, which stay: looking for garbage among them takes a sixth of
    # it, while they are made, at the first collection after, and at the end.
    gc.disable()
    try:
        from promptbot.chain import load_chain
        from promptbot.session import Session

        chain = load_chain(bot, model=model, history=history, seed=seed)
        gc.freeze()
    finally:
        gc.enable()
    return Session(chain, name or uuid.uuid4().hex)


def _answer(
    session: Session, once: str | None, *, as_json: bool, transcript: TurnFile | None
) -> int:
    from promptbot.cli.plain import answer_lines, answer_once, read_messages

    status = 0
    if once is not None:
        answer_once(session, once, as_json=as_json, transcript=transcript)
    else:
        messages = read_messages(sys.stdin.buffer if sys.stdin is not None else io.BytesIO())
        status = answer_lines(session, messages, as_json=as_json, transcript=transcript)
    if session.last:
        session.check_frozen()
    return status


def _warn_not_kept(error: StoreError) -> None:
    from promptbot.cli.style import NOT_KEPT

    print(f"warning: {error}\n{NOT_KEPT}", file=sys.stderr)


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
