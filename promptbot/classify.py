"""From a prompt to a label: score the wordings, calibrate, mix in the neighbours, or abstain."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from promptbot.bot.folder import Bot
from promptbot.errors import ContextOverflow, DataError
from promptbot.models.scoring import score_each
from promptbot.prompt import calibration
from promptbot.prompt.calibration import Vector
from promptbot.prompt.orders import orders
from promptbot.prompt.selectors import Pool, make_selector
from promptbot.prompt.verbalizer import Verbalizer
from promptbot.types import Choice, Completion, Decision, Message, OptionScore, Prompt, Reply

if TYPE_CHECKING:
    from promptbot.interfaces import FrozenModel, Selector
    from promptbot.prompt.compose import Composer

N_PRIORS = 64
"""Contexts whose prior is kept: examples that are the same for every message need one."""


@dataclass(frozen=True, slots=True)
class Classified:
    """A label with everything that explains it."""

    text: str
    """The label's wording, or the fallback where the bot abstains."""
    label: str | None
    """The label; None for an abstention without a label of its own."""
    logprobs: Mapping[str, float]
    """Normalised log-probability by label, calibrated, in nats."""
    decision: Decision
    """How it was found."""
    asked: Completion | None = None
    """What the model wrote for it; None where nothing was written."""

    @property
    def completion(self) -> Completion:
        """What the trace calls the model's answer."""
        if self.asked is not None:
            return self.asked
        n_tokens = self.decision.n_prompt_tokens
        return Completion(text=self.text, n_prompt_tokens=n_tokens, stop_reason="scored")


