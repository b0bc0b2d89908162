"""`promptbot export`: a bot's prompts for other programs."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Literal

import typer

NOT_CARRIED = {
    "langchain": "Notes and examples are those chosen for this --input; choosing, memory, labels, "
    "calibration and decoding stay behind.",
    "openai": "Notes and examples are those chosen for this --input; choosing, memory, labels and "
    "calibration stay behind.",
    "prompty": "Notes and examples are those chosen for this --input; choosing, memory, labels and "
    "calibration stay behind.",
    "jsonl": "Other examples are not shown in a line; choosing, memory, calibration and decoding "
    "stay behind.",
}
"""What each form cannot say."""


def export(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="A bot's name or folder.")],
    to: Annotated[
        Literal["langchain", "openai", "prompty", "jsonl"],
        typer.Option(
            help="LangChain's serialised ChatPromptTemplate, a chat-completions request, a Prompty "
            "file, or the examples as conversations for fine-tuning, one a line."
        ),
    ],
    text: Annotated[
        str | None,
        typer.Option("--input", metavar="TEXT", help="The message that the prompt is made for."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="One of the bot's variants.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
) -> None:
    """Write a bot's prompt to the standard output in a form that other programs read."""
    from promptbot.bot.folder import load_bot
    from promptbot.errors import InputError
    from promptbot.interchange import (
        langchain_template,
        openai_request,
        prompty_file,
        training_lines,
    )
    from promptbot.preview import preview

    if text is None and to != "jsonl":
        raise InputError(
            "a prompt is made for a message.",
            place=f"--to {to}",
            hint='Give one, as --input "When are you open?".',
        )
    loaded = load_bot(bot, variant)
    if text is None or to == "jsonl":
        for line in training_lines(loaded, seed=seed):
            print(json.dumps(line, ensure_ascii=False))
    elif to == "openai":
        request = openai_request(loaded, preview(loaded, text, seed=seed))
        print(json.dumps(request, ensure_ascii=False, indent=2))
    elif to == "prompty":
        print(prompty_file(loaded, preview(loaded, text, seed=seed), text), end="")
    else:
        from langchain_core.load import dumpd

        template = dumpd(langchain_template(preview(loaded, text, seed=seed), text))
        print(json.dumps(template, ensure_ascii=False, indent=2))
    print(f"note: {NOT_CARRIED[to]}", file=sys.stderr)
