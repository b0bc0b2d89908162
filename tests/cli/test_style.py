"""Texts that fit where they are to stand."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from promptbot.cli.style import shorten, visible


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
