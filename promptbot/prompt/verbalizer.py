"""Labels and the words that a model scores or writes for them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from promptbot.errors import SpecError
from promptbot.types import OptionScore

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder
    from promptbot.prompt.similarity import SimilarityIndex

Score = Literal["sum", "mean_token", "mean_byte"]
"""What a wording's score is: its log-probability, or that per token or per UTF-8 byte."""
Parse = Literal["exact", "normalised", "similar", "nearest"]
"""How far a written answer may be from a wording; each way includes those before it."""


class Verbalizer:
    """Translates between labels and their wordings.

    Args:
        labels: Wordings by label; the first is the one that examples show.
        score: Log-probabilities as they are, or divided by the tokens (the end of the message
            counts as one) or the bytes of the wording, so that long wordings do not lose by their
            length alone.
        parse: ``exact``, as written; ``normalised``, but for case, punctuation and spacing;
            ``similar``, else the wording with the most letters in common (difflib); ``nearest``,
            else the one nearest by the encoder.
        min_similarity: Under which ``similar`` and ``nearest`` find nothing.
        load_encoder: Gives the encoder of ``nearest``.

    Raises:
        SpecError: There is no label, a label has no wording or an empty one, or two labels share
            a wording.

    Source:
        Schick & Schuetze (2021), arXiv:2001.07676. Adding up a label's wordings: Holtzman et al.
        (2021), arXiv:2104.08315, "Surface form competition". Mean over tokens: Brown et al.
        (2020), arXiv:2005.14165, section 2.4.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        *,
        score: Score = "sum",
        parse: Parse = "normalised",
        min_similarity: float = 0.75,
        load_encoder: Callable[[], Encoder] | None = None,
    ) -> None:
        self._score = score
        self._parse = parse
        self._min_similarity = min_similarity
        self._load_encoder = load_encoder
        if not labels:
            raise SpecError(
                "there are no labels.",
                expected="Expected labels with their wordings, as {card_lost: [lost card]}.",
                hint="Add them under labels: in bot.yaml.",
            )
        self._words = {
            label: tuple(dict.fromkeys(word.strip() for word in words))
            for label, words in labels.items()
        }
        self._label_of: dict[str, str] = {}
        for label, words in self._words.items():
            if not words or "" in words:
                raise SpecError(
                    f'label "{label}" has {"an empty" if words else "no"} wording.',
                    expected="Expected at least one wording, none of them empty.",
                    hint=f"Write  {label}: [{label.replace('_', ' ')}]",
                )
            for word in words:
                other = self._label_of.setdefault(word, label)
                if other != label:
                    raise SpecError(
                        f'labels "{other}" and "{label}" share the wording "{word}".',
                        expected="Expected every wording to belong to one label.",
                        hint="Give one of them another wording.",
                    )
        # A label's own name counts too, unless it reads like a wording.
        worded = {_normalise(word) for word in self._label_of}
        names = [(label, label) for label in self._words if _normalise(label) not in worded]
        self._label_of_normalised = _unambiguous([*self._label_of.items(), *names])

    def lookalikes(self) -> list[tuple[str, str]]:
        """Return wordings of two labels that differ in case, punctuation or spacing only.

        They can be scored, but an answer that a model writes could be either.
        """
        first: dict[str, str] = {}
        pairs = []
        for word, label in self._label_of.items():
            other = first.setdefault(_normalise(word), word)
            if _normalise(word) and self._label_of[other] != label:
                pairs.append((other, word))
        return pairs

    @property
    def options(self) -> list[str]:
        """Every wording of every label, each once, in the order of the labels."""
        return list(self._label_of)

    def word(self, label: str) -> str:
        """Return a label's first wording."""
        return self._words[label][0]

    def label_logprobs(
        self, scores: Sequence[OptionScore], *, as_they_are: bool = False
    ) -> dict[str, float]:
        """Return the log-probability of each label, in nats.

        A label is as likely as all of its wordings together; the labels' probabilities add up to
        one. Where the model gives no option any probability, all labels are equally likely.

        Args:
            scores: One score for each of `options`, in any order.
            as_they_are: Whether nothing is divided by tokens or bytes: a provider's scores are
                probabilities of whole options already.

        Raises:
            ValueError: A score is missing.
        """
        logprob = {s.option: s.logprob if as_they_are else self._scored(s) for s in scores}
        missing = [option for option in self._label_of if option not in logprob]
        if missing:
            raise ValueError(f"no score for {', '.join(map(repr, missing))}")
        sums = {
            label: _logsumexp([logprob[word] for word in words])
            for label, words in self._words.items()
        }
        total = _logsumexp(list(sums.values()))
        if total == -math.inf:
            return dict.fromkeys(sums, -math.log(len(sums)))
        return {label: value - total for label, value in sums.items()}

    def parse(self, text: str) -> str | None:
        """Return the label that a text names, or None when it names none.

        A wording counts exactly as written, then (unless ``parse`` is ``exact``) without regard to
        case, punctuation, underscores and spacing, and so does the label's own name. An answer
        that holds a wording among other words, or that two labels could claim, is not parsed.
        ``similar`` and ``nearest`` go on to the wording that lies nearest, where that is near
        enough and no other label's lies as near.
        """
        text = text.strip()
        label = self._label_of.get(text)
        if label is None and self._parse != "exact":
            label = self._label_of_normalised.get(_normalise(text))
        if label is None and self._parse in ("similar", "nearest") and _normalise(text):
            label = self._nearest(text)
        return label

    def _scored(self, score: OptionScore) -> float:
        if self._score == "mean_token":
            return score.logprob / len(score.token_logprobs)
        if self._score == "mean_byte":
            return score.logprob / len(score.option.encode())
        return score.logprob

    def _nearest(self, text: str) -> str | None:
        """Return the label of the wording most like a text, or None where none is like it."""
        best: dict[str, float] = {}
        for word, similarity in self._similarities(text):
            label = self._label_of[word]
            best[label] = max(similarity, best.get(label, similarity))
        first, *others = sorted(best.items(), key=lambda item: -item[1])
        tied = bool(others) and others[0][1] == first[1]
        return first[0] if first[1] >= self._min_similarity and not tied else None

    def _similarities(self, text: str) -> list[tuple[str, float]]:
        """Return every wording with its similarity to a text; 1 is equal."""
        if self._parse == "nearest":
            options = self.options
            return [(options[i], s) for i, s in self._index.search(text, len(options))]
        written = _normalise(text)
        return [
            (word, SequenceMatcher(None, _normalise(word), written, autojunk=False).ratio())
            for word in self.options
        ]

    @cached_property
    def _index(self) -> SimilarityIndex:
        from promptbot.prompt.similarity import SimilarityIndex

        if self._load_encoder is None:
            raise ValueError("the nearest wording needs an encoder")
        return SimilarityIndex(self.options, self._load_encoder())


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the label of each normalised text that stands for one label only."""
    found: dict[str, set[str]] = {}
    for text, label in pairs:
        found.setdefault(_normalise(text), set()).add(label)
    return {text: next(iter(s)) for text, s in found.items() if text and len(s) == 1}


def _normalise(text: str) -> str:
    """Return the text's letters, marks and digits in lower case, all else as single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return " ".join("".join(kept).split())


def _logsumexp(values: Sequence[float]) -> float:
    """Return the logarithm of the summed exponentials, without overflow."""
    largest = max(values)
    if largest == -math.inf:
        return largest
    return largest + math.log(sum(math.exp(value - largest) for value in values))
