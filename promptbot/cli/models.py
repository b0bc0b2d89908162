"""`promptbot models`: what a frozen model is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

models = typer.Typer(name="models", no_args_is_help=True)


@models.callback()
def about() -> None:
    """Look at frozen models."""


@models.command()
def info(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="embedded, a folder, hf:OWNER/NAME, ...")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a model is: engine, size, device and why, context, template, memory."""
    from promptbot.models.describe import describe
    from promptbot.models.registry import load_model

    facts = describe(load_model(model))
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    from promptbot.cli.style import visible

    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {visible(value)}")
