"""`promptbot new`: a complete folder to start from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Task(StrEnum):
    """What a bot does with a message."""

    CHAT = "chat"
    CLASSIFY = "classify"


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the bot and its folder.")],
    task: Annotated[
        Task, typer.Option(help="Answer freely, or choose one of your labels.")
    ] = Task.CHAT,
) -> None:
    """Make a bot's folder under ./templates that works at once and is yours to change."""
    from pathlib import Path

    from promptbot.bot.folder import shipped_bots_folder
    from promptbot.bot.scaffold import create_bot
    from promptbot.cli.bots import short_path

    folder = short_path(create_bot(name, Path("templates"), task.value))
    if (shipped_bots_folder() / name / "bot.yaml").is_file():
        print(
            f"From here, {name} now means this folder: it hides promptbot's own bot of that name."
        )
    print(f"Made {folder}. Next:")
    print(f"  change it    {folder}/system.j2, examples.jsonl, bot.yaml")
    print(f"  check it     promptbot check {name}")
    print(f"  talk to it   promptbot run {name}")
