"""How far a classifier's probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_BINS = 10
"""Bins of confidence, of equal width."""


def brier(label_logprobs: Mapping[str, float], target: str) -> float:
    """Return the Brier score of one prediction, in [0, 2]: 0 is certain and right.

    Source:
        Brier (1950), Monthly Weather Review 78:1, over all labels.
    """
    missing = 0.0 if target in label_logprobs else 1.0
    return missing + sum(
        (math.exp(logprob) - (label == target)) ** 2 for label, logprob in label_logprobs.items()
    )


def expected_calibration_error(
    confidences: Sequence[float], right: Sequence[bool], n_bins: int = N_BINS
) -> float:
    """Return how far confidence and accuracy lie apart on average, in [0, 1].

    Args:
        confidences: Probability of each predicted label.
        right: Whether it was the wanted one.
        n_bins: Bins of equal width; a confidence on an edge belongs to the lower bin.

    Source:
        Guo et al. (2017), arXiv:1706.04599.
    """
    confidence, hit = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if not len(confidence):
        return 0.0
    gaps = np.bincount(_bins(confidence, n_bins), hit - confidence, n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of nearly the same confidence."""

    n: int
    """How many; at least one."""
    confidence: float
    """Their mean probability."""
    accuracy: float
    """Share of right ones."""


def reliability(
    confidences: Sequence[float], right: Sequence[bool], n_bins: int = N_BINS
) -> list[Bin]:
    """Return the bins that are not empty, the least confident first.

    Args and source: see `expected_calibration_error`, whose gaps these are.
    """
    confidence, hit = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    bins = _bins(confidence, n_bins)
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(hit[chosen].mean()))
        for chosen in (bins == number for number in range(n_bins))
        if chosen.any()
    ]


def _bins(confidence: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
