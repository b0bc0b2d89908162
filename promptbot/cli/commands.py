"""What a person may type after a slash while talking to a bot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from promptbot.cli.style import ACCENT, QUIET, shorten
from promptbot.errors import did_you_mean

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk


class Leave(Exception):
    """The conversation is to end."""


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command."""

    run: Callable[[Talk, str], None]
    """What it does, given what was typed after its name."""
    help: str
    """One line for /help."""
    argument: str = ""
    """What may follow its name."""


def is_command(text: str) -> bool:
    """Say whether a line is meant as a command; a path like /etc/hosts is a message."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return word.startswith("/") and "/" not in word[1:]


def run_command(talk: Talk, line: str) -> None:
    """Do what a line that begins with a slash says; an unknown command is explained.

    Raises:
        Leave: The conversation is to end.
    """
    name, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(name.lower())
    if command is None:
        hint = did_you_mean(name.lower(), COMMANDS) or "/help lists the commands."
        talk.tell(f"There is no command {shorten(name, 40)}. {hint}")
    else:
        command.run(talk, argument.strip())


def show_help(talk: Talk, argument: str) -> None:
    """List the commands and keys."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(no_wrap=True)
    for name, command in COMMANDS.items():
        usage = f"{name} {command.argument}".strip()
        grid.add_row(Text(usage, ACCENT), Text(command.help))
    for key, meaning in KEYS.items():
        grid.add_row(Text(key, QUIET), Text(meaning, QUIET))
    talk.show(grid)


def show_why(talk: Talk, argument: str) -> None:
    """Show what went into the last reply."""
    from promptbot.cli.explain import why

    if reply := talk.last_reply():
        talk.show(why(reply, talk.width))


def show_prompt(talk: Talk, argument: str) -> None:
    """Show the exact prompt of the last reply."""
    from promptbot.cli.explain import prompt_panels

    reply = talk.last_reply()
    if reply and reply.trace:
        talk.show(prompt_panels(reply.trace.prompt))


def change_variant(talk: Talk, argument: str) -> None:
    """List the variants, or go on with another one."""
    if argument:
        talk.change_variant(argument)
        return
    names = [f"{name} (now)" if name == talk.bot.variant else name for name in talk.variants()]
    talk.tell(f"Variants: {', '.join(names)}.")


def show_tokens(talk: Talk, argument: str) -> None:
    """Show what each part of the last prompt cost."""
    from promptbot.cli.explain import token_table

    reply = talk.last_reply()
    if reply and reply.trace:
        talk.show(token_table(reply.trace.prompt))


def list_sessions(talk: Talk, argument: str) -> None:
    """List the newest stored conversations of the bot."""
    from datetime import UTC, datetime

    from promptbot.cli.sessions import sessions_table

    if found := talk.sessions():
        talk.show(sessions_table(found[:10], datetime.now(UTC)))
    else:
        talk.tell("No conversation with this bot is stored yet.")


def resume(talk: Talk, argument: str) -> None:
    """Go on with a stored conversation."""
    if argument:
        talk.resume(argument)
    else:
        list_sessions(talk, argument)


def rename(talk: Talk, argument: str) -> None:
    """Give the conversation another name."""
    talk.rename(argument)


def save(talk: Talk, argument: str) -> None:
    """Write the conversation to a file."""
    talk.save(argument)


def retry(talk: Talk, argument: str) -> None:
    """Ask the last message again."""
    talk.retry()


def undo(talk: Talk, argument: str) -> None:
    """Take the last message and its reply back."""
    talk.undo()


def reset(talk: Talk, argument: str) -> None:
    """Forget the conversation."""
    talk.reset()


def leave(talk: Talk, argument: str) -> None:
    """End the conversation."""
    raise Leave


COMMANDS: dict[str, Command] = {
    "/help": Command(show_help, "what you can type"),
    "/why": Command(show_why, "what went into the last reply"),
    "/prompt": Command(show_prompt, "the exact prompt of the last reply"),
    "/variant": Command(change_variant, "list the variants, or go on with one", "[NAME]"),
    "/retry": Command(retry, "ask the last message again"),
    "/undo": Command(undo, "take back the last message and its reply"),
    "/reset": Command(reset, "forget this conversation and start anew"),
    "/tokens": Command(show_tokens, "what each part of the last prompt cost"),
    "/sessions": Command(list_sessions, "the newest stored conversations with this bot"),
    "/resume": Command(resume, "go on with a stored conversation", "NAME"),
    "/rename": Command(rename, "give this conversation another name", "NAME"),
    "/save": Command(save, "write this conversation to a .json, .md or .html", "FILE"),
    "/quit": Command(leave, "leave"),
}

KEYS = {
    "Enter": "send",
    "Alt-Enter": "new line",
    "Ctrl-R": "search what you wrote before",
    "Ctrl-C": "stop the reply, clear the line",
    "Ctrl-D": "leave",
}
