"""Counting without weights gives what the whole model counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promptbot.errors import ModelError
from promptbot.models.counting import load_counter
from promptbot.models.registry import load_model
from promptbot.types import Message
from tests.models import checkpoints

PROMPT = [Message("system", "Answer briefly."), Message("user", "Where is my order? 你好")]


@pytest.mark.parametrize(
    "make", [checkpoints.embedded_like, checkpoints.llama3_like, checkpoints.t5_like]
)
def test_a_checkpoint_counts_alike_without_its_weights(make: object, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")  # type: ignore[operator]
    model = load_model(str(folder))
    for file in folder.glob("*.safetensors"):
        file.unlink()
    counter = load_counter(str(folder))
    assert counter.count_tokens(PROMPT) == model.count_tokens(PROMPT)
    assert counter.context_tokens == model.context_tokens
    assert counter.count_tokens([]) == 0


def test_a_folder_with_a_graph_counts_alike_without_its_weights(
    tiny_folder: Path, tmp_path: Path
) -> None:
    model = load_model(str(tiny_folder))
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    for file in folder.glob("*.safetensors"):
        file.unlink()
    counter = load_counter(str(folder))
    assert counter.count_tokens(PROMPT) == model.count_tokens(PROMPT)
    assert counter.context_tokens == model.context_tokens


def test_a_damaged_tokenizer_is_told(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        load_counter(str(folder))


@pytest.mark.parametrize(
    ("spec", "said"), [("hf:a b", "not the name"), ("nothing", "unknown"), ("", "unknown")]
)
def test_an_unknown_model_is_told_as_by_loading(spec: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_counter(spec)


def test_a_remote_model_is_counted_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    spec = "openai:gpt-4o-mini"
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    expected = load_counter(spec).count_tokens(PROMPT)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert load_counter(spec).count_tokens(PROMPT) == expected > 0
    with pytest.raises(ModelError, match="no model is named"):
        load_counter("openai:")
