"""A smooth curve through points that stays monotone wherever they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def monotone_cubic(x: Floats, y: Floats, grid: Floats) -> Floats:
    """Return curves on a grid, each through its points.  # (n_curves, n_grid)

    Args:
        x: Where the points are, increasing; two at least.  # (n_points,)
        y: Their heights.  # (n_curves, n_points)
        grid: Where the curves are wanted, between the first and the last point.  # (n_grid,)

    Source:
        Fritsch and Butland (1984), SIAM J. Scientific and Statistical Computing 5:300, with the
        three-point slopes at the ends of Moler (2004), Numerical Computing with MATLAB, 3.6.
    """
    steps = np.diff(x)
    chords = np.diff(y) / steps  # (n_curves, n_points - 1)
    slopes = _slopes(steps, chords)
    i = np.clip(np.searchsorted(x, grid, side="right") - 1, 0, len(x) - 2)
    t, h = (grid - x[i]) / steps[i], steps[i]
    return np.asarray(
        y[:, i] * (2 * t**3 - 3 * t**2 + 1)
        + slopes[:, i] * h * (t**3 - 2 * t**2 + t)
        + y[:, i + 1] * (3 * t**2 - 2 * t**3)
        + slopes[:, i + 1] * h * (t**3 - t**2)
    )


def _slopes(steps: Floats, chords: Floats) -> Floats:
    """Return the slope at each point.  # (n_curves, n_points)"""
    if len(steps) == 1:
        return np.repeat(chords, 2, axis=1)
    before, after = chords[:, :-1], chords[:, 1:]
    turns = before * after <= 0
    w_before, w_after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = (w_before + w_after) / (w_before / before + w_after / after)
    inner = np.where(turns, 0.0, harmonic)
    first = _end_slope(steps[0], steps[1], chords[:, 0], chords[:, 1])
    last = _end_slope(steps[-1], steps[-2], chords[:, -1], chords[:, -2])
    return np.column_stack([first, inner, last])


def _end_slope(near: float, far: float, chord: Floats, next_chord: Floats) -> Floats:
    slope = ((2 * near + far) * chord - near * next_chord) / (near + far)
    slope = np.where(np.sign(slope) != np.sign(chord), 0.0, slope)
    steep = (np.sign(chord) != np.sign(next_chord)) & (np.abs(slope) > 3 * np.abs(chord))
    return np.where(steep, 3 * chord, slope)
