"""`promptbot finetune`: the same task solved by training, and how well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptbot.errors import INTERRUPTED

if TYPE_CHECKING:
    from promptbot.evals.suite_spec import Budget
    from promptbot.evals.trained import Trained
    from promptbot.learn.search import Trial
    from promptbot.learn.spec import BaselineSpec


def finetune(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name or file.")],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="In place of the suite's baselines: linear_probe, contrastive, lora, "
            "sequence_classification, causal_lm or causal_lora (also of chat bots).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="What it starts from: teacher, embedded, bot, a folder."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="N", help="Examples of each label, or all; may be repeated."),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Try N settings (rates, epochs) on examples held out of the budget's own first.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Samples at most, spread over the file.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of the draw of examples; may be repeated.")
    ] = None,
) -> None:
    """Train a suite's baselines on the examples that its prompts may show, and measure them.

    The accuracy is that on the suite's samples; of chat bots, the share of answers that are right
    word for word. To compare with prompts, write baseline: into the
    suite and run promptbot eval.
    """
    from promptbot.evals.suite import load_suite
    from promptbot.evals.trained import accuracies, train, with_baselines

    with _one_speaks():
        loaded = load_suite(suite, limit=limit, seeds=list(seed or ()))
        loaded = with_baselines(loaded, _baselines(method, model, search, loaded.spec.baseline))
        budgets = [_budget(text) for text in budget or ()]
        trained: list[Trained] = []
        try:
            for item in train(loaded, budgets, tell_trial, tell_memory):
                trained.append(item)
                _tell(item)
        except KeyboardInterrupt:
            print("\nStopped; what was trained is kept, and not trained again.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        unseen = sorted({label for item in trained for label in item.unseen})
        if unseen:
            print(
                f"Labels that training never saw, so that none of their samples can be right: "
                f"{', '.join(unseen[:10])}{' ...' if len(unseen) > 10 else ''}",
                file=sys.stderr,
            )
        measure = "accuracy" if loaded.task == "classify" else "word for word"
        for row in accuracies(loaded, trained):
            seeds = f", {row.lowest:.1%} to {row.highest:.1%} by seed" if row.n_seeds > 1 else ""
            print(
                f"{row.name}{_says(row.budget)}: {measure} {row.estimate:.1%} "
                f"[{row.interval.low:.1%}, {row.interval.high:.1%}]{seeds}, "
                f"{len(loaded.samples)} samples"
            )


@contextmanager
def _one_speaks() -> Iterator[None]:
    """Let only the first of several processes print, but each its own error.

    ``accelerate launch`` starts the whole command in each of them.
    """
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


def _tell(item: Trained) -> None:
    """Print one trained baseline to the standard error stream, as it comes."""
    how = "trained before" if item.baseline.cached else "trained"
    print(
        f"{item.name}{_says(item.budget)}, seed {item.seed}: "
        f"{sum(item.scores) / len(item.scores):.1%}; {how} on {item.baseline.n_examples:,} "
        f"examples in {item.baseline.train_seconds:.1f} s{_memory(item)}: {item.baseline.folder}",
        file=sys.stderr,
    )
    if item.baseline.search and item.baseline.recipe:
        found = item.baseline.search
        print(
            f"  with {_settings(item.baseline.recipe)}: loss {found.loss:.3f} on "
            f"{found.n_held_out} held-out examples ({found.loss_before:.3f} with the settings of "
            f"its own), the lowest of {found.n_trials} tried",
            file=sys.stderr,
        )
    elif item.searched:
        print("  with its own settings: too few examples to hold any out", file=sys.stderr)


def _memory(item: Trained) -> str:
    n_bytes = item.baseline.train_bytes
    return f", {n_bytes / 1e9:.2f} GB of memory" if n_bytes else ""


def tell_trial(name: str, trial: Trial) -> None:
    """Print one setting that was tried to the standard error stream, as it comes."""
    print(
        f"{name}: setting {trial.number} of {trial.n_trials}: loss {trial.loss:.3f} "
        f"(lowest {trial.lowest:.3f}); {_settings(asdict(trial.recipe))}",
        file=sys.stderr,
    )


def _settings(recipe: Mapping[str, Any]) -> str:
    rates = f"learning rate {recipe['learning_rate']:.2g}"
    if recipe["head_learning_rate"] != recipe["learning_rate"]:
        rates += f", of the head {recipe['head_learning_rate']:.2g}"
    rank = f", rank {recipe['rank']}" if recipe["rank"] else ""
    return f"{rates}, {recipe['epochs']} epochs{rank}"


def tell_memory(name: str, n_bytes: int) -> None:
    """Print what training weights will take at most, before it starts."""
    print(
        f"{name}: training takes at most about {n_bytes / 1e9:.2f} GB of memory.", file=sys.stderr
    )


def _says(budget: Budget | None) -> str:
    if budget is None:
        return ""
    return ", all examples" if budget == "all" else f", {budget} a label"


def _baselines(
    method: str | None,
    model: str | None,
    search: int | None,
    of_suite: dict[str, BaselineSpec],
) -> dict[str, BaselineSpec]:
    """Return the baselines that the command asks for."""
    from typing import cast, get_args

    from promptbot.errors import InputError, known_words
    from promptbot.learn.spec import BaselineSpec, Method

    changes: dict[str, Any] = {} if model is None else {"model": model}
    if search is not None:
        found = [method] if method else [spec.method for spec in of_suite.values()]
        if "linear_probe" in found:
            raise InputError(
                "linear_probe has nothing to search: it chooses its penalty by itself.",
                place="--search",
                hint="Leave --search out, or give --method lora.",
            )
        changes["search"] = search
    if method is None:
        return {n: spec.model_copy(update=changes) for n, spec in of_suite.items()}
    known = get_args(Method)
    if method not in known:
        raise InputError(
            f'unknown method "{method}".',
            place="--method",
            hint=known_words("Known", method, known),
        )
    return {method: BaselineSpec(method=cast(Method, method), **changes)}


def _budget(text: str) -> Budget:
    from promptbot.errors import InputError

    if text == "all":
        return "all"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(
            f'"{text}" is not a budget.',
            place="--budget",
            expected="Expected a number of examples of each label, from 1, or all.",
            hint="As --budget 10 --budget all.",
        )
    return int(text)
