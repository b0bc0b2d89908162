"""Conversations without a prompt to type at: ``--once``, pipes and ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from promptbot.cli.style import json_line, print_error, visible
from promptbot.errors import InputError, PromptbotError

if TYPE_CHECKING:
    from promptbot.session import Session
    from promptbot.turn_file import TurnFile
    from promptbot.types import Reply


def answer_once(
    session: Session, text: str, *, as_json: bool, transcript: TurnFile | None = None
) -> None:
    """Print the reply to one message as it is written, or as one line of JSON."""
    _explain_command(text)
    _print_reply(session, text, as_json=as_json)
    _write_down(session, text, transcript)


def _explain_command(text: str) -> None:
    """Say where a message reads like a command that only a terminal knows; it is sent all the same.

    Data may begin with a slash, so that nothing is done or left out because of it.
    """
    if not text.startswith("/"):
        return
    from promptbot.cli.commands import COMMANDS

    word = text.split(maxsplit=1)[0]
    if word.lower() in COMMANDS:
        print(
            f"{word} is a command at a terminal; here it goes to the bot as a message.",
            file=sys.stderr,
        )


def _print_reply(session: Session, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(session.say(text))
    elif sys.stdout.isatty():
        from promptbot.cli.markdown import MarkdownStream
        from promptbot.cli.style import make_console

        with MarkdownStream(make_console()) as screen:
            for piece in session.stream(text):
                screen.add(piece.text)
    else:
        said = ""
        try:
            for piece in session.stream(text):
                said = piece.text or said
                print(piece.text, end="", flush=True)
        finally:
            if said and not said.endswith("\n"):
                print(flush=True)


def _write_down(session: Session, text: str, transcript: TurnFile | None) -> None:
    if transcript and session.last:
        bot = session.chain.bot.name
        transcript.add(session.chain.hear(text), session.last, session=session.name, bot=bot)


def answer_lines(
    session: Session,
    lines: Iterable[str],
    *,
    as_json: bool,
    transcript: TurnFile | None = None,
) -> int:
    """Print one line for each message, all of one conversation, as soon as it is answered.

    The line breaks of a reply become spaces, so that the n-th line answers the n-th message; with
    `as_json` they are kept, as in every JSON text. A message that fails gives an empty line, or
    JSON with an ``error``, and the conversation goes on.

    Returns:
        The exit status: 0, or that of the first message that failed.
    """
    status = 0
    for text in lines:
        _explain_command(text)
        try:
            reply = session.say(text)
        except PromptbotError as error:
            status = status or error.exit_status
            print_error(error)
            if as_json:
                failed = {"text": "", "label": None, "session": session.name, "trace": None}
                print(json_line(failed | {"error": str(error)}), flush=True)
            else:
                print(flush=True)
            continue
        if as_json:
            print_json(reply)
        else:
            line = " ".join(reply.text.split())
            print(visible(line) if sys.stdout.isatty() else line, flush=True)
        _write_down(session, text, transcript)
    return status


def read_messages(stream: BinaryIO) -> Iterator[str]:
    """Yield the messages of a stream, one a line; blank lines are none.

    What is not UTF-8 is replaced, because one broken byte must not end a conversation.

    Raises:
        InputError: The stream ended and held no message at all.
    """
    any_message = False
    for number, line in enumerate(iter(stream.readline, b"")):
        text = line.decode("utf-8-sig" if number == 0 else "utf-8", "replace").strip()
        if text:
            any_message = True
            yield text
    if not any_message:
        raise InputError(
            "no message was read.",
            place="standard input",
            expected="Expected one message a line.",
            hint='Pipe some text in, or give one message with --once "Hello".',
        )


def print_json(reply: Reply) -> None:
    """Print a reply as one line of JSON."""
    print(json_line(reply.to_dict()), flush=True)
