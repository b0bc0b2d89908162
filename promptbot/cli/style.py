"""How promptbot looks in a terminal: consoles, errors, and texts that cannot harm a screen."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

    from promptbot.errors import PromptbotError


def is_light() -> bool:
    """Say whether the background is light, as far as is known; terminals say it in COLORFGBG."""
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")


ACCENT = "blue" if is_light() else "cyan"
"""For what stands out; cyan is hard to read on white, and blue on black."""

QUIET = "dim"
"""For what may be overlooked; readable on light and on dark screens."""

INDENT = "  "
"""In front of each line, so that replies stand under what the user wrote."""

SIGN = "› "
"""In front of what the user writes."""

NOT_KEPT = "The conversation goes on in memory; it is lost when you leave."
"""What follows when the store fails."""

_PACKAGE = Path(__file__).parents[1]

# Marks of direction stay, which Hebrew and Arabic need; embeddings and overrides (U+202A to U+202E)
# show words in another order than they are written, to the end of the line and beyond.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def make_console(*, stderr: bool = False) -> Console:
    """Return a console for a standard stream; it never guesses at colours in texts."""
    from rich.console import Console
    from rich.theme import Theme

    # rich writes code on black, which is a hole in a light window.
    names = ("code", "code_block", "item.number", "table.header", "table.border")
    theme = Theme({f"markdown.{name}": ACCENT for name in names})
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False, theme=theme
    )


def visible(text: str) -> str:
    """Return a text without control characters: they could move the cursor or hide text."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class Harmless:
    """Something for a console to print, without the control characters of the texts in it.

    Args:
        inner: What is printed.
    """

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for part in console.render(self._inner, options):
            yield part if part.control else Segment(visible(part.text), part.style)


def asked_text(text: str) -> Text:
    """Return a message as it stands where it was typed."""
    from rich.text import Text

    indented = visible(text).replace("\n", f"\n{INDENT}")
    return Text.assemble((SIGN, f"bold {ACCENT}"), indented)


def json_line(value: object) -> str:
    """Return a value as one line of JSON that is safe on a screen, in whatever script it is."""
    line = json.dumps(value, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", line)


def shorten(text: str, n_columns: int) -> str:
    """Return a text on one line, cut with an ellipsis where it is wider; 您 has two columns."""
    from rich.cells import cell_len, set_cell_size

    line = " ".join(visible(text).split())
    if cell_len(line) <= n_columns:
        return line
    return set_cell_size(line, max(n_columns - 1, 0)).rstrip() + "…"


def print_error(error: PromptbotError) -> None:
    """Print an error's message to the standard error stream."""
    if sys.stderr is not None and sys.stderr.isatty():
        make_console(stderr=True).print(error_text(error))
    else:
        print(f"error: {error}", file=sys.stderr)


def explained(error: Exception) -> PromptbotError:
    """Return an error that promptbot did not foresee as one line that a person can report."""
    from promptbot.errors import InputError, PromptbotError

    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return InputError(
            "this name is longer than that of a file may be.",
            place=shorten(str(error.filename), 60),
            hint="Give a shorter one.",
        )
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents] or frames
    return PromptbotError(
        f"{type(error).__name__}: {error}",
        place=f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else None,
        expected="promptbot did not foresee this.",
        hint="Please report it with these lines; what was said before is kept.",
    )


def error_text(error: PromptbotError) -> Text:
    """Return an error's message: its first line stands out, expectation and next step follow."""
    from rich.text import Text

    first, _, rest = visible(str(error)).partition("\n")
    return Text.assemble(("error: ", "bold red"), first, ("\n" + rest if rest else "", "default"))
