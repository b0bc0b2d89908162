"""`promptbot models info`."""

from __future__ import annotations

import json
import subprocess
import sys


def promptbot(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "promptbot", *arguments], capture_output=True, text=True
    )


def test_the_embedded_model_is_described_for_people_and_programs() -> None:
    shown = promptbot("models", "info", "embedded")
    assert shown.returncode == 0
    assert "ONNX Runtime" in shown.stdout
    facts = json.loads(promptbot("models", "info", "embedded", "--json").stdout)
    assert all(value in shown.stdout for value in facts.values())


def test_an_encoder_is_described_where_it_is_asked_for() -> None:
    shown = promptbot("models", "info", "embedded", "--encoder")
    assert shown.returncode == 0
    assert "float32: numpy computes in it" in shown.stdout
    unknown = promptbot("models", "info", "embeded", "--encoder")
    assert unknown.returncode == 2
    assert "no encoder of the name" in unknown.stderr


def test_an_unknown_model_is_the_users_mistake() -> None:
    shown = promptbot("models", "info", "embeded")
    assert shown.returncode == 2
    assert 'Did you mean "embedded"' in shown.stderr
    assert shown.stdout == ""
