"""The list of bots."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from promptbot.cli import style
from promptbot.cli.bots import Row, print_table, short_path
from tests.cli.conftest import Cli


def test_bots_are_tab_separated_for_a_pipe(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "templates" / "mine"
    mine.mkdir(parents=True)
    (mine / "bot.yaml").write_text("name: mine\ndescription: Says things\nlanguage: de\n")
    (mine / "variants").mkdir()
    (mine / "variants" / "b.yaml").write_text("{}\n")
    (mine / "variants" / "a.yaml").write_text("{}\n")
    result = cli("bots")
    rows = {line.split("\t")[0]: line.split("\t") for line in result.lines}
    assert rows["mine"] == ["mine", "chat", "de", "a, b", "Says things", "templates/mine"]
    assert rows["intents"][1] == "classify"
    assert {len(row) for row in rows.values()} == {6}


def test_a_broken_bot_is_listed_with_the_way_to_its_errors(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "templates" / "bad").mkdir(parents=True)
    (tmp_path / "templates" / "bad" / "bot.yaml").write_text("nmae: bad\n")
    result = cli("bots")
    assert (
        "bad\tbroken\t\t\tcannot be read; see: promptbot check bad\ttemplates/bad" in result.lines
    )


@pytest.mark.parametrize("width", [40, 100])
def test_the_table_fits_the_window(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(style, "make_console", lambda: Console(file=file, width=width))
    row = Row("customer_service", "chat", "en", "a, b, c", "Answers questions. " * 5, "~/x")
    print_table([row])
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "variants: a, b, c" in file.getvalue()
    assert ("language" in lines[0]) == (width == 100)


def test_paths_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert short_path(Path("bot")) == "bot"
    assert short_path(tmp_path / "other") == "~/other"
    assert short_path(Path("/usr")) == "/usr"
