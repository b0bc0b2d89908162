"""From a suite's columns to predictors: bots under a variant, with a model behind them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from promptbot.bot.folder import Bot, load_bot
from promptbot.data import check_k, content_hash
from promptbot.errors import ContextOverflow, UserError
from promptbot.evals.column_spec import ColumnSpec
from promptbot.evals.matrix import nested
from promptbot.evals.own_predictor import FunctionPredictor, load_function
from promptbot.evals.remember import RememberingEncoder
from promptbot.evals.runner import Job
from promptbot.evals.samples import EvalSample
from promptbot.evals.suite import Suite
from promptbot.evals.suite_spec import Budget
from promptbot.evals.together import TogetherModel, TogetherPredictor
from promptbot.interfaces import AnswersMany, FollowsSchemas
from promptbot.learn.spec import CAUSAL
from promptbot.models.call_cache import CallCache, with_cache
from promptbot.models.providers import is_remote_model
from promptbot.types import Example

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel, Predictor
    from promptbot.learn.baseline import Baseline
    from promptbot.learn.search import Trial
    from promptbot.learn.spec import BaselineSpec


SCRIPTED = "scripted:"
"""Models of this kind are never cached: a script may be read line by line."""

N_TOGETHER = 64
"""Samples that a baseline reads at once."""


@dataclass
class Workshop:
    """Makes the predictors of a suite; holds one model at a time."""

    suite: Suite
    """The suite."""
    on_model: Callable[[str, str], None] = lambda spec, revision: None
    """Called with spec and revision of each model that is loaded, before it answers."""
    on_baseline: Callable[[str, Baseline], None] = lambda name, made: None
    """Called with ``COLUMN/SEED`` and each baseline that is trained or found."""
    on_trial: Callable[[str, Trial], None] = lambda name, trial: None
    """Called with ``COLUMN/SEED`` and each setting that a baseline's search tries."""
    on_memory: Callable[[str, int], None] = lambda name, n_bytes: None
    """Called with ``COLUMN/SEED`` and about how many bytes a training takes, before it starts."""
    cache: CallCache | None = None
    """Answers equal calls; None asks the model every time."""
    n_together: int = 1
    """Samples of a prompted column that a local model reads at once."""
    _models: dict[str, FrozenModel] = field(default_factory=dict, repr=False)
    _encoders: dict[tuple[str, bool], RememberingEncoder] = field(default_factory=dict, repr=False)

    def bot(self, column: ColumnSpec, seed: int) -> Bot:
        """Return a column's bot, with examples and labels of the suite's pool where it has one."""
        bot = self._load(column)
        if self.suite.spec.pool is None:
            return bot
        return self._with_pool(bot, column.budget or self.suite.spec.pool.per_label, seed)

    def _load(self, column: ColumnSpec) -> Bot:
        try:
            return load_bot(self.suite.bot, column.variant, nested(column.settings))
        except UserError as error:
            if not column.settings:
                raise
            raise error.located(f"{self.suite.path}, matrix: {column.name}") from None

    def job(self, column: ColumnSpec, seed: int, repeat: int) -> Job:
        """Return what the runner needs to know of a column."""
        n_together: int | None = 1
        if column.baseline:
            # A trained model of the bot's answers as a prompted one does.
            n_together = 1 if self._spec_of(column).method in CAUSAL else N_TOGETHER
        elif not is_remote(column) and not column.model.startswith(SCRIPTED):
            n_together = self.n_together
        if (
            not (column.baseline or column.function)
            and self.bot(column, seed).spec.calibration.method == "batch"
        ):
            n_together = None
        return Job(
            column.name,
            seed,
            partial(self.predictor, column, seed, repeat),
            repeat,
            remote=is_remote(column),
            n_together=n_together,
            price=self.suite.spec.prices.get(column.model),
        )

    def predictor(self, column: ColumnSpec, seed: int, repeat: int = 0) -> Predictor:
        """Return the chain of a column, or its baseline, trained where it is not in the cache.

        Repeats see the same prompts; where the model draws, it draws anew.
        """
        if column.baseline:
            return self.baseline(column, seed).predictor
        if column.function:
            made = self.function(column.function)
            self.on_model(column.model, made.revision)
            return made
        from promptbot.chain import load_chain

        model = self.model(column.model, seed)
        together = (
            self.n_together > 1
            and isinstance(model, AnswersMany)
            and isinstance(model, FollowsSchemas)
        )
        if self.cache is not None and not column.model.startswith(SCRIPTED):
            model = with_cache(model, self.cache, repeat)
        if together:
            model = cast("FrozenModel", TogetherModel(model))
        bot = self.bot(column, seed)
        chain = load_chain(
            bot,
            model=model,
            encoder=self._encoder(bot.spec.encoder),
            seed=seed,
            sampling_seed=derived_seed(seed, repeat),
        )
        # What is wrong for every sample, as an encoder that is missing, stops the run here: it
        # would else be kept as the error of each. A first sample that is too long is its own.
        with suppress(ContextOverflow):
            chain.compose(self.suite.samples[0].sample.input)
        if isinstance(model, TogetherModel) and bot.spec.calibration.method != "batch":
            return TogetherPredictor(chain, model)
        return chain

    def function(self, name: str) -> FunctionPredictor:
        """Return what answers with a function of the user's.

        Raises:
            SpecError: It cannot be loaded.
        """
        return load_function(
            name, self.suite.path.parent, self.suite.task, place=str(self.suite.path)
        )

    def model(self, spec: str, seed: int) -> FrozenModel:
        """Return a model; the one that was loaded before is given up for another.

        Raises:
            UserError: It cannot be loaded, or is on a server that the suite's user did not name.
        """
        from promptbot.models.registry import load_model, refuse_foreign_server

        if spec not in self._models:
            # A bot or a suite may come from a stranger: only the user's own --model sends
            # messages and keys elsewhere.
            if spec not in self.suite.models_of_user:
                refuse_foreign_server(spec, place=str(self.suite.path))
            self._models.clear()
            model = load_model(spec, seed=seed)
            self.on_model(spec, model.revision)
            self._models[spec] = model
        return self._models[spec]

    def baseline(self, column: ColumnSpec, seed: int) -> Baseline:
        """Return the baseline of a column, trained on the examples that its prompts may show."""
        from promptbot.learn.baseline import make_baseline, make_causal_baseline

        spec, place = self._spec_of(column), str(self.suite.path)
        name = f"{column.name}/{seed}"
        on_trial, on_memory = partial(self.on_trial, name), partial(self.on_memory, name)
        bot = self.bot(column, seed)
        if spec.method in CAUSAL:
            notes = self._encoder(bot.spec.encoder)
            made = make_causal_baseline(
                spec, column.model, bot,
                encoder=notes, seed=seed, place=place, on_trial=on_trial, on_memory=on_memory,
            )  # fmt: skip
        else:
            encoder = None
            if spec.method == "linear_probe":
                # In float32 a probe is the same, and its key too, whatever the processor can do.
                encoder = self._encoder(column.model, float32=True)
            made = make_baseline(
                spec, bot.examples, encoder,
                seed=seed, place=place, on_trial=on_trial, on_memory=on_memory,
            )  # fmt: skip
            self.on_model(f"baseline {column.name}", made.base_revision)
        self.on_baseline(name, made)
        return made

    def _spec_of(self, column: ColumnSpec) -> BaselineSpec:
        return self.suite.spec.baseline[column.curve or column.name]

    def _encoder(self, spec: str, *, float32: bool = False) -> RememberingEncoder:
        from promptbot.models.encoder import load_encoder

        def load() -> Encoder:
            made = load_encoder(spec, float32=float32)
            if not float32:  # a baseline's is in its own revision
                self.on_model(f"encoder {spec}", made.revision)
            return made

        key = spec, float32 and spec != "embedded"  # which knows nothing else
        if key not in self._encoders:
            self._encoders[key] = RememberingEncoder(load)
        return self._encoders[key]

    def _with_pool(self, bot: Bot, per_label: Budget, seed: int) -> Bot:
        pool, pool_spec = self.suite.pool, self.suite.spec.pool
        assert pool is not None
        assert pool_spec is not None
        labels = {item.sample.target: [_wording(item.sample.target)] for item in pool.rows}
        examples = draw_examples(pool.rows, per_label, seed)
        changes: dict[str, object] = {"labels": dict(sorted(labels.items()))}
        if bot.spec.examples and self.suite.spec.budgets:
            # The smallest budgets may hold fewer examples than the prompt would show.
            k = min(bot.spec.examples.k, len(examples))
            changes["examples"] = bot.spec.examples.model_copy(update={"k": k})
        elif bot.spec.examples:
            check_k(
                bot.spec.examples.k, len(examples), place=pool_spec.place(self.suite.path.parent)
            )
        return replace(bot, spec=bot.spec.model_copy(update=changes), examples=examples)


