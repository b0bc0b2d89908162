"""Baselines: the cache under the hash of what decided them, and what is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from promptbot.errors import DataError, StoreError
from promptbot.learn.baseline import LEFT_BEHIND_S, make_baseline
from promptbot.learn.probe import WEIGHTS_FILE
from promptbot.learn.spec import BaselineSpec
from promptbot.models.encoder import checkpoint_revision
from promptbot.types import Example, Sample
from tests.encoders import HashingEncoder
from tests.learn.test_probe import examples
from tests.models import checkpoints

SPEC = BaselineSpec(method="linear_probe", model="embedded")
SAMPLES = [Sample("1", "my card is lost", "card_lost"), Sample("2", "a PIN", "pin")]


def test_the_same_training_is_done_once(tmp_path: Path) -> None:
    found, encoder = examples("card_lost", "pin"), HashingEncoder()
    first = make_baseline(SPEC, found, encoder, cache=tmp_path)
    n_encoded = encoder.n_encoded
    again = make_baseline(SPEC, found[::-1], encoder, cache=tmp_path)
    assert (first.cached, again.cached) == (False, True)
    assert encoder.n_encoded == n_encoded
    assert again.train_seconds == pytest.approx(first.train_seconds, abs=1e-3)
    assert again.predictor.predict(SAMPLES) == first.predictor.predict(SAMPLES)


def test_a_probe_learns_from_float32_whatever_the_processor_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.on_processor(monkeypatch, has_bfloat16=True)
    base = checkpoints.bert_like(tmp_path / "bert")
    spec = BaselineSpec(method="linear_probe", model=str(base))
    made = make_baseline(spec, examples("card_lost", "pin"), cache=tmp_path)
    assert made.base_revision == checkpoint_revision(base)


def test_other_examples_or_another_encoder_are_another_training(tmp_path: Path) -> None:
    found = examples("card_lost", "pin")
    folders = {
        make_baseline(SPEC, some, encoder, cache=tmp_path).folder
        for some, encoder in [
            (found, HashingEncoder()),
            (found[:-1], HashingEncoder()),
            (found, HashingEncoder("hashing-2")),
        ]
    }
    assert len(folders) == 3


@pytest.mark.parametrize("damage", [b"", b"not what was saved"])
def test_a_damaged_or_unfinished_baseline_is_trained_anew(tmp_path: Path, damage: bytes) -> None:
    found, encoder = examples("card_lost", "pin"), HashingEncoder()
    first = make_baseline(SPEC, found, encoder, cache=tmp_path)
    (first.folder / WEIGHTS_FILE).write_bytes(damage)
    again = make_baseline(SPEC, found, encoder, cache=tmp_path)
    assert not again.cached
    assert again.predictor.predict(SAMPLES) == first.predictor.predict(SAMPLES)
    assert make_baseline(SPEC, found, encoder, cache=tmp_path).cached
    assert [path.name for path in tmp_path.iterdir()] == [first.folder.name]


def test_what_a_kill_left_goes_after_a_day_and_not_before(tmp_path: Path) -> None:
    old, new = tmp_path / "0123.part-old", tmp_path / "0123.part-new"
    for part in (old, new):
        part.mkdir()
        (part / WEIGHTS_FILE).write_bytes(b"half")
    yesterday = time.time() - LEFT_BEHIND_S - 1
    os.utime(old, (yesterday, yesterday))
    make_baseline(SPEC, examples("card_lost", "pin"), HashingEncoder(), cache=tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    encoder = HashingEncoder()
    with pytest.raises(StoreError, match="PROMPTBOT_CACHE"):
        make_baseline(SPEC, examples("card_lost", "pin"), encoder, cache=tmp_path / "file")
    assert encoder.n_encoded == 0


@pytest.mark.parametrize("found", [[], examples("pin"), [Example("Hello", "Hi!")]])
def test_fewer_than_two_labels_are_refused(found: list[Example], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two labels"):
        make_baseline(SPEC, found, HashingEncoder(), place="a.yaml", cache=tmp_path)
    assert not list(tmp_path.iterdir())
