"""What can be wrong with a model's folder, and the one message that says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from promptbot.errors import ModelError, UnsafeWeights
from promptbot.models.onnx import load_onnx
from promptbot.models.weights import load_tensors


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def without_card(folder: Path) -> Path:
    (folder / "card.json").unlink()
    return folder


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_bfloat16_weights_are_the_exact_same_numbers(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    ours = load_tensors(folder)
    theirs = {k: v for p in folder.glob("*.safetensors") for k, v in load_file(p).items()}
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert tensor.dtype == torch.bfloat16
        assert np.array_equal(ours[name], tensor.float().numpy())


@pytest.mark.parametrize("number_format", ["float16", "float32", "float64"])
def test_other_floats_are_read_too(tmp_path: Path, number_format: str) -> None:
    from safetensors.numpy import save_file

    values = np.array([[1.5, -2.25]], dtype=number_format)
    save_file({"x": values}, tmp_path / "model.safetensors")
    assert load_tensors(tmp_path)["x"].tolist() == values.tolist()
    assert load_tensors(tmp_path)["x"].dtype == np.float32


def test_integers_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.array([1], dtype=np.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="number format I8"):
        load_tensors(tmp_path)


def test_a_damaged_shard_is_named(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ModelError, match=f"{shard.name} is damaged"):
        load_onnx(folder, "x")


def test_a_damaged_graph_is_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        load_onnx(folder, "x")
    with pytest.raises(ModelError, match=r"promptbot models export"):
        load_onnx(without_card(folder), "x")


def test_a_changed_tokenizer_is_named(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(ModelError, match=r"tokenizer\.json is damaged"):
        load_onnx(folder, "x")


def test_a_missing_shard_is_named(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[0].unlink()
    with pytest.raises(ModelError, match="1 of 2 weight files are missing: model-00001"):
        load_onnx(folder, "x")


def test_a_truncated_shard_is_an_error_without_a_card_too(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(without_card(folder), "x")


def test_pickles_are_refused_with_the_way_to_convert_them(folder: Path) -> None:
    for path in without_card(folder).glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UnsafeWeights, match="save_pretrained"):
        load_onnx(folder, "x")


def test_no_weights_at_all(folder: Path) -> None:
    for path in without_card(folder).glob("*.safetensors*"):
        path.unlink()
    with pytest.raises(ModelError, match="there are no weights"):
        load_onnx(folder, "x")


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.onnx"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_onnx(folder, "x")


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_broken_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{")
    with pytest.raises(ModelError, match=name):
        load_onnx(without_card(folder), "x")


def test_weights_of_another_model_are_noticed(folder: Path) -> None:
    without_card(folder)
    change_config(folder, intermediate_size=80)
    with pytest.raises(ModelError, match="different models"):
        load_onnx(folder, "x")
    change_config(folder, intermediate_size=64, num_hidden_layers=3)
    with pytest.raises(ModelError, match="lack the tensor"):
        load_onnx(folder, "x")


def test_unsupported_architectures_name_the_supported_ones(folder: Path) -> None:
    without_card(folder)
    change_config(folder, model_type="mamba")
    with pytest.raises(ModelError, match="Supported: llama, qwen2, qwen3, gpt2"):
        load_onnx(folder, "x")
    change_config(folder, model_type="llama", hidden_act="relu")
    with pytest.raises(ModelError, match="hidden_act is 'relu'"):
        load_onnx(folder, "x")


def test_the_revision_is_that_of_the_weights(folder: Path) -> None:
    model = load_onnx(folder, "x")
    assert model.revision == model.digest() == load_onnx(folder, "y").revision
    model.engine.network._weights["norm"][0] += 1
    assert model.digest() != model.revision


def test_a_turn_imports_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from promptbot.models.onnx import load_onnx; "
        f"m = load_onnx(Path({str(folder)!r}), 'x'); m.invoke('hi', max_new_tokens=3); "
        "print([n for n in ('torch', 'transformers', 'onnx', 'langchain') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
