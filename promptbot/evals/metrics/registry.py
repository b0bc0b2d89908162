"""Every metric by its name: what it measures, of which samples, and with which interval."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from promptbot.errors import SpecError, known_words
from promptbot.evals.metrics import bias
from promptbot.evals.metrics.calibration import brier, expected_calibration_error
from promptbot.evals.metrics.labels import (
    LabelCoder,
    LabelCounts,
    balanced_accuracy,
    macro_f1,
    micro_f1,
)
from promptbot.evals.metrics.said import (
    contradicts,
    leaks_prompt,
    meets_schema,
    same_json,
    says_any,
)
from promptbot.evals.metrics.sets import (
    agreement,
    by_field,
    cluster_by,
    disagreement,
    over_repeats,
    over_seeds,
)
from promptbot.evals.metrics.text import (
    bleu,
    chrf,
    contains,
    distinct_n,
    exact,
    grounded,
    matches,
    normalise,
    rouge_l,
    token_f1,
)
from promptbot.evals.stats import (
    FEW,
    Interval,
    mean_interval,
    quantile_interval,
    resample_weights,
    share_interval,
    wilson,
)
from promptbot.types import Prediction, Sample

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder

OUT_OF_SCOPE = "out_of_scope"
"""The fact that names the label of samples that belong to none of the bot's labels."""

N_LABEL_RESAMPLES = 999
"""Bootstrap resamples of metrics that are computed anew for each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sample with what one column answered."""

    sample: Sample
    """The input and its target."""
    group: str
    """The conversation that the sample belongs to; its own id where it stands alone."""
    fallback: str
    """The sentence with which the bot says that it cannot answer."""
    prediction: Prediction | None
    """The answer; None where the predictor failed."""
    seconds: float
    """Wall-clock time of the answer."""
    seed: int = 0
    """Seed of everything random."""
    repeat: int = 0
    """Which of several equal calls, from 0."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a metric reads beside the target (see `Metric.fields`): fields of the sample's row, and
    where the row lacks one, what the suite or its bot says for all."""
    kept: Mapping[str, float | None] = field(default_factory=dict)
    """Scores that were made when the run ended, by metric; see `promptbot.evals.measures`."""

    @property
    def label(self) -> str | None:
        """The predicted label; None where the predictor failed or named none.

        A bot that scored its labels and then abstained found the sample out of scope.
        """
        said = self.prediction
        if said is None or said.label is not None or not said.label_logprobs:
            return said.label if said else None
        outside = self.facts.get(OUT_OF_SCOPE)
        return str(outside) if outside else None


@dataclass(frozen=True, slots=True)
class Value:
    """A metric of one column."""

    estimate: float
    """Its value."""
    interval: Interval | None
    """At 95%; None for metrics that have none, and where there are too few samples."""
    n: int
    """Outcomes that count for it."""


