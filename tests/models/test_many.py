"""Several prompts computed together give what each gives alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.errors import ContextOverflow, InputError, OutOfMemory
from promptbot.interfaces import AnswersMany
from promptbot.models.export import export_onnx
from promptbot.models.local import LocalChatModel
from promptbot.models.messages import to_langchain
from promptbot.models.onnx import load_onnx
from promptbot.models.packed import shared_length, together
from promptbot.models.scoring import MemoryIsShort
from promptbot.models.transformers import load_transformers
from promptbot.types import Message
from tests.models import checkpoints

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SYSTEM = Message("system", "You answer questions about parcels.")
QUESTIONS = [
    "Where is my order?",
    "Where is it?",
    "lost card abroad " * 6,
    "你好 🙂",
    "Where is it?",
]
PROMPTS = [[SYSTEM, Message("user", question)] for question in QUESTIONS]
OPTIONS = ["lost card", "lost card abroad", "card payment", "hello 🙂"]
MAKERS: dict[str, Callable[[Path], Path]] = {
    "embedded": checkpoints.embedded_like,
    "llama3": checkpoints.llama3_like,
    "qwen2": partial(checkpoints.qwen_like, generation=2),
    "qwen3": partial(checkpoints.qwen_like, generation=3),
    "gpt2": checkpoints.gpt2_like,
    "t5": checkpoints.t5_like,
    "bart": checkpoints.bart_like,
}
SEQ2SEQ = ("t5", "bart")
EVERY = [(name, "transformers") for name in MAKERS]
EVERY += [(name, "onnx") for name in MAKERS if name not in SEQ2SEQ]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], LocalChatModel]:
    root = tmp_path_factory.mktemp("checkpoints")
    made = {}
    for name, make in MAKERS.items():
        folder = make(root / name)
        made[name, "transformers"] = load_transformers(str(folder), name)
        if name not in SEQ2SEQ:
            export_onnx(folder, check=False)
            made[name, "onnx"] = load_onnx(folder, name)
    return made


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_scores_are_those_of_single_calls(models: Any, name: str, engine: str) -> None:
    model = models[name, engine]
    assert isinstance(model, AnswersMany)
    together_ = model.score_many(PROMPTS, OPTIONS)
    assert len(together_) == len(PROMPTS)
    for prompt, found in zip(PROMPTS, together_, strict=True):
        for one, other in zip(found, model.score(prompt, OPTIONS), strict=True):
            assert one.option == other.option
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)


@pytest.mark.parametrize(("name", "engine"), EVERY)
@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 9},
        {"max_new_tokens": 12, "temperature": 1.3, "top_k": 20, "seed": 5},
        {"max_new_tokens": 12, "stop": ["e"], "repetition_penalty": 1.4},
    ],
)
def test_answers_are_those_of_single_calls(
    models: Any, name: str, engine: str, settings: dict[str, Any]
) -> None:
    model = models[name, engine]
    found = model.generate_many(PROMPTS, **settings)
    for prompt, completion in zip(PROMPTS, found, strict=True):
        alone = model.invoke(to_langchain(prompt), **settings)
        assert completion.text == alone.content
        assert completion.stop_reason == alone.response_metadata["stop_reason"]
        usage = alone.usage_metadata
        assert completion.n_generated_tokens == usage["output_tokens"]
        assert completion.n_prompt_tokens == usage["input_tokens"]


@pytest.fixture
def passes(models: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The new tokens of each forward pass of the ONNX engine."""
    network = models["embedded", "onnx"].engine.network
    compute, seen = network.forward, []

    def forward(past: Any, ids: Any, *others: Any) -> Any:
        seen.append(len(ids))
        return compute(past, ids, *others)

    monkeypatch.setattr(network, "forward", forward)
    return seen


def cleared(model: LocalChatModel) -> LocalChatModel:
    model.engine.cache = type(model.engine.cache)(model.engine.network)
    return model


