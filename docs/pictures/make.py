"""Pictures of conversations for the documentation: what a real terminal shows, as SVG.

    python docs/pictures/make.py

Each picture is the screen of ``promptbot run`` in a terminal emulator, after keys were pressed;
nothing in it is drawn by hand. The times that it shows are those of the machine that made it.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyte.graphics
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.cli.screen import Screen  # noqa: E402 (a module of the tests, found through the path)

BOT = "customer_service"
COLUMNS, ROWS = 92, 60

# The emulator knows no dim text, and shows it as this grey.
pyte.graphics.FG_ANSI |= {2: "808080", 22: "default"}

PLAIN_SVG = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""rich's picture without fonts from elsewhere: a reader's browser takes its own."""


@dataclass(frozen=True)
class Picture:
    """A picture, and what is typed before it is taken."""

    name: str
    typed: tuple[str, ...]
    starts_at: str
    """The first line of it begins so."""


PICTURES = (
    Picture("opening", ("How much does delivery cost?",), f"  {BOT}  variant"),
    Picture("why", ("Hi", "How much does express delivery cost?", "/why"), "› /why"),
)


def take(picture: Picture) -> str:
    """Return the SVG of a picture."""
    command = [sys.executable, "-m", "promptbot", "run", BOT]
    with (
        tempfile.TemporaryDirectory() as home,
        Screen(command, columns=COLUMNS, rows=ROWS, env={"XDG_DATA_HOME": home}) as screen,
    ):
        screen.expect("leaves.")
        for line in picture.typed:
            screen.shown(line)
        screen.expect(" · turn ")
        lines = _last_lines(screen, picture.starts_at)
        screen.write("/quit")
        screen.wait()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.export_svg(
        title=f"promptbot run {BOT}",
        theme=MONOKAI,
        code_format=PLAIN_SVG,
        unique_id=f"promptbot-{picture.name}",
    )


def _last_lines(screen: Screen, starts_at: str) -> list[Text]:
    """Return the coloured lines of a screen from the last that starts so."""
    lines = screen.lines
    first = max(i for i, line in enumerate(lines) if line.startswith(starts_at))
    last = max(i for i, line in enumerate(lines) if line)
    rows = range(first, last + 1)
    # Of several empty rows, as those above the status line, one says as much.
    kept = [y for y in rows if lines[y] or (lines[y - 1] and y > first)]
    return [_text(screen.characters(y)) for y in kept]


def _text(characters: list[pyte.screens.Char]) -> Text:
    text = Text()
    for character in characters:
        colour = character.fg
        if re.fullmatch(r"[0-9a-f]{6}", colour):
            colour = f"#{colour}"
        colour = {"brown": "yellow"}.get(colour, colour).replace("bright", "bright_")
        text.append(character.data, Style(color=colour, bold=character.bold))
    text.rstrip()
    return text


def main() -> None:
    """Take every picture."""
    os.chdir(FOLDER.parents[1])
    for picture in PICTURES:
        path = FOLDER / f"{picture.name}.svg"
        path.write_text(take(picture), encoding="utf-8")
        print(path.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
