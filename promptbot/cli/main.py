"""The `promptbot` command: which commands there are, and what an error looks like.

Each command's module imports what it needs when it runs, so that ``promptbot --help`` is quick.
"""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from promptbot import __version__
from promptbot.cli.advise import advise
from promptbot.cli.bots import bots
from promptbot.cli.check import check
from promptbot.cli.compare import compare
from promptbot.cli.data import data
from promptbot.cli.evaluate import evaluate
from promptbot.cli.export import export
from promptbot.cli.finetune import finetune
from promptbot.cli.importing import import_bot
from promptbot.cli.models import models
from promptbot.cli.new import new
from promptbot.cli.replay import replay
from promptbot.cli.report import report, runs
from promptbot.cli.review import review
from promptbot.cli.run import run
from promptbot.cli.sessions import sessions
from promptbot.cli.show import show
from promptbot.errors import PromptbotError

app = typer.Typer(
    name="promptbot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(wanted: bool) -> None:
    """Print the version and leave, where it is asked for."""
    if wanted:
        print(f"promptbot {__version__}")
        raise typer.Exit


@app.callback()
def promptbot(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Prompt learning for frozen language models: a bot is a folder of templates.

    Talk to one that comes with promptbot:  promptbot run customer_service
    """


for command in (run, show, bots, new, check, export):
    app.command()(command)
app.add_typer(models)
app.command("import")(import_bot)
app.command("eval")(evaluate)
app.command()(advise)
app.command()(data)
app.command()(finetune)
app.command()(report)
app.command()(compare)
app.command()(runs)
app.command()(replay)
app.command()(review)
app.add_typer(sessions, name="sessions")


def main() -> None:
    """Run the command line; the exit status is 0, 1, 2 for a user's mistake, 3, or 130."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a reply may hold what a terminal cannot show
    try:
        app(prog_name="promptbot")
    except PromptbotError as error:
        from promptbot.cli.style import print_error

        print_error(error)
        sys.exit(error.exit_status)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            from promptbot.cli.style import explained, print_error

            print_error(explained(error))
            sys.exit(2)
        if error.errno != errno.ENOSPC:
            raise
        print("error: the output cannot be written: no space is left there.", file=sys.stderr)
        # What is still buffered cannot be written either; Python would try again as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed.

    Otherwise the first file that is opened, as a database, would get the number of that stream,
    and whatever writes to the stream would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 (to the end)
            setattr(sys, name, null)


if __name__ == "__main__":
    main()
