"""Corrections of label scores for what the prompt makes a model favour, whatever the message.

Every function takes and returns arrays over the labels, in nats, and returns log-probabilities
that add up to one. All but `channel` and `interpolate` divide by a prior: what differs is the text
from which the prior is estimated.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

TINY_LOGPROB = float(np.log(np.finfo(np.float64).tiny))
"""Below this a probability counts as zero; keeps infinities out of quotients and of JSON."""


WEIGHTS = tuple(n / 20 for n in range(21))
"""Shares of the neighbours that `choose_weight` tries."""


def normalise(logprobs: Vector) -> Vector:
    """Return the same proportions, adding up to one; equal shares where nothing has any.

    Args:
        logprobs: In nats, of any sum.  # (..., n_labels)
    """
    floored = np.maximum(np.asarray(logprobs, dtype=np.float64), 2 * TINY_LOGPROB)
    shifted = floored - floored.max(axis=-1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(np.maximum(shifted - total, TINY_LOGPROB))


def mean_distribution(logprobs: Vector) -> Vector:
    """Return the logarithm of the mean of several distributions over the labels.

    Args:
        logprobs: One distribution a row.  # (n_rows, n_labels)
    """
    probabilities = np.exp(normalise(logprobs)).mean(axis=0)  # (n_labels,)
    return normalise(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)))


def divide(logprobs: Vector, prior: Vector) -> Vector:
    """Return q(y) ∝ p(y | x) / prior(y): what the message adds to what the prompt favours.

    With the prior of content-free inputs this is contextual calibration (its diagonal W, b = 0);
    with random words of the domain, domain-context calibration; with the mean over the messages,
    batch calibration; with a premise that asks for the domain alone, the domain-conditional
    pointwise mutual information, log p(y | x) - log p(y | domain).

    Args:
        logprobs: p(y | x) by the prompt.  # (n_labels,)
        prior: p(y) by the same model.  # (n_labels,)

    Source:
        Zhao et al. (2021), arXiv:2102.09690; Fei et al. (2023), arXiv:2305.19148; Zhou et al.
        (2024), arXiv:2309.17249; Holtzman et al. (2021), arXiv:2104.08315.
    """
    return normalise(np.maximum(logprobs, TINY_LOGPROB) - np.maximum(prior, TINY_LOGPROB))


def channel(input_logprobs: Vector) -> Vector:
    """Return q(y) ∝ p(x | y): how well each label explains the message, all labels equally usual.

    Args:
        input_logprobs: log p(x | y), the sum over the message's tokens.  # (n_labels,)

    Source:
        Min et al. (2022), arXiv:2108.04106.
    """
    return normalise(input_logprobs)


def running_prior(total: Vector, n: int, *, weight: float) -> Vector:
    """Return the mean of the n distributions seen so far, drawn towards equal shares.

    prior(y) = (weight / n_labels + total(y)) / (weight + n). Batch calibration knows its whole
    batch; a conversation does not, and the mean over one message would erase its answer. So the
    first messages are corrected little and later ones nearly as in the paper.

    Args:
        total: Sum of the distributions, as probabilities.  # (n_labels,)
        n: How many they were.
        weight: Messages that equal shares count for.

    Source:
        Zhou et al. (2024), arXiv:2309.17249, section 3 (running mean); the shrinkage is ours.
    """
    return normalise(np.log((weight / len(total) + total) / (weight + n)))


def neighbour_distribution(
    labels: Sequence[int], similarities: Sequence[float], n_labels: int, temperature: float
) -> Vector:
    """Return p(y) ∝ Σ exp(s_i / T) over the neighbours i with label y; probabilities, not logs.

    Args:
        labels: Each neighbour's label, as an index.
        similarities: Cosine similarity of each.
        n_labels: How many labels there are.
        temperature: T; a small one listens to the nearest only.

    Returns:
        Probabilities.  # (n_labels,)

    Source:
        Khandelwal et al. (2020), arXiv:1911.00172; Shi et al. (2022), arXiv:2205.13792.
    """
    scaled = np.asarray(similarities, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max())  # (n_neighbours,)
    summed = np.bincount(np.asarray(labels), weights=weights, minlength=n_labels)
    return np.asarray(summed / summed.sum())


def interpolate(logprobs: Vector, neighbours: Vector, weight: float) -> Vector:
    """Return log((1 - weight) p(y | x) + weight p_neighbours(y)).

    Args:
        logprobs: The prompt's, in nats.  # (..., n_labels)
        neighbours: The pool's, as probabilities.  # (..., n_labels)
        weight: Between 0, the prompt alone, and 1, the neighbours alone.

    Source:
        Khandelwal et al. (2020), arXiv:1911.00172.
    """
    mixed = (1 - weight) * np.exp(normalise(logprobs)) + weight * neighbours
    return normalise(np.log(np.maximum(mixed, np.finfo(np.float64).tiny)))


def choose_weight(
    logprobs: Vector,
    neighbours: Vector,
    targets: Sequence[int],
    weights: Sequence[float] = WEIGHTS,
) -> float:
    """Return the weight of `interpolate` that is right most often; choose on dev, never on test.

    Of equally right weights the one with the greater likelihood of the targets wins, then the
    smaller.

    Args:
        logprobs: The prompt's, in nats.  # (n_samples, n_labels)
        neighbours: The pool's, as probabilities.  # (n_samples, n_labels)
        targets: Index of each sample's label.
        weights: Candidates in [0, 1].
    """
    rows = np.arange(len(targets))

    def quality(weight: float) -> tuple[int, float, float]:
        mixed = interpolate(logprobs, neighbours, weight)  # (n_samples, n_labels)
        n_right = int((mixed.argmax(axis=-1) == np.asarray(targets)).sum())
        return n_right, round(float(mixed[rows, list(targets)].mean()), 9), -weight

    return max(weights, key=quality)


def domain_texts(texts: Sequence[str], n: int, seed: int) -> list[str]:
    """Return n texts of random words of a domain, each as long as its texts are on average.

    Words are drawn from all texts together, each as often as it occurs. Where texts have no
    spaces (Chinese, Japanese), characters take the place of words.

    Args:
        texts: The domain's: unlabelled inputs, such as those of the example pool.
        n: How many to make.
        seed: Of the draw.

    Source:
        Fei et al. (2023), arXiv:2305.19148; 20 texts there.
    """
    words = [text.split() for text in texts]
    spaced = sum(map(len, words)) >= 1.5 * len(texts)
    units = words if spaced else [[c for c in text if not c.isspace()] for text in texts]
    bag = [unit for text in units for unit in text]
    length = max(1, round(len(bag) / len(texts)))
    rng = random.Random(f"domain {seed}")
    return [(" " if spaced else "").join(rng.choices(bag, k=length)) for _ in range(n)]
