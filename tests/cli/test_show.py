"""The exact prompt, without asking the model."""

from __future__ import annotations

import json

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
