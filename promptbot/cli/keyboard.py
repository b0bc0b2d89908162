"""Keys that are pressed while no line reads them: shown at their place, and kept for the next."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyPress


class Keyboard:
    """What the terminal does with keys that nobody reads yet.

    They stay off the screen, and stand on the line when that is ready; Ctrl-Z too, which there
    stops the program with the screen in order. While a reply is written, `ahead` shows them.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Keep what is typed ahead from writing into what is on the screen."""
        try:
            import termios

            self._before = termios.tcgetattr(sys.stdin)
        except (ImportError, ValueError, OSError, termios.error):  # Windows, or no terminal
            yield
            return
        local = self._before[3] & ~(termios.ECHO | termios.ICANON)
        local |= termios.NOFLSH  # Ctrl-C stops the reply, and leaves what was typed meanwhile
        keys = list(self._before[6])
        keys[termios.VSUSP] = os.fpathconf(sys.stdin.fileno(), "PC_VDISABLE").to_bytes(1, "big")
        with self._set([*self._before[:3], local, *self._before[4:6], keys]):
            yield

    def ahead(
        self, line: PromptSession[str], show: Callable[[str], None]
    ) -> contextlib.AbstractContextManager[object]:
        """Read what is typed meanwhile, `show` it, and give it to the line afterwards."""
        return TypeAhead(line, show) if self._before else contextlib.nullcontext()

    def as_before(self) -> contextlib.AbstractContextManager[None]:
        """Give the terminal to another program as it was found."""
        return self._set(self._before) if self._before else contextlib.nullcontext()

    @contextlib.contextmanager
    def _set(self, modes: list[Any]) -> Iterator[None]:
        import termios

        now = termios.tcgetattr(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSANOW, modes)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, now)


class TypeAhead:
    """Reads keys on a thread of its own, tells the text that they make, and keeps them.

    The line gets the keys themselves, so that each of them does there what it always does: Enter
    sends, Tab completes. A block that is pasted stays one.

    Args:
        line: The line that reads keys before and after.
        show: Called on that thread with the text, as often as it changes.
    """

    def __init__(self, line: PromptSession[str], show: Callable[[str], None]) -> None:
        self._source, self._output = line.input, line.output
        self._show = show
        self._keys: list[KeyPress] = []
        self._thread = threading.Thread(target=self._read, name="promptbot-keys", daemon=True)

    def __enter__(self) -> TypeAhead:
        from prompt_toolkit.input.typeahead import get_typeahead

        self._output.enable_bracketed_paste()
        self._output.flush()
        self._keys = get_typeahead(self._source)  # what came behind the Enter of the line before
        self._ended, self._end = os.pipe()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        from prompt_toolkit.input.typeahead import store_typeahead

        os.write(self._end, b".")
        self._thread.join()
        for descriptor in (self._ended, self._end):
            os.close(descriptor)
        store_typeahead(self._source, [*self._keys, *self._source.flush_keys()])

    def _read(self) -> None:
        if self._keys:
            self._show(typed_text(self._keys))
        while not self._source.closed:
            ready, _, _ = select.select([self._source.fileno(), self._ended], [], [])
            if self._ended in ready:
                return
            if keys := self._source.read_keys():
                self._keys += keys
                self._show(typed_text(self._keys))


def typed_text(keys: Sequence[KeyPress]) -> str:
    """Return the text that keys make: letters, pasted blocks, line breaks, and what takes back.

    It is for the eye alone: keys that move the cursor, search or complete are left out, since only
    the line knows what they do.
    """
    from prompt_toolkit.keys import Keys

    text, before = "", None
    for press in keys:
        key, after_escape = press.key, before == Keys.Escape
        before = key
        if key in (Keys.ControlM, Keys.ControlJ):
            text += "\n"
        elif key == Keys.BracketedPaste:
            text += press.data.replace("\r\n", "\n").replace("\r", "\n")
        elif key == Keys.ControlH:
            text = text[:-1]
        elif key == Keys.ControlW:
            text = re.sub(r"\S*\s*$", "", text)
        elif key == Keys.ControlU:
            text = text[: text.rfind("\n") + 1]
        elif not isinstance(key, Keys) and not after_escape:
            text += key
    return text.encode("utf-8", "replace").decode()
