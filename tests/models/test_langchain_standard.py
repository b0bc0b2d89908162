"""LangChain's own standard tests for chat models, on every engine.

What needs tools, images or a provider's recorded answers is skipped by those tests themselves: no
engine claims to take them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from promptbot.models.local import LocalChatModel
from promptbot.models.onnx import load_onnx
from promptbot.models.remote import RemoteChatModel
from promptbot.models.scripted import ScriptedModel
from promptbot.models.transformers import load_transformers
from tests.models import checkpoints
from tests.models.polite_server import serving

pytest.importorskip("langchain_tests")
torch = pytest.importorskip("torch")

from langchain_tests.integration_tests import ChatModelIntegrationTests  # noqa: E402
from langchain_tests.unit_tests import ChatModelUnitTests  # noqa: E402

MAKERS: dict[str, Callable[[Path], Path]] = {
    "onnx": checkpoints.embedded_like,
    "causal": checkpoints.embedded_like,
    "seq2seq": checkpoints.bart_like,
    "terse": checkpoints.gpt2_like,
}


def make_engine(kind: str, root: Path) -> Any:
    """Return the engine of a tiny model of each kind."""
    folder = MAKERS[kind](root / kind)
    if kind == "onnx":
        from promptbot.models.export import export_onnx

        export_onnx(folder, check=False)
        return load_onnx(folder, kind).engine
    engine = load_transformers(str(folder), kind).engine
    if kind == "terse":
        close_every_text(engine)
    return engine


def close_every_text(engine: Any) -> None:
    """Make a model always want to write a quotation mark, so that its JSON ends."""
    (quote,) = engine.chat_format.codec.encode_plain('"')
    network = engine.network.model.transformer
    with torch.no_grad():
        network.ln_f.weight.zero_()
        network.ln_f.bias.copy_(10 * network.wte.weight[quote])


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("engines")
    return {kind: make_engine(kind, root) for kind in MAKERS}


class EngineTests:
    """What the standard tests ask about a local engine."""

    kind = ""
    parameters: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _take_engine(self, engines: dict[str, Any]) -> None:
        self.parameters = {"engine": engines[self.kind], "spec": self.kind}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return self.parameters

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return self.kind == "terse"


@pytest.mark.asyncio
class TestOnnx(EngineTests, ChatModelIntegrationTests):  # type: ignore[misc]
    kind = "onnx"


@pytest.mark.asyncio
class TestTransformers(EngineTests, ChatModelIntegrationTests):  # type: ignore[misc]
    kind = "causal"


@pytest.mark.asyncio
class TestSeq2Seq(EngineTests, ChatModelIntegrationTests):  # type: ignore[misc]
    kind = "seq2seq"


@pytest.mark.asyncio
class TestStructuredOutput(EngineTests, ChatModelIntegrationTests):  # type: ignore[misc]
    kind = "terse"


class TestUnit(EngineTests, ChatModelUnitTests):  # type: ignore[misc]
    kind = "onnx"


@pytest.mark.asyncio
class TestScripted(ChatModelIntegrationTests):  # type: ignore[misc]
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ScriptedModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"answers": [{"match": "", "text": "Hello there, 1 and 2."}]}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


@pytest.mark.asyncio
class TestRemote(ChatModelIntegrationTests):  # type: ignore[misc]
    spec = ""

    @pytest.fixture(autouse=True)
    def _serve(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with serving() as url:
            self.spec = f"openai:m@{url}"
            yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RemoteChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"spec": self.spec}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False
