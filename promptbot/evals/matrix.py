"""A matrix over settings, expanded into variants with names."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from promptbot.bot.folder import DEFAULT_VARIANT

VARIANT = "variant"
"""The key of a matrix that names variants of the bot, in place of a setting."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of a matrix."""

    name: str
    """As ``k=4,selector=nearest``; begins with the variant where the matrix names some."""
    variant: str
    """The bot's variant that the settings change."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """Values by dotted setting, as ``examples.k``."""


def expand(matrix: Mapping[str, Sequence[JsonValue]]) -> tuple[Cell, ...]:
    """Return every combination of a matrix, the last setting changing fastest.

    Example:
        >>> [cell.name for cell in expand({"examples.k": [2, 4], "memory.kind": ["buffer"]})]
        ['k=2,kind=buffer', 'k=4,kind=buffer']
    """
    if not matrix:
        return ()
    names = _short_names([key for key in matrix if key != VARIANT])
    cells = []
    for values in itertools.product(*matrix.values()):
        given = dict(zip(matrix, values, strict=True))
        variant = str(given.pop(VARIANT, DEFAULT_VARIANT))
        said = [f"{names[key]}={_say(value)}" for key, value in given.items()]
        cells.append(Cell(",".join([variant] * (VARIANT in matrix) + said), variant, given))
    return tuple(cells)


def nested(settings: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return settings by dotted name as bot.yaml nests them.

    Example:
        >>> nested({"examples.k": 2, "template": "terse.j2"})
        {'examples': {'k': 2}, 'template': 'terse.j2'}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, key = name.split(".")
        section = found
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    return found


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the last word of each setting, or all of it where two end alike."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}


def _say(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(text.split())