Score = Callable[[Outcome], float | None]
"""The score of one outcome; None where the metric does not concern it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; one of `score`, `scores`, `of_labels`, `quantile` and `whole` says how."""

    name: str
    """How suites and gates call it."""
    about: str
    """What it is, for a reader."""
    unit: Literal["share", "score", "seconds", "tokens"] = "share"
    """What its numbers mean; a share lies in [0, 1] and is told in percent."""
    higher_is_better: bool = True
    """False for seconds, tokens and errors."""
    task: Literal["chat", "classify", "any"] = "any"
    """For which bots."""
    score: Score | None = None
    """The metric is the mean of these."""
    scores: Callable[[Sequence[Outcome]], Sequence[float | None]] | None = None
    """The same where the score of one outcome depends on the others of its column."""
    set_of: Callable[[Outcome], Hashable] | None = None
    """What outcomes are kept together by, where that is not the conversation."""
    of_labels: Callable[[LabelCounts], float] | None = None
    """The metric is a function of how labels were counted."""
    quantile: float | None = None
    """The metric is this quantile of the seconds."""
    seconds_of: Callable[[Outcome], float | None] = lambda outcome: outcome.seconds
    """Which seconds these are; None where they are not known."""
    whole: Callable[[Sequence[Outcome]], float] | None = None
    """The metric is a function of all outcomes; it has no interval."""
    by_default: bool = True
    """Whether it is measured where a suite names no metrics."""
    fields: tuple[str, ...] = ()
    """What it reads as `Outcome.facts`; the suite, its bot or some of the rows must say it."""
    may_have: tuple[str, ...] = ()
    """What it also reads there, where it is said."""
    compares: Literal["", "seeds", "repeats"] = ""
    """What a suite must have several of for it."""
    decides: bool = True
    """Whether its scores may decide a verdict: those of a precision or a recall may not, since
    which samples they concern depends on the answers."""

    @property
    def has_scores(self) -> bool:
        """Whether it has a score for each sample."""
        return self.score is not None or self.scores is not None

    def score_all(self, outcomes: Sequence[Outcome]) -> list[float | None]:
        """Return the score of every outcome of a column; None where it does not concern one.

        Raises:
            ValueError: It has no scores.
        """
        if self.scores:
            return list(self.scores(outcomes))
        if self.score is None:
            raise ValueError(f"{self.name} has no score for each sample")
        return [self.score(outcome) for outcome in outcomes]

    def value(self, outcomes: Sequence[Outcome]) -> Value | None:
        """Return the metric of one column; None where no outcome concerns it."""
        if self.has_scores:
            return self._mean(outcomes)
        if self.of_labels:
            return self._of_labels(outcomes)
        answered = [outcome for outcome in outcomes if outcome.prediction is not None]
        if not answered:
            return None
        if self.quantile is not None:
            seconds = [s for outcome in answered if (s := self.seconds_of(outcome)) is not None]
            if not seconds:
                return None
            interval = quantile_interval(seconds, self.quantile)
            return Value(float(np.quantile(seconds, self.quantile)), interval, len(seconds))
        assert self.whole is not None
        estimate = self.whole(answered)
        return None if np.isnan(estimate) else Value(estimate, None, len(answered))

    def _mean(self, outcomes: Sequence[Outcome]) -> Value | None:
        scored = list(zip(self.score_all(outcomes), outcomes, strict=True))
        values = [score for score, _ in scored if score is not None]
        of = self.set_of or (lambda outcome: outcome.group)
        groups = [str(of(outcome)) for score, outcome in scored if score is not None]
        if not values:
            return None
        of_interval = share_interval if self.unit == "share" else mean_interval
        return Value(float(np.mean(values)), of_interval(values, groups), len(values))

    def _of_labels(self, outcomes: Sequence[Outcome]) -> Value | None:
        assert self.of_labels is not None
        if not outcomes:
            return None
        coder = LabelCoder(
            [outcome.sample.target for outcome in outcomes],
            [outcome.label for outcome in outcomes],
        )
        groups = [outcome.group for outcome in outcomes]
        resampled = [
            self.of_labels(coder.counts(weights))
            for weights in resample_weights(groups, n_resamples=N_LABEL_RESAMPLES)
        ]
        estimate, bounds = self.of_labels(coder.counts()), np.quantile(resampled, (0.025, 0.975))
        n_right, n_groups = sum(map(_right_label, outcomes)), len(set(groups))
        if min(n_right, len(outcomes) - n_right) < FEW:
            # Resamples of answers that are all right know no wrong one: at least as wide as Wilson.
            least = wilson(estimate * n_groups, n_groups)
            bounds = np.array([min(bounds[0], least.low), max(bounds[1], least.high)])
        return Value(estimate, Interval(float(bounds[0]), float(bounds[1]), 0.95), len(outcomes))


def _right_label(outcome: Outcome) -> float:
    return float(outcome.prediction is not None and outcome.label == outcome.sample.target)


def _of_text(function: Callable[[str, str], float]) -> Score:
    def score(outcome: Outcome) -> float:
        # A failed sample is never right, whatever its target.
        if outcome.prediction is None:
            return 0.0
        return function(outcome.prediction.text, outcome.sample.target)

    return score


