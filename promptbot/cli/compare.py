"""`promptbot compare`: what changed between two runs, and what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from promptbot.evals.compare import RunComparison


def compare(
    before: Annotated[str, typer.Argument(metavar="RUN", help="The earlier run: folder or name.")],
    now: Annotated[
        str, typer.Argument(metavar="RUN", help="The later run: folder, name, or last.")
    ] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Say what changed between two runs of a suite, and whether it is better now.

    Columns are paired by name, samples by their input and target.
    """
    import json

    from promptbot.cli.style import Harmless, make_console
    from promptbot.evals.compare import compare_runs
    from promptbot.evals.records import find_run
    from promptbot.evals.summary import summarise

    found = compare_runs(summarise(find_run(before)), summarise(find_run(now)))
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        make_console().print(Harmless(_render(found)))


def _render(found: RunComparison) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from promptbot.evals.report.terminal import verdict_line

    only = ""
    if any(found.n_only):
        only = f" ({found.n_only[0]} only before, {found.n_only[1]} only now: left out)"
    parts: list[RenderableType] = [
        Text(found.headline, style="bold"),
        Text(f"{found.before.folder.name}, then {found.now.folder.name}: ", style="dim").append(
            f"{found.n_shared} samples in both{only}"
        ),
        Text(),
    ]
    parts += [verdict_line(comparison) for comparison in found.comparisons]
    parts += [Text(), Text("What changed", style="bold")]
    parts += [Text(f"  {change}") for change in found.changes or ("Nothing that was recorded.",)]
    for column, diff in found.prompt_diffs.items():
        parts += [Text(), Text(f"The prompt of {column}, first sample that differs", style="bold")]
        parts += [_diff_line(line) for line in diff.splitlines()[2:]]
    for is_gain, title in ((False, "Worse now"), (True, "Better now")):
        flips = [flip for flip in found.flips if flip.is_gain == is_gain]
        if flips:
            parts += [Text(), Text(title, style="bold")]
        for flip in flips:
            parts.append(Text(f"  {flip.column}: {flip.input}"))
            parts.append(
                Text(f"    before: {flip.before}   now: {flip.now}   wanted: {flip.target}", "dim")
            )
    return Group(*parts)


def _diff_line(line: str) -> RenderableType:
    from rich.text import Text

    return Text(f"  {line}", style={"+": "green", "-": "red"}.get(line[:1], "dim"))
