"""A bot that follows its folder while it is talked to, with what a conversation sets on top."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptbot.bot.changes import describe_changes, flat
from promptbot.bot.check import check_templates
from promptbot.bot.folder import Bot, load_bot
from promptbot.bot.spec import overlay, read_value
from promptbot.errors import InputError, PromptbotError, known_words
from promptbot.types import Note

WATCHED = frozenset({".yaml", ".j2", ".jsonl", ".csv", ".md"})
"""Endings of the files that can change a reply."""

NOT_WATCHED = frozenset({"review.jsonl", "README.md"})
"""Files of a bot's folder that change no reply."""

MAX_DEPTH = 20
"""Names in a setting's key at most; those of bot.yaml itself have four."""

DEFAULT = "default"
"""What takes a setting back to what the files say."""


@dataclass(frozen=True, slots=True)
class _File:
    modified_ns: int
    n_bytes: int
    digest: bytes


class LiveBot:
    """A bot under the variant, the settings and the notes of one conversation.

    Each change is made whole or not at all: where the folder or the setting is wrong, the error is
    raised and the bot stays what it was.

    Args:
        bot: The bot as it was loaded, under its variant.
    """

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        """The bot as it is now; what its folder said when it was last right."""
        self.settings: dict[str, Any] = {}
        """What the conversation set, nested as in bot.yaml."""
        self.notes: tuple[Note, ...] = ()
        """What the conversation added to the knowledge."""
        self._files = _files_of(bot.folder, {})
        self._is_broken = False

    @property
    def is_changed(self) -> bool:
        """Whether the conversation set or added anything."""
        return bool(self.settings or self.notes)

    def refresh(self) -> list[str]:
        """Return what changed in the folder since the last look, and use it from now on.

        A file that was touched without a change of its content counts for nothing.

        Raises:
            UserError: The folder is wrong now; told once for each state of its files.
        """
        files = _files_of(self.bot.folder, self._files)
        before = {path: file.digest for path, file in self._files.items()}
        self._files = files
        if {path: file.digest for path, file in files.items()} == before:
            return []
        was_broken, self._is_broken = self._is_broken, True
        changes = self._load(self.bot.variant, self.settings)
        self._is_broken = False
        return changes or (["as before the mistake"] if was_broken else [])

    def change_variant(self, name: str) -> list[str]:
        """Go on under another variant, with what the conversation set on top of it.

        Returns:
            What changed.

        Raises:
            UserError: There is no such variant, or it is wrong.
        """
        return self._load(name, self.settings)

    def under(self, variant: str) -> Bot:
        """Return the bot under another variant, with what the conversation set; nothing changes.

        Raises:
            UserError: There is no such variant, or it is wrong.
        """
        return self._checked(variant, self.settings)

    def change_setting(self, key: str, text: str) -> list[str]:
        """Set one setting for this conversation, validated as in bot.yaml.

        Args:
            key: Its dotted name, as ``decoding.temperature``.
            text: Its value as bot.yaml would say it; ``default`` takes back what was set.

        Returns:
            What changed.

        Raises:
            UserError: There is no such setting, or the bot cannot have this value.
        """
        if key == "name":
            raise InputError(
                "a bot keeps its name while it is talked to.", place="/set", hint="Set another."
            )
        path = key.split(".")
        if len(path) > MAX_DEPTH:
            raise InputError(
                f"a setting of {len(path)} names is none.",
                place="/set",
                hint="As in: /set decoding.temperature 0.7",
            )
        if text == DEFAULT:
            return self._load(self.bot.variant, _without(self.settings, path, key))
        value: Any = read_value(text, f"/set {key}")
        for name in reversed(path):
            value = {name: value}
        return self._load(self.bot.variant, overlay(self.settings, value))

    def reset_settings(self) -> list[str]:
        """Take back everything that the conversation set, and return what changed."""
        return self._load(self.bot.variant, {})

    def add_note(self, question: str, answer: str) -> None:
        """Add a note to the knowledge of this conversation.

        Raises:
            InputError: The bot reads no notes.
        """
        if self.bot.spec.knowledge is None:
            raise InputError(
                f"{self.bot.name} reads no notes.",
                place="/note",
                hint="Add knowledge: to its bot.yaml, or write it into the system prompt.",
            )
        note = Note(question, answer, source=f"this conversation:{len(self.notes) + 1}")
        self.notes = (*self.notes, note)
        self.bot = replace(self.bot, notes=(*self.bot.notes, note))

    def _load(self, variant: str, settings: Mapping[str, Any]) -> list[str]:
        before, self.bot = self.bot, self._checked(variant, settings)
        self.settings = dict(settings)
        return describe_changes(before, self.bot)

    def _checked(self, variant: str, settings: Mapping[str, Any]) -> Bot:
        folder = self.bot.folder
        loaded = load_bot(folder, variant, settings)
        problem: PromptbotError | None = next(check_templates(folder, loaded.spec, variant), None)
        if problem:
            raise problem
        return replace(loaded, notes=(*loaded.notes, *self.notes)) if self.notes else loaded


def _without(settings: Mapping[str, Any], path: list[str], key: str) -> dict[str, Any]:
    """Return nested settings without one of them, and without what it leaves empty.

    Raises:
        InputError: It is not among them.
    """
    first, *rest = path
    if first not in settings or (rest and not isinstance(settings[first], Mapping)):
        raise InputError(
            f"{key} was not set in this conversation.",
            place="/set",
            hint=known_words("Set", key, [name for name, _ in flat(settings)]),
        )
    kept = {name: value for name, value in settings.items() if name != first}
    below = _without(settings[first], rest, key) if rest else {}
    return {**kept, first: below} if below else kept


def _files_of(folder: Path, before: Mapping[Path, _File]) -> dict[Path, _File]:
    """Return the files of a bot; only those with another time or size are read again."""
    found: dict[Path, _File] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix not in WATCHED or path.name in NOT_WATCHED or hidden:
            continue
        try:
            stat = path.stat()
            known = before.get(path)
            if known and (known.modified_ns, known.n_bytes) == (stat.st_mtime_ns, stat.st_size):
                found[path] = known
            else:
                digest = hashlib.sha256(path.read_bytes()).digest()
                found[path] = _File(stat.st_mtime_ns, stat.st_size, digest)
        except OSError:  # it is being replaced, or cannot be read: loading says so
            found[path] = _File(0, 0, b"")
    return found
