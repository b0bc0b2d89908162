"""The patterns of words with which a bot's rules know a message."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from promptbot.errors import SpecError

WINDOW = 8
"""How many words the words of one pattern may lie apart from its first; also how many it may have,
and how near the words behind ``unless`` count."""

GAP = 3
"""How many words at most lie between the words on both sides of a ``>``."""

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[^\W_]+\*?(?:[-_./][^\W_]+\*?)*")
_APOSTROPHES = str.maketrans("", "", "'’`´")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand directly beside one another."""

    words: tuple[str, ...]
    """Normalised; a ``*`` at the end stands for the rest of the word."""
    whole: str
    """As it is written, without the ``*``: what is looked for in scripts without spaces."""


@dataclass(frozen=True, slots=True)
class Item:
    """One word of a pattern, with its alternatives."""

    alternatives: tuple[Phrase, ...]
    """Any of them will do."""
    follows: bool = False
    """Whether it must come after the item before it, at most `GAP` words later."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a message must hold to meet a rule, and what it must not hold beside that."""

    items: tuple[Item, ...]
    """All must be there."""
    unless: tuple[Phrase, ...] = ()
    """None may be near."""


def normalise(text: str) -> str:
    """Return a text without case, width, apostrophes, and accents of Latin letters."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    if plain.isascii():
        return plain
    kept: list[str] = []
    base = ""
    for character in unicodedata.normalize("NFD", plain):
        if not unicodedata.combining(character):
            base = character
        elif base.isascii():
            continue
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def split_words(text: str) -> list[str]:
    """Return the words of a normalised text; patterns and messages are split alike."""
    return _WORD.findall(text)


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> Pattern:
    """Return a pattern as it is matched.

    Raises:
        SpecError: It could never be met, would be met by any message, or is not what it looks like.
    """
    wanted, unless, hushing = text.partition(" unless ")
    tokens = wanted.split()
    hushing_words = hushing.split()
    if "unless" in (*tokens, *hushing_words) or bool(unless) != bool(hushing_words):
        raise _wrong(
            text, "has not one unless with words on both sides", "As in: cut* myself unless shav*"
        )
    if "|" in tokens or any(token[0] == "|" or token[-1] == "|" for token in tokens):
        raise _wrong(
            text,
            "holds an alternative without letters, which any message would meet",
            "Write alternatives without spaces: chest pain|tight*",
        )
    items: list[Item] = []
    follows = False
    for token in tokens:
        if token == ">":
            if follows or not items:
                raise _wrong(text, "has no word before a >", "Write it between two words.")
            follows = True
        else:
            items.append(Item(tuple(_phrase(text, part) for part in token.split("|")), follows))
            follows = False
    if follows:
        raise _wrong(text, "has no word behind a >", "Write it between two words.")
    if len(items) > WINDOW:
        raise _wrong(
            text,
            f"has {len(items)} words, but all must lie within {WINDOW} of its first: "
            "hardly a message would meet it",
            "Keep the few words that matter.",
        )
    return Pattern(tuple(items), parse_unless(hushing))


def parse_unless(text: str) -> tuple[Phrase, ...]:
    """Return the alternatives of what must not be near.

    Raises:
        SpecError: One of them is no word.
    """
    return tuple(_phrase(text, part) for token in text.split() for part in token.split("|"))


def _phrase(pattern: str, part: str) -> Phrase:
    if not part.strip("*"):
        raise _wrong(
            pattern,
            "holds a word without letters, which any message would meet",
            "Take the empty alternative or the lone * out.",
        )
    # Vowel signs, as of Hindi, divide the words of patterns and messages alike.
    plain = normalise(part)
    letters = "".join("_" if unicodedata.category(c)[0] == "M" else c for c in plain).strip("_")
    if "*" in letters and not _PART.fullmatch(letters.replace("__", "_")):
        raise _wrong(
            pattern,
            f'holds "{part}", but * stands for the rest of a word, at its end',
            "As in: pain* for pain, pains, painful.",
        )
    if not _PART.fullmatch(re.sub("_+", "_", letters)):
        raise _wrong(
            pattern,
            f'holds "{part}", and marks are no part of a message\'s words',
            "Put a space for words that are near, _ for words that stand together, | for "
            "alternatives: chest pain|tight*, heart_attack",
        )
    return Phrase(tuple(re.findall(r"[^\W_]+\*?", plain)), plain.rstrip("*"))


def _wrong(pattern: str, problem: str, hint: str) -> SpecError:
    return SpecError(
        f'the pattern "{pattern}" {problem}.',
        expected="Expected words, as: chest pain|tight*",
        hint=hint,
    )
