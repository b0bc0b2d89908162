"""Labels and the words that a model scores or writes for them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from promptbot.errors import SpecError
from promptbot.types import OptionScore


class Verbalizer:
    """Translates between labels and their wordings.

    Args:
        labels: Wordings by label; the first is the one that examples show.

    Raises:
        SpecError: There is no label, a label has no wording or an empty one, or two labels share
            a wording.

    Source:
        Schick & Schuetze (2021), arXiv:2001.07676. Adding up a label's wordings: Holtzman et al.
        (2021), arXiv:2104.08315, "Surface form competition".
    """

    def __init__(self, labels: Mapping[str, Sequence[str]]) -> None:
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

    @property
    def options(self) -> list[str]:
        """Every wording of every label, each once, in the order of the labels."""
        return list(self._label_of)

    def word(self, label: str) -> str:
        """Return a label's first wording."""
        return self._words[label][0]

    def label_logprobs(self, scores: Sequence[OptionScore]) -> dict[str, float]:
        """Return the log-probability of each label, in nats.

        A label is as likely as all of its wordings together; the labels' probabilities add up to
        one. Where the model gives no option any probability, all labels are equally likely.

        Args:
            scores: One score for each of `options`, in any order.

        Raises:
            ValueError: A score is missing.
        """
        logprob = {score.option: score.logprob for score in scores}
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

        A wording counts exactly as written, then without regard to case, punctuation, underscores
        and spacing, and so does the label's own name. Nothing else is tried: an answer that holds
        a wording among other words, or that two labels could claim, is not parsed.
        """
        text = text.strip()
        return self._label_of.get(text) or self._label_of_normalised.get(_normalise(text))


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
