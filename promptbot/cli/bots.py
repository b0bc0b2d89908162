"""`promptbot bots`: every bot that is found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Row(NamedTuple):
    """One bot, as the table shows it."""

    name: str
    task: str
    language: str
    variants: str
    description: str
    place: str


def bots() -> None:
    """List the bots in ./templates and those that come with promptbot."""
    from promptbot.bot.folder import bot_folders

    rows = [describe(name, folder) for name, folder in bot_folders().items()]
    if sys.stdout.isatty():
        print_table(rows)
    else:
        for row in rows:
            print("\t".join(row))


def describe(name: str, folder: Path) -> Row:
    """Return the row of a bot; one that cannot be read says how to find out why."""
    from promptbot.bot.folder import read_spec, variant_files
    from promptbot.cli.style import shorten
    from promptbot.errors import PromptbotError

    variants = ", ".join(variant_files(folder))
    try:
        spec = read_spec(folder)
    except PromptbotError:
        reason = f"cannot be read; see: promptbot check {name}"
        return Row(name, "broken", "", variants, reason, short_path(folder))
    description = shorten(spec.description, 500)
    return Row(name, spec.task, spec.language, variants, description, short_path(folder))


def print_table(rows: list[Row]) -> None:
    """Print the bots with what they are for; a narrow window has one column."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from promptbot.cli.style import ACCENT, QUIET, make_console

    console = make_console()
    table = Table(box=None, padding=(0, 2, 1, 0), header_style=QUIET)
    table.add_column("bot", style=f"bold {ACCENT}", no_wrap=True)
    table.add_column("task")
    table.add_column("language")
    table.add_column("what it does", ratio=1, overflow="fold")
    wide = console.width >= 80
    for row in rows:
        details = f"\n{row.place}" + (f"\nvariants: {row.variants}" if row.variants else "")
        about = Text.assemble((row.description, ""), (details, QUIET), overflow="fold")
        if wide:
            table.add_row(row.name, row.task, row.language, about)
        else:
            console.print(Text.assemble((row.name, f"bold {ACCENT}"), f"  {row.task}"))
            console.print(Padding(about, (0, 0, 1, 2)))
    if wide:
        console.print(table)
    console.print(Text.assemble(("Talk to one:  ", QUIET), ("promptbot run BOT", "")))


def short_path(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    from pathlib import Path

    try:
        absolute, here = path.resolve(), Path.cwd()
    except FileNotFoundError:  # the working directory was deleted
        return str(path)
    for start, prefix in ((here, ""), (Path.home(), "~/")):
        if absolute.is_relative_to(start):
            return prefix + str(absolute.relative_to(start))
    return str(absolute)
