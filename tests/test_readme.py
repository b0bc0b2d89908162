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

PYTHON = [block for language, block in BLOCKS if language == "python"]


def commands(block: str) -> list[str]:
    """Return the commands of a block, without its prompt signs and comments."""
    lines = (line.removeprefix("$ ") for line in block.splitlines())
    return [line.split("   #")[0].rstrip() for line in lines if line.strip()]


SHELL = [commands(block) for language, block in BLOCKS if language in {"sh", "console"}]
COMMANDS = [command for block in SHELL for command in block]
PROMPTBOT = [block for block in SHELL if not block[0].startswith("make ")]


@pytest.mark.parametrize("block", PROMPTBOT, ids=lambda block: block[0][:40])
def test_commands_of_the_readme_run_one_after_the_other(block: list[str], tmp_path: Path) -> None:
    for command in block:
        done = subprocess.run(
            command.replace("promptbot ", f"{shlex.quote(sys.executable)} -m promptbot "),
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_of_the_readme_exist(command: str) -> None:
    target = command.split()[1]
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
    assert len(PROMPTBOT) > 2
    assert PYTHON