def is_remote(column: ColumnSpec) -> bool:
    """Return whether a column's model runs elsewhere."""
    return not column.baseline and is_remote_model(column.model)


def derived_seed(seed: int, repeat: int) -> int:
    """Return the seed of what a model draws in a repeat: the suite's own in the first one."""
    return seed if repeat == 0 else int(content_hash([seed, repeat])[:7], 16)


def draw_examples(pool: Sequence[EvalSample], per_label: Budget, seed: int) -> tuple[Example, ...]:
    """Return as many examples of each label, drawn at random; all of them for ``all``.

    Draws of one seed are nested: those of a smaller budget are the first of a larger one's. The
    labels take turns, each turn in another order; a label that has no more is passed over.
    """
    rng = random.Random(seed)
    by_label: dict[str, list[EvalSample]] = {}
    for item in pool:
        by_label.setdefault(item.sample.target, []).append(item)
    # Everything is shuffled whatever the budget, so that the budget changes no draw.
    shuffled = [rng.sample(by_label[label], len(by_label[label])) for label in sorted(by_label)]
    drawn: list[EvalSample] = []
    for number in range(max(map(len, shuffled), default=0)):
        if per_label != "all" and number >= per_label:
            break
        turn = [items[number] for items in shuffled if number < len(items)]
        rng.shuffle(turn)
        drawn += turn
    return tuple(
        Example(item.sample.input, _wording(item.sample.target), item.sample.target, item.line)
        for item in drawn
    )


def _wording(label: str) -> str:
    return label.replace("_", " ").strip()
