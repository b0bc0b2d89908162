"""What of the machine there is for us, and what something takes of it while it runs."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

EVERY_S = 0.02
"""Seconds between two looks at the process; shorter peaks may be missed."""


@dataclass
class Growth:
    """What `watching_memory` found."""

    n_bytes: int | None = None
    """Bytes at the peak above those at the start, from 0; on a GPU, of its memory. None while the
    block runs, and where the system does not tell."""


@contextmanager
def watching_memory() -> Iterator[Growth]:
    """Yield what is filled, at the end of the block, with how much memory it took at its peak.

    Memory that was freed before is given back to the system first, since a block that uses it again
    would seem to take none.
    """
    found = Growth()
    device = _gpu()
    if device is not None:
        device.reset_peak_memory_stats()
        start = device.memory_allocated()
        try:
            yield found
        finally:
            found.n_bytes = device.max_memory_allocated() - start
        return
    _give_back()
    before = process_bytes()
    if before is None:
        yield found
        return
    peak, ended = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(EVERY_S):
            peak = max(peak, process_bytes() or 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()
        found.n_bytes = max(peak, process_bytes() or 0) - before


def usable_cores() -> int:
    """Return how many cores this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_bytes() -> int | None:
    """Return the memory that this process takes now; None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError, ValueError):
        pass
    with suppress(ImportError):  # comes with the extra finetune
        psutil: Any = import_module("psutil")
        return int(psutil.Process().memory_info().rss)
    return None


def _gpu() -> Any:
    """Return torch's view of a GPU that this process uses; None where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda


def _give_back() -> None:
    gc.collect()
    with suppress(OSError, AttributeError):  # the C library is another one
        ctypes.CDLL(None).malloc_trim(0)
