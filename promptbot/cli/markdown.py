"""Markdown on a screen while it is being written."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from promptbot.cli.style import INDENT, QUIET, asked_text, is_light, visible

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

FRAME_S = 1 / 30
"""Seconds between two drawings of the block that is being written, at least."""

FRAME_SHARE = 0.2
"""Share of the time that drawing may take; of a long list or table each drawing takes long."""

SPIN_S = 1 / 12
"""Seconds between two pictures of the spinner."""

OPEN_LINES = 12
"""Lines that may still be redrawn; what is above them in a long block stays as it is."""

TYPED_LINES = 3
"""Lines that show the end of what is typed meanwhile."""

Line = list[Segment]


class _Heading(Heading):
    """A heading at the left margin, bold; without rich's boxes and centring."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class ReplyMarkdown(Markdown):
    """Markdown as chat models write it.

    A line break stays a line break, HTML and indented lines are plain text, and links show where
    they lead.
    """

    elements = {**Markdown.elements, "heading_open": _Heading}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        theme = "ansi_light" if is_light() else "ansi_dark"
        super().__init__("", code_theme=theme, hyperlinks=False)
        self.markup = text
        self.parsed = _parser().parse(text)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"


class _Lines:
    """Lines that are already rendered."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = list(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            indented = [Segment(INDENT), *line] if line else []
            for piece in _folded(indented, options.max_width):
                yield from piece
                yield Segment.line()


class MarkdownStream:
    """Prints Markdown that arrives in pieces, without flicker.

    A finished block (paragraph, list, table, code) is printed once and never touched again. Only
    the block that is being written is drawn anew, and of a long one only the last lines. In a
    window whose size changes meanwhile, a block of which nothing is printed for good takes the new
    width; the others take it from the next block on. On screens that cannot move the cursor the
    pieces are printed as they come.
    """

    def __init__(self, console: Console) -> None:
        self.text = ""
        """Everything that was shown."""
        self._console = console
        self._width = self._width_now
        self._source = ""  # of the block that is being written
        self._n_fixed = 0  # its lines that are printed for good
        self._n_blocks = 0
        self._draw_at = 0.0  # when the next drawing is due
        self._open: RenderableType = Spinner("dots", style=QUIET)
        self._typed: list[Text] = []
        # Whatever is drawn is drawn under one lock: rich's own thread would write between a frame
        # and what is printed above it, and a line of the reply would be lost.
        self._drawing = threading.RLock()
        self._ended = threading.Event()
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(self._open, console=console, auto_refresh=False, transient=True)

    @property
    def is_live(self) -> bool:
        """Whether what is on the screen can be drawn anew."""
        return self._live is not None

    def __enter__(self) -> MarkdownStream:
        if self._live:
            self._live.start(refresh=True)
            work = threading.Thread(target=self._spin, args=(self._live,), daemon=True)
            work.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Print what is left of the last block."""
        if self._live is None:
            if self._source and not self._source.endswith("\n"):
                print(flush=True)
            return
        self._ended.set()
        lines = self._finish_blocks() + self._lines(self._source)[self._n_fixed :]
        with self._drawing:
            self._live.update(Text(""))
            self._live.stop()
            self._console.print(_Lines(lines), end="")

    def _spin(self, live: Live) -> None:
        """Turn the spinner until there is something to read."""
        spinner = self._open
        while not self._ended.wait(SPIN_S):
            with self._drawing:
                if self._open is not spinner or self._ended.is_set():
                    return
                live.refresh()

    @property
    def _width_now(self) -> int:
        return max(self._console.width - len(INDENT), 20)

    def add(self, piece: str) -> None:
        """Show one more piece."""
        piece = visible(piece)
        self.text += piece
        self._source += piece
        if self._live is None:
            self._source = self._source[-1:]
            print(piece, end="", flush=True)
        elif (began := time.monotonic()) >= self._draw_at:
            self._draw(self._live)
            now = time.monotonic()
            self._draw_at = max(began + FRAME_S, now + (now - began) * (1 / FRAME_SHARE - 1))

    def show_typed(self, text: str) -> None:
        """Show below the reply what is typed meanwhile; may be called on any thread."""
        if self._live is None:
            return
        lines = asked_text(text).wrap(self._console, self._console.width)
        with self._drawing:
            self._typed = list(lines)[-TYPED_LINES:] if text else []
            self._live.update(self._frame, refresh=True)

    @property
    def _frame(self) -> RenderableType:
        """What may still be redrawn: the block that is being written, and what is typed."""
        return Group(self._open, Text(""), *self._typed) if self._typed else self._open

    def _draw(self, live: Live) -> None:
        if not self._n_fixed:
            self._width = self._width_now
        finished = self._finish_blocks()
        lines = self._lines(self._source)
        n_open = max(min(OPEN_LINES, self._console.height - TYPED_LINES - 4), 1)
        n_fixed = self._n_fixed
        if not _is_table(self._source):  # the columns of a table may still grow wider
            n_fixed = max(n_fixed, len(lines) - n_open)
        finished += lines[self._n_fixed : n_fixed]
        self._n_fixed = n_fixed
        with self._drawing:
            self._open = _Lines(lines[n_fixed:][-n_open:])
            live.update(self._frame)
            if finished:
                self._console.print(_Lines(finished), end="")
            else:
                live.refresh()

    def _finish_blocks(self) -> list[Line]:
        """Return what is not printed yet of every block but the last, and let go of these."""
        finished: list[Line] = []
        *done, self._source = _blocks(self._source)
        for block in done:
            finished += self._lines(block)[self._n_fixed :]
            self._n_blocks += 1
            self._n_fixed = 0
            self._width = self._width_now
        return finished

    def _lines(self, block: str) -> list[Line]:
        """Return a block as lines, with the empty line that parts it from the block before."""
        if not block.strip():
            return []
        options = self._console.options.update(width=self._width, height=None)
        rendered = self._console.render_lines(ReplyMarkdown(block), options, pad=False)
        lines = list(_without_margins(rendered))
        return [[], *lines] if self._n_blocks and lines else lines


def _folded(line: Line, width: int) -> list[Line]:
    """Return a line as lines of at most this width: the window may have become narrower."""
    n_columns = Segment.get_line_length(line)
    if n_columns <= width:
        return [line]
    return list(Segment.divide(line, [*range(width, n_columns, width), n_columns]))


def _blocks(source: str) -> list[str]:
    """Return the source of each top-level block; joined, they are the whole source."""
    starts = [
        token.map[0]
        for token in _parser().parse(source)
        if token.level == 0 and token.map and token.nesting >= 0
    ]
    lines = re.split(r"(?<=\n)", source)  # not splitlines(): a text may hold U+2028 and the like
    bounds = [0, *starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in pairwise(bounds)]


def _without_margins(lines: list[Line]) -> Iterator[Line]:
    blank = [not "".join(segment.text for segment in line).strip() for line in lines]
    first = next((i for i, is_blank in enumerate(blank) if not is_blank), len(lines))
    last = next((i for i in reversed(range(len(lines))) if not blank[i]), -1)
    return iter(lines[first : last + 1])


def _is_table(source: str) -> bool:
    return any(token.type == "table_open" for token in _parser().parse(source))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    options: dict[str, Any] = {"html": False}
    return MarkdownIt("commonmark", options).enable(["table", "strikethrough"]).disable("code")
