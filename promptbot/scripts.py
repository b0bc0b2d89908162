"""Which letters are written without spaces between words: the one list of such scripts."""

from __future__ import annotations

import re

UNSPACED = (
    r"\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # ideographs
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
)
"""Letters of scripts without spaces between words, to stand between the [] of a pattern."""

HANGUL = r"\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
"""Letters of Korean, to stand between the [] of a pattern: it has spaces, but particles and
foreign words touch."""

_TOUCHING = re.compile(f"[{UNSPACED}{HANGUL}]")


def touches(text: str) -> bool:
    """Return whether a text holds a letter that may touch another word's."""
    return _TOUCHING.search(text) is not None


def set_apart(text: str) -> str:
    """Return a text of the same length with a mark in place of each letter that `touches`."""
    return _TOUCHING.sub("、", text)
