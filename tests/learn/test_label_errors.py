"""Planted label errors are found."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from promptbot.learn.label_errors import find_label_errors


def blobs(n: int = 40) -> tuple[np.ndarray, list[str]]:
    """Three clouds of unit vectors, one for each label."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([np.eye(8)[i] + rng.normal(0, 0.15, (n, 8)) for i in range(3)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [label for label in "abc" for _ in range(n)]


def test_planted_errors_are_found_and_nothing_else() -> None:
    vectors, labels = blobs()
    planted = {3: "b", 50: "c", 90: "a", 100: "b"}
    right = {row: labels[row] for row in planted}
    for row, label in planted.items():
        labels[row] = label
    found = find_label_errors(vectors, labels, range(len(labels)))
    assert {error.row: error.suggested for error in found.errors} == right
    margins = [error.margin for error in found.errors]
    assert margins == sorted(margins, reverse=True)
    assert min(margins) > 0


def test_clean_data_that_is_easy_has_none() -> None:
    vectors, labels = blobs()
    assert find_label_errors(vectors, labels, range(len(labels))).errors == ()


def test_equal_rows_with_one_wrong_label_do_not_vouch_for_each_other() -> None:
    vectors, labels = blobs()
    # Thirty copies of one row of the first cloud, all with the second one's label.
    copies = np.repeat(vectors[:1], 30, axis=0)
    groups = [*range(len(labels)), *([0] * 30)]
    many = np.concatenate([vectors, copies])
    found = find_label_errors(many, [*labels, *("b" * 30)], groups)
    assert {error.row for error in found.errors} >= set(range(120, 150))


def test_labels_with_too_few_rows_are_named_and_not_judged() -> None:
    vectors, labels = blobs()
    labels[0] = "alone"
    found = find_label_errors(vectors, labels, range(len(labels)))
    assert found.not_judged == ("alone",)
    assert 0 not in {error.row for error in found.errors}
    assert find_label_errors(vectors, ["a"] * len(labels), range(len(labels))).errors == ()