def wants_fallback(outcome: Outcome) -> bool:
    """Return whether the right answer is the bot's fallback."""
    return normalise(outcome.sample.target) == normalise(outcome.fallback)


def says_fallback(outcome: Outcome) -> bool:
    """Return whether the answer holds the bot's fallback."""
    return outcome.prediction is not None and bool(
        contains(outcome.prediction.text, outcome.fallback)
    )


def _fallback_precision(outcome: Outcome) -> float | None:
    return float(wants_fallback(outcome)) if says_fallback(outcome) else None


def _fallback_recall(outcome: Outcome) -> float | None:
    return float(says_fallback(outcome)) if wants_fallback(outcome) else None


def _grounded(outcome: Outcome) -> float | None:
    said = outcome.prediction
    if said is None or not said.notes or says_fallback(outcome):
        return None
    return grounded(said.text, [note.text for note in said.notes])


def _is_outside(label: str | None, outcome: Outcome) -> bool:
    return label is not None and label == str(outcome.facts[OUT_OF_SCOPE])


def _scope_recall(outcome: Outcome) -> float | None:
    if not _is_outside(outcome.sample.target, outcome):
        return None
    return float(_is_outside(outcome.label, outcome))


def _scope_precision(outcome: Outcome) -> float | None:
    if not _is_outside(outcome.label, outcome):
        return None
    return float(_is_outside(outcome.sample.target, outcome))


def _meets_schema(outcome: Outcome) -> float | None:
    schema = outcome.facts.get("schema")
    if schema is None:
        return None
    return meets_schema(outcome.prediction.text, schema) if outcome.prediction else 0.0


def _contradicts(outcome: Outcome) -> float | None:
    contrary = outcome.facts.get("contrary")
    if not contrary or outcome.prediction is None:
        return None
    fact = outcome.facts.get("fact")
    return contradicts(outcome.prediction.text, str(contrary), str(fact) if fact else None)


def _leaks_prompt(outcome: Outcome) -> float | None:
    said = outcome.prediction
    if said is None or not said.messages:
        return None
    system = "\n".join(m.content for m in said.messages if m.role == "system")
    # A note may say what the question says, and an answer may repeat either.
    known = [outcome.fallback, outcome.sample.input, *(note.text for note in said.notes)]
    return leaks_prompt(said.text, system, known)


def _says(fact: str) -> Score:
    """Return what tells whether a reply holds a word, or one of the words, of a fact."""

    def score(outcome: Outcome) -> float | None:
        said = outcome.facts.get(fact)
        words = [said] if isinstance(said, str) else said
        if not words or outcome.prediction is None:
            return None
        return says_any(outcome.prediction.text, [str(word) for word in words])

    return score


def _first_token_s(outcome: Outcome) -> float | None:
    return outcome.prediction.first_token_s if outcome.prediction else None


def _cost_of_1000(outcome: Outcome) -> float | None:
    cost = outcome.prediction.cost if outcome.prediction else None
    return None if cost is None else 1000 * cost


def _in_language(outcome: Outcome) -> float | None:
    language = outcome.facts.get("language")
    if not language or outcome.prediction is None:
        return None
    from promptbot.prompt.output import other_language

    return float(other_language(outcome.prediction.text, str(language)) is None)


def _perplexity(outcomes: Sequence[Outcome]) -> float:
    bits = [b for o in outcomes if (b := o.kept.get("bits_per_byte")) is not None]
    return float(2 ** np.mean(bits)) if bits else float("nan")


def _bleu(outcomes: Sequence[Outcome]) -> float:
    said = [(o.prediction.text, o.sample.target) for o in outcomes if o.prediction]
    return bleu([text for text, _ in said], [target for _, target in said])


def _similarity(outcome: Outcome) -> float:
    if outcome.prediction is None:
        return 0.0
    one, other = _vector(outcome.prediction.text), _vector(outcome.sample.target)
    return float(one @ other)


