"""`promptbot import`: a bot made of another program's prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_bot(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .prompty file, a tokenizer_config.json or .jinja with a chat template, or a "
            "checkpoint's folder.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The bot's name; else the file's own.")
    ] = None,
) -> None:
    """Make a bot's folder under ./templates of another program's prompt."""
    import sys

    from promptbot.cli.bots import short_path
    from promptbot.cli.style import visible
    from promptbot.importing import import_file

    made = import_file(file, Path("templates"), name)
    folder = short_path(made.folder)
    for remark in made.remarks:
        print(f"note: {visible(remark)}", file=sys.stderr)
    print(f"Made {folder}. Next:")
    print(f"  look at it   {folder}/bot.yaml, system.j2")
    print(f"  talk to it   promptbot run {made.folder.name}")
