"""From a baseline's settings to a trained predictor, kept under the hash of what decided it.

::

    CACHE/baselines/KEY/
      *.safetensors  labels.json  ...    what was learned; no file in it can run code
      card.json                          how, from what, and the checksums of the other files

A folder appears whole, by one renaming. A training of weights that was killed leaves its
checkpoints in KEY.training and goes on from there; a probe is done anew.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from promptbot.bot.folder import Bot
from promptbot.data import content_hash
from promptbot.errors import DataError, MissingExtra, ModelError
from promptbot.interfaces import Encoder, HoldsWeights, Predictor
from promptbot.learn import probe
from promptbot.learn.spec import BaselineSpec, Method
from promptbot.models.call_cache import noting_replays
from promptbot.models.encoder import checkpoint_folder, checkpoint_revision, load_encoder
from promptbot.models.footprint import watching_memory
from promptbot.models.weights import CARD, checksums, read_json, read_verified
from promptbot.prompt.similarity import cache_folder
from promptbot.types import Example

FORMAT = 4
"""Version of the folder; a newer one is trained anew."""


@dataclass(frozen=True)
class Baseline:
    """A trained predictor and how it came about."""

    predictor: Predictor
    """Answers samples."""
    folder: Path
    """Where it is kept."""
    n_examples: int
    """Labelled examples that it learned from."""
    labels: tuple[str, ...]
    """Labels that it knows; none of chat bots."""
    train_seconds: float
    """Wall-clock time of the training, encoding included, whenever that was."""
    train_bytes: int | None
    """Memory that the training took at its peak, its weights included; None where unknown."""
    cached: bool
    """Whether it was trained before."""
    base_revision: str
    """Content hash of what it started from."""


def make_baseline(
    spec: BaselineSpec,
    examples: Sequence[Example],
    encoder: Encoder | None = None,
    *,
    seed: int = 0,
    place: str = "baseline",
    cache: Path | None = None,
) -> Baseline:
    """Return a baseline, from the cache where the same training was done before.

    Args:
        spec: Its settings.
        examples: What it learns from; each has a label.
        encoder: The frozen encoder of a linear probe; the one that `spec.model` names when None.
            Methods that train weights start from a copy of its checkpoint, and load no encoder.
        seed: Of a training of weights; a probe has none.
        place: The file that asks, for errors.
        cache: Where baselines are kept; the user's cache folder when None.

    Raises:
        MissingExtra: A package of `promptbot[finetune]` is not installed.
        ModelError: The checkpoint cannot be trained for this, or memory does not suffice.
        DataError: There are fewer than two labels to tell apart.
    """
    labels = sorted({str(example.label) for example in examples if example.label is not None})
    if len(labels) < 2:
        raise DataError(
            f"a baseline cannot learn from {len(examples)} examples of "
            f"{len(labels)} {'label' if len(labels) == 1 else 'labels'}.",
            place=place,
            expected="Expected labelled examples of at least two labels.",
            hint="Add examples to the bot, or give the suite a pool of labelled ones.",
        )
    # The order does not change the solution, so it does not change the key either.
    examples = sorted(examples, key=lambda example: (str(example.label), example.input))
    way: _Probing | _Training
    if spec.method == "linear_probe":
        way = _Probing(encoder or load_encoder(spec.model))
    else:
        way = _Training(spec.method, checkpoint_folder(spec.model, place=place), seed, place)
    identity = {
        "format": FORMAT,
        "method": spec.method,
        **way.identity(len(examples)),
        "encoder": way.revision,
        "examples": [(example.input, example.label) for example in examples],
    }
    place_of_it = cache or cache_folder("baselines")
    card = {"model": spec.model, "model_revision": way.revision}
    fit = partial(way.fit, examples)
    kept = _keep(identity, place_of_it, fit, way.load, len(examples), card, way.n_frozen_bytes)
    return replace(kept, labels=tuple(labels))


def make_causal_baseline(
    spec: BaselineSpec,
    model: str,
    bot: Bot,
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
    place: str = "baseline",
    cache: Path | None = None,
) -> Baseline:
    """Return a bot whose own model was trained on its examples, from the cache where it is there.

    Args:
        spec: Its settings; the method is one of `CAUSAL`.
        model: What is trained: the spec of a causal model.
        bot: Its template renders the examples for training and the prompts afterwards.
        encoder: Finds notes; the one that the bot names when None.
        seed: Of the training.
        place: The file that asks, for errors.
        cache: Where baselines are kept; the user's cache folder when None.

    Raises:
        MissingExtra: A package of `promptbot[finetune]` is not installed.
        ModelError: The model cannot be trained, or memory does not suffice.
        DataError: The bot has no examples.
    """
    from promptbot.learn import causal, tuned
    from promptbot.models.transformers import quiet

    frozen, base = causal.trainable_model(model, place)
    texts = causal.training_texts(bot, frozen, encoder, seed)
    identity = {
        "format": FORMAT,
        "method": spec.method,
        "seed": seed,
        "recipe": asdict(tuned.recipe(spec.method, len(texts))),
        "tuned": tuned.constants(),
        "model": frozen.revision,
        # An adapter is kept with the name of its base.
        "base": str(base) if spec.method == "causal_lora" else None,
        "texts": [(text.prompt, text.answer) for text in texts],
    }

    def fit(folder: Path, work: Path) -> Predictor:
        with quiet():
            causal.fit_causal(texts, base, folder, work, method=spec.method, seed=seed, place=place)
            return load(folder)

    def load(folder: Path) -> Predictor:
        return causal.load_causal(folder, bot, encoder, seed)

    card = {"model": model, "model_revision": frozen.revision}
    kept = _keep(identity, cache or cache_folder("baselines"), fit, load, len(texts), card)
    labels = {str(example.label) for example in bot.examples if example.label is not None}
    return replace(kept, labels=tuple(sorted(labels)))


def _keep(
    identity: dict[str, Any],
    cache: Path,
    fit: Callable[[Path, Path], Predictor],
    load: Callable[[Path], Predictor],
    n_examples: int,
    about: dict[str, str],
    n_frozen_bytes: int = 0,
) -> Baseline:
    """Return what a training gives, trained where the cache has it not; without labels.

    Args:
        identity: What decides the result.
        cache: Where baselines are kept.
        fit: Trains into a folder, with another one for checkpoints.
        load: Loads what `fit` wrote.
        n_examples: Examples that it learns from.
        about: What the card also says.
        n_frozen_bytes: Memory of frozen weights that are loaded already and that it uses.
    """
    folder = cache / content_hash(identity)
    card = _valid_card(folder)
    if cached := card is not None:
        predictor = load(folder)
    else:
        if find_spec("sklearn") is None:
            raise MissingExtra("A baseline", "scikit-learn", "finetune")
        _import_libraries(identity["method"])
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
        work = folder.with_name(f"{folder.name}.training")
        try:
            with noting_replays() as replay, watching_memory() as grown:
                started = time.perf_counter()
                predictor = fit(part, work)
                # Vectors that were remembered count as if they had been made for this training.
                seconds = time.perf_counter() - started + replay.seconds
            card = {
                "format": FORMAT,
                "method": identity["method"],
                **about,
                "n_examples": n_examples,
                "train_seconds": round(seconds, 3),
                "train_bytes": None if grown.n_bytes is None else n_frozen_bytes + grown.n_bytes,
            }
            names = [
                path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file()
            ]
            card["files"] = checksums(part, names)
            (part / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            with contextlib.suppress(OSError):  # another process was quicker with the same
                part.replace(folder)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Baseline(
        predictor=predictor,
        folder=folder,
        n_examples=int(card["n_examples"]),
        labels=(),
        train_seconds=float(card["train_seconds"]),
        train_bytes=card.get("train_bytes"),
        cached=cached,
        base_revision=about["model_revision"],
    )


def _import_libraries(method: Method) -> None:
    """Import what a training needs, so that its seconds and its memory are its own."""
    names = ["sklearn.linear_model", "sklearn.model_selection"]
    if method != "linear_probe":
        names += ["torch", "transformers.trainer"]
    if method == "contrastive":
        names += ["sentence_transformers", "datasets"]
    if method in ("lora", "causal_lora"):
        names += ["peft"]
    for name in names:
        with contextlib.suppress(ImportError):  # the training says what is missing
            import_module(name)


@dataclass(frozen=True)
class _Probing:
    """How a linear probe learns, is kept and is loaded."""

    encoder: Encoder

    @property
    def revision(self) -> str:
        """Content hash of what it starts from."""
        return self.encoder.revision

    @property
    def n_frozen_bytes(self) -> int:
        """Memory of weights that are loaded before it begins."""
        return self.encoder.n_bytes if isinstance(self.encoder, HoldsWeights) else 0

    def identity(self, n_examples: int) -> dict[str, Any]:
        """Return what decides the result beside examples and base."""
        return {"probe": probe.constants()}

    def fit(self, examples: Sequence[Example], folder: Path, work: Path) -> Predictor:
        """Learn, write everything into the folder, and return the predictor."""
        fitted = probe.fit_probe(examples, self.encoder)
        fitted.save(folder)
        return fitted

    def load(self, folder: Path) -> Predictor:
        """Return the predictor that a folder holds."""
        return probe.load_probe(folder, self.encoder)


@dataclass(frozen=True)
class _Training:
    """How a method that trains weights learns, is kept and is loaded."""

    method: Method
    base: Path
    seed: int
    place: str

    n_frozen_bytes = 0

    @cached_property
    def revision(self) -> str:
        """Content hash of the checkpoint that it starts from."""
        return checkpoint_revision(self.base)

    def identity(self, n_examples: int) -> dict[str, Any]:
        """Return what decides the result beside examples and base."""
        from promptbot.learn import tuned

        return {
            "seed": self.seed,
            "recipe": asdict(tuned.recipe(self.method, n_examples)),
            "tuned": tuned.constants(),
            "probe": probe.constants() if self.method == "contrastive" else None,
        }

    def fit(self, examples: Sequence[Example], folder: Path, work: Path) -> Predictor:
        """Train, write everything into the folder, and return the predictor."""
        from promptbot.learn import tuned
        from promptbot.models.transformers import quiet

        with quiet():
            if self.method == "contrastive":
                return tuned.fit_contrastive(
                    examples, self.base, folder, work, seed=self.seed, place=self.place
                )
            return tuned.fit_classifier(
                examples,
                self.base,
                folder,
                work,
                method=self.method,
                seed=self.seed,
                place=self.place,
            )

    def load(self, folder: Path) -> Predictor:
        """Return the predictor that a folder holds."""
        from promptbot.learn import tuned

        if self.method == "contrastive":
            return tuned.load_contrastive(folder)
        return tuned.load_classifier(folder, self.base, self.method)


def _valid_card(folder: Path) -> dict[str, Any] | None:
    """Return the card of a folder whose files are what it says; None for any other folder."""
    try:
        card = read_json(folder / CARD)
        read_verified(folder, card["files"])
    except (ModelError, OSError, KeyError):
        return None
    return card if card.get("format") == FORMAT else None
