"""The linear probe: logistic regression on the vectors of a frozen encoder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptbot.interfaces import HoldsWeights
from promptbot.types import Example, Prediction, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder

INVERSE_PENALTY = 10.0
"""scikit-learn's C where there is nothing to choose it by: no label has two examples. Unit vectors
want a weaker penalty than its default of 1."""

INVERSE_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
"""The values of C that `choose_inverse_penalty` tries."""

N_FOLDS = 5
"""Parts of a cross-validation; as many as a label has examples where those are fewer."""

MANY_EXAMPLES = 2_000
"""From this many examples on, one fifth held out once is enough to choose C by."""

MAX_ITERATIONS = 1_000
"""Steps of the solver; it stops earlier where it has converged."""

WEIGHTS_FILE = "probe.safetensors"
LABELS_FILE = "labels.json"


def constants() -> dict[str, Any]:
    """Return what decides a probe beside examples and encoder, for its key in the cache."""
    return {
        "inverse_penalty": INVERSE_PENALTY,
        "inverse_penalties": INVERSE_PENALTIES,
        "n_folds": N_FOLDS,
        "many_examples": MANY_EXAMPLES,
        "max_iterations": MAX_ITERATIONS,
    }


@dataclass(frozen=True)
class Regression:
    """A linear layer that a logistic regression ended in."""

    labels: tuple[str, ...]
    """In the order of the rows."""
    weights: NDArray[np.float32]
    """One row per label.  # (n_labels, dimension)"""
    bias: NDArray[np.float32]
    """One number per label.  # (n_labels,)"""


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

    @property
    def n_bytes(self) -> int:
        """Memory of the weights, those of the encoder included."""
        of_encoder = self.encoder.n_bytes if isinstance(self.encoder, HoldsWeights) else 0
        return of_encoder + self.weights.nbytes + self.bias.nbytes

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

    Labels weigh alike, however many examples each of them has. The penalty is chosen within these
    examples, see `choose_inverse_penalty`. The solution is unique, so there is no seed.

    Args:
        examples: Each with a label; at least two labels.
        encoder: Makes the vectors.

    Source:
        Alain and Bengio (2016), arXiv:1610.01644. With two labels the difference of the two rows
        is what scikit-learn fits.
    """
    vectors = encoder.encode([example.input for example in examples])
    targets = np.array([str(example.label) for example in examples])
    found = fit_regression(vectors, targets, choose_inverse_penalty(vectors, targets))
    return LinearProbe(encoder, found.labels, found.weights, found.bias)


def fit_regression(
    vectors: NDArray[np.float32], targets: NDArray[np.str_], inverse_penalty: float
) -> Regression:
    """Return the logistic regression of labels on vectors; every label weighs alike.

    Args:
        vectors: One per example.  # (n_examples, dimension)
        targets: Their labels, two at least.  # (n_examples,)
        inverse_penalty: scikit-learn's C.
    """
    model = _fit(vectors, targets, inverse_penalty)
    weights, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.array([-bias[0], bias[0]]) / 2
    return Regression(
        tuple(str(label) for label in model.classes_),
        # scikit-learn's rows lie column by column; safetensors writes memory as it is.
        np.ascontiguousarray(weights, dtype=np.float32),
        np.ascontiguousarray(bias, dtype=np.float32),
    )


def choose_inverse_penalty(vectors: NDArray[np.float32], targets: NDArray[np.str_]) -> float:
    """Return the C under which examples that were held out are likeliest.

    Only the training examples are looked at, by stratified cross-validation; from `MANY_EXAMPLES`
    on by one split. A label with a single example is always trained on and never held out. The
    likelihood decides and not the accuracy: with two examples a label each fold trains on one,
    and accuracy then asks for too strong a penalty.

    Args:
        vectors: One unit vector per example.  # (n_examples, dimension)
        targets: Their labels.  # (n_examples,)
    """
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    _, index, counts = np.unique(targets, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[index] > 1)  # (n_repeated,)
    if not len(repeated):
        return INVERSE_PENALTY
    single = np.flatnonzero(counts[index] == 1)
    n_parts = int(min(N_FOLDS, np.median(counts[counts > 1])))
    n_labels = int((counts > 1).sum())
    if len(targets) >= MANY_EXAMPLES and len(repeated) >= N_FOLDS * n_labels:
        splits = StratifiedShuffleSplit(1, test_size=1 / N_FOLDS, random_state=0)
    else:
        splits = StratifiedKFold(n_parts, shuffle=True, random_state=0)
    totals = dict.fromkeys(INVERSE_PENALTIES, 0.0)
    with warnings.catch_warnings():
        # A label with fewer examples than folds is held out in some of them.
        warnings.filterwarnings("ignore", message="The least populated class")
        folds = list(splits.split(repeated, targets[repeated]))
    for kept, held in folds:
        trained, asked = np.concatenate([single, repeated[kept]]), repeated[held]
        if len(set(targets[trained])) < 2:
            return INVERSE_PENALTY
        for c in INVERSE_PENALTIES:
            model = _fit(vectors[trained], targets[trained], c)
            logprobs = model.predict_log_proba(vectors[asked])  # (n_asked, n_labels)
            columns = np.searchsorted(model.classes_, targets[asked])
            totals[c] += float(logprobs[np.arange(len(asked)), columns].sum())
    return max(INVERSE_PENALTIES, key=totals.__getitem__)


def _fit(vectors: NDArray[np.float32], targets: NDArray[np.str_], c: float) -> Any:
    """Return scikit-learn's logistic regression, fitted."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, class_weight="balanced", max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        # With one example of each label it asks whether a regression was meant.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        model.fit(vectors, targets)
    return model


def _prediction(labels: Sequence[str], logprobs: NDArray[np.float64]) -> Prediction:
    label = labels[int(logprobs.argmax())]
    values = {name: float(value) for name, value in zip(labels, logprobs, strict=True)}
    return Prediction(text=label, label=label, label_logprobs=values)