class Classifier:
    """Chooses labels for one bot with one model.

    Args:
        bot: Labels, calibration and examples.
        model: Scores, or writes.
        composer: Makes the prompts of calibration from that of the message.
        seed: Of the random words of domain calibration.
    """

    def __init__(self, bot: Bot, model: FrozenModel, composer: Composer, seed: int) -> None:
        assert bot.spec.labels
        self._bot = bot
        self._model = model
        self._composer = composer
        self._seed = seed
        self._spec = bot.spec.calibration
        settings = bot.spec.verbalizer
        self.verbalizer = Verbalizer(
            bot.spec.labels,
            score=settings.score,
            parse=settings.parse,
            min_similarity=settings.min_similarity,
            load_encoder=lambda: composer.encoder,
        )
        self._labels = list(bot.spec.labels)
        self._lock = threading.Lock()
        self._priors: OrderedDict[tuple[Message, ...], Vector] = OrderedDict()
        self._members = [self._member(bot) for bot in bot.members]
        self._seen: Vector | None = None  # summed probabilities of the messages so far
        self._n_seen = 0

    def _member(self, other: Bot) -> Classifier:
        """Return what scores the labels in the prompt of another variant.

        Labels and example pool are this bot's own, also where an evaluation put others there.
        """
        spec = other.spec.model_copy(update={"labels": self._bot.spec.labels})
        examples = self._bot.examples if self._bot.spec.examples else other.examples
        bot = replace(other, spec=spec, examples=examples)
        composer = self._composer.for_bot(bot)
        return Classifier(bot, self._model, composer, self._seed)

    @property
    def scores(self) -> bool:
        """Whether labels are scored, rather than written and parsed."""
        return self._bot.spec.verbalizer.mode == "score" and self._model.can_score

    def classify(self, text: str, prompt: Prompt, earlier: Sequence[Message] = ()) -> Classified:
        """Return the likeliest label of a message by its scores; nothing is generated.

        Args:
            text: The message.
            prompt: What the bot composed for it.
            earlier: The session's messages, for the prompts of the ensemble's other variants.
        """
        alone = self._classify_alone(text, prompt)
        return self._mix(text, alone, earlier) if self._members else alone

    def _mix(self, text: str, alone: Classified, earlier: Sequence[Message]) -> Classified:
        """Return the mean over the label distributions of this prompt and of other variants'.

        Source:
            Jiang et al. (2020), "How can we know what language models know?", arXiv:1911.12543
            (ensembles of prompts; here with uniform weights).
        """
        log = _Log(remarks=list(alone.decision.remarks))
        found = {self._bot.variant: alone}
        for member in self._members:
            try:
                prompt = member._composer.compose(text, earlier)
            except ContextOverflow as error:
                log.remarks.append(f"{member._bot.variant} was left out: {error.problem}")
                continue
            one = member._classify_alone(text, prompt)
            found[member._bot.variant] = one
            log.remarks += [f"{member._bot.variant}: {said}" for said in one.decision.remarks]
        log.n_prompts = sum(one.decision.n_prompts for one in found.values())
        log.n_prompt_tokens = sum(one.decision.n_prompt_tokens for one in found.values())
        before = [[one.decision.before[name] for name in self._labels] for one in found.values()]
        final = [[one.logprobs[name] for name in self._labels] for one in found.values()]
        mixed = self._decide(
            calibration.mean_distribution(_array(before)),
            None,
            calibration.mean_distribution(_array(final)),
            None,
            log,
        )
        likeliest = {
            name: max(one.logprobs, key=one.logprobs.__getitem__) for name, one in found.items()
        }
        return replace(mixed, decision=replace(mixed.decision, by_variant=likeliest))

    def _classify_alone(self, text: str, prompt: Prompt) -> Classified:
        log = _Log()
        prompts = [prompt]
        if self._bot.spec.ensemble.kind == "permutations":
            n = self._bot.spec.ensemble.n
            found = orders(prompt.examples, n, seed=self._seed, query=text)
            prompts += [self._composer.reorder(prompt, examples) for examples in found[1:]]
            log.n_orders = len(prompts)
        scored = self._score_each([one.messages for one in prompts], log)
        before = calibration.mean_distribution(_array(scored))
        near = self._neighbours(text)
        if self._spec.method == "batch":
            prior = self._running_prior(before)
            return self._decide(before, prior, calibration.divide(before, prior), near, log)
        calibrated, priors = [], []
        for one, own in zip(prompts, scored, strict=True):
            if self._spec.method == "channel":
                calibrated.append(calibration.channel(self._score_inputs(text, one, log)))
            elif (own_prior := self._prior(one, log)) is not None:
                priors.append(own_prior)
                calibrated.append(calibration.divide(own, own_prior))
            else:
                calibrated.append(own)
        mean_prior = calibration.mean_distribution(_array(priors)) if priors else None
        mean = calibration.mean_distribution(_array(calibrated))
        return self._decide(before, mean_prior, mean, near, log)

    def chosen(self, text: str, choice: Choice, prompt: Prompt) -> Classified:
        """Return the label that a model chose which gives no log-probabilities of its own."""
        if not choice.logprobs:
            how = cast('Literal["enumerated", "written"]', choice.how)
            found = self.written(choice.text, prompt, how)
        else:
            scores = [OptionScore(o, v, (v,)) for o, v in choice.logprobs.items()]
            logprobs = self.verbalizer.label_logprobs(scores, as_they_are=True)
            values = _array([logprobs[label] for label in self._labels])
            log = _Log(1, prompt.n_tokens, self._left_undone("logprobs"))
            near = self._neighbours(text)
            found = self._decide(values, None, values, near, log)
            decision = replace(found.decision, how="logprobs", calibration="none")
            found = replace(found, decision=decision)
        return replace(found, asked=choice.completion)

    def _left_undone(self, how: str) -> list[str]:
        """Return what the settings ask for and a model that only writes cannot do."""
        ways = {
            "logprobs": "the provider's log-probabilities of its likeliest tokens decided",
            "enumerated": "the provider kept the answer to the labels' wordings",
            "written": "the model gives no log-probabilities: it wrote the label",
        }
        remarks = [ways[how]]
        without = "without label scores" if how != "logprobs" else "with a provider's scores"
        if self._spec.method != "none" or (self._spec.neighbours and how != "logprobs"):
            remarks.append(f"{without} there was nothing to calibrate")
        if self._bot.spec.ensemble.kind != "none":
            remarks.append(f"{without} there was no ensemble: one prompt was asked")
        if self._bot.spec.verbalizer.min_probability and how != "logprobs":
            remarks.append("without label scores min_probability has no effect")
        return remarks

    def written(
        self, said: str, prompt: Prompt, how: Literal["enumerated", "written"] = "written"
    ) -> Classified:
        """Return the label that a written answer names."""
        remarks = self._left_undone(how) if self._bot.spec.verbalizer.mode == "score" else []
        label = self.verbalizer.parse(said)
        decision = Decision(how, n_prompt_tokens=prompt.n_tokens, remarks=tuple(remarks))
        return Classified(said, label, {}, decision)

    def with_batch_prior(self, replies: Sequence[Reply]) -> list[Reply]:
        """Return replies corrected by the mean over all of them, as batch calibration is meant.

        Alone, each was corrected by the mean of the messages until then.
        """
        scored = [r.trace.decision for r in replies if r.trace and r.trace.decision]
        if len(scored) < 2 or not all(decision.before for decision in scored):
            return list(replies)
        prior = calibration.mean_distribution(_array([list(d.before.values()) for d in scored]))
        return [self._with_prior(reply, prior) for reply in replies]

    def _with_prior(self, reply: Reply, prior: Vector) -> Reply:
        assert reply.trace is not None
        assert reply.trace.decision is not None
        old = reply.trace.decision
        before = _array(list(old.before.values()))
        near = _array([old.neighbours.get(label, 0.0) for label in self._labels])
        log = _Log(old.n_prompts, old.n_prompt_tokens, list(old.remarks), old.n_orders)
        calibrated = calibration.divide(before, prior)
        new = self._decide(before, prior, calibrated, near if old.neighbours else None, log)
        trace = replace(
            reply.trace,
            completion=new.completion,
            label_logprobs=new.logprobs,
            decision=new.decision,
        )
        return replace(reply, text=new.text, label=new.label, trace=trace)

    def _decide(
        self,
        before: Vector,
        prior: Vector | None,
        calibrated: Vector,
        near: Vector | None,
        log: _Log,
    ) -> Classified:
        """Return the label after neighbours and threshold."""
        final = calibrated
        if near is not None and self._spec.neighbours:
            final = calibration.interpolate(calibrated, near, self._spec.neighbours.weight)
        logprobs = self._named(final)
        label: str | None = max(logprobs, key=logprobs.__getitem__)
        settings = self._bot.spec.verbalizer
        least = settings.min_probability
        abstained = least is not None and math.exp(logprobs[str(label)]) < least
        text = self._bot.spec.guard.fallback if abstained else self.verbalizer.word(str(label))
        decision = Decision(
            how="scored",
            calibration=self._spec.method,
            before=self._named(before),
            prior={} if prior is None else self._named(prior),
            calibrated=self._named(calibrated),
            neighbours={
                name: float(p)
                for name, p in zip(self._labels, near if near is not None else (), strict=False)
                if p > 0
            },
            n_orders=log.n_orders,
            abstained=abstained,
            n_prompts=log.n_prompts,
            n_prompt_tokens=log.n_prompt_tokens,
            remarks=tuple(log.remarks),
        )
        return Classified(text, settings.out_of_scope if abstained else label, logprobs, decision)

    def _score_each(self, prompts: Sequence[Sequence[Message]], log: _Log) -> list[Vector]:
        """Return the labels' normalised log-probabilities after each prompt.  # each (n_labels,)"""
        each = score_each(self._model, prompts, self.verbalizer.options)
        log.count(map(self._model.count_tokens, prompts))
        found = [self.verbalizer.label_logprobs(scores) for scores in each]
        least = calibration.TINY_LOGPROB
        return [_array([max(one[label], least) for label in self._labels]) for one in found]

    def _score_fitting(self, prompts: Sequence[Sequence[Message]], log: _Log) -> list[Vector]:
        """Return the same for those prompts that the model's context can hold."""
        try:
            return self._score_each(prompts, log)
        except ContextOverflow:
            if len(prompts) == 1:
                return []
            return [row for one in prompts for row in self._score_fitting([one], log)]

    def _prior(self, prompt: Prompt, log: _Log) -> Vector | None:
        method = self._spec.method
        if method == "contextual":
            asked = [self._composer.ask_instead(prompt, text) for text in self._spec.inputs]
        elif method == "domain":
            asked = [self._composer.ask_instead(prompt, text) for text in self._domain_texts]
        elif method == "pmi":
            asked = [self._composer.ask_alone(self._spec.premise)]
        else:
            return None
        key = tuple(asked[0])
        with self._lock:
            known = self._priors.get(key)
        if known is not None:
            return known
        rows = self._score_fitting(asked, log)
        if not rows:
            log.remarks.append(f"not calibrated: no text of {method} fits into the context")
            return None
        if len(rows) < len(asked):
            log.remarks.append(
                f"{len(rows)} of {len(asked)} texts of {method} fit into the context"
            )
        prior = calibration.mean_distribution(_array(rows))
        with self._lock:
            self._priors[key] = prior
            while len(self._priors) > N_PRIORS:
                self._priors.popitem(last=False)
        return prior

    def _running_prior(self, before: Vector) -> Vector:
        with self._lock:
            seen = np.exp(before) if self._seen is None else self._seen + np.exp(before)
            self._seen = seen
            self._n_seen += 1
            return calibration.running_prior(seen, self._n_seen, weight=self._spec.burn_in)

    def _score_inputs(self, text: str, prompt: Prompt, log: _Log) -> Vector:
        """Return how likely the message is after each label.  # (n_labels,)"""
        words = map(self.verbalizer.word, self._labels)
        asked = [self._composer.ask_reversed(prompt, word) for word in words]
        scored = score_each(self._model, asked, [text])
        log.count(map(self._model.count_tokens, asked))
        return _array([score.logprob for (score,) in scored])

    def _neighbours(self, text: str) -> Vector | None:
        spec = self._spec.neighbours
        if spec is None or not self._bot.examples:
            return None
        nearest = self._nearest.select(text, min(spec.k, len(self._bot.examples)))
        return calibration.neighbour_distribution(
            [self._labels.index(str(chosen.item.label)) for chosen in nearest],
            [chosen.similarity or 0.0 for chosen in nearest],
            len(self._labels),
            spec.temperature,
        )

    @cached_property
    def _nearest(self) -> Selector:
        return make_selector("nearest", Pool(self._bot.examples, self._composer.encoder))

    @cached_property
    def _domain_texts(self) -> list[str]:
        inputs = [example.input for example in self._bot.examples]
        if not inputs:
            raise DataError(
                "domain calibration draws words from the example pool, which is empty.",
                place=str(self._bot.folder),
                hint="Add examples, or use  calibration: contextual.",
            )
        return calibration.domain_texts(inputs, self._spec.n_inputs, self._seed)

    def _named(self, values: Vector) -> dict[str, float]:
        return {label: float(v) for label, v in zip(self._labels, values, strict=True)}


