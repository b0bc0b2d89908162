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
import functools
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.bot.folder import Bot
from promptbot.data import content_hash
from promptbot.errors import DataError, MissingExtra, ModelError, StoreError
from promptbot.interfaces import Encoder, HoldsWeights, Predictor
from promptbot.learn import probe
from promptbot.learn.head import pooling_of
from promptbot.learn.search import Found, Trial, constants, held_out, search
from promptbot.learn.spec import BaselineSpec, Method
from promptbot.models.call_cache import noting_replays
from promptbot.models.encoder import checkpoint_folder, checkpoint_revision, load_encoder
from promptbot.models.footprint import watching_memory
from promptbot.models.weights import CARD, checksums, read_json, read_verified
from promptbot.prompt.similarity import cache_folder
from promptbot.types import Example, Sample

if TYPE_CHECKING:
    from promptbot.learn.tuned import Recipe

FORMAT = 4
"""Version of the folder; a newer one is trained anew."""
LEFT_BEHIND_S = 86_400
"""Seconds after which files that never became a baseline are removed."""


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
    recipe: Mapping[str, Any] | None = None
    """The settings of a training of weights."""
    search: Found | None = None
    """How these settings were chosen; None for the method's own."""


def make_baseline(
    spec: BaselineSpec,
    examples: Sequence[Example],
    encoder: Encoder | None = None,
    *,
    seed: int = 0,
    place: str = "baseline",
    cache: Path | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_memory: Callable[[int], None] = lambda n_bytes: None,
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
        on_trial: Called with each setting that a search tries.
        on_memory: Called before weights are trained with about how many bytes that takes.

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
        way = _Probing(encoder or load_encoder(spec.model, float32=True))
    else:
        way = _Training(spec.method, checkpoint_folder(spec.model, place=place), seed, place)
    identity = {
        "format": FORMAT,
        "method": spec.method,
        **way.identity,
        "encoder": way.revision,
        "examples": [(example.input, example.label) for example in examples],
    }
    place_of_it = cache or cache_folder("baselines")
    found = None

    @functools.cache
    def announce() -> None:
        if isinstance(way, _Training):
            on_memory(way.memory_needed(examples))

    if isinstance(way, _Training):
        from promptbot.learn import tuned

        own = tuned.recipe(spec.method, len(examples))
        if spec.search:
            targets = [str(example.label) for example in examples]
            found = _search(
                spec, own, identity, place_of_it, partial(way.loss, examples),
                held_out(targets, len(examples), seed), seed, on_trial, announce,
            )  # fmt: skip
        if found and found.recipe != own:
            way = replace(way, settings=found.recipe)
        identity["recipe"] = asdict(found.recipe if found else own)
    about = {"model": spec.model, "model_revision": way.revision}
    if "pooling" in identity:
        about["pooling"] = identity["pooling"]
    fit = partial(way.fit, examples)
    kept = _keep(
        identity, place_of_it, fit, way.load, len(examples), about, announce, way.n_frozen_bytes
    )
    return replace(kept, labels=tuple(labels), search=found)


def make_causal_baseline(
    spec: BaselineSpec,
    model: str,
    bot: Bot,
    *,
    encoder: Encoder | None = None,
    seed: int = 0,
    place: str = "baseline",
    cache: Path | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_memory: Callable[[int], None] = lambda n_bytes: None,
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
        on_trial: Called with each setting that a search tries.
        on_memory: Called before weights are trained with about how many bytes that takes.

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
        "tuned": tuned.constants(),
        "model": frozen.revision,
        # An adapter is kept with the name of its base.
        "base": str(base) if spec.method == "causal_lora" else None,
        "texts": [(text.prompt, text.answer) for text in texts],
    }

    def train(
        texts: Sequence[causal.TrainingText], folder: Path, work: Path, settings: Recipe | None
    ) -> None:
        with quiet():
            causal.fit_causal(
                texts, base, folder, work,
                method=spec.method, seed=seed, place=place, settings=settings,
            )  # fmt: skip

    def loss(tried: list[int], judged: list[int], settings: Recipe, work: Path) -> float:
        with tempfile.TemporaryDirectory() as name:
            train([texts[i] for i in tried], Path(name), work, settings)
            return causal.loss_of_answers(Path(name), [texts[i] for i in judged])

    @functools.cache
    def announce() -> None:
        longest = max(len(text.prompt) + len(text.answer) for text in texts)
        on_memory(tuned.memory_needed(base, spec.method, len(texts), longest))

    cache = cache or cache_folder("baselines")
    own, found = tuned.recipe(spec.method, len(texts)), None
    if spec.search:
        parts = held_out(None, len(texts), seed)
        found = _search(spec, own, identity, cache, loss, parts, seed, on_trial, announce)
    chosen = found.recipe if found else own
    identity["recipe"] = asdict(chosen)

    def fit(folder: Path, work: Path) -> Predictor:
        train(texts, folder, work, chosen)
        return load(folder)

    def load(folder: Path) -> Predictor:
        return causal.load_causal(folder, bot, encoder, seed)

    about = {"model": model, "model_revision": frozen.revision}
    kept = _keep(identity, cache, fit, load, len(texts), about, announce)
    labels = {str(example.label) for example in bot.examples if example.label is not None}
    return replace(kept, labels=tuple(sorted(labels)), search=found)


def _search(
    spec: BaselineSpec,
    own: Recipe,
    identity: Mapping[str, Any],
    cache: Path,
    loss: Callable[[list[int], list[int], Recipe, Path], float],
    parts: tuple[list[int], list[int]] | None,
    seed: int,
    on_trial: Callable[[Trial], None],
    announce: Callable[[], None],
) -> Found | None:
    """Return the settings that do best on examples held out of a baseline's own.

    Args:
        spec: Says how many are tried.
        own: The settings that the method takes by itself.
        identity: What decides the baseline beside its settings.
        cache: Where losses are kept.
        loss: Of a training with the first places, judged by the second; the folder is for its
            checkpoints, the same one for every process that trains it.
        parts: The places of examples to train on and to judge by.
        seed: Of the settings that are tried.
        on_trial: Called with each of them.
        announce: Called before the first.

    Returns:
        None where too few examples are there to hold some out.
    """
    if parts is None:
        return None
    _import_libraries(spec.method)
    announce()
    tried, judged = parts
    key = content_hash({**identity, "own": asdict(own), "search": constants(), "seed": seed})

    def loss_of(recipe: Recipe) -> float:
        work = cache / f"{key}.{content_hash(asdict(recipe))}.training"
        found = loss(tried, judged, recipe, work)
        shutil.rmtree(work, ignore_errors=True)
        return found

    return search(
        own,
        loss_of,
        n_trials=spec.search,
        n_held_out=len(judged),
        seed=seed,
        kept=cache / f"{key}.trials.json",
        on_trial=on_trial,
    )


def _keep(
    identity: dict[str, Any],
    cache: Path,
    fit: Callable[[Path, Path], Predictor],
    load: Callable[[Path], Predictor],
    n_examples: int,
    about: dict[str, str],
    announce: Callable[[], None],
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
        announce: Called before it trains.
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
        part = _name_for_part(folder)
        announce()
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
                "recipe": identity.get("recipe"),
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
        recipe=identity.get("recipe"),
    )


def _name_for_part(folder: Path) -> Path:
    """Return a free name beside a baseline's folder, for what is written before it is whole.

    There is something of this name only while files are written, and not while weights are
    trained: what is `LEFT_BEHIND_S` old was left by a kill, and is removed.

    Raises:
        StoreError: The cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for old in folder.parent.glob("*.part-*"):
            with contextlib.suppress(OSError):  # another process removed it
                if time.time() - old.stat().st_mtime > LEFT_BEHIND_S:
                    shutil.rmtree(old, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
        part.rmdir()
    except OSError as error:
        raise StoreError(
            f"baselines cannot be kept there ({error.strerror}).",
            place=str(folder.parent),
            hint="Let PROMPTBOT_CACHE name a folder where you may write.",
        ) from error
    return part


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

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result beside examples and base."""
        return {"probe": probe.constants()}

    def fit(self, examples: Sequence[Example], folder: Path, work: Path) -> Predictor:
        """Learn, write everything into the folder, and return the predictor."""
        fitted = probe.fit_probe(examples, self.encoder)
        folder.mkdir()
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
    settings: Recipe | None = None

    n_frozen_bytes = 0

    @cached_property
    def revision(self) -> str:
        """Content hash of the checkpoint that it starts from."""
        return checkpoint_revision(self.base)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result beside examples, base and settings."""
        from promptbot.learn import tuned

        has_head = self.method != "contrastive"
        return {
            "seed": self.seed,
            "tuned": tuned.constants(),
            # The regression that a head starts from is a probe's.
            "probe": probe.constants(),
            **({"pooling": pooling_of(self.base)} if has_head else {}),
        }

    def fit(self, examples: Sequence[Example], folder: Path, work: Path) -> Predictor:
        """Train, write everything into the folder, and return the predictor."""
        from promptbot.learn import tuned
        from promptbot.models.transformers import quiet

        with quiet():
            if self.method == "contrastive":
                return tuned.fit_contrastive(
                    examples, self.base, folder, work,
                    seed=self.seed, place=self.place, settings=self.settings,
                )  # fmt: skip
            return tuned.fit_classifier(
                examples, self.base, folder, work, method=self.method,
                seed=self.seed, place=self.place, settings=self.settings,
            )  # fmt: skip

    def memory_needed(self, examples: Sequence[Example]) -> int:
        """Return about how many bytes the training takes."""
        from promptbot.learn import tuned

        longest = tuned.longest(self.base, [example.input for example in examples])
        return tuned.memory_needed(self.base, self.method, len(examples), longest)

    def loss(
        self,
        examples: Sequence[Example],
        tried: list[int],
        judged: list[int],
        settings: Recipe,
        work: Path,
    ) -> float:
        """Train on some examples and return the mean loss of others, in nats."""
        with tempfile.TemporaryDirectory() as name:
            way = replace(self, settings=settings)
            predictor = way.fit([examples[i] for i in tried], Path(name), work)
            asked = [Sample(str(i), examples[i].input, str(examples[i].label)) for i in judged]
            logprobs = [
                answer.label_logprobs[sample.target]
                for sample, answer in zip(asked, predictor.predict(asked), strict=True)
            ]
        return -sum(logprobs) / len(logprobs)

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