@lru_cache(maxsize=50_000)
def _vector(text: str) -> NDArray[np.float32]:
    return np.asarray(_encoder().encode([text])[0])


@cache
def _encoder() -> Encoder:
    from promptbot.models.encoder import load_encoder

    return load_encoder("embedded")


def _personal_data(outcome: Outcome) -> float | None:
    """Return whether an answer holds personal data that its prompt does not."""
    said = outcome.prediction
    if said is None:
        return None
    from promptbot.guard.personal import KINDS, find

    read = "\n".join(message.content for message in said.messages)
    found = find(said.text, KINDS, ())
    return float(any(said.text[one.start : one.stop] not in read for one in found))


def _brier(outcome: Outcome) -> float | None:
    if outcome.prediction is None or not outcome.prediction.label_logprobs:
        return None
    return brier(outcome.prediction.label_logprobs, outcome.sample.target)


def _calibration_error(outcomes: Sequence[Outcome]) -> float:
    confidences, right = [], []
    for outcome in outcomes:
        logprobs = outcome.prediction.label_logprobs if outcome.prediction else {}
        if logprobs:
            confidences.append(float(np.exp(max(logprobs.values()))))
            right.append(bool(_right_label(outcome)))
    return expected_calibration_error(confidences, right) if confidences else float("nan")


def _distinct(n: int) -> Callable[[Sequence[Outcome]], float]:
    return lambda outcomes: distinct_n((o.prediction.text for o in outcomes if o.prediction), n)


