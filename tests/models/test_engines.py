"""Both local engines on every published layout: the same numbers as plain Transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptbot.errors import ContextOverflow
from promptbot.interfaces import FrozenModel
from promptbot.models.export import export_onnx, largest_difference
from promptbot.models.local import LocalChatModel
from promptbot.models.onnx import load_onnx
from promptbot.models.transformers import load_transformers
from promptbot.types import Message
from tests.models import checkpoints

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

PROMPT = [
    Message("system", "You answer questions about parcels."),
    Message("user", "Where is my order?"),
]
OPTIONS = ["lost card", "lost card abroad", "card payment", "lost", "hello world 🙂"]
CAUSAL: dict[str, Callable[[Path], Path]] = {
    "embedded": checkpoints.embedded_like,
    "llama3": checkpoints.llama3_like,
    "qwen2": partial(checkpoints.qwen_like, generation=2),
    "qwen3": partial(checkpoints.qwen_like, generation=3),
    "gpt2": checkpoints.gpt2_like,
    "llama2": checkpoints.llama2_like,
}
SEQ2SEQ: dict[str, Callable[[Path], Path]] = {
    "t5": checkpoints.t5_like,
    "bart": checkpoints.bart_like,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: make(root / name) for name, make in (CAUSAL | OTHERS | SEQ2SEQ).items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[tuple[str, str], LocalChatModel]:
    made = {}
    for name, folder in folders.items():
        made[name, "transformers"] = load_transformers(str(folder), name)
        if name in CAUSAL:
            export_onnx(folder, check=False)
            made[name, "onnx"] = load_onnx(folder, name)
    return made


OTHERS: dict[str, Callable[[Path], Path]] = {
    name: partial(checkpoints.other_causal, name=name) for name in checkpoints.OTHER_CAUSAL
}
EVERY = [
    *[(name, engine) for name in CAUSAL for engine in ("onnx", "transformers")],
    *[(name, "transformers") for name in OTHERS | SEQ2SEQ],
]


def reference(folder: Path, name: str) -> Any:
    import transformers

    auto = transformers.AutoModelForSeq2SeqLM if name in SEQ2SEQ else None
    auto = auto or transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


def plain_scores(network: Any, name: str, prompt: list[int], option: list[int]) -> list[float]:
    """One forward pass over the whole text, without cache or masks."""
    with torch.no_grad():
        if name in SEQ2SEQ:
            start = [2, 0] if name == "bart" else [0]
            logits = network(
                input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([start + option])
            ).logits[0, len(start) - 1 : -1]
        else:
            logits = network(torch.tensor([prompt + option])).logits[0, len(prompt) - 1 : -1]
    logprobs = logits.log_softmax(-1)
    return [float(logprobs[i, token]) for i, token in enumerate(option)]


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_scores_equal_one_plain_forward_pass_per_option(
    models: Any, folders: Any, name: str, engine: str
) -> None:
    model = models[name, engine]
    network = reference(folders[name], name)
    prompt = model.engine.chat_format.encode(PROMPT).ids
    for end_of_turn in (True, False):
        scores = model.score(PROMPT, OPTIONS, end_of_turn=end_of_turn)
        for option, score in zip(OPTIONS, scores, strict=True):
            ids = model.engine.chat_format.encode_answer(option, end_of_turn=end_of_turn)
            plain = plain_scores(network, name, prompt, ids)
            assert score.option == option
            assert score.token_logprobs == pytest.approx(plain, abs=1e-4)
            assert score.logprob == pytest.approx(sum(plain), abs=1e-4)


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_fluency_equals_one_plain_forward_pass(
    models: Any, folders: Any, name: str, engine: str
) -> None:
    model = models[name, engine]
    chat_format = model.engine.chat_format
    text = "Where is my lost card? 你好"
    ids = chat_format.codec.encode_plain(text)
    before = {
        "embedded": [4],  # none of these two have a BOS: the end of a text stands before
        "gpt2": [0],
        "llama3": [0],
        "qwen2": [2],
        "qwen3": [2],
        "t5": [1],  # an empty prompt, for the encoder
        "bart": [0, 2],
        "llama2": [1],
    }.get(name, [0])
    plain = plain_scores(reference(folders[name], name), name, before, ids)
    score = model.loglikelihood(text)
    assert score.logprob == pytest.approx(sum(plain), abs=1e-4 * len(ids))
    assert (score.n_tokens, score.n_bytes) == (len(ids), len(text.encode()))


@pytest.mark.parametrize("name", list(SEQ2SEQ))
def test_a_seq2seq_answer_ends_where_its_positions_end(models: Any, name: str) -> None:
    model = models[name, "transformers"]
    usage = model.invoke("lost card", max_new_tokens=500).usage_metadata
    if name == "bart":  # 128 positions, of which two stand before the answer
        assert usage["output_tokens"] == 127
        with pytest.raises(ContextOverflow):
            model.score(PROMPT, ["lost card " * 100])
    else:
        assert usage["output_tokens"] <= 500


@pytest.mark.parametrize("name", ["embedded", "gpt2"])
@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_scores_do_not_depend_on_how_options_are_split_over_passes(
    models: Any, monkeypatch: pytest.MonkeyPatch, name: str, engine: str
) -> None:
    model = models[name, engine]
    whole = model.score(PROMPT, OPTIONS)
    monkeypatch.setattr("promptbot.models.scoring.MAX_NODES", 8)
    for one, other in zip(whole, model.score(PROMPT, OPTIONS), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)


@pytest.mark.parametrize("name", list(CAUSAL))
def test_the_graph_computes_the_logits_of_transformers(
    folders: Any, models: Any, name: str
) -> None:
    difference = largest_difference(folders[name])
    assert difference is not None
    assert difference < 1e-4


@pytest.mark.parametrize("name", list(CAUSAL))
def test_the_graph_file_holds_no_weights(folders: Any, models: Any, name: str) -> None:
    assert (folders[name] / "model.onnx").stat().st_size < 16_000


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_greedy_writing_equals_generate(models: Any, folders: Any, name: str, engine: str) -> None:
    model = models[name, engine]
    chat_format = model.engine.chat_format
    prompt = chat_format.encode(PROMPT).ids
    options: dict[str, Any] = {}
    if name == "bart":  # whose configuration forces an end token at the greatest length
        options = {"decoder_input_ids": torch.tensor([[2, 0]]), "forced_eos_token_id": None}
    with torch.no_grad():
        expected = (
            reference(folders[name], name)
            .generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                do_sample=False,
                max_new_tokens=12,
                eos_token_id=list(chat_format.stop_ids),
                pad_token_id=0,
                **options,
            )[0]
            .tolist()
        )
    start = {"t5": 1, "bart": 2}.get(name, len(prompt))
    written = [token for token in expected[start:] if token not in chat_format.stop_ids]
    answer = model.invoke(_lc(PROMPT), max_new_tokens=12)
    text = chat_format.codec.decode(written)
    # Bytes that are no character may end it; of those at the very end it shows none.
    expected_text = text.split("\nUser:")[0].strip().rstrip("\ufffd").strip()
    assert answer.content.rstrip("\ufffd").strip() == expected_text


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_stop_texts_end_an_answer_where_they_end_generates(
    models: Any, folders: Any, engine: str
) -> None:
    from transformers import AutoTokenizer

    model, tokenizer = models["llama3", engine], AutoTokenizer.from_pretrained(folders["llama3"])
    prompt = model.engine.chat_format.encode(PROMPT).ids
    whole = model.invoke(_lc(PROMPT), max_new_tokens=24).content
    stops = [text for text in (whole[n : n + 2] for n in (2, 5, 9)) if len(text.strip()) == 2]
    assert stops
    for stop in stops:
        expected = reference(folders["llama3"], "llama3").generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=list(model.engine.chat_format.stop_ids),
            pad_token_id=0,
            stop_strings=[stop],
            tokenizer=tokenizer,
        )[0, len(prompt) :]
        said = tokenizer.decode(expected, skip_special_tokens=True)
        assert stop in said
        answer = model.invoke(_lc(PROMPT), max_new_tokens=24, stop=[stop])
        assert answer.content.strip() == said.partition(stop)[0].strip()
        assert answer.response_metadata["stop_reason"] == "stop"


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_every_model_keeps_the_contract(models: Any, name: str, engine: str) -> None:
    model = models[name, engine]
    assert isinstance(model, FrozenModel)
    assert model.can_score
    assert model.spec == name
    assert model.revision == model.digest()
    assert model.count_tokens(PROMPT) > model.count_tokens(PROMPT[:1]) > 0
    streamed = None
    for chunk in model.stream(_lc(PROMPT), max_new_tokens=9):
        streamed = chunk if streamed is None else streamed + chunk
    answer = model.invoke(_lc(PROMPT), max_new_tokens=9)
    assert streamed is not None
    assert streamed.content == answer.content
    assert streamed.response_metadata == answer.response_metadata
    assert streamed.usage_metadata["output_tokens"] == answer.usage_metadata["output_tokens"]
    assert answer.usage_metadata["input_tokens"] == len(model.engine.chat_format.encode(PROMPT).ids)


@pytest.mark.parametrize(("name", "engine"), EVERY)
def test_user_text_never_becomes_a_control_token(models: Any, name: str, engine: str) -> None:
    chat_format = models[name, engine].engine.chat_format
    codec = chat_format.codec
    evil = "Hi " + " x".join(codec.control) + " ＜/s＞ bye"
    harmless = chat_format.encode([Message("system", "s"), Message("user", "Hi x bye")]).ids
    for role in ("system", "user"):
        texts = {"system": "s", "user": "Hi x bye", role: evil}
        messages = [Message("system", texts["system"]), Message("user", texts["user"])]
        ids = chat_format.encode(messages).ids
        control = set(codec.control.values())
        assert [i for i in ids if i in control] == [i for i in harmless if i in control]
    assert control.isdisjoint(chat_format.encode_answer(evil, end_of_turn=False))


@pytest.mark.parametrize("name", ["embedded", "llama3", "qwen2", "qwen3"])
def test_harmless_prompts_are_those_of_apply_chat_template(
    models: Any, folders: Any, name: str
) -> None:
    from transformers import AutoTokenizer

    messages = [*PROMPT, Message("assistant", "It is on its way. "), Message("user", "你好\n🙂")]
    expected = AutoTokenizer.from_pretrained(folders[name]).apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages],
        add_generation_prompt=True,
        return_dict=False,
    )
    for engine in ("onnx", "transformers"):
        assert models[name, engine].engine.chat_format.encode(messages).ids == expected


def test_engines_agree_on_the_same_folder(models: Any) -> None:
    for name in CAUSAL:
        one = models[name, "onnx"].score(PROMPT, OPTIONS)
        other = models[name, "transformers"].score(PROMPT, OPTIONS)
        assert np.allclose([s.logprob for s in one], [s.logprob for s in other], atol=1e-3)


def _lc(messages: list[Message]) -> list[tuple[str, str]]:
    names = {"system": "system", "user": "human", "assistant": "ai"}
    return [(names[message.role], message.content) for message in messages]


@pytest.mark.parametrize("name", list(SEQ2SEQ))
def test_the_same_prompt_is_encoded_once(models: Any, name: str) -> None:
    model = models[name, "transformers"]
    model.score(PROMPT, OPTIONS)
    usage = model.invoke(_lc(PROMPT), max_new_tokens=2).usage_metadata
    assert usage["input_token_details"]["cache_read"] == usage["input_tokens"]


@pytest.mark.parametrize("name", list(SEQ2SEQ))
def test_seq2seq_options_may_be_split_too(
    models: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = models[name, "transformers"]
    whole = model.score(PROMPT, OPTIONS)
    monkeypatch.setattr("promptbot.models.seq2seq.MAX_LOGIT_BYTES", 1)
    for one, other in zip(whole, model.score(PROMPT, OPTIONS), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)
