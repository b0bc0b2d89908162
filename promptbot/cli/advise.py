"""`promptbot advise`: which model and which way fit a suite, with the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptbot.evals.advice import Advice, Way


def advise(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name or file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say whether to prompt or to train, with which model, and why.

    By rules on the task, the data and this machine, corrected by what runs in ./runs measured.
    """
    import json
    from dataclasses import asdict

    from promptbot.evals.advice import IMPOSSIBLE
    from promptbot.evals.advice import advise as make_advice
    from promptbot.evals.suite import load_suite

    loaded = load_suite(suite)
    advice = make_advice(loaded)
    if as_json:
        print(json.dumps(asdict(advice), ensure_ascii=False))
        return
    from rich.text import Text

    from promptbot.cli.style import make_console, visible

    console = make_console()
    console.print(Text(visible(advice.sentence), style="bold"))
    console.print()
    console.print(Text(visible(_basis(advice)), style="dim"))
    for way in advice.ways:
        console.print()
        console.print(_title(way))
        against = [one for one in way.reasons if one.points <= IMPOSSIBLE]
        for reason in against or sorted(way.reasons, key=lambda one: -one.points):
            mark = "+" if reason.points > 0 else "-" if reason.points < 0 else " "
            console.print(Text(f"  {mark} {visible(reason.text)}"))
    others = [one for one in advice.measured if not one.same_suite]
    if others:
        console.print(Text("\nOther suites, measured here:", style="dim"))
        for one in others[:3]:
            console.print(Text(f"  {visible(one.text)}", style="dim"))
    if advice.ways[0].method:
        console.print()
        console.print(f"Train it: promptbot finetune {suite} --method {advice.ways[0].method}")
    if not any(one.same_suite and len(one.by_way) > 1 for one in advice.measured):
        lines = "baseline: causal_lora"
        if loaded.task == "classify":
            lines = "budgets: [1, 5, 10, all]  and  baseline: linear_probe"
        console.print()
        console.print(
            f"These are rules of thumb. To measure: write  {lines}  into the suite, then  "
            f"promptbot eval {suite}"
        )


def _basis(advice: Advice) -> str:
    task, machine = advice.task, advice.machine
    data = (
        f"{task.n_examples:,} examples of {task.n_labels} labels"
        if task.kind == "classify"
        else f"{task.n_examples:,} examples of a conversation"
    )
    gpu = f"{machine.gpu} ({machine.gpu_gib:.0f} GiB)" if machine.gpu else "no GPU"
    return (
        f"Task: {task.kind}, {task.language}; {data}. Machine: {machine.n_cores} cores, "
        f"{machine.free_gib:.1f} GiB free, {gpu}."
    )


def _title(way: Way) -> str:
    return f"{way.name} ({way.model})" + ("" if way.possible else ": not here")
