"""A real terminal around a command, read as a person reads it: the text on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

CTRL_C, CTRL_D, CTRL_E, CTRL_R, CTRL_Z = "\x03", "\x04", "\x05", "\x12", "\x1a"
ENTER, ALT_ENTER, TAB = "\r", "\x1b\r", "\t"


class Screen:
    """A command in a terminal of its own.

    Args:
        command: What to run.
        columns: Width of the window.
        rows: Height of the window.
        env: Added to this process's environment.
        cwd: The folder that it runs in.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 100,
        rows: int = 50,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.raw = b""
        """Every byte that the command wrote."""
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**clean, "TERM": "xterm-256color", **(env or {})},
        )
        os.close(slave)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """Lines on the screen, without blanks at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as text."""
        return "\n".join(self.lines).rstrip()

    def characters(self, row: int) -> list[pyte.screens.Char]:
        """Return the characters of a row with their colours."""
        return [self._screen.buffer[row][column] for column in range(self._screen.columns)]

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def expect(self, text: str, *, count: int = 1, timeout_s: float = 40) -> None:
        """Wait until a text stands on the screen, `count` times."""
        self._until(lambda: self.text.count(text) >= count, repr(text), timeout_s)

    def write(self, message: str) -> None:
        """Wait for an empty line to type at, type a message and send it."""
        self.ready()
        self.send(message + ENTER)

    def shown(self, message: str) -> list[str]:
        """Write a message, and return the lines that answer it when the next can be typed."""
        self.ready()
        before = self.text.count(f"› {message}")
        self.send(message + ENTER)
        self.expect(f"› {message}", count=before + 1)
        self.ready()
        lines, end = self.lines, self._screen.cursor.y
        start = max(i for i in range(end) if lines[i] == f"› {message}")
        return [line for line in lines[start + 1 : end] if line]

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size, as a person who drags its corner."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ready(self) -> None:
        """Wait for an empty line to type at; what is pressed before may meet no one who listens."""
        self._until(lambda: self.lines[self._screen.cursor.y] == "›", "empty line", 40)

    def wait(self, timeout_s: float = 40) -> int:
        """Return the exit status of the command."""
        deadline = time.monotonic() + timeout_s
        while self._read():
            assert time.monotonic() < deadline, f"still running, with this screen:\n{self.text}"
        return self._process.wait(timeout_s)

    def _until(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            if not self._read() or time.monotonic() > deadline:
                raise AssertionError(f"no {what} on this screen:\n{self.text}")

    def _read(self) -> bool:
        """Read what was written; False at the end."""
        if not select.select([self._master], [], [], 0.1)[0]:
            return self._process.poll() is None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        if b"\x1b[6n" in data:  # where is the cursor?
            cursor = self._screen.cursor
            self.send(f"\x1b[{cursor.y + 1};{cursor.x + 1}R")
        return bool(data)
