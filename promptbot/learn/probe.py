"""The linear probe: logistic regression on the vectors of a frozen encoder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promptbot.types import Example, Prediction, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder

INVERSE_PENALTY = 10.0
"""scikit-learn's C. Unit vectors want a weaker penalty than its default of 1."""

MAX_ITERATIONS = 1_000
"""Steps of the solver; it stops earlier where it has converged."""

WEIGHTS_FILE = "probe.safetensors"
LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class LinearProbe:
    """A predictor of labels: one linear layer and a softmax on a frozen encoder."""

    encoder: Encoder
    """Makes the vectors."""
    labels: tuple[str, ...]
    """The labels it knows, in the order of the rows."""
    weights: NDArray[np.float32]
    """One row per label.  # (n_labels, dimension)"""
    bias: NDArray[np.float32]
    """One number per label.  # (n_labels,)"""

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one label per sample, with the log-probability of every label in nats."""
        if not samples:
            return []
        vectors = self.encoder.encode([sample.input for sample in samples])
        scores = vectors @ self.weights.T + self.bias  # (n_samples, n_labels)
        scores -= scores.max(axis=1, keepdims=True)
        logprobs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return [_prediction(self.labels, row) for row in logprobs.astype(np.float64)]

    def save(self, folder: Path) -> None:
        """Write weights and labels into a folder; the encoder stays where it is."""
        from safetensors.numpy import save_file

        save_file({"weights": self.weights, "bias": self.bias}, folder / WEIGHTS_FILE)
        (folder / LABELS_FILE).write_text(json.dumps(list(self.labels)), encoding="utf-8")


def load_probe(folder: Path, encoder: Encoder) -> LinearProbe:
    """Return the probe that `LinearProbe.save` wrote."""
    from safetensors.numpy import load_file

    arrays = load_file(folder / WEIGHTS_FILE)
    labels = json.loads((folder / LABELS_FILE).read_text(encoding="utf-8"))
    return LinearProbe(encoder, tuple(labels), arrays["weights"], arrays["bias"])


def fit_probe(examples: Sequence[Example], encoder: Encoder) -> LinearProbe:
    """Return the probe that fits labelled examples; the encoder is not changed.

    Labels weigh alike, however many examples each of them has. The solution is unique, so there
    is no seed.

    Args:
        examples: Each with a label; at least two labels.
        encoder: Makes the vectors.

    Source:
        Alain and Bengio (2016), arXiv:1610.01644. With two labels the difference of the two rows
        is what scikit-learn fits.
    """
    from sklearn.linear_model import LogisticRegression

    vectors = encoder.encode([example.input for example in examples])
    targets = [str(example.label) for example in examples]
    model = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # With one example of each label it asks whether a regression was meant.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        model.fit(vectors, targets)
    weights, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.array([-bias[0], bias[0]]) / 2
    return LinearProbe(
        encoder,
        tuple(str(label) for label in model.classes_),
        # scikit-learn's rows lie column by column; safetensors writes memory as it is.
        np.ascontiguousarray(weights, dtype=np.float32),
        np.ascontiguousarray(bias, dtype=np.float32),
    )


def _prediction(labels: Sequence[str], logprobs: NDArray[np.float64]) -> Prediction:
    label = labels[int(logprobs.argmax())]
    values = {name: float(value) for name, value in zip(labels, logprobs, strict=True)}
    return Prediction(text=label, label=label, label_logprobs=values)
