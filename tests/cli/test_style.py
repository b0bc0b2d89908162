"""Texts that fit where they are to stand."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len

from promptbot.cli.style import json_line, shorten, visible


@pytest.mark.parametrize("text", ["plain words", "特快送货", "שלום עולם שלום", "a特b快c送"])
@pytest.mark.parametrize("n_columns", [0, 1, 2, 5, 6, 40])
def test_a_shortened_text_never_has_more_columns(text: str, n_columns: int) -> None:
    short = shorten(text, n_columns)
    assert cell_len(short) <= max(n_columns, 1)
    assert short == text or short.endswith("…")


def test_what_fits_stays_whole() -> None:
    assert shorten("特快", 4) == "特快"
    assert shorten(" two\nlines ", 20) == "two lines"


def test_control_characters_reach_no_screen() -> None:
    assert visible("a\x1b[2Jb\x07\r\nc") == "a[2Jb\nc"
    assert visible("pay \u202etxt.exe\u202c, \u200fשלום\u200f") == "pay txt.exe, \u200fשלום\u200f"


def test_a_line_of_json_is_safe_and_says_the_same() -> None:
    value = {"text": "\x1b[31m \x9b31m \x7f \u202e 您好 ü\u2028"}
    line = json_line(value)
    assert "您好 ü" in line
    assert line == visible(line)
    assert json.loads(line) == value
