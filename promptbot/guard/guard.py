"""A bot's guard: what it hears of a message, what it says by rule, what it shows of a reply."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptbot.guard.personal import REGIONS, find
from promptbot.guard.rules import first_match
from promptbot.types import GuardEvent

if TYPE_CHECKING:
    from promptbot.bot.spec import BotSpec
    from promptbot.types import Message

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)"
)
MIN_SECRET = 12
"""Shorter values of the environment are no secrets but words that a message may hold."""

_CONTEXT = 60
"""Characters before a piece of a streamed reply that are looked at with it."""

_HELD = 400
"""Characters of a streamed reply that may be held back because personal data may begin there."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as the bot takes it."""

    text: str
    """Without secrets and personal data; tokens as ``[email]`` stand in their place."""
    events: tuple[GuardEvent, ...]
    """What was taken out."""


class Guard:
    """Stands between the user and the model, as bot.yaml's ``guard`` says.

    Args:
        spec: The bot's settings.
    """

    def __init__(self, spec: BotSpec) -> None:
        self._spec = spec.guard
        self._kinds = spec.guard.redact
        language = spec.language.replace("_", "-").split("-")[0].casefold()
        self._regions = tuple(spec.guard.regions) or REGIONS.get(language, ())

    @property
    def redacts(self) -> bool:
        """Whether personal data is taken out of messages and replies."""
        return bool(self._kinds)

    def hear(self, text: str) -> Heard:
        """Return a message without the environment's secrets and without personal data."""
        text, n_secrets = without_secrets(text)
        events = [GuardEvent("secret", "message", n_secrets)] if n_secrets else []
        text, found = self._redact(text, ())
        return Heard(text, (*events, *_events(found, "message")))

    def answer(self, text: str, earlier: Sequence[Message]) -> tuple[str, GuardEvent] | None:
        """Return what is said by rule, without the model; None where the model shall answer.

        Args:
            text: The message.
            earlier: What was said before in the session.
        """
        if met := first_match(text, self._spec.emergency):
            rule, pattern = met
            return rule.reply, GuardEvent("emergency", "message", 1, pattern)
        n_turns = sum(message.role == "user" for message in earlier)
        if self._spec.max_turns is not None and n_turns >= self._spec.max_turns:
            return self._spec.closing, GuardEvent("max_turns", "message", n_turns)
        return None

    def screen(self, prompt: Iterable[Message]) -> Screen:
        """Return what a reply to a prompt passes through before it is shown and stored.

        What the prompt holds may be said: users' data was taken out of it, so numbers and addresses
        that are left are the bot's own, of its notes, examples and template.
        """
        return Screen(self, tuple(message.content for message in prompt))

    def _redact(self, text: str, own: Sequence[str], before: str = "") -> tuple[str, Counter[str]]:
        """Return a text without personal data but the bot's own, and how much of it there was.

        What stands `before` it tells an order's number from a telephone's.
        """
        counts: Counter[str] = Counter()
        if not self._kinds:
            return text, counts
        pieces, end = [], 0
        n_before = len(before)
        for found in find(before + text, self._kinds, self._regions):
            start, stop = found.start - n_before, found.stop - n_before
            if start < 0 or any(text[start:stop] in one for one in own):
                continue
            pieces += [text[end:start], f"[{found.kind}]"]
            end = stop
            counts[found.kind] += 1
        return "".join([*pieces, text[end:]]), counts


class Screen:
    """Takes personal data out of a reply while it is being written."""

    def __init__(self, guard: Guard, own: Sequence[str]) -> None:
        self._guard = guard
        self._own = own
        self._held = ""
        self._before = ""
        self._counts: Counter[str] = Counter()

    def push(self, piece: str) -> str:
        """Take a piece of the reply; return what can be shown by now."""
        if not self._guard.redacts:
            return piece
        self._held += piece
        safe = len(self._held) - len(_tail(self._held))
        shown, self._held = self._held[:safe], self._held[safe:]
        return self._clean(shown)

    def finish(self) -> str:
        """Return the rest of the reply."""
        shown, self._held = self._held, ""
        return self._clean(shown)

    def whole(self, text: str) -> str:
        """Return a reply that is complete, without personal data."""
        shown = self.push(text) + self.finish()
        self._before = ""
        return shown

    @property
    def events(self) -> tuple[GuardEvent, ...]:
        """What was taken out so far."""
        return _events(self._counts, "reply")

    def _clean(self, text: str) -> str:
        clean, counts = self._guard._redact(text, self._own, self._before)
        self._before = (self._before + text)[-_CONTEXT:]
        self._counts += counts
        return clean


def without_secrets(text: str) -> tuple[str, int]:
    """Return a text without the values of environment variables whose names are those of keys."""
    n = 0
    for name, value in os.environ.items():
        if len(value) >= MIN_SECRET and value in text and _SECRET_NAME.search(name.upper()):
            n += text.count(value)
            text = text.replace(value, "[secret]")
    return text, n


def _tail(text: str) -> str:
    """Return the end of a text in which a number or an address may have begun.

    That is the last word, and all words before it that hold a digit, are groups of four capitals
    (as in an IBAN), or have no letter at all; a comma or semicolon behind a word ends what it
    belongs to.
    """
    start = len(text)
    for match in reversed(list(re.finditer(r"\S+\s*|^\s+", text[-_HELD:]))):
        word = match.group()
        is_over = word[-1:].isspace()
        word = word.strip()
        may_go_on = not any(c.isalpha() for c in word) or any(c.isdigit() for c in word)
        may_go_on = may_go_on or re.fullmatch(r"[A-Z]{4}", word) is not None
        if is_over and (word[-1:] in (",", ";") or not may_go_on):
            break
        start = max(0, len(text) - _HELD) + match.start()
    return text[start:]


def _events(counts: Counter[str], where: Literal["message", "reply"]) -> tuple[GuardEvent, ...]:
    return tuple(GuardEvent(f"redacted {kind}", where, n) for kind, n in counts.items())
