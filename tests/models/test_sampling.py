"""The next token: greedy, drawn, penalised."""

from __future__ import annotations

import numpy as np
import pytest

from promptbot.models.sampling import Decoding, Sampler

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))


def shares(decoding: Decoding, n: int = 4000) -> np.ndarray:
    sampler = Sampler(decoding, [])
    picks = [sampler.pick(LOGITS) for _ in range(n)]
    return np.bincount(picks, minlength=4) / n


def test_temperature_zero_takes_the_likeliest() -> None:
    assert {Sampler(Decoding(), []).pick(LOGITS) for _ in range(5)} == {0}


def test_draws_follow_the_probabilities() -> None:
    assert np.allclose(shares(Decoding(temperature=1.0)), [0.5, 0.3, 0.15, 0.05], atol=0.03)


def test_temperature_flattens() -> None:
    expected = np.exp(LOGITS / 2) / np.exp(LOGITS / 2).sum()
    assert np.allclose(shares(Decoding(temperature=2.0)), expected, atol=0.03)


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (Decoding(temperature=1.0, top_k=2), [0.625, 0.375, 0, 0]),
        (Decoding(temperature=1.0, top_p=0.75), [0.625, 0.375, 0, 0]),
        (Decoding(temperature=1.0, top_p=0.5), [1, 0, 0, 0]),
        (Decoding(temperature=1.0, min_p=0.2), [0.526, 0.316, 0.158, 0]),
    ],
)
def test_cuts_keep_the_likeliest(decoding: Decoding, expected: list[float]) -> None:
    assert np.allclose(shares(decoding), expected, atol=0.03)


def test_the_repetition_penalty_counts_what_was_read_and_written() -> None:
    logits = np.array([2.0, 1.9, -1.0, 1.8], dtype=np.float32)
    sampler = Sampler(Decoding(repetition_penalty=2.0), [0])
    assert [sampler.pick(logits) for _ in range(3)] == [1, 3, 0]
    assert logits.tolist() == pytest.approx([2.0, 1.9, -1.0, 1.8])


def test_settings_left_open_take_their_defaults() -> None:
    assert Decoding.of({"temperature": None, "seed": 3}) == Decoding(seed=3)
