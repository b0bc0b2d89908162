"""Turns tokens, as they are written, into text that can be shown at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"


class TextStream:
    """Yields text in pieces that never have to be taken back.

    Held back until more is known: bytes of an unfinished character, whatever may be the beginning
    of a stop text, and white space, which is dropped at both ends of an answer.

    Args:
        decode: Ids to text.
        stops: Texts at which the answer ends; they are not part of it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._read = 0  # ids[:read] are decoded; decoding starts a little earlier, at `start`,
        self._start = 0  # because a token's text can depend on the one before it
        self._held = ""
        self._started = False
        self.stopped = False
        """Whether a stop text was met."""

    def push(self, token: int) -> str:
        """Take the next token; return the text that is now certain, often empty."""
        self._ids.append(token)
        text = self._new_text(final=False)
        return self._certain(text) if text else ""

    def finish(self) -> str:
        """Return the rest, when no more tokens come."""
        if self.stopped:
            return ""
        self._held += self._new_text(final=True)
        self._cut_at_stop()
        return self._emit(len(self._held))

    def _new_text(self, *, final: bool) -> str:
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        if final:
            now = now.rstrip(_BROKEN)
        elif now.endswith(_BROKEN):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return now[len(before) :]

    def _certain(self, text: str) -> str:
        self._held += text
        if self._cut_at_stop():
            return self._emit(len(self._held))
        kept = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        return self._emit(len(self._held) - kept)

    def _cut_at_stop(self) -> bool:
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self._held = self._held[: min(found)]
            self.stopped = True
        return bool(found)

    def _emit(self, n: int) -> str:
        """Return the first n held characters, without white space at the answer's ends."""
        ready = self._held[:n]
        if not self._started:
            ready = ready.lstrip()
        text = ready.rstrip()
        self._held = (ready + self._held[n:])[len(text) :]
        self._started = self._started or bool(text)
        return text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of the text that begins the stop text."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
