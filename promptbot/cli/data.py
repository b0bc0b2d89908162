"""`promptbot data`: what is wrong with a suite's data, cleaned files, and more examples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from promptbot.errors import INTERRUPTED

if TYPE_CHECKING:
    from promptbot.evals.cleaned import Augmented, Written
    from promptbot.evals.data_care import DataReport
    from promptbot.evals.suite import Suite
    from promptbot.interfaces import FrozenModel


def data(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name or file.")],
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write cleaned files, what was dropped and why, and a page with pictures there.",
        ),
    ] = None,
    augment: Annotated[
        Literal["swaps", "paraphrase"] | None,
        typer.Option(
            help="With --write: also make new examples, by swapping he and she (English), or by "
            "asking a model for other words."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="SPEC", help="The model that paraphrases.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Look at a suite's data: labels, duplicates, conflicts, leaks, likely label errors, lengths.

    Your own files stay as they are. Exit status: 0, whatever was found; 2 for a mistake of yours;
    130 where it was stopped (nothing is written then).
    """
    from contextlib import nullcontext

    from promptbot.errors import InputError
    from promptbot.evals.cleaned import augment as make_more
    from promptbot.evals.cleaned import save_clean, whole_folder
    from promptbot.evals.data_care import examine
    from promptbot.evals.suite import load_suite

    if augment and write is None:
        raise InputError(
            "new examples are written to a file, to be read first.",
            place=f"--augment {augment}",
            hint="Say where, as --write clean",
        )
    if model is not None and augment != "paraphrase":
        raise InputError(
            "a model is asked only for paraphrases.",
            place=f"--model {model}",
            hint="Leave it out, or add --augment paraphrase --write FOLDER",
        )
    loaded = load_suite(suite)
    added: Augmented | None = None
    written: Written | None = None
    try:
        with whole_folder(write) if write else nullcontext() as folder:
            writer = _paraphraser(loaded, model) if augment == "paraphrase" else None
            report = examine(loaded)
            if folder is not None:
                if augment:
                    added = make_more(loaded, report, augment, model=writer)
                written = save_clean(report, folder, added)
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json(report, write, written, added)
    else:
        _print(loaded, report, write, written, added)


def _paraphraser(suite: Suite, spec: str | None) -> FrozenModel:
    """Return the model that paraphrases; what it wrote before comes from the cache of answers.

    Raises:
        ModelError: It is the embedded one, or a server that a file names.
    """
    from promptbot.errors import ModelError
    from promptbot.evals.columns import SCRIPTED
    from promptbot.models.call_cache import default_cache, with_cache
    from promptbot.models.registry import load_model, refuse_foreign_server

    chosen = spec or suite.columns[0].model
    if chosen.strip() == "embedded":
        raise ModelError(
            "the embedded model cannot paraphrase: it was made to answer from examples and notes.",
            place="--augment paraphrase",
            expected="Expected a model that follows instructions.",
            hint="Give one, as --model openai:gpt-4o-mini or --model hf:Qwen/Qwen2.5-1.5B-Instruct",
        )
    if spec is None:
        refuse_foreign_server(chosen, place=str(suite.path))
    model = load_model(chosen)
    return model if chosen.startswith(SCRIPTED) else with_cache(model, default_cache())


def _print_json(
    report: DataReport, folder: Path | None, written: Written | None, added: Augmented | None
) -> None:
    import json

    values = report.to_dict()
    if written:
        values["written"] = {"folder": str(folder), "n_rows": dict(written.n_rows)}
    if added:
        values["augmented"] = {
            "by": added.how,
            "n_rows": len(added.rows),
            "n_sources": added.n_sources,
            "left_out": dict(added.refused),
        }
    print(json.dumps(values, ensure_ascii=False))


def _print(
    suite: Suite,
    report: DataReport,
    folder: Path | None,
    written: Written | None,
    added: Augmented | None,
) -> None:
    from rich.text import Text

    from promptbot.cli.style import Harmless, make_console
    from promptbot.evals.report.data import render_data_terminal

    console = make_console()
    console.print(Harmless(render_data_terminal(report)))
    if written is None or folder is None:
        return
    console.print()
    files = ", ".join(f"{name} ({n:,} rows)" for name, n in written.n_rows.items())
    console.print(Text.assemble(("Written: ", "bold"), f"{files} and data.html in {folder}"))
    if added:
        console.print(
            f"{len(added.rows):,} new examples of {added.n_sources:,} rows, by {added.how}. "
            "Read augmented.jsonl before you use it."
        )
        for why, n in added.refused.items():
            console.print(f"  left out: {n:,}, {why}")
    console.print(_how_to_use(suite, report, folder, added is not None and bool(added.rows)))


def _how_to_use(suite: Suite, report: DataReport, folder: Path, has_more: bool) -> str:
    """Return what to write where, so that the new files are used."""
    place = folder.absolute()
    if "examples" in report.parts:
        more = f", with {place / 'augmented.jsonl'} after it" if has_more else ""
        return f"To use it: copy {place / 'examples.jsonl'}{more} over the bot's examples.file."
    more = f", {place / 'augmented.jsonl'}" if has_more else ""
    pool = f"  pool: {{files: [{place / 'pool.jsonl'}{more}]}}" if suite.spec.pool else ""
    return f"To use it, write into the suite:  data: {{file: {place / 'samples.jsonl'}}}{pool}"
