"""What `promptbot models info` says of each kind of model."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptbot.models.describe import describe, describe_encoder
from promptbot.models.encoder import load_encoder
from promptbot.models.onnx import load_onnx
from promptbot.models.scripted import ScriptedModel
from tests.models import checkpoints


def test_both_engines_count_the_same_parameters(tiny_folder: Path) -> None:
    pytest.importorskip("torch")
    from promptbot.models.transformers import load_transformers

    graph = describe(load_onnx(tiny_folder, "tiny"))
    torch_model = load_transformers(str(tiny_folder), "tiny")
    plain = describe(torch_model)
    n_parameters = sum(one.numel() for one in torch_model.engine.network.model.parameters())
    assert graph["parameters"] == plain["parameters"] == f"{n_parameters:,}"
    assert graph["engine"] == "ONNX Runtime"
    assert plain["engine"] == "Transformers"
    assert graph["context"] == plain["context"] == "512 tokens"
    assert graph["chat template"] == "the model's own"
    assert graph["cache"].startswith(f"{2 * 2 * 2 * 12 * 4:,} bytes a token")  # f32, 2 layers
    assert "GPU" in plain["device"]


def test_a_model_without_a_template_says_what_is_used(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from promptbot.models.transformers import load_transformers

    for make in (checkpoints.gpt2_like, checkpoints.t5_like):
        facts = describe(load_transformers(str(make(tmp_path / make.__name__)), "x"))
        assert "plain layout" in facts["chat template"]


@pytest.mark.parametrize(("has_bfloat16", "numbers"), [(True, "bfloat16"), (False, "float32")])
def test_an_encoder_says_its_numbers_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, numbers: str
) -> None:
    checkpoints.on_processor(monkeypatch, has_bfloat16=has_bfloat16)
    encoder = load_encoder(str(checkpoints.bert_like(tmp_path / "bert")))
    facts = describe_encoder(encoder, "bert")
    assert facts["numbers"].startswith(numbers)
    assert "this processor has" in facts["numbers"]
    assert facts["vectors"] == "32 numbers"
    assert facts["revision"] == encoder.revision


def test_of_other_models_only_what_is_known_is_said() -> None:
    model = ScriptedModel(answers=["Hi."])
    assert describe(model) == {
        "model": "scripted",
        "context": "unknown",
        "scores labels": "yes",
        "revision": model.revision,
    }