def test_no_token_is_padding_and_what_prompts_share_is_read_once(
    models: Any, passes: list[int]
) -> None:
    model = cleared(models["embedded", "onnx"])
    chat_format = model.engine.chat_format
    prompts = [chat_format.encode(prompt).ids for prompt in PROMPTS]
    options = [chat_format.encode_answer(option, end_of_turn=True) for option in OPTIONS]
    model.score_many(PROMPTS, OPTIONS)
    beginnings = {
        tuple(text[:n])
        for prompt in prompts
        for text in ([*prompt, *option] for option in options)
        for n in range(1, len(text))
    }
    assert len(passes) < len(prompts)
    assert sum(passes) == len(beginnings)  # every token that is read is somebody's, once

    passes.clear()
    completions = cleared(model).generate_many(PROMPTS, max_new_tokens=6)
    n_shared = shared_length(prompts)
    n_read = n_shared + sum(len(prompt) - n_shared for prompt in prompts)
    # The last token of an answer that reached its length is not read.
    n_written = sum(one.n_generated_tokens - 1 for one in completions)
    assert {one.stop_reason for one in completions} == {"length"}
    assert sum(passes) == n_read + n_written
    assert [one.n_cached_tokens for one in completions].count(n_shared) == len(prompts) - 1


def test_a_batch_is_split_where_it_is_too_long(
    models: Any, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cleared(models["embedded", "onnx"])
    whole = model.generate_many(PROMPTS, max_new_tokens=6)
    n_passes = len(passes)
    monkeypatch.setattr("promptbot.models.causal.WRITTEN_AT_ONCE", 0.4)
    split = cleared(model).generate_many(PROMPTS, max_new_tokens=6)
    assert [one.text for one in split] == [one.text for one in whole]
    assert len(passes) - n_passes > n_passes


def test_many_scores_leave_the_shared_beginning_in_the_cache(
    models: Any, passes: list[int]
) -> None:
    model = cleared(models["embedded", "onnx"])
    for call in (
        lambda: model.score_many(PROMPTS, OPTIONS),
        lambda: model.generate_many(PROMPTS, max_new_tokens=3),
    ):
        call()
        passes.clear()
        usage = model.invoke(to_langchain(PROMPTS[3]), max_new_tokens=1).usage_metadata
        assert usage["input_token_details"]["cache_read"] >= model.count_tokens([SYSTEM])


@pytest.mark.parametrize("verb", ["score", "generate"])
def test_a_batch_that_does_not_fit_into_memory_is_halved(
    models: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    model = cleared(models["qwen2", "transformers"])
    network = model.engine.network
    compute = network.model.forward
    _ = network.reads_trees

    def call() -> Any:
        if verb == "score":
            scores = model.score_many(PROMPTS, OPTIONS)
            return np.array([one.logprob for found in scores for one in found])
        return [one.text for one in model.generate_many(PROMPTS, max_new_tokens=5)]

    expected = call()

    def forward(*, input_ids: Any, **arguments: Any) -> Any:
        if input_ids.shape[-1] > 80:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(input_ids=input_ids, **arguments)

    monkeypatch.setattr(network.model, "forward", forward)
    cleared(model)
    with pytest.warns(MemoryIsShort, match="prompts at once"):
        found = call()
    if verb == "score":
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert found == expected
    monkeypatch.setattr(network.model, "forward", compute)
    assert model.invoke("hello", max_new_tokens=2).usage_metadata["output_tokens"] <= 2


def test_memory_for_not_even_one_prompt_is_an_error(
    models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cleared(models["qwen2", "transformers"])

    def forward(**arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    _ = model.engine.network.reads_trees
    monkeypatch.setattr(model.engine.network.model, "forward", forward)
    for call in (
        lambda: model.score_many(PROMPTS, OPTIONS),
        lambda: model.generate_many(PROMPTS, max_new_tokens=2),
    ):
        with pytest.warns(MemoryIsShort), pytest.raises(OutOfMemory):
            call()


def test_a_model_that_reads_no_trees_answers_one_by_one(
    models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cleared(models["llama3", "transformers"])
    expected = model.generate_many(PROMPTS, max_new_tokens=5), model.score_many(PROMPTS, OPTIONS)
    network = model.engine.network
    monkeypatch.setitem(network.__dict__, "reads_trees", False)
    cleared(model)
    assert [one.text for one in model.generate_many(PROMPTS, max_new_tokens=5)] == [
        one.text for one in expected[0]
    ]
    for found, other in zip(model.score_many(PROMPTS, OPTIONS), expected[1], strict=True):
        assert [one.logprob for one in found] == pytest.approx(
            [one.logprob for one in other], abs=1e-4
        )


def test_nothing_is_answered_where_one_prompt_is_refused(models: Any, passes: list[int]) -> None:
    model = models["embedded", "onnx"]
    long = [Message("user", "Where is my order? " * 200)]
    for call in (
        lambda: model.score_many([*PROMPTS, long], OPTIONS),
        lambda: model.generate_many([*PROMPTS, long]),
    ):
        with pytest.raises(ContextOverflow):
            call()
    with pytest.raises(InputError, match="option is empty"):
        model.score_many(PROMPTS, ["card", ""], end_of_turn=False)
    with pytest.raises(InputError, match="knows no setting"):
        model.generate_many(PROMPTS, temprature=1)
    assert not passes


def test_no_prompts_and_no_options_give_nothing(models: Any) -> None:
    model = models["embedded", "onnx"]
    assert model.score_many([], OPTIONS) == []
    assert model.score_many(PROMPTS[:2], []) == [[], []]
    assert model.generate_many([]) == []


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_encoder_decoders_are_batched_with_little_padding(
    models: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = models[name, "transformers"]
    encoder = model.engine.model.get_encoder()
    compute, batches = encoder.forward, []

    def forward(*, attention_mask: Any, **others: Any) -> Any:
        batches.append(attention_mask)
        return compute(attention_mask=attention_mask, **others)

    monkeypatch.setattr(encoder, "forward", forward)
    prompts = [[Message("user", "lost card " * (1 + i % 12))] for i in range(36)]
    model.generate_many(prompts, max_new_tokens=3)
    model.score_many(prompts, OPTIONS)
    n_tokens = sum(mask.numel() for mask in batches)
    n_padding = n_tokens - sum(int(mask.sum()) for mask in batches)
    assert 0 < n_padding < 0.1 * n_tokens
    assert len(batches) < len(prompts)


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_options_of_an_encoder_decoder_are_batched_with_little_padding(
    models: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    engine = models[name, "transformers"].engine
    compute, n_read = engine.model.forward, []

    def forward(*, decoder_input_ids: Any, **others: Any) -> Any:
        n_read.append(decoder_input_ids.numel())
        return compute(decoder_input_ids=decoder_input_ids, **others)

    monkeypatch.setattr(engine.model, "forward", forward)
    options = [[5] * (1 + 7 * i % 12) for i in range(30)]
    n_tokens = sum(len(engine.decoder_start) + len(option) - 1 for option in options)
    engine.score([5, 6, 7], options)
    assert n_tokens < sum(n_read) < n_tokens / 0.9
    assert len(n_read) < len(options) / 2


@pytest.mark.parametrize("verb", ["score", "generate"])
def test_a_batch_of_an_encoder_decoder_is_halved_where_memory_is_short(
    models: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    model = models["bart", "transformers"]
    prompts = [[Message("user", f"lost card {i}")] for i in range(6)]

    def call() -> Any:
        if verb == "score":
            scores = model.score_many(prompts, OPTIONS)
            return np.array([one.logprob for found in scores for one in found])
        return [one.text for one in model.generate_many(prompts, max_new_tokens=5)]

    expected = call()
    compute, most = model.engine.model.forward, 2

    def forward(*, decoder_input_ids: Any, **others: Any) -> Any:
        if len(decoder_input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(decoder_input_ids=decoder_input_ids, **others)

    monkeypatch.setattr(model.engine.model, "forward", forward)
    with pytest.warns(MemoryIsShort, match="prompts at once"):
        found = call()
    if verb == "score":
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert found == expected
    most = 0
    with pytest.warns(MemoryIsShort), pytest.raises(OutOfMemory):
        call()


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12),
    st.integers(1, 20),
    st.integers(0, 4),
)
def test_every_prompt_is_in_one_pack_and_packs_keep_their_bounds(
    prompts: list[list[int]], most: int, n_more: int
) -> None:
    packs = together(prompts, [n_more] * len(prompts), most=most, most_prompts=4)
    assert sorted(i for pack in packs for i in pack) == list(range(len(prompts)))
    for pack in packs:
        assert 1 <= len(pack) <= 4
        if len(pack) > 1:
            chosen = [prompts[i] for i in pack]
            n_shared = shared_length(chosen)
            assert all(one[:n_shared] == chosen[0][:n_shared] for one in chosen)
            assert all(len(one) > n_shared for one in chosen)
            assert sum(len(one) - n_shared + n_more for one in chosen) <= most