def choose_neighbour_weight(replies: Sequence[Reply], targets: Sequence[str]) -> float:
    """Return the ``calibration.neighbours.weight`` that is right most often on dev samples.

    Args:
        replies: Of a classify bot with ``calibration.neighbours``, whatever its weight.
        targets: The label of each.

    Raises:
        DataError: A reply has no neighbours, or a target is not a label.
    """
    decisions = [r.trace.decision if r.trace else None for r in replies]
    found = [d for d in decisions if d is not None and d.neighbours]
    labels = list(found[0].calibrated) if found else []
    if len(found) != len(replies) or len(replies) != len(targets) or set(targets) - set(labels):
        raise DataError(
            f"{len(found)} of {len(replies)} replies have neighbours, for {len(targets)} targets.",
            expected="Expected one target, a label of the bot, for each reply with neighbours.",
            hint="Set calibration.neighbours, and take dev samples of the bot's labels.",
        )
    return calibration.choose_weight(
        _array([[d.calibrated[label] for label in labels] for d in found]),
        _array([[d.neighbours.get(label, 0.0) for label in labels] for d in found]),
        [labels.index(target) for target in targets],
    )


@dataclass
class _Log:
    """What a decision costs, while it is made."""

    n_prompts: int = 0
    n_prompt_tokens: int = 0
    remarks: list[str] = field(default_factory=list)
    n_orders: int = 1

    def count(self, n_tokens: Iterable[int]) -> None:
        """Add prompts of so many tokens each."""
        for n in n_tokens:
            self.n_prompts += 1
            self.n_prompt_tokens += n


def _array(values: Sequence[float] | Sequence[Sequence[float]] | Sequence[Vector]) -> Vector:
    return np.asarray(values, dtype=np.float64)
