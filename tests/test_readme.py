"""What the README shows is run, as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)

COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS
    if language in {"sh", "console"}
    for line in block.splitlines()
    if line.startswith(("$ ", "promptbot ", "make ", "python -m ", "echo "))
]
PYTHON = [block for language, block in BLOCKS if language == "python"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if "promptbot" in c.split("#")[0]])
def test_promptbot_commands_of_the_readme_run(command: str, tmp_path: Path) -> None:
    if "openai:" in command or "ollama:" in command or "hf:" in command:
        pytest.skip("needs a server or a hub")
    shell = command.replace("promptbot ", f"{shlex.quote(sys.executable)} -m promptbot ")
    done = subprocess.run(
        shell,
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_of_the_readme_exist(command: str) -> None:
    target = command.split("#")[0].split()[1]
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", PYTHON)
def test_python_of_the_readme_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_the_readme_shows_commands_and_python() -> None:
    assert len(COMMANDS) > 5
    assert PYTHON
