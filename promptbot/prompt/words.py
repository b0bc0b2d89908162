"""The words and the letter sequences of a text, for selectors and retrieval that compare them."""

from __future__ import annotations

import re

from promptbot.scripts import HANGUL, UNSPACED

_ALONE = f"[{UNSPACED}{HANGUL}]"
_WORD = re.compile(
    # One character of a script without spaces, or a run of other letters and digits; an apostrophe
    # within a word belongs to it.
    rf"{_ALONE}|(?:(?!{_ALONE})\w)+(?:['’](?:(?!{_ALONE})\w)+)*"
)


def words(text: str) -> list[str]:
    """Return the words of a text, folded to lower case, in their order.

    Scripts that write no spaces between words give one word a character. A text without a single
    letter or digit is one word by itself, so that equal texts always have equal words.
    """
    return _WORD.findall(text.casefold().replace("’", "'")) or [text.strip()]


def letter_ngrams(text: str) -> frozenset[str]:
    """Return every sequence of two and three characters in a text.

    Case and runs of spaces do not count. The text is padded, so that even one of a single character
    has some, and so that the beginnings of texts weigh more.
    """
    padded = f"  {' '.join(text.casefold().split())} "
    return frozenset(padded[i : i + n] for n in (2, 3) for i in range(len(padded) - n + 1))
