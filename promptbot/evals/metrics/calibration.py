"""How far a classifier's probabilities can be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

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
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, hit - confidence, n_bins)
    return float(np.abs(gaps).sum() / len(confidence))
