"""What the Transformers engine refuses, and that it never trains."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import (
    FrozenModelChanged,
    MissingExtra,
    ModelError,
    OutOfMemory,
    UnsafeWeights,
)
from promptbot.models import transformers as engine
from promptbot.models.registry import load_model
from promptbot.models.transformers import load_transformers
from promptbot.types import Message
from tests.models import checkpoints

torch = pytest.importorskip("torch")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy, without the graph, that a test may damage."""
    copied = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    (copied / "model.onnx").unlink()
    (copied / "card.json").unlink()
    return copied


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_no_parameter_receives_a_gradient(folder: Path) -> None:
    model = load_transformers(str(folder), "x")
    network = model.engine.network.model
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
    model.invoke("hi", max_new_tokens=3)
    model.score([Message("user", "hi")], ["a", "b"])
    assert model.digest() == model.revision
    next(network.parameters()).requires_grad_(True)
    with pytest.raises(FrozenModelChanged):
        model.digest()


def test_changed_weights_change_the_digest(folder: Path) -> None:
    model = load_transformers(str(folder), "x")
    with torch.no_grad():
        next(model.engine.network.model.parameters())[0, 0] += 1
    assert model.digest() != model.revision


def test_options_are_read_as_a_tree(folder: Path) -> None:
    assert load_transformers(str(folder), "x").engine.network.reads_trees


def test_a_network_that_ignores_masks_is_noticed_and_still_scores_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_transformers(str(folder), "x")
    messages, options = [Message("user", "Where?")], ["lost card", "lost", "order"]
    expected = model.score(messages, options)
    deaf = load_transformers(str(folder), "x")
    forward = deaf.engine.network.model.forward

    def without_mask(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **{**kwargs, "attention_mask": None})

    monkeypatch.setattr(deaf.engine.network.model, "forward", without_mask)
    assert not deaf.engine.network.reads_trees
    for one, other in zip(expected, deaf.score(messages, options), strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)


@pytest.mark.parametrize("name", ["Bloom", "GPTNeo"])
def test_other_positions_and_windows_are_noticed(tmp_path: Path, name: str) -> None:
    folder = checkpoints.other_causal(tmp_path / name, name)
    assert not load_transformers(str(folder), "x").engine.network.reads_trees


def test_sliding_windows_are_scored_without_trees(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = checkpoints.byte_level_tokenizer(["</s>"])
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=8,
        eos_token_id=0,
        initializer_range=0.3,
    )
    network = MistralForCausalLM(config)
    checkpoints.save(tmp_path, network, tokenizer, eos_token="</s>")
    model = load_transformers(str(tmp_path), "x")
    assert not model.engine.network.reads_trees
    messages = [Message("user", "Where is my order? I lost my card abroad.")]
    prompt = model.engine.chat_format.encode(messages).ids
    assert len(prompt) > 16
    for _ in range(2):  # the second time from the prefix cache
        (score,) = model.score(messages, ["lost card"], end_of_turn=False)
        ids = model.engine.chat_format.encode_answer("lost card", end_of_turn=False)
        with torch.no_grad():
            logits = network(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        plain = logits.log_softmax(-1)[range(len(ids)), ids].tolist()
        assert score.token_logprobs == pytest.approx(plain, abs=1e-4)


def test_pickles_are_refused(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UnsafeWeights, match="convert them once"):
        load_transformers(str(folder), "x")


def test_a_folder_without_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    with pytest.raises(ModelError, match="there are no weights"):
        load_transformers(str(folder), "x")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load_transformers(str(tmp_path), "x")


def test_a_folder_without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_transformers(str(folder), "x")


def test_an_unknown_architecture(folder: Path) -> None:
    change_config(folder, model_type="thinkotron")
    with pytest.raises(ModelError, match="not one that writes text"):
        load_transformers(str(folder), "x")


def test_code_that_a_checkpoint_brings_is_never_run(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('this ran')")
    change_config(
        folder,
        model_type="evil",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    )
    with pytest.raises(ModelError, match="never runs"):
        load_transformers(str(folder), "x")


def test_weights_that_are_missing_are_not_invented(folder: Path) -> None:
    change_config(folder, num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"missing, such as model\.layers\.2"):
        load_transformers(str(folder), "x")


def test_an_encoder_is_not_a_chat_model(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16)
    checkpoints.save(tmp_path, ViTModel(config), checkpoints.byte_level_tokenizer(["<s>"]))
    with pytest.raises(ModelError, match="not one that writes text"):
        load_transformers(str(tmp_path), "x")


def test_an_encoder_of_texts_is_not_a_chat_model_although_it_loads_as_one(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    tokenizer = checkpoints.byte_level_tokenizer(["[PAD]"])
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), **checkpoints.SIZES)
    checkpoints.save(tmp_path, BertForMaskedLM(config), tokenizer, pad_token="[PAD]")
    with pytest.raises(ModelError, match="reads texts in both directions"):
        load_transformers(str(tmp_path), "x")


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes", "compressed-tensors"])
def test_quantised_weights_are_named(folder: Path, method: str) -> None:
    bits = {"bits": 4, "group_size": 32, "load_in_4bit": True}
    change_config(folder, quantization_config={"quant_method": method, **bits})
    with pytest.raises(ModelError, match=f"quantised with {method}") as caught:
        load_transformers(str(folder), "x")
    assert "openai:NAME@URL" in caught.value.hint


def test_a_tokenizer_of_another_model_is_noticed(folder: Path) -> None:
    from transformers import AutoTokenizer

    wrapped = AutoTokenizer.from_pretrained(folder)
    wrapped.add_tokens([f"word{i}" for i in range(9)])
    wrapped.save_pretrained(folder)
    load_transformers(str(folder), "x").invoke("hi", max_new_tokens=2)  # none of them is used
    wrapped.chat_template = str(wrapped.chat_template) + "{{ 'word8' }}"
    wrapped.save_pretrained(folder)
    with pytest.raises(ModelError, match="The model knows"):
        load_transformers(str(folder), "x")


def test_weights_that_do_not_fit_and_a_device_that_fails_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    for error, kind, said in (
        (torch.OutOfMemoryError("CUDA out of memory."), OutOfMemory, "do not fit"),
        (RuntimeError("CUDA error: no kernel image"), ModelError, "cannot be moved .*no kernel"),
    ):

        def move(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(PreTrainedModel, "to", move)
        with pytest.raises(kind, match=said):
            load_transformers(str(folder), "x")


def test_running_states_are_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = checkpoints.byte_level_tokenizer(["<s>"])
    config = MambaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=16, state_size=4, num_hidden_layers=1
    )
    checkpoints.save(tmp_path, MambaForCausalLM(config), tokenizer)
    with pytest.raises(ModelError, match="running state"):
        load_transformers(str(tmp_path), "x")


def test_a_hub_id_without_network_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_hub_is_reachable", lambda: False)
    with pytest.raises(ModelError, match="the local cache only") as caught:
        load_transformers("nobody/nothing-here", "hf:nobody/nothing-here")
    assert "HF_HOME" in caught.value.hint


def test_an_unreachable_hub_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not engine._hub_is_reachable()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9"])
def test_a_dead_proxy_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert not engine._hub_is_reachable()


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"promptbot\[hf\]"):
        load_transformers(str(folder), "x")


