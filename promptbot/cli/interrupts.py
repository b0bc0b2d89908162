"""Ctrl-C while something is done: it ends that, and leaves the screen and the store in order."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from promptbot.cli.style import QUIET, visible

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def noted_interrupts(unbroken: Collection[CodeType]) -> Iterator[threading.Event]:
    """Note every Ctrl-C, and raise it where nothing is left half done.

    Its exception is lost where it meets a destructor or a weak reference, so whoever waits for
    pieces looks at the note; Python's traceback of what was lost is kept off the screen.

    Args:
        unbroken: The code that it does not break off; while that runs, there is the note alone.
    """
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        while frame is not None:
            if frame.f_code in unbroken:
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    tell_lost = sys.unraisablehook

    def tell_others(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            tell_lost(lost)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: nothing reaches it
        yield pressed
        return
    sys.unraisablehook = tell_others
    try:
        yield pressed
    finally:
        sys.unraisablehook = tell_lost
        signal.signal(signal.SIGINT, before)


class Working:
    """A spinner while something is done, gone before Ctrl-C reaches whoever waits for it.

    rich's own would be left turning, or the cursor hidden, by a Ctrl-C that meets its beginning or
    its end.
    """

    def __init__(self, console: Console, what: str) -> None:
        self._status = console.status(visible(what), spinner_style=QUIET)
        self._interrupts = noted_interrupts(_BEGINNING_AND_END)

    def __enter__(self) -> None:
        pressed = self._interrupts.__enter__()
        self._status.start()
        if pressed.is_set():
            self.__exit__()
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        self._status.stop()
        self._interrupts.__exit__(None, None, None)


_BEGINNING_AND_END = frozenset((Working.__enter__.__code__, Working.__exit__.__code__))