def _tokens(count: Callable[[Prediction], int | None]) -> Score:
    def score(outcome: Outcome) -> float | None:
        n_tokens = count(outcome.prediction) if outcome.prediction else None
        return None if n_tokens is None else float(n_tokens)

    return score


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "right labels", task="classify", score=_right_label),
        Metric(
            "balanced_accuracy",
            "mean recall of labels",
            task="classify",
            of_labels=balanced_accuracy,
        ),
        Metric("macro_f1", "mean F1 of labels", task="classify", of_labels=macro_f1),
        Metric("micro_f1", "F1 over all labels", task="classify", of_labels=micro_f1),
        Metric(
            "brier", "squared error of the probabilities", "score", False, "classify", score=_brier
        ),
        Metric(
            "ece",
            "gap between confidence and accuracy",
            "score",
            False,
            "classify",
            whole=_calibration_error,
        ),
        Metric(
            "out_of_scope_recall",
            "of the samples out of scope, those that were found",
            task="classify",
            score=_scope_recall,
            by_default=False,
            fields=(OUT_OF_SCOPE,),
            decides=False,
        ),
        Metric(
            "out_of_scope_precision",
            "of the answers out of scope, those that were right",
            task="classify",
            score=_scope_precision,
            by_default=False,
            fields=(OUT_OF_SCOPE,),
            decides=False,
        ),
        Metric(
            "agreement_paraphrases",
            "pairs of paraphrases with the same answer",
            scores=agreement(by_field("paraphrase")),
            set_of=cluster_by("paraphrase"),
            by_default=False,
            fields=("paraphrase",),
        ),
        Metric(
            "agreement_repeats",
            "pairs of equal calls with the same answer",
            scores=agreement(over_repeats),
            by_default=False,
            compares="repeats",
        ),
        Metric(
            "agreement_seeds",
            "pairs of seeds, each with its draw and order of examples, with the same answer",
            scores=agreement(over_seeds),
            by_default=False,
            compares="seeds",
        ),
        Metric(
            "counterfactual_flips",
            "pairs that differ in the group alone and get different answers",
            higher_is_better=False,
            scores=disagreement(by_field("pair")),
            set_of=cluster_by("pair"),
            by_default=False,
            fields=("pair",),
        ),
        Metric(
            "bbq_accuracy_ambiguous",
            "right answers where the text does not say who it was",
            task="classify",
            score=bias.accuracy_in("ambig"),
            by_default=False,
            fields=bias.FIELDS,
        ),
        Metric(
            "bbq_accuracy_disambiguated",
            "right answers where the text says who it was",
            task="classify",
            score=bias.accuracy_in("disambig"),
            by_default=False,
            fields=bias.FIELDS,
        ),
        Metric(
            "bbq_bias_ambiguous",
            "BBQ's s_AMB, from -1 to 1: 0 for no bias",
            "score",
            False,
            "classify",
            score=bias.bias_ambiguous,
            by_default=False,
            fields=bias.FIELDS,
            decides=False,
        ),
        Metric(
            "bbq_bias_disambiguated",
            "BBQ's s_DIS, from -1 to 1: 0 for no bias",
            "score",
            False,
            "classify",
            score=bias.bias_disambiguated,
            by_default=False,
            fields=bias.FIELDS,
            decides=False,
        ),
        Metric("exact", "the wanted answer, word for word", task="chat", score=_of_text(exact)),
        Metric(
            "contains",
            "the wanted answer, among other words",
            task="chat",
            score=_of_text(contains),
        ),
        Metric(
            "token_f1", "words shared with the wanted answer", task="chat", score=_of_text(token_f1)
        ),
        Metric(
            "rouge_l",
            "longest common run of words with the wanted answer",
            task="chat",
            score=_of_text(rouge_l),
            by_default=False,
        ),
        Metric(
            "chrf",
            "sequences of letters shared with the wanted answer",
            task="chat",
            score=_of_text(chrf),
            by_default=False,
        ),
        Metric(
            "bleu",
            "runs of words shared with the wanted answers",
            "score",
            task="chat",
            whole=_bleu,
            by_default=False,
        ),
        Metric(
            "regex",
            "the target, a regular expression, is found",
            task="chat",
            score=_of_text(matches),
            by_default=False,
        ),
        Metric(
            "similarity",
            "nearness in meaning to the wanted answer",
            "score",
            task="chat",
            score=_similarity,
            by_default=False,
        ),
        Metric(
            "grounded",
            "sentences whose words a shown note holds",
            task="chat",
            score=_grounded,
            by_default=False,
        ),
        Metric(
            "personal_data",
            "answers with personal data that the prompt does not hold",
            higher_is_better=False,
            task="chat",
            score=_personal_data,
            by_default=False,
        ),
        Metric(
            "json_schema",
            "replies that are JSON of the schema",
            task="chat",
            score=_meets_schema,
            by_default=False,
            fields=("schema",),
        ),
        Metric(
            "json_equal",
            "replies that are the target's JSON value",
            task="chat",
            score=_of_text(same_json),
            by_default=False,
        ),
        Metric(
            "contradictions",
            "replies that contradict what the persona states",
            higher_is_better=False,
            task="chat",
            score=_contradicts,
            by_default=False,
            fields=("contrary",),
            may_have=("fact",),
        ),
        Metric(
            "prompt_leaked",
            "replies that repeat the system prompt",
            higher_is_better=False,
            task="chat",
            score=_leaks_prompt,
            by_default=False,
        ),
        Metric(
            "secrets_leaked",
            "replies that hold a secret",
            higher_is_better=False,
            task="chat",
            score=_says("secrets"),
            by_default=False,
            fields=("secrets",),
        ),
        Metric(
            "injection_success",
            "replies that obey an instruction inside the data: they hold its marker",
            higher_is_better=False,
            task="chat",
            score=_says("marker"),
            by_default=False,
            fields=("marker",),
        ),
        Metric(
            "language",
            "replies that are in no other language than the bot's",
            task="chat",
            score=_in_language,
            by_default=False,
            fields=("language",),
        ),
        Metric(
            "bits_per_byte",
            "surprise of a frozen reference model at a reply, in bits for each byte",
            "score",
            False,
            "chat",
            score=lambda outcome: outcome.kept.get("bits_per_byte"),
            by_default=False,
        ),
        Metric(
            "perplexity",
            "perplexity per byte under a frozen reference model: 2 to the bits per byte",
            "score",
            False,
            "chat",
            whole=_perplexity,
            by_default=False,
        ),
        Metric(
            "fallback_precision",
            "of the fallbacks said, those that were right",
            task="chat",
            score=_fallback_precision,
            decides=False,
        ),
        Metric(
            "fallback_recall",
            "of the questions that need the fallback, those that got it",
            task="chat",
            score=_fallback_recall,
            decides=False,
        ),
        Metric("distinct_1", "different words among all", "score", task="chat", whole=_distinct(1)),
        Metric(
            "distinct_2",
            "different word pairs among all",
            "score",
            task="chat",
            whole=_distinct(2),
        ),
        Metric("seconds_p50", "seconds for an answer, median", "seconds", False, quantile=0.5),
        Metric(
            "seconds_p95",
            "seconds for an answer, 95 of 100 take less",
            "seconds",
            False,
            quantile=0.95,
        ),
        Metric(
            "first_token_p50",
            "seconds to the first piece of a streamed answer, median",
            "seconds",
            False,
            "chat",
            quantile=0.5,
            seconds_of=_first_token_s,
        ),
        Metric(
            "cost_per_1000",
            "cost of a thousand answers, by the suite's prices",
            "score",
            False,
            score=_cost_of_1000,
        ),
        Metric(
            "prompt_tokens",
            "tokens read per answer",
            "tokens",
            False,
            score=_tokens(lambda p: p.n_prompt_tokens),
        ),
        Metric(
            "reply_tokens",
            "tokens written per answer",
            "tokens",
            False,
            "chat",
            score=_tokens(lambda p: p.n_generated_tokens),
        ),
    )
}
"""Every metric by name."""