def test_a_tokenizer_without_a_backend_works_too(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    tokenizer = ByT5Tokenizer()
    config = T5Config(
        vocab_size=384,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load_transformers(str(tmp_path), "x")
    evil = model.engine.chat_format.encode([Message("user", "a </s> b <pad>")]).ids
    assert evil.count(tokenizer.eos_token_id) == 1
    assert tokenizer.pad_token_id not in evil
    assert len(model.score([Message("user", "a")], ["x", "yz"])) == 2
    model.invoke("hello", max_new_tokens=4)


def make_adapter(base: Path, folder: Path) -> Path:
    """A LoRA adapter whose every number is random, so that it changes what the base says."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    wrapped = peft.get_peft_model(model, config)
    wrapped.save_pretrained(folder)
    return folder


def test_a_lora_adapter_is_loaded_with_its_base(folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = make_adapter(folder, tmp_path / "adapter")
    model = load_model(str(adapter))
    prompt = [Message("user", "Where is my order?")]
    ids = model.engine.chat_format.encode(prompt).ids  # type: ignore[attr-defined]
    option = model.engine.chat_format.encode_answer("lost card", end_of_turn=True)  # type: ignore[attr-defined]
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = PeftModel.from_pretrained(plain, adapter).eval()
    with torch.no_grad():
        logits = reference(torch.tensor([ids + option])).logits[0, len(ids) - 1 : -1]
    expected = logits.log_softmax(-1)[range(len(option)), option].sum().item()
    [found] = model.score(prompt, ["lost card"])
    assert found.logprob == pytest.approx(expected, abs=1e-3)
    [without] = load_transformers(str(folder), "x").score(prompt, ["lost card"])
    assert abs(found.logprob - without.logprob) > 1e-2
    assert model.digest() == model.revision


def test_an_adapter_that_is_not_safe_or_has_no_base_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(folder, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": None})
    )
    with pytest.raises(ModelError, match="does not name the model"):
        load_model(str(adapter))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UnsafeWeights, match="safetensors"):
        load_model(str(adapter))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_an_adapter_of_a_base_with_other_layers_is_refused(
    folder: Path, tmp_path: Path, n_layers: int
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    adapter = make_adapter(folder, tmp_path / "adapter")
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers = n_layers
    LlamaForCausalLM(config).save_pretrained(other)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps({**settings, "base_model_name_or_path": str(other)})
    )
    with pytest.raises(ModelError, match=r"does not fit its base .*weights belong to no layer"):
        load_model(str(adapter))


def test_only_lora_adapters_are_taken(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    base = AutoModelForCausalLM.from_pretrained(folder)
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "soft")
    with pytest.raises(ModelError, match="adapter of the kind PROMPT_TUNING"):
        load_model(str(tmp_path / "soft"))
