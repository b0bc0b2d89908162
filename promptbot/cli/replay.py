"""`promptbot replay`: the user's side of a conversation again, against another variant."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from promptbot.session import Session
    from promptbot.turn_file import Turn
    from promptbot.types import Reply

SIDE_BY_SIDE = 72
"""Columns of a window from which on the two replies stand beside each other."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One user message with the reply that was given, and the one that is given now."""

    turn: Turn
    """As the transcript has it."""
    reply: Reply | None
    """What the bot says now; None where it failed."""
    error: str = ""
    """Why it failed."""

    @property
    def is_same(self) -> bool:
        """Whether the two replies are the same, white space apart."""
        return self.reply is not None and self.reply.text.split() == self.turn.reply.split()


def replay(
    transcript: Annotated[
        Path,
        typer.Argument(metavar="TRANSCRIPT", help="A .jsonl of --transcript or .json of /save."),
    ],
    variant: Annotated[str | None, typer.Option(help="One of the bot's variants.")] = None,
    bot: Annotated[
        str | None,
        typer.Option(metavar="BOT", help="A bot's name or folder, if not the transcript's."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Which frozen model answers.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each turn with both replies as a line of JSON.")
    ] = False,
) -> None:
    """Send the user's messages of a transcript again, and show both replies side by side.

    The new replies make a conversation of their own: each is given after those before it.
    """
    from promptbot.bot.folder import load_bot
    from promptbot.chain import load_chain
    from promptbot.errors import InputError
    from promptbot.session import Session
    from promptbot.turn_file import read_turns

    turns = read_turns(transcript)
    name = bot or turns[0].bot
    if not name:
        raise InputError(
            "the transcript does not say which bot it was held with.",
            place=str(transcript),
            hint="Name it: --bot BOT",
        )
    loaded = load_bot(name, variant)
    session = Session(load_chain(loaded, model=model, seed=seed), uuid.uuid4().hex)
    shown, status = [], 0
    printer = _printer(loaded.variant, as_json=as_json)
    for replayed, failed in _answers(session, turns):
        status = status or failed
        shown.append(replayed)
        printer.turn(len(shown), replayed)
    printer.summary(shown)
    session.check_frozen()
    raise typer.Exit(status)


def _answers(session: Session, turns: Sequence[Turn]) -> Iterator[tuple[Replayed, int]]:
    """Yield each message with both replies, and the exit status of one that failed."""
    from promptbot.errors import PromptbotError

    for turn in turns:
        try:
            yield Replayed(turn, session.say(turn.user)), 0
        except PromptbotError as error:
            yield Replayed(turn, None, str(error)), error.exit_status


class _JsonPrinter:
    """Prints a line of JSON for each turn, and nothing else."""

    def turn(self, number: int, replayed: Replayed) -> None:
        from promptbot.cli.style import json_line

        turn, reply = replayed.turn, replayed.reply
        values = {
            "turn": number,
            "user": turn.user,
            "before": {"text": turn.reply, "variant": turn.variant, "stopped": turn.stopped},
            "now": reply.to_dict() if reply else None,
            "same": replayed.is_same,
        }
        values |= {"error": replayed.error} if replayed.error else {}
        print(json_line(values), flush=True)

    def summary(self, shown: Sequence[Replayed]) -> None:
        pass


class _TextPrinter:
    """Prints the replies below each other, as text."""

    def __init__(self, variant: str) -> None:
        self._variant = variant

    def turn(self, number: int, replayed: Replayed) -> None:
        turn = replayed.turn
        print(f"{number}. {' '.join(turn.user.split())}")
        if replayed.is_same:
            print(f"   both: {turn.reply}\n", flush=True)
            return
        stopped = " (stopped here)" if turn.stopped else ""
        print(f"   {turn.variant or 'before'}: {turn.reply}{stopped}")
        print(f"   {self._variant} now: {_now(replayed)}\n", flush=True)

    def summary(self, shown: Sequence[Replayed]) -> None:
        print(_summary(shown))


class _TablePrinter:
    """Prints the replies side by side, or in a narrow window below each other."""

    def __init__(self, variant: str, console: Console) -> None:
        self._variant = variant
        self._console = console

    def turn(self, number: int, replayed: Replayed) -> None:
        from rich.table import Table
        from rich.text import Text

        from promptbot.cli.style import ACCENT, QUIET, visible

        turn, console = replayed.turn, self._console
        console.print(Text.assemble(("› ", f"bold {ACCENT}"), visible(turn.user)))
        before = Text(visible(turn.reply) + (" — stopped" if turn.stopped else ""))
        now = Text(visible(_now(replayed)), "red" if replayed.error else "")
        titles = (turn.variant or "before", f"{self._variant} now")
        if replayed.is_same:
            console.print(Text(f"  both the same\n  {visible(turn.reply)}", QUIET))
        elif console.width < SIDE_BY_SIDE:
            for title, text in zip(titles, (before, now), strict=True):
                console.print(Text(f"  {visible(title)}", ACCENT))
                console.print(text)
        else:
            table = Table(box=None, padding=(0, 2, 0, 2), header_style=ACCENT, expand=True)
            for title in titles:
                table.add_column(Text(visible(title)), ratio=1, overflow="fold")
            table.add_row(before, now)
            console.print(table)
        console.print()

    def summary(self, shown: Sequence[Replayed]) -> None:
        from promptbot.cli.style import QUIET

        self._console.print(_summary(shown), style=QUIET)


def _printer(variant: str, *, as_json: bool) -> _JsonPrinter | _TextPrinter | _TablePrinter:
    if as_json:
        return _JsonPrinter()
    if not sys.stdout.isatty():
        return _TextPrinter(variant)
    from promptbot.cli.style import make_console

    return _TablePrinter(variant, make_console())


def _now(replayed: Replayed) -> str:
    return replayed.reply.text if replayed.reply else f"error: {replayed.error}"


def _summary(shown: Sequence[Replayed]) -> str:
    n_same = sum(replayed.is_same for replayed in shown)
    return f"{n_same} of {len(shown)} replies are the same."
