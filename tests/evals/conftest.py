"""A small suite that runs on scripted models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BOT_YAML, BotMaker

SuiteMaker = Callable[..., Path]

ROWS = [
    {"input": f"Question number {word}?", "output": f"Answer {word}.", "kind": kind}
    for word, kind in zip(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
        ["x", "y"] * 5,
        strict=True,
    )
] + [
    {"input": "What is the moon made of?", "output": "I will ask.", "kind": "fallback"},
    {"input": "Who wins the cup?", "output": "I will ask.", "kind": "fallback"},
]


@pytest.fixture
def make_suite(tmp_path: Path, make_bot: BotMaker) -> SuiteMaker:
    """Write a suite over a chat bot; by default the model knows all answers but one."""

    def make(
        lines: str = "", *, rows: list[dict[str, str]] | None = None, n_known: int = 11
    ) -> Path:
        # Without notes nothing needs an encoder.
        lines_of_bot = BOT_YAML.splitlines(keepends=True)
        bot_yaml = "".join(line for line in lines_of_bot if not line.startswith("knowledge"))
        make_bot(files={"bot.yaml": bot_yaml})
        found = ROWS if rows is None else rows
        data = "".join(json.dumps(row) + "\n" for row in found)
        (tmp_path / "data.jsonl").write_text(data)
        script = [
            {"match": row["input"], "text": row["output"] if i < n_known else "Pardon?"}
            for i, row in enumerate(found)
        ]
        (tmp_path / "script.jsonl").write_text("".join(json.dumps(x) + "\n" for x in script))
        suite = tmp_path / "small.yaml"
        suite.write_text(
            "name: small\nbot: shop\ndata: {file: data.jsonl}\n"
            f"models: ['scripted:{tmp_path / 'script.jsonl'}']\n"
            "variants: [default, zero_shot]\n" + lines
        )
        return suite

    return make
