"""From spec to model: every form, and what is said of specs that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from promptbot import models
from promptbot.errors import ModelError
from promptbot.models import registry
from promptbot.models.providers import PROVIDERS, parse_remote
from promptbot.models.registry import load_model


@pytest.fixture
def loaders(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Stand in for the engines, whose own tests load real weights."""
    calls: list[tuple[object, ...]] = []
    for module, function in (("onnx", "load_onnx"), ("transformers", "load_transformers")):
        fake = ModuleType(f"promptbot.models.{module}")

        def load(where: object, spec: str, function: str = function) -> str:
            calls.append((function, where, spec))
            return function

        setattr(fake, function, load)
        monkeypatch.setitem(sys.modules, f"promptbot.models.{module}", fake)
    return calls


def test_a_folder_with_a_graph_goes_to_onnx_and_others_to_transformers(
    tmp_path: Path, loaders: list[tuple[object, ...]]
) -> None:
    load_model(str(tmp_path))
    (tmp_path / "model.onnx").touch()
    load_model(str(tmp_path))
    assert loaders == [
        ("load_transformers", str(tmp_path), str(tmp_path)),
        ("load_onnx", tmp_path, str(tmp_path)),
    ]


def test_a_hub_id_goes_to_transformers(loaders: list[tuple[object, ...]]) -> None:
    load_model("hf:owner/some-model_1.5")
    assert loaders == [("load_transformers", "owner/some-model_1.5", "hf:owner/some-model_1.5")]


def test_embedded_is_the_folder_in_the_package(
    tmp_path: Path, loaders: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(registry.__file__).parent / "embedded" == registry.EMBEDDED
    monkeypatch.setattr(registry, "EMBEDDED", tmp_path)
    with pytest.raises(ModelError, match="not in this installation"):
        load_model("embedded")
    (tmp_path / "model.onnx").touch()
    load_model(" embedded ")
    assert loaders == [("load_onnx", tmp_path, "embedded")]


def test_a_scripted_spec_reads_its_file(tmp_path: Path) -> None:
    file = tmp_path / "answers.txt"
    file.write_text("Hello.\n")
    model = models.load(f"scripted:{file}")
    assert model.invoke("hi").text == "Hello."
    assert model.spec == f"scripted:{file}"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("embeded", 'Did you mean "embedded"'),
        ("opanai:gpt-4o-mini", 'Did you mean "openai"'),
        ("scripted", "Expected one of"),
        ("", "unknown model"),
        ("hf:", "not the name of a model"),
        ("hf:../evil", "not the name of a model"),
        ("hf:a/b/c", "not the name of a model"),
        ("huggingface:owner/name", "hf:owner/name"),
        ("owner/name", "hf:owner/name"),
        ("/no/such/folder", "no such folder"),
        ("C:\\models\\mine", "no such folder"),
        ("openai:", "no model is named"),
        ("openai:m@localhost:8000/v1", "Put http"),
        ("openai:m@nonsense", '"nonsense" is not an address'),
        ("ollama:m@nonsense", "Put http"),
        ("openai:m@http://", "not an address"),
        ("openai:m@http://host:99999999/v1", "not an address"),
    ],
)
def test_an_unknown_spec_is_explained(spec: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint) as caught:
        load_model(spec)
    assert caught.value.exit_status == 2


def test_a_missing_folder_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    with pytest.raises(ModelError, match='Did you mean "my-model"'):
        load_model(str(tmp_path / "my-modle"))


def test_a_file_is_not_a_model_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(ModelError, match=f"Did you mean: {tmp_path}"):
        load_model(str(file))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for address in ("http://me:hunter2@host/v1", "http://me:hunter2@host:99999999"):
        with pytest.raises(ModelError) as caught:
            load_model(f"openai:m@{address}")
        assert "hunter2" not in str(caught.value)


def test_a_name_may_hold_an_at_sign() -> None:
    remote = parse_remote("google_vertexai:claude@20240620@https://host/v1/")
    assert (remote.name, remote.base_url) == ("claude@20240620", "https://host/v1")


def test_the_providers_are_langchains() -> None:
    from langchain.chat_models.base import _BUILTIN_PROVIDERS

    theirs = {name: module for name, (module, *_) in _BUILTIN_PROVIDERS.items()}
    ours = {name: provider.module for name, provider in PROVIDERS.items()}
    assert ours.items() <= theirs.items()


def test_importing_the_registry_imports_no_langchain() -> None:
    code = (
        "import sys, promptbot.models.registry; "
        "print([m for m in ('langchain', 'langchain_core', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
