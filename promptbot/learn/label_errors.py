"""Rows whose label is likely wrong, by what a classifier says that never saw them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptbot.errors import MissingExtra
from promptbot.learn.probe import INVERSE_PENALTY

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_FOLDS = 5
"""Parts of the cross-validation."""

MIN_GROUPS = 3
"""Texts that a label must have, near duplicates counted once, for its rows to be judged."""

MAX_ITERATIONS = 100
"""Steps of the solver: the probabilities are compared with their own means, so that the last digit
of the optimum changes nothing."""


@dataclass(frozen=True, slots=True)
class LabelError:
    """A row whose label is likely wrong."""

    row: int
    """Its place among the rows, from 0."""
    suggested: str
    """The label that the classifier gives it."""
    given_probability: float
    """Probability of the label it has, in [0, 1]."""
    suggested_probability: float
    """Probability of the suggested one, in [0, 1]."""

    @property
    def margin(self) -> float:
        """By how much the suggested label is likelier, in (0, 1]."""
        return self.suggested_probability - self.given_probability


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What was found, and what could not be judged."""

    errors: tuple[LabelError, ...]
    """The surest first."""
    not_judged: tuple[str, ...]
    """Labels with too few rows."""


def find_label_errors(
    vectors: NDArray[np.float32], labels: Sequence[str], groups: Sequence[int], *, seed: int = 0
) -> LabelCheck:
    """Return the rows whose label is likely wrong, by confident learning.

    Logistic regression on the vectors is trained five times, each time without a fifth of the rows,
    and asked about these. A label is *confident* for a row where its probability reaches the mean
    that it has among the rows that carry it. A row is likely wrong where the likeliest confident
    label is not the one it carries and the label it carries is not the likeliest of all.

    Args:
        vectors: Unit vectors of a frozen encoder.  # (n_rows, dimension)
        labels: Their labels.
        groups: A number for each row; rows of one number are held out together. Near duplicates
            belong together, since each would else vouch for the other's label.
        seed: Of the folds.

    Raises:
        MissingExtra: scikit-learn is not installed.

    Source:
        Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset
        Labels", arXiv:1911.00068: the off-diagonal of the confident joint (their method CL:
        C_confusion, equations 1 and 2).
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    except ImportError as error:
        raise MissingExtra("Finding likely label errors", "scikit-learn", "finetune") from error
    places: dict[str, set[int]] = {}
    for label, group in zip(labels, groups, strict=True):
        places.setdefault(label, set()).add(group)
    not_judged = sorted(label for label, found in places.items() if len(found) < MIN_GROUPS)
    rows = np.array([i for i, label in enumerate(labels) if label not in not_judged], dtype=int)
    names, given = np.unique(np.array([labels[i] for i in rows]), return_inverse=True)
    if len(names) < 2:
        return LabelCheck((), tuple(not_judged))
    n_groups = len({groups[i] for i in rows})
    with warnings.catch_warnings():
        # Of labels with fewer rows than folds, and of a solver that could go on.
        warnings.simplefilter("ignore")
        probabilities = cross_val_predict(
            LogisticRegression(
                C=INVERSE_PENALTY, class_weight="balanced", max_iter=MAX_ITERATIONS, tol=1e-3
            ),
            vectors[rows],
            given,
            groups=np.array(groups)[rows],
            cv=StratifiedGroupKFold(min(N_FOLDS, n_groups), shuffle=True, random_state=seed),
            method="predict_proba",
        )  # (n_rows, n_labels)
    return LabelCheck(_off_diagonal(probabilities, given, rows, names), tuple(not_judged))


def _off_diagonal(
    probabilities: NDArray[np.float64],
    given: NDArray[np.int64],
    rows: NDArray[np.int64],
    names: NDArray[np.str_],
) -> tuple[LabelError, ...]:
    everyone = np.arange(len(given))
    of_given = probabilities[everyone, given]
    thresholds = np.bincount(given, of_given) / np.bincount(given)  # (n_labels,)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    is_off = (confident.max(axis=1) >= 0) & (suggested != given)
    is_off &= probabilities.argmax(axis=1) != given
    found = [
        LabelError(
            int(rows[i]),
            str(names[suggested[i]]),
            float(of_given[i]),
            float(probabilities[i, suggested[i]]),
        )
        for i in np.flatnonzero(is_off)
    ]
    found = [error for error in found if error.margin > 0]
    return tuple(sorted(found, key=lambda error: -error.margin))
