"""Commands about conversations that are kept: going on, branching, naming, files, deletion."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.cli.names import check_session_name, new_session_name
from promptbot.errors import PromptbotError, StoreError, known_words
from promptbot.types import Message

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk
    from promptbot.store import Store, StoredSession

N_LISTED = 10
"""Conversations that are listed at most, the newest."""

N_COMPLETED = 50
"""Names that are offered at most while one is typed."""


def list_sessions(talk: Talk, argument: str) -> None:
    """List the newest stored conversations of the bot."""
    from promptbot.cli.sessions import sessions_table

    if found := _store(talk).sessions(bot=talk.bot.name, limit=N_LISTED):
        talk.show(sessions_table(found, datetime.now(UTC)))
    else:
        talk.tell("No conversation with this bot is stored yet.")


def resumable(talk: Talk, typed: str) -> list[str]:
    """Return how what is typed may go on; nothing where the store cannot be read.

    It is asked at every key, so it reads no more than can be looked through.
    """
    with contextlib.suppress(PromptbotError):
        store, bot = _store(talk), talk.bot.name
        found = store.sessions(bot=bot, prefix=typed, limit=N_COMPLETED)
        return [session.name for session in found]
    return []


def resume(talk: Talk, argument: str) -> None:
    """Go on with a stored conversation of this bot."""
    if not argument:
        list_sessions(talk, "")
        return
    if _stored(talk, argument):
        talk.switch_to(argument, shown=True)


def clear(talk: Talk, argument: str) -> None:
    """Clear the screen and begin a new conversation; the old one stays where it is stored."""
    before, has_words = talk.session.name, bool(talk.history.load(talk.session.name))
    talk.console.clear()
    talk.switch_to(_new_name(talk))
    kept = f" {before} is kept: /resume goes back." if has_words and talk.history.is_stored else ""
    talk.tell(f"A new conversation.{kept}")


def fork(talk: Talk, argument: str) -> None:
    """Go on in a copy of the conversation."""
    before = talk.session.name
    if not talk.history.load(before):
        talk.tell("There is nothing to copy yet: say something first.")
        return
    name = check_session_name(argument, talk.hear, place="/fork") if argument else _new_name(talk)
    talk.history.copy(before, name)
    last = talk.session.last
    talk.switch_to(name)
    talk.session.last = last
    talk.tell(f"From here on this is {name}; {before} stays as it is.")


def rename(talk: Talk, argument: str) -> None:
    """Give the conversation another name."""
    name = check_session_name(argument, talk.hear, place="/rename")
    if name != talk.session.name and (store := talk.history.store) and store.find(name):
        talk.tell(f"There is already a conversation {name}.")
        return
    talk.history.rename(talk.session.name, name)
    talk.session.name = name
    talk.tell(f"This conversation is now {name}.")


def delete(talk: Talk, argument: str) -> None:
    """Delete this or another conversation for good, after asking."""
    session = talk.session
    name = argument or session.name
    if name == session.name:
        n_messages = len(talk.history.load(name))
    elif stored := _stored(talk, name):
        n_messages = stored.n_messages
    else:
        return
    if not n_messages:
        talk.tell("There is nothing to delete yet.")
        return
    answer = talk.ask(f"Delete {name}, {n_messages} messages, for good? yes/no ")
    if (answer or "").strip().lower() not in ("y", "yes"):
        talk.tell("Nothing was deleted.")
        return
    talk.history.delete(name)
    if name == session.name:
        talk.switch_to(_new_name(talk))
    talk.tell(f"Deleted {name}.")


def save(talk: Talk, argument: str) -> None:
    """Write the conversation to a file; its ending says as what."""
    from promptbot.transcript import FORMATS, render_transcript

    file = _path(argument)
    form = next((form for form in FORMATS if file.suffix == f".{form}"), None)
    if form is None:
        talk.tell("Give a file that ends with .json, .md or .html.")
        return
    messages = talk.history.transcript(talk.session.name)
    if not messages:
        talk.tell("There is nothing to save yet: say something first.")
        return
    text = render_transcript(talk.session.name, talk.bot.name, messages, form)
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            out.write(text)
    except FileExistsError:
        talk.tell(f"{argument} exists already; nothing was written.")
    except (OSError, ValueError) as error:  # the latter where the name holds what none may hold
        reason = error.strerror if isinstance(error, OSError) else error
        talk.tell(f"{argument} cannot be written ({reason}).")
    else:
        talk.tell(f"Saved {len(messages)} messages to {argument}.")


def load(talk: Talk, argument: str) -> None:
    """Go on from a conversation that was saved to a file."""
    from promptbot.turn_file import read_turns

    if not argument:
        talk.tell("Give a .json of /save, or a .jsonl of --transcript.")
        return
    own = talk.bot.own_texts
    turns = [
        # The file may come from a bot that kept what this one does not.
        replace(turn, user=talk.hear(turn.user), reply=talk.hear(turn.reply, own))
        for turn in read_turns(_path(argument))
    ]
    name, messages = _new_name(talk), list[Message]()
    for turn in turns:
        messages += turn.messages
        if turn.stopped:  # which is marked at the end of what is written at once
            talk.history.append(name, messages, stopped=True)
            messages = []
    talk.history.append(name, messages)
    talk.switch_to(name, shown=True)


def files(talk: Talk, typed: str) -> list[str]:
    """Return the folders and the files of conversations that what is typed may become."""
    from promptbot.turn_file import READABLE

    place = _path(typed)
    parent = place if typed.endswith("/") else place.parent
    prefix = typed[: typed.rfind("/") + 1]
    found: list[str] = []
    with contextlib.suppress(OSError):
        for path in sorted(parent.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                found.append(f"{prefix}{path.name}/")
            elif path.suffix in READABLE:
                found.append(prefix + path.name)
    return found


def _path(typed: str) -> Path:
    """Return the path that was typed; ~ leads home, and as in a shell only where there is one."""
    try:
        return Path(typed).expanduser()
    except RuntimeError:  # of nobody known
        return Path(typed)


def _store(talk: Talk) -> Store:
    if talk.history.store is None:
        raise StoreError(
            "conversations are not stored now.",
            place="the store",
            hint="What is said is kept until you leave.",
        )
    return talk.history.store


def _stored(talk: Talk, name: str) -> StoredSession | None:
    """Return a stored conversation of this bot, or say that there is none of that name."""
    store, bot = _store(talk), talk.bot.name
    found = store.find(name)
    if found and found.bot == bot:
        return found
    names = [stored.name for stored in store.sessions(bot=bot, limit=N_LISTED)]
    talk.tell(f"No such conversation. {known_words('Stored', name, names)}")
    return None


def _new_name(talk: Talk) -> str:
    return new_session_name(lambda made_up: bool(talk.history.load(made_up)))
