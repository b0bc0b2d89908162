"""`promptbot finetune`: the same task solved by training, and how well."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from promptbot.errors import INTERRUPTED

if TYPE_CHECKING:
    from promptbot.evals.suite import Budget, Suite
    from promptbot.evals.trained import Trained
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

    loaded = load_suite(suite, limit=limit, seeds=list(seed or ()))
    loaded = with_baselines(loaded, _baselines(method, model, loaded.spec.baseline))
    budgets = [_budget(text) for text in budget or ()]
    _tell_memory(loaded)
    trained: list[Trained] = []
    try:
        for item in train(loaded, budgets):
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


def _tell(item: Trained) -> None:
    """Print one trained baseline to the standard error stream, as it comes."""
    how = "trained before" if item.baseline.cached else "trained"
    print(
        f"{item.name}{_says(item.budget)}, seed {item.seed}: "
        f"{sum(item.scores) / len(item.scores):.1%}; {how} on {item.baseline.n_examples:,} "
        f"examples in {item.baseline.train_seconds:.1f} s: {item.baseline.folder}",
        file=sys.stderr,
    )


def _tell_memory(suite: Suite) -> None:
    """Print what training weights will take at most, before it starts."""
    trained = {n: b for n, b in suite.spec.baseline.items() if b.method != "linear_probe"}
    if not trained:
        return
    from promptbot.bot.folder import load_bot
    from promptbot.learn.spec import CAUSAL
    from promptbot.learn.tuned import memory_needed
    from promptbot.models.encoder import checkpoint_folder
    from promptbot.models.registry import EMBEDDED

    if suite.pool is not None:
        texts = [item.sample.input for item in suite.pool.rows]
    else:
        texts = [example.input for example in load_bot(suite.bot).examples]
    longest = max(map(len, texts), default=0)
    for name, spec in trained.items():
        model = spec.starts_from(next(c.model for c in suite.columns if not c.baseline))
        embedded = model == "embedded" and spec.method in CAUSAL
        folder = EMBEDDED if embedded else checkpoint_folder(model, place=name)
        size = memory_needed(folder, spec.method, len(texts), longest)
        print(
            f"{name}: training {model} takes at most about {size / 1e9:.1f} GB of memory, "
            "activations included.",
            file=sys.stderr,
        )


def _says(budget: Budget | None) -> str:
    if budget is None:
        return ""
    return ", all examples" if budget == "all" else f", {budget} a label"


def _baselines(
    method: str | None, model: str | None, of_suite: dict[str, BaselineSpec]
) -> dict[str, BaselineSpec]:
    """Return the baselines that the command asks for."""
    from typing import cast, get_args

    from promptbot.errors import InputError, known_words
    from promptbot.learn.spec import BaselineSpec, Method

    changes = {} if model is None else {"model": model}
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
