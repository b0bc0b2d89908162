"""Curves through points equal scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from promptbot.evals.interpolation import monotone_cubic

HEIGHTS = st.lists(st.sampled_from([0.0, 0.1, 0.35, 0.5, 0.81, 1.0]), min_size=2, max_size=8)


@given(HEIGHTS, st.integers(0, 5))
def test_curves_equal_scipys(heights: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.2, 2, len(heights)))
    y = np.stack([heights, np.sort(heights), heights[::-1]])
    grid = np.linspace(x[0], x[-1], 50)
    expected = PchipInterpolator(x, y, axis=1)(grid)
    assert monotone_cubic(x, y, grid) == pytest.approx(expected, abs=1e-12)
