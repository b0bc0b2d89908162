"""A bar where a person is looking, and nothing elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from promptbot.prompt.progress import tracked


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(tracked(range(30), "Encoding")) == list(range(30))
    assert "Encoding" in screen.getvalue()


@pytest.mark.parametrize(("n", "stream"), [(30, io.StringIO()), (5, Screen()), (30, None)])
def test_pipes_and_short_work_show_nothing(
    monkeypatch: pytest.MonkeyPatch, n: int, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(tracked(range(n), "Encoding")) == list(range(n))
    assert stream is None or stream.getvalue() == ""
