"""Metrics of written answers, alike for languages with and without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from promptbot.errors import DataError, MissingExtra
from promptbot.prompt.leave_out import sentences as sentence_places
from promptbot.scripts import UNSPACED

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


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


def rouge_l(text: str, target: str) -> float:
    """Return the F1 of the longest common subsequence of words, in [0, 1].

    Source:
        Lin (2004), "ROUGE: A Package for Automatic Evaluation of Summaries", ACL W04-1013.
    """
    found, wanted = tokens(text), tokens(target)
    if not found or not wanted:
        return float(found == wanted)
    row = [0] * (len(wanted) + 1)  # of the table of common subsequences, word by word of `found`
    for word in found:
        diagonal = 0
        for place, other in enumerate(wanted, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return 2 * row[-1] / (len(found) + len(wanted))


def chrf(text: str, target: str) -> float:
    """Return chrF of one answer, in [0, 1]: the F2 of sequences of one to six characters.

    Source:
        Popović (2015), ACL W15-3049; computed by sacrebleu.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    return float(_sacrebleu().sentence_chrf(text, [target]).score) / 100


def bleu(texts: Sequence[str], targets: Sequence[str]) -> float:
    """Return BLEU of all answers together, in [0, 1].

    Source:
        Papineni et al. (2002), ACL P02-1040; computed by sacrebleu (Post 2018, arXiv:1804.08771)
        with its tokeniser 13a.

    Raises:
        MissingExtra: sacrebleu is not installed.
    """
    return float(_sacrebleu().corpus_bleu(list(texts), [list(targets)]).score) / 100


def matches(text: str, pattern: str) -> float:
    """Return 1 where a regular expression is found in the text, else 0.

    Raises:
        DataError: It is none.
    """
    try:
        return float(re.search(pattern, text) is not None)
    except re.error as error:
        raise DataError(
            f'the target "{pattern}" is no regular expression ({error}).',
            place="metric regex",
            hint="Correct the target, or measure exact or contains instead.",
        ) from None


def grounded(text: str, notes: Sequence[str]) -> float:
    """Return the share of an answer's sentences that one of the notes covers.

    A note covers a sentence where it holds at least three quarters of its words. That is a lower
    bound in plain words: a sentence may follow from a note in other words, and it may twist a note
    with the same ones.
    """
    sentences = [found for i, k in sentence_places(text) if (found := tokens(text[i:k]))]
    known = [set(tokens(note)) for note in notes]
    covered = sum(
        any(sum(word in note for word in sentence) >= 0.75 * len(sentence) for note in known)
        for sentence in sentences
    )
    return covered / len(sentences) if sentences else 1.0


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingExtra("chrF and BLEU", "sacrebleu", "metrics") from error
    return sacrebleu
