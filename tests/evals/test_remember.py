"""Vectors that are computed once."""

from __future__ import annotations

import numpy as np
import pytest

from promptbot.evals.remember import RememberingEncoder
from promptbot.models.call_cache import noting_replays
from tests.encoders import HashingEncoder


def test_no_text_is_encoded_twice_and_the_vectors_are_the_same() -> None:
    plain, counted = HashingEncoder(), HashingEncoder()
    encoder = RememberingEncoder(lambda: counted)
    first = encoder.encode(["a card", "a PIN", "a card"])
    again = encoder.encode(["a PIN", "a loan"])
    assert counted.n_encoded == 3
    np.testing.assert_array_equal(first, plain.encode(["a card", "a PIN", "a card"]))
    np.testing.assert_array_equal(again, plain.encode(["a PIN", "a loan"]))
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_what_was_saved_is_counted() -> None:
    encoder = RememberingEncoder(HashingEncoder)
    with noting_replays() as first:
        encoder.encode(["a card", "a PIN"])
    assert first.seconds == 0
    with noting_replays() as once:
        encoder.encode(["a card"])
    assert once.seconds > 0
    with noting_replays() as both:
        encoder.encode(["a card", "a PIN"])
    assert both.seconds == pytest.approx(2 * once.seconds)
