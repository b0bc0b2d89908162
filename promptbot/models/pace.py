"""How fast a provider may be asked: a rate that the user states, and one that is felt out."""

from __future__ import annotations

import threading
import time

FIRST_SPACING_S = 0.2
"""Twice the seconds between calls after a first refusal that names no wait."""

MAX_SPACING_S = 30.0
"""Seconds between calls at most."""


class Pace:
    """Spaces out the calls of all threads that share it.

    A refusal for calling too fast (429) holds every call back as long as the provider asks, and
    then spaces them twice as far; each answer brings them a little closer. So a rate that the
    provider allows is found without knowing it.

    Args:
        per_minute: Calls a minute at most; None for no limit until the provider sets one.

    Source:
        Additive increase and multiplicative decrease share a limit fairly: Chiu & Jain (1989),
        Computer Networks and ISDN Systems 17:1; here the spacing, the rate's inverse, is changed.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._least_s = 60 / per_minute if per_minute else 0.0
        self._spacing_s = self._least_s
        self._next = 0.0
        self._refused_at = 0.0
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Wait for the turn of one call and return when it came, to be given to `refused`."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._spacing_s
        # Not for no time: that would hand the interpreter to another thread.
        if (left_s := turn - time.monotonic()) > 0:
            time.sleep(left_s)
        return turn

    def refused(self, began: float, wait_s: float | None) -> None:
        """Slow down: a call was refused for coming too fast.

        Args:
            began: When that call had its turn; calls that were under way when the pace was last
                lowered do not lower it again.
            wait_s: How long the provider asks to wait.
        """
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next, now + (wait_s or 0.0))
            if began >= self._refused_at:
                first = min((wait_s or FIRST_SPACING_S) / 2, 1.0)
                wider = max(2 * self._spacing_s, first)
                self._spacing_s = min(max(wider, self._least_s), MAX_SPACING_S)
                self._refused_at = now

    def answered(self) -> None:
        """Speed up a little: a call was answered."""
        if self._spacing_s > self._least_s:
            with self._lock:
                closer = self._spacing_s * 0.95
                self._spacing_s = self._least_s if closer < 0.01 else max(closer, self._least_s)
