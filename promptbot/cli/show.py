"""`promptbot show`: the exact prompt that a message would make."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer


def show(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="A bot's name or folder.")],
    text: Annotated[str, typer.Option("--input", metavar="TEXT", help="The user's message.")],
    variant: Annotated[str | None, typer.Option(help="One of the bot's variants.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Count tokens as this model does.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the prompt as JSON.")] = False,
) -> None:
    """Show the exact prompt for a message: its texts, sizes, and what was chosen."""
    from promptbot.chain import load_chain

    prompt = load_chain(bot, variant=variant, model=model, seed=seed).compose(text)
    if as_json:
        from dataclasses import asdict

        print(json.dumps(asdict(prompt), ensure_ascii=False))
        return
    from promptbot.cli.explain import plain_prompt, prompt_panels, prompt_tree

    if not sys.stdout.isatty():
        print(plain_prompt(prompt))
        return
    from promptbot.cli.style import make_console

    console = make_console()
    console.print(prompt_panels(prompt))
    console.print(prompt_tree(prompt, console.width))
