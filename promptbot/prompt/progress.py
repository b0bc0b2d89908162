"""A bar for work that takes long, where a person is looking."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

MIN_STEPS = 20
"""Work of fewer steps is done before a bar could be read."""


def tracked(steps: Sequence[T], what: str) -> Iterator[T]:
    """Yield each step of some work, with a bar on the standard error where that is a terminal.

    The bar vanishes when the work is done. Pipes, files and short work show nothing.
    """
    if len(steps) < MIN_STEPS or sys.stderr is None or not sys.stderr.isatty():
        yield from steps
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(steps, what, console=Console(stderr=True), transient=True)
