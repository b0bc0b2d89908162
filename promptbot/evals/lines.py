"""Files of lines that survive whatever ends the process, or fills the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from promptbot.errors import InputError, StoreError

SYNC_EVERY_S = 2.0
"""Seconds between writes that wait for the disk. A killed process loses nothing, since every line
is handed to the system at once; a power cut loses this much, and `--resume` asks it again."""


class LineFile:
    """Appends lines to a file; only one process at a time may.

    A last line without its end is what a killed process was writing: it is cut off.

    Args:
        path: The file; made where there is none.

    Raises:
        InputError: Another process is writing to it.
        StoreError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._failed(error) from None
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise InputError(
                "another process is writing to this run.",
                place=str(path.parent),
                hint="Wait until it ends, or start a run of its own without --resume.",
            ) from None
        self._size = _whole_size(path)
        self._file.truncate(self._size)
        self._synced = time.monotonic()

    def append(self, line: str) -> None:
        """Write a line; it survives the end of this process, however it ends.

        Raises:
            StoreError: The disk is full, or fails; the file then ends with its last whole line.
        """
        rest = memoryview(f"{line}\n".encode("utf-8", "surrogatepass"))
        size = self._size + len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except BaseException as error:  # half a line would spoil the next one
            self._file.truncate(self._size)
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise
        self._size = size

    def sync(self, *, every_s: float = 0.0) -> None:
        """Wait until the disk has everything, unless it was asked less than `every_s` ago."""
        if time.monotonic() - self._synced < every_s:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let another process write; closing twice does nothing."""
        self._file.close()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.sync()
        finally:
            self.close()

    def _failed(self, error: OSError) -> StoreError:
        return cannot_write(self.path, error)


def cannot_write(path: Path, error: OSError) -> StoreError:
    """Return the error of a file in a run's folder that the disk did not take."""
    begun = (path.parent / "manifest.json").exists()
    return StoreError(
        f"the file cannot be written ({error.strerror}).",
        place=str(path),
        hint="Make room, or mend the disk, then go on: every answer so far is kept. "
        f"promptbot eval --resume {path.parent}"
        if begun
        else "Make room, or mend the disk, then start again; nothing was asked yet.",
    )


def whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every whole line, from 1; none where there is no such file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line.decode("utf-8", "surrogatepass")


def _whole_size(path: Path) -> int:
    """Return the bytes of a file up to the end of its last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two processes in one folder are not told apart
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
