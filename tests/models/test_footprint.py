"""How much memory a block takes: found at its peak, and given back between."""

from __future__ import annotations

import numpy as np
import pytest

from promptbot.models.encoder import load_encoder
from promptbot.models.footprint import process_bytes, watching_memory
from promptbot.models.registry import load_model

if process_bytes() is None:
    pytest.skip("this system does not tell a process's memory", allow_module_level=True)

MB = 10**6


def test_the_peak_counts_and_not_the_end() -> None:
    with watching_memory() as grown:
        many = np.ones(25 * MB)  # 200 MB
        many += 1  # long enough for a look at it
        del many
    assert grown.n_bytes is not None
    assert grown.n_bytes > 150 * MB
    with watching_memory() as grown:
        pass
    assert grown.n_bytes is not None
    assert grown.n_bytes < 50 * MB


def test_a_block_that_fails_is_measured_and_its_error_raised() -> None:
    with pytest.raises(KeyError), watching_memory() as grown:
        raise KeyError
    assert grown.n_bytes is not None
    assert grown.n_bytes >= 0


def test_weights_are_counted_as_they_lie_in_memory() -> None:
    encoder = load_encoder("embedded")
    assert encoder.n_bytes >= encoder._rows.nbytes  # type: ignore[attr-defined]
    model = load_model("embedded")
    assert 20 * MB < model.n_bytes < 100 * MB  # type: ignore[attr-defined]
