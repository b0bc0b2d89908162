"""What measures the model counts as it says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from pretraining.measure import Figure, vote


def test_examples_of_one_label_vote_together() -> None:
    similarity = np.array([0.80, 0.78, 0.50])
    assert vote(similarity, ["a", "b", "b"], 200.0) == "a"  # the nearest alone counts
    assert vote(similarity, ["a", "b", "b"], 10.0) == "a"
    assert vote(np.array([0.80, 0.78, 0.77]), ["a", "b", "b"], 10.0) == "b"


def test_the_interval_is_wilsons() -> None:
    low, high = Figure("x", 40, 50).interval()
    assert (low, high) == pytest.approx((0.670, 0.888), abs=0.001)
    assert Figure("x", 0, 10).interval()[0] == pytest.approx(0.0, abs=1e-9)