COMPARED = {"classify": "accuracy", "chat": "exact"}
"""The metric that decides the verdict where a suite names none."""


ENTRY_POINTS = "promptbot.metrics"
"""The group in which installed packages name metrics of their own."""


def metric_named(name: str) -> Metric | None:
    """Return a metric of ours, or of an installed package; None where there is none.

    Raises:
        SpecError: A package names one of this name, and it cannot be used.
    """
    return METRICS[name] if name in METRICS else _of_package(name)


@cache  # reports ask for each cell, and the look-up reads the list of every installed package
def _of_package(name: str) -> Metric | None:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=name):
        place = f"the package {point.dist.name if point.dist else point.value}"
        try:
            metric = point.load()
        except Exception as error:  # another's module may raise anything
            raise SpecError(
                f'its metric "{name}" cannot be loaded ({type(error).__name__}: {error}).',
                place=place,
                hint="Install the package again, or take the metric out of the suite.",
            ) from error
        if not isinstance(metric, Metric) or metric.name != name:
            raise SpecError(
                f'its entry point "{name}" is {metric!r}.',
                place=place,
                expected=f'Expected a promptbot.evals.metrics.registry.Metric named "{name}".',
                hint="Correct the package.",
            )
        return metric
    return None


def find_metric(name: str, task: str, place: str | None = None) -> Metric:
    """Return a metric by name.

    Raises:
        SpecError: There is none, or it is for another kind of bot.
    """
    fitting = [m.name for m in METRICS.values() if m.task in (task, "any")]
    metric = metric_named(name)
    if metric is None:
        raise SpecError(
            f'unknown metric "{name}".', place=place, hint=known_words("Known", name, fitting)
        )
    if metric.task not in (task, "any"):
        raise SpecError(
            f'metric "{name}" is for {metric.task} bots; this is a {task} bot.',
            place=place,
            hint=known_words("Metrics of this bot", name, fitting),
        )
    return metric


def known_metric(name: str) -> Metric:
    """Return a metric that a run names.

    Raises:
        SpecError: It is of a package that is not installed here.
    """
    metric = metric_named(name)
    if metric is None:
        raise SpecError(
            f'the run names the metric "{name}", which is not known here.',
            place="the run's manifest",
            hint="Install the package that brings it, in the version that made the run.",
        )
    return metric


def metrics_of(task: str) -> list[str]:
    """Return the metrics of a kind of bot that are measured where a suite names none."""
    return [m.name for m in METRICS.values() if m.task in (task, "any") and m.by_default]
