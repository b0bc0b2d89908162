"""`promptbot models`: what a frozen model is, and folders that run without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer(name="models", no_args_is_help=True)


@models.callback()
def about() -> None:
    """Look at frozen models, and export them to run without torch."""


@models.command()
def info(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="embedded, a folder, hf:OWNER/NAME, teacher, ...")
    ],
    is_encoder: Annotated[
        bool, typer.Option("--encoder", help="MODEL is an encoder; teacher always is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a model is: engine, size, numbers, device and why, context, template, memory."""
    from promptbot.models.describe import describe, describe_encoder
    from promptbot.models.encoder import TEACHER, load_encoder
    from promptbot.models.registry import load_model

    if is_encoder or model in TEACHER:
        facts = describe_encoder(load_encoder(model), model)
    else:
        facts = describe(load_model(model))
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    from promptbot.cli.style import visible

    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {visible(value)}")


@models.command()
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A checkpoint's folder, hf:OWNER/NAME, embedded")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="To be made.")],
    with_int8: Annotated[
        bool, typer.Option("--int8", help="Matrices in 8 bits: faster, a little less exact.")
    ] = False,
) -> None:
    """Write a folder that runs on ONNX Runtime alone, and compare it with the checkpoint.

    Llama, Qwen2, Qwen3 and GPT-2 layouts. The comparison is with Transformers in float32.
    """
    from promptbot.models.export import export_model

    equality = export_model(model, folder, with_int8=with_int8)
    print(f"{folder}: {equality.n_equal} of {equality.n_answers} greedy answers are equal;")
    print(
        f"log-probabilities of tokens differ by {equality.nats:.2g} nats on average, "
        f"by {equality.worst_nats:.2g} at most."
    )
    print(f"Use it: promptbot run customer_service --model {folder}")
