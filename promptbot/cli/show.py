"""`promptbot show`: the exact prompt that a message would make, and why it is answered so."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot


def show(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="A bot's name or folder.")],
    text: Annotated[str, typer.Option("--input", metavar="TEXT", help="The user's message.")],
    variant: Annotated[str | None, typer.Option(help="One of the bot's variants.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Count tokens as this model does.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    why: Annotated[
        bool,
        typer.Option("--why", help="Answer too, and show what each part does to the answer."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the prompt (or reply and influence) as JSON.")
    ] = False,
) -> None:
    """Show the exact prompt for a message: its texts, sizes, and what was chosen."""
    from promptbot.bot.folder import load_bot

    loaded = load_bot(bot, variant)
    if why:
        _show_why(loaded, text, model=model, seed=seed, as_json=as_json)
    else:
        _show_prompt(loaded, text, model=model, seed=seed, as_json=as_json)


def _show_prompt(bot: Bot, text: str, *, model: str | None, seed: int, as_json: bool) -> None:
    from promptbot.models.providers import is_remote_model
    from promptbot.preview import preview

    prompt = preview(bot, text, model=model, seed=seed)
    asked = bot.spec.model if model is None else model
    if is_remote_model(asked):
        print(f"note: sizes are estimates; {asked} counts its tokens itself.", file=sys.stderr)
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


def _show_why(bot: Bot, text: str, *, model: str | None, seed: int, as_json: bool) -> None:
    from promptbot.chain import load_chain
    from promptbot.influence import influence

    chain = load_chain(bot, model=model, seed=seed)
    reply = chain.invoke(text)
    found = influence(chain, reply)
    if as_json:
        print(json.dumps(reply.to_dict() | {"influence": found.to_dict()}, ensure_ascii=False))
        return
    from promptbot.cli.explain import influence_bars, plain_influence, plain_prompt
    from promptbot.cli.explain import why as why_tree

    assert reply.trace is not None
    if not sys.stdout.isatty():
        print(plain_prompt(reply.trace.prompt))
        print(plain_influence(found))
        return
    from promptbot.cli.style import make_console, visible

    console = make_console()
    console.print(visible(reply.text), style="bold")
    console.print(why_tree(reply, console.width))
    console.print(influence_bars(found, console.width))
