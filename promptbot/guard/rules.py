"""Rules that answer before the model: patterns of words, matched in linear time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptbot.bot.spec import RuleSpec

WINDOW = 8
"""How many words the words of one pattern may lie apart from its first."""

_WORD = re.compile(r"\w+")
_APOSTROPHES = str.maketrans("", "", "'’`")


def first_match(text: str, rules: Sequence[RuleSpec]) -> tuple[RuleSpec, str] | None:
    """Return the first rule that a message meets, with the pattern; None where it meets none.

    A pattern is a few words, all of which must occur near one another, in any order:
    ``chest pain|tight*`` is met by "a tightness in my chest". ``|`` parts alternatives, ``*``
    stands for the rest of a word. Case and apostrophes do not count. Words of scripts without
    spaces are looked for anywhere in the message.
    """
    plain = normalise(text)
    words = _WORD.findall(plain)
    for rule in rules:
        for pattern in rule.patterns:
            if _meets(plain, words, normalise(pattern).split()):
                return rule, pattern
    return None


def normalise(text: str) -> str:
    """Return a text in which case, width and apostrophes do not count."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)


def _meets(text: str, words: Sequence[str], pattern: Sequence[str]) -> bool:
    places: list[list[int]] = []
    for part in pattern:
        alternatives = part.split("|")
        if any(_without_spaces(one) and one in text for one in alternatives):
            continue  # such a word has no place among others
        places.append([i for i, word in enumerate(words) if _is_one_of(word, alternatives)])
    if not places:
        return True
    return any(
        all(any(abs(place - first) <= WINDOW for place in other) for other in places[1:])
        for first in places[0]
    )


def _is_one_of(word: str, alternatives: Sequence[str]) -> bool:
    return any(
        word.startswith(one[:-1]) if one.endswith("*") else word == one for one in alternatives
    )


def _without_spaces(word: str) -> bool:
    return any("぀" <= c <= "鿿" or "가" <= c <= "힯" for c in word)
