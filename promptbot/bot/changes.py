"""What changed between two states of a bot, in a few words."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptbot.bot.folder import Bot

MAX_VALUE = 24
"""Characters of a setting's value that are shown."""


def describe_changes(before: Bot, after: Bot) -> list[str]:
    """Return what changes a reply between two states of one bot, a few words for each thing.

    Example:
        ``["system.j2 (+2 −1 lines)", "decoding.temperature 0.0 → 0.7", "examples (+1)"]``
    """
    return [
        *_templates(before, after),
        *_settings(before, after),
        *_counted(
            "examples",
            ((e.input, e.output, e.label) for e in before.examples),
            ((e.input, e.output, e.label) for e in after.examples),
        ),
        *_counted(
            "notes",
            ((note.question, note.answer) for note in before.notes),
            ((note.question, note.answer) for note in after.notes),
        ),
    ]


def _templates(before: Bot, after: Bot) -> Iterator[str]:
    old, new = _texts(before), _texts(after)
    for name in sorted(old | new):
        if name not in new:
            yield f"{name} (gone)"
        elif name not in old:
            yield f"{name} (new)"
        elif old[name] != new[name]:
            matcher = difflib.SequenceMatcher(
                None, old[name].splitlines(), new[name].splitlines(), autojunk=False
            )
            edits = [code for code in matcher.get_opcodes() if code[0] != "equal"]
            added = sum(end - start for *_, start, end in edits)
            removed = sum(end - start for _, start, end, *_ in edits)
            yield f"{name} (+{added} −{removed} lines)"


def _texts(bot: Bot) -> dict[str, str]:
    """Return the templates by file name; a system prompt may lie in a file of any ending."""
    sources = [source for source in (bot.system, bot.turn, bot.memory) if source]
    return {Path(source.name).name: source.text for source in sources} | dict(bot.partials)


def _settings(before: Bot, after: Bot) -> Iterator[str]:
    old, new = (
        {key: value for key, value in flat(bot.spec.model_dump(mode="json")) if value is not None}
        for bot in (before, after)
    )
    for key in dict.fromkeys([*old, *new]):
        if key != "description" and old.get(key) != new.get(key):
            yield f"{key} {_shown(old.get(key))} → {_shown(new.get(key))}"


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of every nested setting."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _counted(what: str, before: Iterable[Hashable], after: Iterable[Hashable]) -> Iterator[str]:
    old, new = Counter(before), Counter(after)
    added, removed = (new - old).total(), (old - new).total()
    signs = [f"+{added}"] * bool(added) + [f"−{removed}"] * bool(removed)
    if signs:
        yield f"{what} ({' '.join(signs)})"
