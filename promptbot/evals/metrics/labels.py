"""Metrics of predicted labels. A prediction of None (unparsed, failed) is wrong for every label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How often each label was wanted, predicted, and both."""

    labels: tuple[str, ...]
    """Every label that was wanted or predicted, sorted."""
    wanted: NDArray[np.float64]
    """Samples of the label.  # (n_labels,)"""
    predicted: NDArray[np.float64]
    """Predictions of the label.  # (n_labels,)"""
    right: NDArray[np.float64]
    """Samples of the label that were predicted as it.  # (n_labels,)"""
    n: float
    """All samples."""

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of a label's predictions that are right; 0 where it was never predicted."""
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a label's samples that were found; 0 where it was never wanted."""
        return _ratio(self.right, self.wanted)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall; 0 where nothing was right."""
        return _ratio(2 * self.right, self.wanted + self.predicted)


class LabelCoder:
    """Turns labels into numbers once, so that weighted counts of the same samples are cheap.

    Args:
        targets: The wanted labels.
        predicted: The predicted labels; None for what could not be parsed or failed.
    """

    def __init__(self, targets: Sequence[str], predicted: Sequence[str | None]) -> None:
        self.labels = tuple(sorted({*targets, *(p for p in predicted if p is not None)}))
        number = {label: i for i, label in enumerate(self.labels)}
        self._targets = np.array([number[t] for t in targets], dtype=np.int64)
        # One more column, for no prediction at all.
        self._predicted = np.array(
            [len(number) if p is None else number[p] for p in predicted], dtype=np.int64
        )

    def counts(self, weights: Sequence[float] | NDArray[np.float64] | None = None) -> LabelCounts:
        """Return the counts, each sample as often as its weight says."""
        w = np.ones(len(self._targets)) if weights is None else np.asarray(weights, np.float64)
        n_labels, hit = len(self.labels), self._targets == self._predicted
        return LabelCounts(
            labels=self.labels,
            wanted=np.bincount(self._targets, w, n_labels).astype(np.float64),
            predicted=np.bincount(self._predicted, w, n_labels + 1)[:n_labels].astype(np.float64),
            right=np.bincount(self._targets[hit], w[hit], n_labels).astype(np.float64),
            n=float(w.sum()),
        )


def count_labels(
    targets: Sequence[str],
    predicted: Sequence[str | None],
    weights: Sequence[float] | NDArray[np.float64] | None = None,
) -> LabelCounts:
    """Return how often each label was wanted, predicted, and both."""
    return LabelCoder(targets, predicted).counts(weights)


def accuracy(counts: LabelCounts) -> float:
    """Return the share of samples whose label was found."""
    return float(counts.right.sum() / counts.n) if counts.n else 0.0


def balanced_accuracy(counts: LabelCounts) -> float:
    """Return the mean recall of the labels that were wanted.

    Source:
        Brodersen et al. (2010), ICPR.
    """
    wanted = counts.wanted > 0
    return float(counts.recall[wanted].mean()) if wanted.any() else 0.0


def macro_f1(counts: LabelCounts) -> float:
    """Return the mean F1 of the labels that were wanted or predicted.

    Source:
        The mean of F1 values, not F1 of means: Opitz and Burst (2019), arXiv:1911.03347.
    """
    seen = counts.wanted + counts.predicted > 0
    return float(counts.f1[seen].mean()) if seen.any() else 0.0


def micro_f1(counts: LabelCounts) -> float:
    """Return F1 of all labels together: accuracy, but that missing predictions weigh less."""
    denominator = counts.wanted.sum() + counts.predicted.sum()
    return float(2 * counts.right.sum() / denominator) if denominator else 0.0


def confusion(
    targets: Sequence[str], predicted: Sequence[str | None]
) -> dict[tuple[str, str | None], int]:
    """Return how often each label was answered by each other one; right answers are left out.

    Returns:
        Counts by (wanted, predicted), the most frequent first.
    """
    found: dict[tuple[str, str | None], int] = {}
    for target, answer in zip(targets, predicted, strict=True):
        if target != answer:
            found[target, answer] = found.get((target, answer), 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or "")))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
