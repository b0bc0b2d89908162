"""Metrics of written answers, alike for languages with and without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# Scripts without spaces between words: kana, CJK ideographs, Thai, Lao, Khmer and Burmese.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1780-\u17ff\u1000-\u109f"
    r"\U00020000-\U0003ffff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\u0e00-\u0eff\u1780-\u17ff\u1000-\u109f\U00020000-\U0003ffff]+"
)


def normalise(text: str) -> str:
    """Return a text without what does not change its meaning: case, punctuation, spaces.

    Full-width and half-width forms become equal (NFKC). Articles stay, since "a" is a word in some
    languages only. Points and commas between digits stay: 2.5 is not 25.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = []
    for place, character in enumerate(folded):
        between_digits = (
            character in ".,:"
            and folded[place - 1 : place].isdigit()
            and folded[place + 1 : place + 2].isdigit()
        )
        is_mark = unicodedata.category(character).startswith("P") and not between_digits
        # An apostrophe joins (don't), any other mark separates.
        kept.append("" if character in "'’" else " " if is_mark else character)
    return " ".join("".join(kept).split())


def tokens(text: str) -> list[str]:
    """Return the words of a text; single characters where a script has no spaces."""
    return _TOKEN.findall(normalise(text))


def exact(text: str, target: str) -> float:
    """Return 1 where text and target are equal once normalised, else 0."""
    return float(normalise(text) == normalise(target))


def contains(text: str, target: str) -> float:
    """Return 1 where the target's words stand in the text, in order and unbroken, else 0."""
    wanted, found = tokens(target), tokens(text)
    starts = range(len(found) - len(wanted) + 1)
    return float(any(found[start : start + len(wanted)] == wanted for start in starts))


def token_f1(text: str, target: str) -> float:
    """Return the F1 of the words that text and target share, in [0, 1].

    Source:
        Rajpurkar et al. (2016), arXiv:1606.05250, without dropping articles.
    """
    found, wanted = tokens(text), tokens(target)
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Return the share of different n-grams among all of the texts, in [0, 1]; 0 for none.

    Source:
        Li et al. (2016), arXiv:1510.03055.
    """
    grams: list[tuple[str, ...]] = []
    for text in texts:
        grams += ngrams(tokens(text), n)
    return len(set(grams)) / len(grams) if grams else 0.0


def ngrams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return every run of n neighbours."""
    return [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]
