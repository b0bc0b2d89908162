"""Metrics: by hand, and against scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn

from promptbot.errors import DataError, SpecError
from promptbot.evals.metrics import calibration, labels, text
from promptbot.evals.metrics.metric import Outcome
from promptbot.evals.metrics.registry import METRICS, find_metric, known_metric, metrics_of
from promptbot.evals.stats import wilson
from promptbot.types import Message, Prediction, Sample

RNG = np.random.default_rng(3)
NAMES = np.array(["a", "b", "c", "d"])
TARGETS = list(NAMES[RNG.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05])])
PREDICTED = [t if RNG.random() < 0.6 else str(RNG.choice(NAMES)) for t in TARGETS]
WEIGHTS = RNG.integers(0, 4, 200).astype(float)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_label_metrics_equal_scikit_learns(weights: np.ndarray | None) -> None:
    counts = labels.count_labels(TARGETS, PREDICTED, weights)
    given = {"sample_weight": weights}
    assert labels.accuracy(counts) == pytest.approx(
        sklearn.accuracy_score(TARGETS, PREDICTED, **given)
    )
    assert labels.balanced_accuracy(counts) == pytest.approx(
        sklearn.balanced_accuracy_score(TARGETS, PREDICTED, **given)
    )
    for average, ours in (("macro", labels.macro_f1), ("micro", labels.micro_f1)):
        expected = sklearn.f1_score(TARGETS, PREDICTED, average=average, **given)
        assert ours(counts) == pytest.approx(expected)
    precision, recall, _, _ = sklearn.precision_recall_fscore_support(TARGETS, PREDICTED, **given)
    assert list(counts.precision) == pytest.approx(list(precision))
    assert list(counts.recall) == pytest.approx(list(recall))


def test_label_metrics_by_hand() -> None:
    counts = labels.count_labels(["a", "a", "b", "b"], ["a", "b", "b", None])
    assert labels.accuracy(counts) == 0.5
    assert list(counts.precision) == [1.0, 0.5]
    assert list(counts.recall) == [0.5, 0.5]
    assert labels.macro_f1(counts) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert labels.micro_f1(counts) == pytest.approx(2 * 2 / (4 + 3))


def test_no_prediction_is_right_for_no_label() -> None:
    assert labels.accuracy(labels.count_labels(["a"], [None])) == 0.0


def test_confusion_lists_the_most_frequent_mistakes_first() -> None:
    found = labels.confusion(["a", "b", "a", "a"], ["b", "b", "b", None])
    assert list(found.items()) == [(("a", "b"), 2), (("a", None), 1)]


def test_brier_equals_scikit_learns() -> None:
    probabilities = RNG.dirichlet(np.ones(3), 20)
    targets = RNG.choice(3, 20)
    ours = [
        calibration.brier({str(i): math.log(p) for i, p in enumerate(row)}, str(target))
        for row, target in zip(probabilities, targets, strict=True)
    ]
    expected = sklearn.brier_score_loss(
        targets, probabilities, labels=[0, 1, 2], scale_by_half=False
    )
    assert np.mean(ours) == pytest.approx(expected)


def test_brier_of_a_label_without_probability_counts_the_miss() -> None:
    assert calibration.brier({"a": 0.0}, "b") == pytest.approx(2.0)


def test_calibration_error_by_hand() -> None:
    # Two of confidence .9, one right: a gap of .4 over two thirds; one of .3, wrong: .3 over one.
    found = calibration.expected_calibration_error([0.9, 0.9, 0.3], [True, False, False])
    assert found == pytest.approx((2 * 0.4 + 0.3) / 3)


@pytest.mark.parametrize("seed", range(4))
def test_calibration_error_is_that_of_scikit_learns_curve(seed: int) -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(seed)
    confidences = rng.beta(4, 2, 300)
    right = rng.random(300) < confidences**2
    accuracy, confidence = calibration_curve(right, confidences, n_bins=10, strategy="uniform")
    sizes = np.histogram(confidences, bins=np.linspace(0, 1, 11))[0]
    expected = np.sum(sizes[sizes > 0] * np.abs(accuracy - confidence)) / 300
    found = calibration.expected_calibration_error(list(confidences), list(right))
    assert found == pytest.approx(expected)
    bins = calibration.reliability(list(confidences), list(right))
    assert [b.accuracy for b in bins] == pytest.approx(list(accuracy))
    assert [b.confidence for b in bins] == pytest.approx(list(confidence))


@pytest.mark.parametrize(
    ("said", "wanted", "equal"),
    [
        ("Hello,  World!", "hello world", True),
        ("Don't", "dont", True),
        ("２小时内发货。", "2小时内发货", True),
        ("It costs 2.50 euros", "it costs 250 euros", False),
        ("The fee", "fee", False),
        ("open 8:30", "open 830", False),
    ],
)
def test_exact_ignores_only_what_means_nothing(said: str, wanted: str, equal: bool) -> None:
    assert text.exact(said, wanted) == float(equal)


def test_contains_looks_for_whole_words() -> None:
    assert text.contains("Well: I will ask.", "i will ask") == 1.0
    assert text.contains("Undertaking", "taking") == 0.0
    assert text.contains("我们在北京。", "北京") == 1.0
    assert text.contains("", "x") == 0.0


def test_token_f1_by_hand() -> None:
    # "the parcel comes today" and "the parcel arrives": two shared of four and three.
    assert text.token_f1("The parcel comes today.", "The parcel arrives") == pytest.approx(4 / 7)
    assert text.token_f1("", "x") == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_token_f1_and_distinct_equal_plain_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, wanted = ([str(w) for w in rng.choice(list("abcdef"), n)] for n in (9, 7))
    # As SQuAD's script has it: take each shared word away once.
    left, n_shared = list(wanted), 0
    for word in said:
        if word in left:
            left.remove(word)
            n_shared += 1
    precision, recall = n_shared / len(said), n_shared / len(wanted)
    expected = 2 * precision * recall / (precision + recall) if n_shared else 0.0
    assert text.token_f1(" ".join(said), " ".join(wanted)) == pytest.approx(expected)
    pairs = [(words[i], words[i + 1]) for words in (said, wanted) for i in range(len(words) - 1)]
    found = text.distinct_n([" ".join(said), " ".join(wanted)], 2)
    assert found == pytest.approx(len(set(pairs)) / len(pairs))


def test_distinct_by_hand() -> None:
    assert text.distinct_n(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert text.distinct_n(["a b a b", "a b"], 2) == pytest.approx(2 / 4)
    assert text.distinct_n([], 2) == 0.0


def outcome(
    said: str | None, wanted: str, *, fallback: str = "I will ask.", seconds: float = 1.0
) -> Outcome:
    prediction = None if said is None else Prediction(said, label=said)
    return Outcome(Sample("s", "?", wanted), wanted + str(seconds), fallback, prediction, seconds)


def test_a_failed_answer_is_never_right() -> None:
    for name in ("accuracy", "exact", "contains", "token_f1", "fallback_recall"):
        value = METRICS[name].value([outcome(None, "I will ask.")])
        assert value is not None
        assert value.estimate == 0.0


def test_fallback_precision_and_recall_by_hand() -> None:
    outcomes = [
        outcome("I will ask.", "I will ask."),
        outcome("From 9 to 5.", "I will ask.", seconds=2),
        outcome("Sorry, I will ask!", "From 9 to 5.", seconds=3),
        outcome("From 9 to 5.", "From 9 to 5.", seconds=4),
        outcome("I will ask.", "I will ask.", seconds=5),
    ]
    precision, recall = (METRICS[f"fallback_{n}"].value(outcomes) for n in ("precision", "recall"))
    assert precision is not None
    assert recall is not None
    assert (precision.estimate, precision.n) == (pytest.approx(2 / 3), 3)
    assert (recall.estimate, recall.n) == (pytest.approx(2 / 3), 3)


def test_fallback_precision_and_recall_equal_scikit_learns() -> None:
    rng = np.random.default_rng(8)
    wanted, said = (rng.random(80) < 0.4 for _ in range(2))
    words = {True: "I will ask.", False: "From 9 to 5."}
    outcomes = [
        outcome(words[bool(s)], words[bool(w)], seconds=i)
        for i, (s, w) in enumerate(zip(said, wanted, strict=True))
    ]
    for name, function in (
        ("precision", sklearn.precision_score), ("recall", sklearn.recall_score)
    ):  # fmt: skip
        value = METRICS[f"fallback_{name}"].value(outcomes)
        assert value is not None
        assert value.estimate == pytest.approx(function(wanted, said))


def test_seconds_leave_out_failed_answers() -> None:
    outcomes = [outcome("x", "x", seconds=s) for s in (1, 2, 3)] + [outcome(None, "x", seconds=99)]
    value = METRICS["seconds_p50"].value(outcomes)
    assert value is not None
    assert (value.estimate, value.n) == (2.0, 3)


def test_metrics_without_what_they_measure_have_no_value() -> None:
    outcomes = [outcome("x", "x")]
    for name in ("brier", "ece", "prompt_tokens", "fallback_precision"):
        assert METRICS[name].value(outcomes) is None


def test_the_interval_of_macro_f1_holds_its_estimate() -> None:
    answers = zip(PREDICTED, TARGETS, strict=True)
    outcomes = [outcome(said, wanted, seconds=i) for i, (said, wanted) in enumerate(answers)]
    value = METRICS["macro_f1"].value(outcomes)
    assert value is not None
    assert value.interval is not None
    assert value.interval.low < value.estimate < value.interval.high


def share_of_true_macro_f1(n_runs: int, n_labels: int, n: int) -> float:
    """Return how often the interval of macro F1 holds the true one."""
    rng = np.random.default_rng(2)
    names = [f"l{i}" for i in range(n_labels)]
    recall = rng.beta(2.4, 1.6, n_labels)
    chance = np.zeros((n_labels, n_labels))  # of each target and answer
    for i in range(n_labels):
        others = rng.choice(np.delete(np.arange(n_labels), i), 4, replace=False)
        chance[i, i], chance[i, others] = recall[i], (1 - recall[i]) / 4
    chance /= n_labels
    true = float(np.mean(2 * chance.diagonal() / (chance.sum(0) + chance.sum(1))))
    n_held = 0
    for _ in range(n_runs):
        drawn = rng.choice(n_labels**2, n, p=chance.ravel())
        outcomes = [
            outcome(names[cell % n_labels], names[cell // n_labels], seconds=i)
            for i, cell in enumerate(drawn)
        ]
        value = METRICS["macro_f1"].value(outcomes)
        assert value is not None
        assert value.interval is not None
        n_held += not value.interval.excludes(true)
    return n_held / n_runs


def test_the_interval_of_macro_f1_holds_the_truth_also_where_labels_have_few_samples() -> None:
    # Of 77 labels with four samples each a percentile interval holds it in one of three.
    assert share_of_true_macro_f1(30, 77, 300) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("n_labels", "n"), [(77, 300), (20, 500), (16, 128)])
def test_the_interval_of_macro_f1_holds_the_truth_in_300_runs(n_labels: int, n: int) -> None:
    assert share_of_true_macro_f1(300, n_labels, n) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1", "balanced_accuracy"])
def test_a_few_right_labels_prove_no_metric_of_labels(name: str) -> None:
    # Whichever of them are drawn anew, all are right: a bootstrap alone would say 1 to 1.
    right = [outcome(label, label, seconds=i) for i, label in enumerate("ababab")]
    value = METRICS[name].value(right)
    assert value is not None
    assert value.interval == wilson(6, 6)
    wrong = [outcome("c", label, seconds=i) for i, label in enumerate("ababab")]
    assert METRICS[name].value(wrong).interval == wilson(0, 6)  # type: ignore[union-attr]


def test_unknown_metrics_are_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match='Did you mean "accuracy"'):
        find_metric("acuracy", "classify")
    with pytest.raises(SpecError, match="is for classify bots"):
        find_metric("accuracy", "chat")
    assert "accuracy" not in metrics_of("chat")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("the cat sat on the mat", "the cat was on a mat"),
        ("a b c d", "d c b a"),
        ("one", "one"),
        ("nothing alike", "other words here"),
    ],
)
def test_rouge_l_equals_rouge_scores(said: str, wanted: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"]).score(wanted, said)["rougeL"].fmeasure
    assert text.rouge_l(said, wanted) == pytest.approx(expected)


def test_rouge_l_knows_words_without_spaces() -> None:
    assert text.rouge_l("我想退货", "我要退货") == pytest.approx(3 / 4)


def test_chrf_and_bleu_of_equal_and_of_other_texts() -> None:
    same = "Delivery takes two to four working days."
    assert text.chrf(same, same) == pytest.approx(1)
    assert text.bleu([same], [same]) == pytest.approx(1)
    assert text.chrf("xyz", same) < 0.05
    assert text.bleu(["xyz uvw"], [same]) < 0.05


def test_a_target_that_is_no_pattern_is_told() -> None:
    assert text.matches("It costs 12.50 euros", r"\d+\.\d\d") == 1
    assert text.matches("It is free", r"\d+\.\d\d") == 0
    with pytest.raises(DataError, match="no regular expression"):
        text.matches("x", "(")


def test_grounded_counts_sentences_that_one_note_covers() -> None:
    notes = ["How long does delivery take? Delivery takes 2 to 4 days.", "Returns are free."]
    assert text.grounded("Delivery takes 2 to 4 days.", notes) == 1
    assert text.grounded("Delivery takes 2 to 4 days. We give you a car.", notes) == 0.5
    # Half of its words stand in each of two notes: none covers it.
    assert text.grounded("Delivery takes returns free.", notes) == 0
    assert text.grounded("", notes) == 1


def test_personal_data_of_the_prompt_is_no_leak() -> None:
    sample = Sample("1", "Who?", "Nobody")
    said = Prediction("Write to eva@example.com", messages=(Message("user", "eva@example.com?"),))
    leak = Prediction("Write to eva@example.com", messages=(Message("user", "who?"),))
    metric = METRICS["personal_data"]
    values = [metric.value([Outcome(sample, "1", "Sorry.", one, 0.1)]) for one in (said, leak)]
    assert [value.estimate for value in values if value] == [0.0, 1.0]


def test_similarity_is_greatest_for_the_same_words() -> None:
    wanted = Sample("1", "When?", "Delivery takes two days.")
    near, far = (
        METRICS["similarity"].value([Outcome(wanted, "1", "Sorry.", Prediction(said), 0.1)])
        for said in ("Delivery takes two days.", "Elephants are grey.")
    )
    assert near is not None
    assert far is not None
    assert near.estimate == pytest.approx(1, abs=1e-3)
    assert far.estimate < 0.6


def test_the_docs_name_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"| `{name}` |" not in page] == []


def test_an_installed_package_brings_its_own_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "polite.py").write_text(
        "from promptbot.evals.metrics.metric import Metric\n"
        "def score(outcome):\n"
        "    return float('please' in outcome.prediction.text)\n"
        "politeness = Metric('politeness', 'says please', task='chat', score=score)\n"
        "wrong = 7\n",
        encoding="utf-8",
    )
    info = tmp_path / "polite-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: polite\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[promptbot.metrics]\npoliteness = polite:politeness\n"
        "wrong = polite:wrong\nabsent = polite:absent\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    metric = find_metric("politeness", "chat")
    said = Outcome(Sample("1", "a", "b"), "1", "Sorry.", Prediction("Yes, please."), 0.1)
    value = metric.value([said])
    assert value is not None
    assert value.estimate == 1
    with pytest.raises(SpecError, match="is for chat bots"):
        find_metric("politeness", "classify")
    with pytest.raises(SpecError, match="package polite: its entry point"):
        find_metric("wrong", "chat")
    with pytest.raises(SpecError, match="cannot be loaded"):
        find_metric("absent", "chat")
    # A report asks for each of its cells: installed packages are searched once.
    monkeypatch.undo()
    assert known_metric("politeness") is metric


def test_a_run_with_a_metric_of_a_package_that_is_gone_says_so() -> None:
    with pytest.raises(SpecError, match="not known here"):
        known_metric("cheerfulness")
