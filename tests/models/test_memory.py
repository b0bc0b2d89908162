"""Work that does not fit into memory is done in smaller pieces, with the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from promptbot.errors import OutOfMemory
from promptbot.models.local import LocalChatModel
from promptbot.models.scoring import MemoryIsShort
from promptbot.models.transformers import load_transformers
from promptbot.types import Message
from tests.models import checkpoints

PROMPT = [Message("user", "Where is my order? " * 20)]
OPTIONS = [f"{one} {two}" for one in ("card", "order", "parcel") for two in ("lost", "late", "new")]


@pytest.fixture
def model(tiny_folder: Path) -> LocalChatModel:
    return load_transformers(str(tiny_folder), "tiny")


@pytest.fixture
def limit(model: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many new tokens a pass takes before the device's memory is full."""
    most = [10**6]
    network: Any = model.engine.network
    compute = network.model.forward

    def forward(*, input_ids: Any, **arguments: Any) -> Any:
        output = compute(input_ids=input_ids, **arguments)
        if input_ids.shape[-1] > most[0]:  # keys and values were appended by then
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return output

    _ = network.reads_trees  # measured before memory is short
    monkeypatch.setattr(network.model, "forward", forward)
    return most


def test_a_prompt_is_read_in_halves(model: LocalChatModel, limit: list[int]) -> None:
    expected = model.invoke(PROMPT[0].content, max_new_tokens=8).content
    model.engine.cache = type(model.engine.cache)(model.engine.network)
    limit[0] = 16
    with pytest.warns(MemoryIsShort, match="tokens of the prompt at once"):
        assert model.invoke(PROMPT[0].content, max_new_tokens=8).content == expected


def test_options_are_scored_in_halves_and_score_alike(
    model: LocalChatModel, limit: list[int]
) -> None:
    expected = [one.logprob for one in model.score(PROMPT, OPTIONS)]
    limit[0] = 14  # the cache holds the prompt but for its last token
    with pytest.warns(MemoryIsShort, match="options at once"):
        found = [one.logprob for one in model.score(PROMPT, OPTIONS)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_text_is_read_in_halves_and_is_as_likely(model: LocalChatModel, limit: list[int]) -> None:
    text = PROMPT[0].content
    expected = model.loglikelihood(text)
    limit[0] = 7
    with pytest.warns(MemoryIsShort, match="tokens of a text at once"):
        found = model.loglikelihood(text)
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-3)
    assert found.n_tokens == expected.n_tokens
    limit[0] = 0
    with pytest.warns(MemoryIsShort), pytest.raises(OutOfMemory):
        model.loglikelihood(text)


def test_what_does_not_fit_at_all_is_an_error_and_the_model_goes_on(
    model: LocalChatModel, limit: list[int]
) -> None:
    expected = model.invoke(PROMPT[0].content, max_new_tokens=3).content
    limit[0] = 0
    with (
        pytest.warns(MemoryIsShort),
        pytest.raises(OutOfMemory, match="do not fit into the memory of cpu"),
    ):
        model.invoke("lost card", max_new_tokens=3)
    limit[0] = 10**6
    assert model.invoke(PROMPT[0].content, max_new_tokens=3).content == expected


def test_another_failure_is_not_taken_for_it(
    model: LocalChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**arguments: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model.engine.network.model, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        model.invoke("lost card", max_new_tokens=3)


def test_an_encoder_decoder_scores_in_halves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_transformers(str(checkpoints.t5_like(tmp_path / "t5")), "t5")
    expected = [one.logprob for one in model.score(PROMPT, OPTIONS)]
    compute, most = model.engine.model.forward, 2

    def forward(*, decoder_input_ids: Any, **arguments: Any) -> Any:
        if len(decoder_input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(decoder_input_ids=decoder_input_ids, **arguments)

    monkeypatch.setattr(model.engine.model, "forward", forward)
    with pytest.warns(MemoryIsShort, match="options at once"):
        found = [one.logprob for one in model.score(PROMPT, OPTIONS)]
    assert found == pytest.approx(expected, abs=1e-4)
    most = 0
    with pytest.raises(OutOfMemory, match="1 answers to"):
        model.invoke("lost card", max_new_tokens=3)
