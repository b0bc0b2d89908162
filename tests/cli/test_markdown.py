"""Markdown that arrives in pieces ends up as it would have been printed whole."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
import threading
from itertools import pairwise

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, ConsoleDimensions

from promptbot.cli import markdown
from promptbot.cli.markdown import MarkdownStream

TEXT = """\
# Prices
Standard delivery costs **4.90**,
express _9.90_.

| Service | Days |
|---|---:|
| Standard | 2 to 4 |
| 特快 | 1 |

```python
def price(express: bool) -> float:
    return 9.90 if express else 4.90
```

1. first
2. second
   - nested

<b>kept</b> and [a link](https://example.org/x)
    not code
"""


def shown(
    pieces: list[str], *, columns: int = 60, rows: int = 24, typing: bool = False
) -> list[str]:
    """Return the lines of a screen (with what scrolled away) that was sent these pieces.

    With `typing`, somebody types without a pause meanwhile.
    """
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=columns, height=rows, color_system="standard"
    )
    with MarkdownStream(console) as stream:
        over = threading.Event()

        def type_on() -> None:
            for number in itertools.count():
                if over.is_set():
                    return
                stream.show_typed("q" * (number % 70))

        typist = threading.Thread(target=type_on)
        if typing:
            typist.start()
        for piece in pieces:
            stream.add(piece)
        if typing:
            over.set()
            typist.join()
    screen = pyte.HistoryScreen(columns, rows, history=2000, ratio=1)
    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    above = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    return "\n".join(line.rstrip() for line in [*above, *screen.display]).rstrip().split("\n")


def cut(text: str, at: list[int]) -> list[str]:
    bounds = sorted({0, len(text), *(position % len(text) for position in at)})
    return [text[start:end] for start, end in pairwise(bounds)]


def test_each_element_has_its_calm_form() -> None:
    assert shown([TEXT]) == [
        "  Prices",
        "",
        "  Standard delivery costs 4.90,",
        "  express 9.90.",
        "",
        "   Service     Days",
        "   ────────────────",
        "   Standard  2 to 4",
        "   特快           1",
        "",
        "   def price(express: bool) -> float:",
        "       return 9.90 if express else 4.90",
        "",
        "   1 first",
        "   2 second",
        "      • nested",
        "",
        "  <b>kept</b> and a link (https://example.org/x)",
        "  not code",
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_pieces_end_up_as_the_whole(at: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown, "FRAME_S", 0.0)  # draw at every piece
        patch.setattr(markdown, "FRAME_SHARE", 1.0)
        assert shown(cut(TEXT, at)) == shown([TEXT])


@pytest.mark.parametrize("at", [range(1, 400, 7), range(1, 400, 23), range(300, 400)])
def test_what_is_typed_meanwhile_costs_the_reply_no_line(
    at: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "FRAME_S", 0.0)
    monkeypatch.setattr(markdown, "FRAME_SHARE", 1.0)
    monkeypatch.setattr(markdown, "SPIN_S", 0.001)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert shown(cut(TEXT, list(at)), typing=True) == shown([TEXT])
    finally:
        sys.setswitchinterval(before)


def test_a_text_longer_than_the_window_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "FRAME_S", 0.0)
    monkeypatch.setattr(markdown, "FRAME_SHARE", 1.0)
    words = [f"word{n} " for n in range(300)]
    lines = shown(words, columns=40, rows=8)
    assert re.findall(r"word\d+", "\n".join(lines)) == [word.strip() for word in words]


def test_drawing_takes_a_fifth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now, drawn = 100.0, 0.0

    class Clock:
        def monotonic(self) -> float:
            return now

    def draw(stream: MarkdownStream, live: object) -> None:
        nonlocal now, drawn
        now, drawn = now + 0.1, drawn + 0.1

    monkeypatch.setattr(markdown, "time", Clock())
    monkeypatch.setattr(MarkdownStream, "_draw", draw)
    stream = MarkdownStream(Console(file=io.StringIO(), force_terminal=True))
    for _ in range(1000):
        now += 0.01
        stream.add("- a long list\n")
    assert 0.15 < drawn / (now - 100) <= 0.2


def test_control_characters_of_a_model_never_reach_the_screen() -> None:
    assert shown(["safe \x1b[2J\x1b]0;title\x07 \x9b31m text\r\n"]) == [
        "  safe [2J]0;title 31m text"
    ]


def test_a_text_that_is_empty_leaves_nothing() -> None:
    assert shown([]) == [""]
    assert shown(["", "\n\n"]) == [""]


def test_a_console_that_is_no_terminal_gets_the_text_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with MarkdownStream(Console(file=io.StringIO(), force_terminal=False)) as stream:
        for piece in ("Some **bo", "ld** text\n\n", "end"):
            stream.add(piece)
    assert capsys.readouterr().out == "Some **bold** text\n\nend\n"
    assert stream.text == "Some **bold** text\n\nend"


@pytest.mark.parametrize(("before", "after"), [(70, 40), (40, 70)])
def test_a_window_resized_while_a_reply_comes_loses_no_word(before: int, after: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=before, height=24)
    words = [f"word{number} " for number in range(120)]
    paragraphs = [*words[:60], "\n\n", *words[60:], "\n\nlast one"]
    with MarkdownStream(console) as stream:
        for number, piece in enumerate(paragraphs):
            if number == 90:
                console.size = ConsoleDimensions(after, 24)
            stream.add(piece)
            stream._draw_at = 0.0  # as if each piece came a frame later
    screen = pyte.HistoryScreen(after if after > before else before, 24, history=2000, ratio=1)
    pyte.Stream(screen).feed(file.getvalue().replace("\n", "\r\n"))
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(24))]
    text = " ".join("".join(row[x].data for x in range(screen.columns)).strip() for row in rows)
    assert re.sub(r"\s+", "", text) == re.sub(r"\s+", "", "".join(paragraphs))
    lines = ["".join(row[x].data for x in range(screen.columns)).rstrip() for row in rows]
    last = max(i for i, line in enumerate(lines) if "last one" in line)
    assert len(lines[last]) <= after


@pytest.mark.parametrize(
    ("told", "light"), [("15;0", False), ("0;15", True), ("0;x;7", True), ("", False)]
)
def test_nothing_is_written_on_black_or_in_cyan_where_the_background_is_light(
    told: str, light: bool
) -> None:
    script = (
        "from promptbot.cli.markdown import ReplyMarkdown\n"
        "from promptbot.cli.style import make_console\n"
        "make_console().print(ReplyMarkdown('`x`\\n\\n1. y\\n\\n```python\\nfor x in y: z\\n```'))"
    )
    env = {**os.environ, "COLORFGBG": told, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    written = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True).stdout
    codes = set(re.findall(r"\x1b\[([\d;]+)m", written.decode()))
    colours = {number for code in codes for number in code.split(";")} - {"0", "1", "49"}
    assert "40" not in colours, "there is a black hole in the window"
    bright = {number for number in colours if len(number) == 2 and number.startswith("9")}
    assert bool(bright) is not light
    assert ("34" if light else "36") in colours
    assert ("36" if light else "34") not in colours
