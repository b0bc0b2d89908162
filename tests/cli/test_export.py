"""`promptbot export`: what stands on the screen, and what goes into a pipe."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli


def test_the_prompt_goes_to_the_output_and_the_losses_to_the_screen(cli: Cli, shop: str) -> None:
    result = cli("export", shop, "--to", "openai", "--input", "Open?")
    assert result.status == 0
    assert json.loads(result.out)["messages"][-1] == {"role": "user", "content": "Open?"}
    assert "memory" in result.err
    template = json.loads(cli("export", shop, "--to", "langchain", "--input", "Open?").out)
    assert template["id"][-1] == "ChatPromptTemplate"


def test_examples_become_one_line_each(cli: Cli, shop: str) -> None:
    lines = cli("export", shop, "--to", "jsonl").lines
    assert [json.loads(line)["messages"][-1]["content"] for line in lines] == [
        "Hi there!",
        "Goodbye!",
        "You are welcome!",
    ]


@pytest.mark.parametrize("to", ["langchain", "openai", "prompty", "jsonl"])
def test_no_weights_are_read(cli: Cli, shop: str, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr("promptbot.models.onnx.load_onnx", refuse)
    result = cli("export", shop, "--to", to, "--input", "Open?")
    assert result.status == 0
    assert "Acme" in result.out


def test_a_prompt_needs_a_message(cli: Cli, shop: str) -> None:
    result = cli("export", shop, "--to", "openai")
    assert result.status == 2
    assert "a prompt is made for a message" in result.err
