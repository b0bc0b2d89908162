"""What a person may type after a slash while talking to a bot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from promptbot.cli import answering, blind, correcting, kept
from promptbot.cli.interrupts import Working
from promptbot.cli.style import ACCENT, QUIET, error_text, shorten
from promptbot.errors import PromptbotError, did_you_mean

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk


SIDE_BY_SIDE = 60
"""Columns from which on a command's meaning stands beside it; below, it stands under it."""

STEP = (0, 0, 0, 2)
"""How far it stands to the right there."""


class Leave(Exception):
    """The conversation is to end."""


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command."""

    run: Callable[[Talk, str], None]
    """What it does, given what was typed after its name; its mistakes are raised."""
    help: str
    """One line for /help."""
    argument: str = ""
    """What may follow its name."""
    complete: Callable[[Talk, str], list[str]] | None = None
    """What may follow its name, given what of it is typed; None where nothing is known."""


def is_command(text: str) -> bool:
    """Say whether a line is meant as a command; a path like /etc/hosts is a message."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return word.startswith("/") and "/" not in word[1:]


def run_command(talk: Talk, line: str) -> None:
    """Do what a line that begins with a slash says; an unknown command is explained.

    Raises:
        Leave: The conversation is to end.
        UserError: The model cannot be loaded.
    """
    name, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(name.lower())
    if command is None:
        hint = did_you_mean(name.lower(), COMMANDS) or "/help lists the commands."
        talk.tell(f"There is no command {shorten(name, 40)}. {hint}")
        return
    try:
        command.run(talk, argument.strip())
    except PromptbotError as error:
        if error is talk.loading_error:
            raise
        talk.show(error_text(error))


def show_help(talk: Talk, argument: str) -> None:
    """List the commands and keys."""
    rows = [
        (Text.assemble((name, ACCENT), (f" {one.argument}".rstrip(), QUIET)), Text(one.help))
        for name, one in COMMANDS.items()
    ]
    rows += [(Text(key, QUIET), Text(meaning, QUIET)) for key, meaning in KEYS.items()]
    if talk.width < SIDE_BY_SIDE:
        talk.show(Group(*(part for usage, said in rows for part in (usage, Padding(said, STEP)))))
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    talk.show(grid)


def show_why(talk: Talk, argument: str) -> None:
    """Show what went into the last reply, or what each part of it did."""
    from promptbot.cli.explain import influence_bars, why

    reply = talk.last_reply()
    if reply is None:
        return
    if argument not in ("", INFLUENCE):
        talk.tell(f"/why alone, or /why {INFLUENCE}.")
    elif argument == INFLUENCE:
        from promptbot.influence import influence

        with Working(talk.console, "leaving out one part after the other"):
            found = influence(talk.session.chain, reply)
        talk.show(influence_bars(found, talk.width))
    else:
        talk.show(why(reply, talk.width))


def show_prompt(talk: Talk, argument: str) -> None:
    """Show the exact prompt of the last reply."""
    from promptbot.cli.explain import prompt_panels

    reply = talk.last_reply()
    if reply and reply.trace:
        talk.show(prompt_panels(reply.trace.prompt))


def show_tokens(talk: Talk, argument: str) -> None:
    """Show what each part of the last prompt cost."""
    from promptbot.cli.explain import token_table

    reply = talk.last_reply()
    if reply and reply.trace:
        talk.show(token_table(reply.trace.prompt))


def retry(talk: Talk, argument: str) -> None:
    """Ask the last message again."""
    talk.retry()


def undo(talk: Talk, argument: str) -> None:
    """Take the last message and its reply back."""
    talk.undo()


def edit(talk: Talk, argument: str) -> None:
    """Change the last message and ask it again."""
    talk.edit()


def write_in_editor(talk: Talk, argument: str) -> None:
    """Write a message in the user's own editor."""
    from promptbot.cli.editor import edit_text

    with talk.keyboard.as_before():
        text = edit_text(argument)
    if text.strip():
        talk.show_asked(text.strip())
        talk.say(text.strip())
    else:
        talk.tell("Nothing was written, so nothing was sent.")


def leave(talk: Talk, argument: str) -> None:
    """End the conversation."""
    raise Leave


INFLUENCE = "--influence"
"""What makes /why measure."""

COMMANDS: dict[str, Command] = {
    "/help": Command(show_help, "what you can type"),
    "/why": Command(
        show_why,
        "what went into the last reply, and what each part did to it",
        f"[{INFLUENCE}]",
        lambda talk, typed: [INFLUENCE],
    ),
    "/prompt": Command(show_prompt, "the exact prompt of the last reply"),
    "/tokens": Command(show_tokens, "what each part of the last prompt cost"),
    "/variant": Command(
        answering.change_variant,
        "list the variants, or go on with one",
        "[NAME]",
        answering.variants,
    ),
    "/ab": Command(
        blind.compare,
        "ask the last message of two variants, and pick one unseen",
        "A B",
        blind.pairs,
    ),
    "/model": Command(
        answering.change_model, "name the model, or go on with another", "[SPEC]", answering.models
    ),
    "/set": Command(
        answering.change_setting,
        "change a setting for this conversation",
        "[KEY VALUE]",
        answering.settings,
    ),
    "/note": Command(
        answering.add_note, "tell the bot something for this conversation", "QUESTION | ANSWER"
    ),
    "/good": Command(correcting.good, "keep the last reply for review, as a right one"),
    "/fix": Command(
        correcting.fix, "keep for review what it should have been", "TEXT", correcting.labels
    ),
    "/retry": Command(retry, "ask the last message again"),
    "/edit": Command(edit, "change the last message and ask it again"),
    "/undo": Command(undo, "take back the last message and its reply"),
    "/editor": Command(write_in_editor, "write the next message in your $EDITOR"),
    "/clear": Command(kept.clear, "clear the screen and begin anew; this one is kept"),
    "/sessions": Command(kept.list_sessions, "the newest stored conversations with this bot"),
    "/resume": Command(kept.resume, "go on with a stored conversation", "NAME", kept.resumable),
    "/fork": Command(kept.fork, "go on in a copy; the original stays as it is", "[NAME]"),
    "/rename": Command(kept.rename, "give this conversation another name", "NAME"),
    "/save": Command(
        kept.save, "write this conversation to a .json, .md or .html", "FILE", kept.files
    ),
    "/load": Command(kept.load, "go on from a .json or .jsonl that was saved", "FILE", kept.files),
    "/delete": Command(
        kept.delete, "delete this or another conversation for good", "[NAME]", kept.resumable
    ),
    "/quit": Command(leave, "leave"),
}

KEYS = {
    "Enter": "send",
    "Alt-Enter": "new line",
    "Ctrl-R": "search what you wrote before",
    "Ctrl-C": "stop the reply, clear the line",
    "Ctrl-D": "leave",
}
