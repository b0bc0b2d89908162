"""A small search for a training's settings, judged on examples that are held out for it.

The settings that a method takes by itself are tried first, so that a search never ends with what
did worse than they on the held-out examples. Every trial is kept as soon as it is done: a search
that was stopped goes on where it stood, and comes to the same end.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.data import content_hash
from promptbot.errors import MissingExtra

if TYPE_CHECKING:
    from promptbot.learn.tuned import Recipe

RATE_FACTOR = 4.0
"""Rates are tried from this part of a method's own to this multiple of it."""
EPOCH_FACTORS = (0.5, 1.0, 2.0)
RANKS = (8, 16, 32)
SHARE = 0.2
"""Of the examples that settings are judged by; at least one of each label."""
FEWEST = 8
"""Examples with which a search begins to make sense."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting that was tried."""

    number: int
    """Which, from 1."""
    n_trials: int
    """Of how many."""
    recipe: Recipe
    """The settings."""
    loss: float
    """On the held-out examples, in nats an example or token; infinite where it did not learn."""
    lowest: float
    """The lowest loss so far."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    recipe: Recipe
    """The settings with the lowest loss."""
    n_trials: int
    """How many were tried."""
    n_held_out: int
    """Examples by which they were judged."""
    loss: float
    """Their loss."""
    loss_before: float
    """The loss of the settings that the method takes by itself."""


def search(
    own: Recipe,
    loss_of: Callable[[Recipe], float],
    *,
    n_trials: int,
    n_held_out: int,
    seed: int,
    kept: Path,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Found:
    """Return the settings with the lowest loss among those that were tried.

    Args:
        own: The settings that the method takes by itself.
        loss_of: Trains with some settings and returns the loss on the held-out examples.
        n_trials: How many settings are tried, the method's own among them.
        n_held_out: Examples by which they are judged.
        seed: Of the settings that are tried.
        kept: The file of the losses that are known; made where there is none.
        on_trial: Called with each trial.

    Raises:
        MissingExtra: optuna is not installed.

    Source:
        Tree-structured Parzen estimators: Bergstra et al. (2011), NeurIPS 24.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra("A search for settings", "optuna", "finetune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = _read(kept)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, n_trials // 3))
    study = optuna.create_study(direction="minimize", sampler=sampler)
    of_head = own.head_learning_rate != own.learning_rate
    first = {"rate": 1.0, "epochs": 1.0}
    study.enqueue_trial(
        first | ({"head_rate": 1.0} if of_head else {}) | ({"rank": own.rank} if own.rank else {})
    )
    lowest, best, before = math.inf, own, math.inf
    for number in range(1, n_trials + 1):
        asked = study.ask()
        rate = asked.suggest_float("rate", 1 / RATE_FACTOR, RATE_FACTOR, log=True)
        head_rate = rate
        if of_head:
            head_rate = asked.suggest_float("head_rate", 1 / RATE_FACTOR, RATE_FACTOR, log=True)
        epochs = asked.suggest_categorical("epochs", EPOCH_FACTORS)
        recipe = replace(
            own,
            learning_rate=own.learning_rate * rate,
            head_learning_rate=own.head_learning_rate * head_rate,
            epochs=max(1, round(own.epochs * epochs)),
            warmup_steps=max(1, round(own.warmup_steps * epochs)),
            rank=asked.suggest_categorical("rank", RANKS) if own.rank else 0,
        )
        key = content_hash(asdict(recipe))
        if key not in known:
            loss = loss_of(recipe)
            known[key] = loss if math.isfinite(loss) else None
            _write(kept, known)
        value = known[key]
        loss = math.inf if value is None else value
        # A loss that is no number would end the study; it is a very bad one.
        study.tell(asked, loss if math.isfinite(loss) else 1e9)
        before = loss if number == 1 else before
        if loss < lowest:
            lowest, best = loss, recipe
        on_trial(Trial(number, n_trials, recipe, loss, lowest))
    return Found(best, n_trials, n_held_out, lowest, before)


def held_out(
    labels: Sequence[str] | None, n_examples: int, seed: int
) -> tuple[list[int], list[int]] | None:
    """Return the places of examples to try settings with, and of those to judge them by.

    A label gives examples to both sides where it has two; with a single one it is only tried with.

    Args:
        labels: Of the examples; None where they have none.
        n_examples: How many there are.
        seed: Of the draw.

    Returns:
        None where most labels have a single example, or there are fewer than `FEWEST` examples.
    """
    by_label: dict[str, list[int]] = {}
    for place, label in enumerate(labels or [""] * n_examples):
        by_label.setdefault(label, []).append(place)
    several = sum(len(places) > 1 for places in by_label.values())
    if n_examples < FEWEST or several < len(by_label) / 2:
        return None
    rng = random.Random(seed)
    tried: list[int] = []
    judged: list[int] = []
    for label in sorted(by_label):
        places = rng.sample(by_label[label], len(by_label[label]))
        n_judged = max(1, round(SHARE * len(places))) if len(places) > 1 else 0
        judged += places[:n_judged]
        tried += places[n_judged:]
    return sorted(tried), sorted(judged)


def constants() -> dict[str, object]:
    """Return what decides a search beside examples and base, for its key in the cache."""
    return {"rate": RATE_FACTOR, "epochs": EPOCH_FACTORS, "ranks": RANKS, "share": SHARE}


def _read(path: Path) -> dict[str, float | None]:
    """Return the losses that are known; none where the file is missing or damaged."""
    with suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
    return {}


def _write(path: Path, known: dict[str, float | None]) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
