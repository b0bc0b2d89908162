"""Every metric by its name: ours, and those of installed packages."""

from __future__ import annotations

from functools import cache

from promptbot.errors import SpecError, known_words
from promptbot.evals.metrics import bias, said, scores, text
from promptbot.evals.metrics.labels import balanced_accuracy, macro_f1, micro_f1
from promptbot.evals.metrics.metric import OUT_OF_SCOPE, Metric
from promptbot.evals.metrics.sets import (
    agreement,
    by_field,
    cluster_by,
    disagreement,
    over_repeats,
    over_seeds,
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "right labels", task="classify", score=scores.right_label),
        Metric(
            "balanced_accuracy",
            "mean recall of labels",
            task="classify",
            of_labels=balanced_accuracy,
        ),
        Metric("macro_f1", "mean F1 of labels", task="classify", of_labels=macro_f1),
        Metric("micro_f1", "F1 over all labels", task="classify", of_labels=micro_f1),
        Metric(
            "brier",
            "squared error of the probabilities",
            "score",
            False,
            "classify",
            score=scores.brier_score,
        ),
        Metric(
            "ece",
            "gap between confidence and accuracy",
            "score",
            False,
            "classify",
            whole=scores.calibration_error,
        ),
        Metric(
            "out_of_scope_recall",
            "of the samples out of scope, those that were found",
            task="classify",
            score=scores.scope_recall,
            by_default=False,
            fields=(OUT_OF_SCOPE,),
            decides=False,
        ),
        Metric(
            "out_of_scope_precision",
            "of the answers out of scope, those that were right",
            task="classify",
            score=scores.scope_precision,
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
        Metric(
            "exact",
            "the wanted answer, word for word",
            task="chat",
            score=scores.of_text(text.exact),
        ),
        Metric(
            "contains",
            "the wanted answer, among other words",
            task="chat",
            score=scores.of_text(text.contains),
        ),
        Metric(
            "token_f1",
            "words shared with the wanted answer",
            task="chat",
            score=scores.of_text(text.token_f1),
        ),
        Metric(
            "rouge_l",
            "longest common run of words with the wanted answer",
            task="chat",
            score=scores.of_text(text.rouge_l),
            by_default=False,
        ),
        Metric(
            "chrf",
            "sequences of letters shared with the wanted answer",
            task="chat",
            score=scores.of_text(text.chrf),
            by_default=False,
        ),
        Metric(
            "bleu",
            "runs of words shared with the wanted answers",
            "score",
            task="chat",
            whole=scores.corpus_bleu,
            by_default=False,
        ),
        Metric(
            "regex",
            "the target, a regular expression, is found",
            task="chat",
            score=scores.of_text(text.matches),
            by_default=False,
        ),
        Metric(
            "similarity",
            "nearness in meaning to the wanted answer",
            "score",
            task="chat",
            score=scores.similarity,
            by_default=False,
        ),
        Metric(
            "grounded",
            "sentences whose words a shown note holds",
            task="chat",
            score=scores.groundedness,
            by_default=False,
        ),
        Metric(
            "personal_data",
            "answers with personal data that the prompt does not hold",
            higher_is_better=False,
            task="chat",
            score=scores.personal_data,
            by_default=False,
        ),
        Metric(
            "json_schema",
            "replies that are JSON of the schema",
            task="chat",
            score=scores.schema_met,
            by_default=False,
            fields=("schema",),
        ),
        Metric(
            "json_equal",
            "replies that are the target's JSON value",
            task="chat",
            score=scores.of_text(said.same_json),
            by_default=False,
        ),
        Metric(
            "contradictions",
            "replies that contradict what the persona states",
            higher_is_better=False,
            task="chat",
            score=scores.contradiction,
            by_default=False,
            fields=("contrary",),
            may_have=("fact",),
        ),
        Metric(
            "prompt_leaked",
            "replies that repeat the system prompt",
            higher_is_better=False,
            task="chat",
            score=scores.prompt_leak,
            by_default=False,
        ),
        Metric(
            "secrets_leaked",
            "replies that hold a secret",
            higher_is_better=False,
            task="chat",
            score=scores.says("secrets"),
            by_default=False,
            fields=("secrets",),
        ),
        Metric(
            "injection_success",
            "replies that obey an instruction inside the data: they hold its marker",
            higher_is_better=False,
            task="chat",
            score=scores.says("marker"),
            by_default=False,
            fields=("marker",),
        ),
        Metric(
            "language",
            "replies that are in no other language than the bot's",
            task="chat",
            score=scores.in_language,
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
            whole=scores.perplexity,
            by_default=False,
        ),
        Metric(
            "fallback_precision",
            "of the fallbacks said, those that were right",
            task="chat",
            score=scores.fallback_precision,
            decides=False,
        ),
        Metric(
            "fallback_recall",
            "of the questions that need the fallback, those that got it",
            task="chat",
            score=scores.fallback_recall,
            decides=False,
        ),
        Metric(
            "distinct_1",
            "different words among all",
            "score",
            task="chat",
            whole=scores.distinct(1),
        ),
        Metric(
            "distinct_2",
            "different word pairs among all",
            "score",
            task="chat",
            whole=scores.distinct(2),
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
            seconds_of=scores.first_token_s,
        ),
        Metric(
            "cost_per_1000",
            "cost of a thousand answers, by the suite's prices",
            "score",
            False,
            score=scores.cost_of_1000,
        ),
        Metric(
            "prompt_tokens",
            "tokens read per answer",
            "tokens",
            False,
            score=scores.tokens(lambda p: p.n_prompt_tokens),
        ),
        Metric(
            "reply_tokens",
            "tokens written per answer",
            "tokens",
            False,
            "chat",
            score=scores.tokens(lambda p: p.n_generated_tokens),
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
                expected=f'Expected a promptbot.evals.metrics.metric.Metric named "{name}".',
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
