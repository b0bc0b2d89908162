"""Fixtures of the command line's tests: a bot that needs no encoder, scripts, and the command."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptbot.cli.main import main
from tests.conftest import CLASSIFY_YAML, BotMaker

SHOP_YAML = """\
name: shop
description: Answers questions about the shop.
examples: {file: examples.jsonl, selector: fixed, k: 2, order: file}
vars: {company: Acme}
guard: {fallback: I will ask.}
"""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines of the standard output."""
        return self.out.splitlines()


Cli = Callable[..., Result]
ScriptMaker = Callable[..., str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run the command line in this process, in an empty folder, without a terminal."""

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("gc.freeze", lambda: None)  # this process has more tests to run
        monkeypatch.setattr(sys, "argv", ["promptbot", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture
def shop(make_bot: BotMaker) -> str:
    """Return the folder of a chat bot that needs no encoder."""
    return str(make_bot("shop", {"bot.yaml": SHOP_YAML}))


@pytest.fixture
def sorter(make_classifier: BotMaker) -> str:
    """Return the folder of a classify bot that needs no encoder."""
    return str(make_classifier("sorter", {"bot.yaml": CLASSIFY_YAML}))


@pytest.fixture
def script(tmp_path: Path) -> ScriptMaker:
    """Write a script and return the spec of the model that answers from it."""

    def write(*entries: str | Mapping[str, Any]) -> str:
        file = tmp_path / "script.jsonl"
        file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        return f"scripted:{file}"

    return write
