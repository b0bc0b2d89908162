"""What a metric is: how its value and interval come from what one column answered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from promptbot.evals.metrics.labels import LabelCoder, LabelCounts
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
        # Of labels with few samples each, macro F1 is too low, and that of resamples too low again:
        # the basic interval, which turns the distances around, is joined to that of percentiles.
        around = 2 * estimate - bounds[::-1]
        bounds = np.array([min(bounds[0], around[0]), max(bounds[1], around[1])]).clip(0, 1)
        n_right = sum(o.label == o.sample.target for o in outcomes)
        n_groups = len(set(groups))
        if min(n_right, len(outcomes) - n_right) < FEW:
            # Resamples of answers that are all right know no wrong one: at least as wide as Wilson.
            least = wilson(estimate * n_groups, n_groups)
            bounds = np.array([min(bounds[0], least.low), max(bounds[1], least.high)])
        return Value(estimate, Interval(float(bounds[0]), float(bounds[1]), 0.95), len(outcomes))
