"""The linear probe against scikit-learn, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from promptbot.learn.probe import (
    INVERSE_PENALTIES,
    INVERSE_PENALTY,
    choose_inverse_penalty,
    fit_probe,
    load_probe,
)
from promptbot.types import Example, Sample
from tests.encoders import HashingEncoder

TEXTS = {
    "card_lost": ["I lost my card", "my card was stolen", "card is gone"],
    "balance": ["how much money do I have", "show my balance", "what is my balance"],
    "pin": ["I forgot my PIN", "reset the PIN", "new PIN please"],
}


def examples(*labels: str) -> list[Example]:
    return [Example(text, label, label) for label in labels for text in TEXTS[label]]


@pytest.mark.parametrize("labels", [("card_lost", "balance"), ("card_lost", "balance", "pin")])
def test_probabilities_are_those_of_scikit_learn(labels: tuple[str, ...]) -> None:
    found, encoder = examples(*labels), HashingEncoder()
    texts = [example.input for example in found]
    chosen = choose_inverse_penalty(encoder.encode(texts), np.array([e.label for e in found]))
    theirs = LogisticRegression(C=chosen, class_weight="balanced", max_iter=1000)
    theirs.fit(encoder.encode(texts), [example.label for example in found])
    wanted = theirs.predict_log_proba(encoder.encode(texts))
    predictions = fit_probe(found, encoder).predict([Sample(t, t, "") for t in texts])
    for prediction, row in zip(predictions, wanted, strict=True):
        ours = [prediction.label_logprobs[label] for label in theirs.classes_]
        assert ours == pytest.approx(list(row), abs=1e-4)
        assert prediction.label == theirs.classes_[int(row.argmax())]


@pytest.mark.parametrize("labels", [("card_lost", "pin"), ("card_lost", "balance", "pin")])
def test_a_probe_that_was_kept_answers_alike_and_holds_no_pickle(
    tmp_path: Path, labels: tuple[str, ...]
) -> None:
    encoder = HashingEncoder()
    probe = fit_probe(examples(*labels), encoder)
    probe.save(tmp_path)
    again = load_probe(tmp_path, encoder)
    samples = [Sample("1", "my card", "card_lost"), Sample("2", "PIN", "pin")]
    assert again.predict(samples) == probe.predict(samples)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_one_example_a_label_is_enough(recwarn: pytest.WarningsRecorder) -> None:
    few = [Example(texts[0], label, label) for label, texts in TEXTS.items()]
    probe = fit_probe(few, HashingEncoder())
    answers = probe.predict([Sample(e.input, e.input, "") for e in few])
    assert [answer.label for answer in answers] == [e.label for e in few]
    assert not recwarn.list


def test_no_samples_give_no_predictions() -> None:
    assert fit_probe(examples("card_lost", "pin"), HashingEncoder()).predict([]) == []


def test_labels_weigh_alike_however_many_examples_they_have() -> None:
    rare, often = Example("blue", "rare", "rare"), Example("blue", "often", "often")
    probe = fit_probe([rare, *[often] * 9], HashingEncoder())
    [prediction] = probe.predict([Sample("1", "blue", "")])
    shares = np.exp(list(prediction.label_logprobs.values()))
    assert shares == pytest.approx([0.5, 0.5], abs=1e-3)


def test_the_penalty_is_chosen_by_examples_that_were_held_out() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([f"label {i % 4}" for i in range(80)])
    centres = rng.normal(size=(4, 16))
    clear = centres[np.arange(80) % 4] + 0.1 * rng.normal(size=(80, 16))
    noise = rng.normal(size=(80, 16))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (clear, noise)]
    assert choose_inverse_penalty(unit[0], targets) == max(INVERSE_PENALTIES)
    assert choose_inverse_penalty(unit[1], targets) == min(INVERSE_PENALTIES)


def test_single_examples_of_a_label_leave_nothing_to_choose_by() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert choose_inverse_penalty(vectors, np.array(["a", "b", "c"])) == INVERSE_PENALTY
    # One label has two: it is held out by turns, the others are always learned from.
    mixed = np.array(["a", "a", "c"])
    assert choose_inverse_penalty(vectors, mixed) in INVERSE_PENALTIES
