"""What measures the model counts as it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from pretraining import businesses, measure, teacher
from pretraining.measure import Figure, note_cases, vote
from pretraining.tokenizer import build
from pretraining.world import World


def test_examples_of_one_label_vote_together() -> None:
    similarity = np.array([0.80, 0.78, 0.50])
    assert vote(similarity, ["a", "b", "b"], 200.0) == "a"  # the nearest alone counts
    assert vote(similarity, ["a", "b", "b"], 10.0) == "a"
    assert vote(np.array([0.80, 0.78, 0.77]), ["a", "b", "b"], 10.0) == "b"


def test_the_interval_is_wilsons() -> None:
    low, high = Figure("x", 40, 50).interval()
    assert (low, high) == pytest.approx((0.670, 0.888), abs=0.001)
    assert Figure("x", 0, 10).interval()[0] == pytest.approx(0.0, abs=1e-9)


def test_cases_are_kept_until_what_they_are_made_of_changes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(texts: Sequence[str], threads: int) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(texts), 8))

    monkeypatch.setattr(teacher, "embed", embed)
    cases = note_cases(world, tmp_path, n=12)
    assert len(cases) == 24
    assert all(len(c.notes) == 3 and bool(c.answer) == (i % 2 == 0) for i, c in enumerate(cases))
    assert all(c.answer in dict(c.notes).values() for c in cases if c.answer)
    monkeypatch.setattr(teacher, "embed", None)
    assert note_cases(world, tmp_path, n=12) == cases  # from the file
    monkeypatch.setattr(teacher, "embed", embed)
    fewer = measure.HELD_TOPICS[:40]
    monkeypatch.setattr(measure, "HELD_TOPICS", fewer)
    monkeypatch.setattr(businesses, "HELD_TOPICS", fewer)
    assert note_cases(world, tmp_path, n=12) != cases
    assert len(list(tmp_path.iterdir())) == 2


def test_words_of_several_tokens_are_counted() -> None:
    tokenizer = build([" the card is here"] * 20, size=300)
    assert measure.in_pieces(tokenizer, "is the card here?") == 0
    assert measure.in_pieces(tokenizer, "the zebra, the card's xylophone") == 3
