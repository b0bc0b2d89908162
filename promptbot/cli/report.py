"""`promptbot report` and `promptbot runs`: what earlier evaluations found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's folder or name, or last.")
    ] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the report as Markdown.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print every answer as a row of CSV.")
    ] = False,
) -> None:
    """Show the report of a run, and write its files anew."""
    import json

    from promptbot.cli.evaluate import print_summary
    from promptbot.evals.manifest import PICKS, load_manifest
    from promptbot.evals.records import find_run
    from promptbot.evals.report import save_reports
    from promptbot.evals.report.answers import render_csv
    from promptbot.evals.report.markdown import render_markdown
    from promptbot.evals.summary import summarise

    folder = find_run(run)
    if load_manifest(folder).get("kind") == PICKS:
        _report_picks(folder, as_json=as_json, as_markdown=as_markdown, as_csv=as_csv)
        return
    summary = summarise(folder)
    save_reports(summary)
    if as_json:
        print(json.dumps(summary.to_dict(), ensure_ascii=False))
    elif as_markdown:
        print(render_markdown(summary), end="")
    elif as_csv:
        print(render_csv(summary), end="")
    else:
        print_summary(summary)


def _report_picks(folder: Path, *, as_json: bool, as_markdown: bool, as_csv: bool) -> None:
    """Show what a person's picks between two variants say, and write the report's files anew."""
    import json

    from promptbot.cli.blind import show_picks
    from promptbot.evals.report import picks
    from promptbot.picks import summarise_picks

    summary = summarise_picks(folder)
    picks.save_pick_reports(summary)
    if as_json:
        print(json.dumps(summary.to_dict(), ensure_ascii=False))
    elif as_markdown:
        print(picks.render_picks_markdown(summary), end="")
    elif as_csv:
        print(picks.render_picks_csv(summary), end="")
    else:
        show_picks(summary)


def runs() -> None:
    """List the runs in ./runs, newest first."""
    from promptbot.evals.records import run_folders

    rows = [_row(folder) for folder in run_folders()]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.table import Table

    from promptbot.cli.style import make_console

    console = make_console()
    if not rows:
        console.print("There are no runs in ./runs yet. Make one: promptbot eval customer_service")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("run", "suite", "samples"):
        table.add_column(name, no_wrap=True)
    table.add_column("verdict", ratio=1)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _row(folder: Path) -> tuple[str, str, str, str]:
    """Return a run's name, suite, number of samples, and headline or state."""
    import json

    try:
        numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        n_samples, verdict = str(numbers["n_samples"]), str(numbers["headline"])
    except FileNotFoundError:
        n_samples, verdict = "", f"not complete; promptbot eval --resume {folder.name}"
    except (OSError, ValueError, KeyError, TypeError):
        n_samples, verdict = "", f"cannot be read; promptbot report {folder.name}"
    return folder.name, folder.parent.name, n_samples, verdict
