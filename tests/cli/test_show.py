"""The exact prompt, without asking the model."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli, ScriptMaker


def test_show_prints_the_messages_and_their_sizes(cli: Cli, shop: str, script: ScriptMaker) -> None:
    result = cli("show", shop, "--input", "Are you open?", "--model", script("unused"))
    assert result.status == 0
    assert "[system]\nYou work at Acme." in result.out
    assert "[user · question]\nAre you open?" in result.out
    assert "[assistant · examples]\nHi there!" in result.out
    assert "tokens: " in result.out


def test_a_variant_changes_the_prompt(cli: Cli, shop: str, script: ScriptMaker) -> None:
    arguments = ["--input", "x", "--variant", "zero_shot", "--model", script("unused"), "--json"]
    prompt = json.loads(cli("show", shop, *arguments).out)
    assert [part["kind"] for part in prompt["parts"]] == ["system", "question"]
    assert prompt["examples"] == []


def test_an_empty_input_is_the_users_mistake(cli: Cli, shop: str, script: ScriptMaker) -> None:
    result = cli("show", shop, "--input", " ", "--model", script("unused"))
    assert result.status == 2
    assert "the message is empty" in result.err


SCORES = [{"scores": {"Yes.": -value}} for value in (1.0, 1.25, 0.5, 1.0, 3.5)]
"""Of the whole prompt, then without each system sentence and each example."""


def test_why_answers_and_shows_what_each_part_does(
    cli: Cli, shop: str, script: ScriptMaker
) -> None:
    arguments = ["--input", "Open?", "--why", "--model", script("Yes.", *SCORES)]
    lines = cli("show", shop, *arguments).lines
    assert "Yes. (log-probability -1.00, 1 token)" in lines
    assert [line for line in lines if line.startswith("influence")] == [
        "influence +0.25 system: You work at Acme.",
        "influence -0.50 system: If no note fits, say: I will ask.",
        "influence +0.00 example: Hello Hi there!",
        "influence +2.50 example: Bye Goodbye!",
    ]


def test_why_as_json_holds_reply_trace_and_influence(
    cli: Cli, shop: str, script: ScriptMaker
) -> None:
    arguments = ["--input", "Open?", "--why", "--json", "--model", script("Yes.", *SCORES)]
    found = json.loads(cli("show", shop, *arguments).out)
    assert found["text"] == "Yes."
    assert found["trace"]["prompt"]["parts"][0]["kind"] == "system"
    assert found["influence"]["logprob"] == -1.0
    assert [part["influence"] for part in found["influence"]["parts"]] == [0.25, -0.5, 0, 2.5]


def test_sizes_for_a_remote_model_need_no_key_and_say_that_they_are_estimates(
    cli: Cli, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown = cli("show", shop, "--input", "Hi", "--model", "openai:gpt-4o-mini")
    assert shown.status == 0
    assert "tokens: " in shown.out
    assert "estimates" in shown.err
