"""Rules that answer before the model: patterns of words, matched in linear time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from promptbot.bot.patterns import (
    GAP,
    WINDOW,
    Pattern,
    Phrase,
    normalise,
    parse_pattern,
    parse_unless,
    split_words,
)
from promptbot.scripts import touches

if TYPE_CHECKING:
    from promptbot.bot.spec import RuleSpec

LONG_WORD = 7
"""Letters of a word from which on a slip in one of them is forgiven."""
MAX_SLIPS = 400
"""Different words of a message up to which slips are looked for, so that long ones cost little."""

Span = tuple[int, int]
"""The first and the last word of something, by their places."""


def first_match(text: str, rules: Sequence[RuleSpec]) -> tuple[RuleSpec, str] | None:
    """Return the first rule that a message meets, with the pattern; None where it meets none.

    All words of a pattern must occur near one another, in any order: ``chest pain|tight*`` is met
    by "a tightness in my chest". ``|`` parts alternatives, ``*`` stands for the rest of a word,
    ``_`` joins words that stand side by side, ``a > b`` wants b soon after a, and the words behind
    ``unless`` hush the pattern where one of them is near. Case, apostrophes and accents do not
    count, nor does a slip in a long word. Words of scripts without spaces are looked for anywhere
    in the message.
    """
    message = _Message(text)
    for rule in rules:
        hushed = tuple(phrase for one in rule.unless for phrase in parse_unless(one))
        for pattern in rule.patterns:
            if message.meets(parse_pattern(pattern), hushed):
                return rule, pattern
    return None


class _Message:
    """A message, and where the phrases of patterns stand in it."""

    def __init__(self, text: str) -> None:
        self._plain = normalise(text)
        self._words = split_words(self._plain)
        self._places: dict[str, list[int]] = {}
        for place, word in enumerate(self._words):
            self._places.setdefault(word, []).append(place)
        self._vocabulary = sorted(self._places)
        self._found: dict[str, list[int]] = {}
        self._spans: dict[Phrase, list[Span]] = {}

    def meets(self, pattern: Pattern, hushed: Sequence[Phrase]) -> bool:
        """Return whether the message holds a pattern, and nothing near that hushes it."""
        chains: list[list[Span]] = []
        for item in pattern.items:
            if any(self._is_touching(one) for one in item.alternatives):
                continue  # such a word has no place among others
            spans = sorted({span for one in item.alternatives for span in self._find(one)})
            if item.follows and chains:
                chains[-1] = _after(chains[-1], spans)
            else:
                chains.append(spans)
        unless = (*pattern.unless, *hushed)
        if any(self._is_touching(phrase) for phrase in unless):
            return False
        if not chains:
            return not any(self._find(phrase) for phrase in unless)
        hushing = sorted(span for phrase in unless for span in self._find(phrase))
        for first in chains[0]:
            together = [first]
            for others in chains[1:]:
                near = _nearest(first, others)
                if near is None:
                    break
                together.append(near)
            else:
                whole = min(a for a, _ in together), max(b for _, b in together)
                if _nearest(whole, hushing) is None:
                    return True
        return False

    def _is_touching(self, phrase: Phrase) -> bool:
        return touches(phrase.whole) and phrase.whole in self._plain

    def _find(self, phrase: Phrase) -> list[Span]:
        """Return where a phrase stands, also where its words are glued together."""
        if phrase not in self._spans:
            starts = self._find_word(phrase.words[0])
            n = len(phrase.words)
            spans = [(start, start + n - 1) for start in starts]
            for i, word in enumerate(phrase.words[1:], start=1):
                there = set(self._find_word(word))
                spans = [span for span in spans if span[0] + i in there]
            if n > 1 and not any(word.endswith("*") for word in phrase.words[:-1]):
                spans += [(place, place) for place in self._find_word("".join(phrase.words))]
            self._spans[phrase] = spans
        return self._spans[phrase]

    def _find_word(self, word: str) -> list[int]:
        if word not in self._found:
            alike = self._alike(word)
            self._found[word] = sorted(place for one in alike for place in self._places[one])
        return self._found[word]

    def _alike(self, word: str) -> Iterable[str]:
        """Return the words of the message that a word of a pattern stands for."""
        stem = word.rstrip("*")
        known = self._vocabulary
        if stem == word:
            found = {word} & self._places.keys()
        else:
            first = bisect_left(known, stem)
            found = set(known[first : bisect_left(known, stem + "\U0010ffff", first)])
        if len(stem) >= LONG_WORD and len(known) <= MAX_SLIPS:
            sizes = range(len(stem) - 1, len(stem) + 2)
            for one in known:
                if one[0] == stem[0] and any(
                    _differ_by_a_slip(one[:n], stem)
                    for n in (sizes if stem != word else [len(one)])
                ):
                    found.add(one)
        return found


def _after(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Return the spans from one of `spans` to one of `others` that follows it soon."""
    ends = sorted((stop, start) for start, stop in spans)
    joined: list[Span] = []
    for start, stop in others:
        i = bisect_left(ends, (start, -1))
        if i and start - ends[i - 1][0] <= GAP + 1:
            joined.append((ends[i - 1][1], stop))
    return sorted(joined)


def _nearest(span: Span, others: Sequence[Span]) -> Span | None:
    """Return one of the other spans, in order, that lies within the window of a span."""
    # A joined span is longer than a word: what begins a little before the window may reach into it.
    i = bisect_left(others, (span[0] - 4 * WINDOW, -1))
    while i < len(others) and others[i][0] <= span[1] + WINDOW:
        if others[i][1] >= span[0] - WINDOW:
            return others[i]
        i += 1
    return None


def _differ_by_a_slip(word: str, other: str) -> bool:
    """Return whether one letter is left out, added or another, or two neighbours are swapped."""
    if abs(len(word) - len(other)) > 1:
        return False
    same = 0
    while same < min(len(word), len(other)) and word[same] == other[same]:
        same += 1
    rest, wanted = word[same:], other[same:]
    return (
        rest[1:] == wanted[1:]
        or rest == wanted[1:]
        or rest[1:] == wanted
        or (rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:])
    )
