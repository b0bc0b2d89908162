"""The entry point: help, version, errors, and how little it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import promptbot
from promptbot.cli import main as main_module
from promptbot.errors import ProviderError
from promptbot.store import Store
from tests.cli.conftest import Cli, ScriptMaker

HEAVY = [
    "torch",
    "transformers",
    "langchain",
    "langchain_core",
    "langchain_community",
    "numpy",
    "onnxruntime",
    "sqlalchemy",
    "pydantic",
    "prompt_toolkit",
    "yaml",
]


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom promptbot.cli.main import main\n"
        "sys.argv = ['promptbot', '--help']\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    for command in ("run", "show", "bots", "new", "check"):
        assert f" {command} " in done.stdout
    modules = set(done.stderr.split())
    assert "promptbot.cli.run" in modules
    assert sorted(modules & set(HEAVY)) == []


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"promptbot {promptbot.__version__}\n"


def test_nothing_to_do_shows_the_help(cli: Cli) -> None:
    result = cli()
    assert "Usage: promptbot" in result.out + result.err


def test_an_unknown_command_is_the_users_mistake_with_a_suggestion(cli: Cli) -> None:
    result = cli("rnu")
    assert result.status == 2
    assert "Did you mean 'run'?" in result.err


def test_an_unknown_bot_is_the_users_mistake_with_a_suggestion(cli: Cli) -> None:
    result = cli("run", "customer_servic", "--once", "hi")
    assert result.status == 2
    assert result.out == ""
    assert 'error: there is no bot "customer_servic".' in result.err
    assert 'Did you mean "customer_service"?' in result.err
    assert "Traceback" not in result.err


def test_an_error_that_is_not_the_users_exits_with_1(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: str) -> None:
        raise ProviderError("the server is down.", place="openai:x", hint="Try later.")

    monkeypatch.setattr(main_module, "app", fail)
    result = cli("run", "x")
    assert result.status == 1
    assert result.err == "error: openai:x: the server is down.\nTry later.\n"


def test_our_own_mistakes_keep_their_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main_module, "app", fail)
    with pytest.raises(ZeroDivisionError):
        cli("bots")


@pytest.mark.parametrize(
    "arguments",
    [["run", "SHOP", "--model", "NAME"], ["replay", "NAME.jsonl"], ["eval", "NAME"]],
    ids=["model", "transcript", "suite"],
)
def test_a_name_longer_than_a_files_is_the_users_mistake(
    cli: Cli, shop: str, arguments: list[str]
) -> None:
    long = "a" * 300
    result = cli(*(word.replace("SHOP", shop).replace("NAME", long) for word in arguments))
    assert result.status == 2
    assert "longer than that of a file may be" in result.err
    assert long not in result.err


def test_a_reader_that_leaves_early_is_no_error(shop: str, script: ScriptMaker) -> None:
    model = script({"match": "", "text": "An answer. " * 2000})
    command = f'yes | "{sys.executable}" -m promptbot run "{shop}" --model "{model}" | head -n 2'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("An answer. An answer.")
    assert done.stderr == ""


def test_colours_and_narrow_windows_do_not_matter_to_a_pipe(shop: str) -> None:
    command = [sys.executable, "-m", "promptbot", "run", shop, "--once", "hi", "--model", "nope:x"]
    env = {**os.environ, "FORCE_COLOR": "", "COLUMNS": "20"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "\x1b" not in done.stderr


def test_a_negative_seed_is_refused_before_anything_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "promptbot", "run", "customer_service", "--seed", "-1"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "promptbot", "bots"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.strip() == "error: the output cannot be written: no space is left there."


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_cost_nothing(
    shop: str, script: ScriptMaker, tmp_path: Path, closed: str
) -> None:
    model = script("Good day.")
    command = f"{sys.executable} -m promptbot run {shop} --model {model} --once hi {closed}"
    db = tmp_path / "chats.db"
    command += f" --session a --db sqlite:///{db}"
    assert subprocess.run(["sh", "-c", command], check=False, timeout=60).returncode == 0
    assert [message.content for message in Store(f"sqlite:///{db}").load("a")] == [
        "hi",
        "Good day.",
    ]
