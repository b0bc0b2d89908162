"""A bot's guard: what it hears of a message, what it says by rule, what it shows of a reply."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptbot.guard.numbers import regions_of
from promptbot.guard.personal import find
from promptbot.guard.rules import first_match
from promptbot.prompt.memory import split_turns
from promptbot.scripts import HANGUL, UNSPACED, touches
from promptbot.types import GuardEvent

if TYPE_CHECKING:
    from promptbot.bot.spec import BotSpec
    from promptbot.types import Message

_SECRET_NAME = re.compile(
    # Words that name a secret also as the end of a longer one, as in MYTOKEN; short ones and those
    # that end other words (monkey, compass, the working directory) only by themselves.
    r"(?:API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SECRET_?KEY|SECRETS?|TOKEN|PASSWORT|PASSWORD|PASSWD"
    r"|PASSPHRASE|CREDENTIALS?)(?:\d*$|\d*_)"
    r"|(?:^|_)(?:KEY|PASS|AUTH|PAT)(?:\d*$|\d*_)|(?:_|DB|SQL)PW(?:D)?(?:\d*$|\d*_)"
)
MIN_SECRET = 12
"""Shorter values of the environment are no secrets but words that a message may hold."""
MIN_MIXED_SECRET = 8
"""The same for values of both letters and digits."""

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
        self._regions = tuple(spec.guard.regions) or regions_of(spec.language)

    @property
    def redacts(self) -> bool:
        """Whether personal data is taken out of messages and replies."""
        return bool(self._kinds)

    def hear(self, text: str, own: Sequence[str] = ()) -> Heard:
        """Return a message without the environment's secrets and without personal data.

        Args:
            text: The message.
            own: Texts whose numbers and addresses are the bot's own, and stay.
        """
        text, n_secrets = without_secrets(text)
        events = [GuardEvent("secret", "message", n_secrets)] if n_secrets else []
        text, found = self._redact(text, own)
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

    def shown(self, earlier: Sequence[Message]) -> Sequence[Message]:
        """Return what the model is shown of a session: all turns but those answered by rule.

        A model copies what it reads, and would send everybody to the emergency number after a
        conversation in which that was said. Store and transcripts keep these turns.
        """
        said = {rule.reply for rule in self._spec.emergency}
        if self._spec.max_turns is not None:
            said.add(self._spec.closing)
        if not said:
            return earlier
        return [
            message
            for turn in split_turns(earlier)
            if not any(one.role == "assistant" and one.content in said for one in turn)
            for message in turn
        ]

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

    def whole(self, text: str, *, counts: bool = True) -> str:
        """Return a reply that is complete, without personal data.

        Args:
            text: The reply, or what else came of the same prompt.
            counts: Whether what is taken out stands in the `events`.
        """
        clean, found = self._guard._redact(text, self._own)
        if counts:
            self._counts += found
        return clean

    @property
    def events(self) -> tuple[GuardEvent, ...]:
        """What was taken out so far."""
        return _events(self._counts, "reply")

    def _clean(self, text: str) -> str:
        clean, counts = self._guard._redact(text, self._own, self._before)
        self._before = (self._before + text)[-_CONTEXT:]
        self._counts += counts
        return clean


def secrets_of_environment() -> dict[str, str]:
    """Return the environment variables whose names are those of keys, the longest values first.

    Where one secret begins with another, none of its rest may stay.
    """
    found = {
        name: value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name.upper()) and _may_be_secret(value)
    }
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def without_secrets(text: str, secrets: Iterable[str] | None = None) -> tuple[str, int]:
    """Return a text without secrets, those of the environment where none are given; how many."""
    n = 0
    for value in secrets_of_environment().values() if secrets is None else secrets:
        if value in text:
            n += text.count(value)
            text = text.replace(value, "[secret]")
    return text, n


def _may_be_secret(value: str) -> bool:
    is_mixed = any(c.isalpha() for c in value) and any(c.isdigit() for c in value)
    return len(value) >= (MIN_MIXED_SECRET if is_mixed else MIN_SECRET)


_WORD = re.compile(rf"[{UNSPACED}{HANGUL}]\s*|[^\s{UNSPACED}{HANGUL}]+\s*|^\s+")
_JOINS = re.compile(
    # Groups of four capitals are an IBAN's; the others write an address out, or belong to a card.
    r"[A-Z]{2}|[A-Z]{4}|\W*(?:at|ät|arroba|dot|punkt|punto|exp\w*|cvv2?|cvc2?|cid|and|und)\W*"
)
_N_TOUCHING = 6
"""Letters without spaces before an @ that may be the name of an address."""


def _tail(text: str) -> str:
    """Return the end of a text in which a number or an address may have begun.

    That is the last word, the complete one before it (which may be followed by "(at)"), and all
    words before them that hold a digit, have no letter at all, or join what stands beside them.
    """
    start = len(text)
    joined = False
    for n_words, match in enumerate(reversed(list(_WORD.finditer(text[-_HELD:])))):
        word = match.group().strip()
        joins = not any(c.isalpha() for c in word) or any(c.isdigit() for c in word)
        joins = joins or _JOINS.fullmatch(word) is not None
        n_free = _N_TOUCHING if touches(word) else 2
        if not joins and not joined and n_words >= n_free:
            break
        joined = joins
        start = max(0, len(text) - _HELD) + match.start()
    return text[start:]


def _events(counts: Counter[str], where: Literal["message", "reply"]) -> tuple[GuardEvent, ...]:
    return tuple(GuardEvent(f"redacted {kind}", where, n) for kind, n in counts.items())
