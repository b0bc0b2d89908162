"""`promptbot eval`: compare prompt variants, and end in a verdict."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from promptbot.errors import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from promptbot.evals.curve import Tally
    from promptbot.evals.evaluation import Plan, Progress
    from promptbot.evals.records import Key, Record
    from promptbot.evals.suite import Suite
    from promptbot.evals.summary import Summary

GATE_NOT_MET = 3


def evaluate(
    suite: Annotated[
        str | None,
        typer.Argument(metavar="[SUITE]", help="A suite's name or file, as customer_service."),
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this variant; may be repeated.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="With this model; may be repeated."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Samples at most, spread over the file.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of everything random; may be repeated.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SPEC", help="The suite's judges are this model.")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help='As "exact(k8) >= 0.8"; may be repeated.'),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with a run that was stopped: folder, name, last."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=256, help="Calls to a model at once; here, one a core.")
    ] = 8,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="N", help="Calls to remote models a minute at most."),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Samples that a local model reads at once; their seconds are then shares.",
        ),
    ] = 1,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Ask again what was answered before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run and cost, and ask no model.")
    ] = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Run although samples are shown as examples.")
    ] = False,
) -> None:
    """Compare a bot's prompt variants on the same samples, and say which is better.

    Exit status: 0, 2 for a mistake of yours, 3 where the gate was not met,
    130 where it was stopped (every answer so far is kept).
    """
    from promptbot.errors import InputError
    from promptbot.evals import evaluation
    from promptbot.evals.records import find_run
    from promptbot.evals.suite import load_suite

    options = {
        "variants": list(variant or ()),
        "models": list(model or ()),
        "limit": limit,
        "seeds": list(seed or ()),
        "gate": list(gate or ()),
        "judge": judge,
    }
    given = suite or any(options.values()) or dry_run or allow_leaks
    if (resume is None) == (suite is None) or (resume and given):
        raise InputError(
            "give a suite, or --resume RUN alone.",
            expected="A resumed run takes its suite and options from its manifest.",
            hint="promptbot eval customer_service, or: promptbot eval --resume last",
        )
    folders: list[Path] = []
    throughput = evaluation.Throughput(jobs, rate, batch, use_cache=not no_cache)
    try:
        if resume:
            folder = find_run(resume)
            with _progress(folders) as progress:
                summary = evaluation.resume(folder, progress, throughput)
        else:
            assert suite is not None
            loaded = load_suite(suite, **options)  # type: ignore[arg-type]
            planned = evaluation.plan(loaded)
            _say_plan(loaded, planned)
            if dry_run:
                _say_estimates(loaded)
                _say_leaks(planned)
                return
            with _progress(folders) as progress:
                summary = evaluation.evaluate(
                    loaded,
                    allow_leaks=allow_leaks,
                    command=shlex.join(["promptbot", *sys.argv[1:]]),
                    options=options,
                    progress=progress,
                    throughput=throughput,
                )
    except KeyboardInterrupt:
        if folders:
            print(
                f"\nStopped; every answer so far is kept.\n"
                f"Go on with: promptbot eval --resume {folders[0]}",
                file=sys.stderr,
            )
        raise typer.Exit(INTERRUPTED) from None
    try:
        print_summary(summary)
    except SystemExit:  # rich's, where the reader of a pipe has left; the gate counts still
        if summary.gate_met:
            raise
    if not summary.gate_met:
        raise typer.Exit(GATE_NOT_MET)


def print_summary(summary: Summary) -> None:
    """Print the report of a run, and where the other forms of it lie."""
    from promptbot.cli.style import Harmless, make_console
    from promptbot.evals.report.terminal import render_terminal

    console = make_console()
    console.print(Harmless(render_terminal(summary)))
    console.print(f"{summary.folder / 'report.html'}", soft_wrap=True)


def _say_plan(suite: Suite, planned: Plan) -> None:
    from promptbot.evals.judging import count_questions
    from promptbot.evals.verdict import ASSUMED_DISCORDANCE, POWER

    seeds = f" x {planned.n_seeds} seeds" if planned.n_seeds > 1 else ""
    repeats = f" x {planned.n_repeats} repeats" if planned.n_repeats > 1 else ""
    lines = [
        f"{suite.spec.name}: {_count(planned.n_columns, 'column')} x "
        f"{_count(planned.n_samples, 'sample')}{seeds}{repeats} = "
        f"{_count(planned.n_answers, 'answer')}.",
        f"Columns: {', '.join(column.name for column in suite.columns)} "
        f"(reference: {suite.columns[0].name}).",
    ]
    if planned.n_columns > 1:
        lines.append(
            "Such a run cannot show any difference, however large."
            if planned.detectable is None
            else f"Such a run shows differences of at least {planned.detectable * 100:.1f} points "
            f"(with a power of {POWER:.0%}, where columns differ on "
            # A difference cannot be larger than the share of samples that make it.
            f"{max(ASSUMED_DISCORDANCE, planned.detectable):.0%} of the samples)."
        )
    if planned.n_left_out:
        lines.append(
            f"{planned.n_left_out} rows of the pool equal a sample, or nearly, and are left out."
        )
    if planned.unknown_targets:
        lines.append(planned.unknown_targets)
    for judge in suite.judges.values():
        n = count_questions(judge, planned.n_answers, planned.n_columns)
        lines.append(f"Judge {judge.name}, {judge.spec.model}: asked at most {n:,} times.")
    print("\n".join(lines), file=sys.stderr)


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' * (n != 1)}"


def _say_estimates(suite: Suite) -> None:
    from promptbot.evals.estimate import estimate

    found = estimate(suite)
    for item in found:
        if item.problem:
            print(f"{item.column}: tokens unknown: {item.problem}", file=sys.stderr)
        elif item.n_read is not None and item.n_written is not None:
            writes = f"writes at most {item.n_written}" if item.n_written else "scores the labels"
            cost = f"; cost {item.cost[0]:.4f} to {item.cost[1]:.4f} in all" if item.cost else ""
            print(
                f"{item.column}: reads about {item.n_read:,.0f} tokens an answer "
                f"({item.n_read * item.n_answers:,.0f} in all), {writes}{cost}.",
                file=sys.stderr,
            )
    if costs := [item.cost for item in found if item.cost]:
        low, high = (sum(cost[i] for cost in costs) for i in (0, 1))
        print(f"Cost of the run: {low:.4f} to {high:.4f}, without a cache.", file=sys.stderr)


def _say_leaks(planned: Plan) -> None:
    for pair in planned.leaks:
        print(
            f"leak: line {pair.line}: {pair.sample!r} ~ {pair.example!r} ({pair.similarity:.0%})",
            file=sys.stderr,
        )


def _tally(folder: Path, done: Mapping[Key, Record]) -> Tally | None:
    """Return what tells partial results of a learning curve; None for other runs."""
    from promptbot.evals.curve import Tally
    from promptbot.evals.manifest import load_manifest
    from promptbot.evals.records import load_samples

    manifest = load_manifest(folder)
    if not manifest.get("budgets"):
        return None
    return Tally(manifest, load_samples(folder, manifest["data_hash"]), done)


@contextmanager
def _progress(folders: list[Path]) -> Iterator[Progress]:
    """Yield what shows a run's progress on the standard error stream."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from promptbot.cli.finetune import tell_memory, tell_trial
    from promptbot.cli.style import make_console
    from promptbot.evals.evaluation import Progress

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TextColumn("{task.fields[cost]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red", markup=False),
        console=make_console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    task = bar.add_task("", total=None, rate="", cost="", failed="")
    tally: list[Tally | None] = []
    n_new = n_failed = n_cached = 0
    cost: float | None = None

    def told_cost() -> str:
        return "" if cost is None else f"cost {cost:.4f}"

    def count_cost(record: Record) -> None:
        nonlocal cost
        if record.prediction and record.prediction.cost is not None and not record.cached:
            cost = (cost or 0.0) + record.prediction.cost

    def on_start(folder: Path, done: Mapping[Key, Record], n_answers: int) -> None:
        folders.append(folder)
        for record in done.values():  # of a run that goes on, what it cost before is told too
            count_cost(record)
        n_done = sum(record.prediction is not None for record in done.values())
        print(f"Run: {folder}", file=sys.stderr)
        bar.update(task, completed=n_done, total=n_answers, cost=told_cost())
        tally.append(_tally(folder, done))

    def on_record(record: Record) -> None:
        nonlocal n_new, n_failed, n_cached
        n_new += 1
        n_failed += record.prediction is None
        n_cached += record.cached
        count_cost(record)
        for line in tally[0].add(record) if tally and tally[0] else ():
            print(line, file=sys.stderr)
        speed = bar.tasks[0].speed
        bar.update(
            task,
            advance=1,
            description=record.column,
            rate=f"{speed:.1f}/s" if speed else "",
            cost=told_cost(),
            failed=f"{n_failed} failed" if n_failed else "",
        )

    def on_judge(name: str, n_questions: int) -> None:
        if n_questions:
            print(f"Judging: {name} is asked {n_questions:,} questions.", file=sys.stderr)
            bar.update(task, total=(bar.tasks[0].total or 0) + n_questions)

    def on_stop(n_under_way: int) -> None:
        bar.console.print(
            f"Stopping: {n_under_way} answers are under way. Ctrl-C again to leave them."
        )

    with bar:
        yield Progress(
            on_start=on_start,
            on_record=on_record,
            on_memory=tell_memory,
            on_trial=tell_trial,
            on_judge=on_judge,
            on_stop=on_stop,
        )
    if n_cached:
        print(
            f"{n_cached:,} of {n_new:,} answers came from the cache; "
            "their seconds and cost are those of the first time (--no-cache asks again).",
            file=sys.stderr,
        )
    if cost is not None:
        print(f"Cost of this run: {cost:.4f}", file=sys.stderr)
