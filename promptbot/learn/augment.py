"""More examples from those there are: the other gender, or other words for the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.types import Message

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel

PAIRS = Path(__file__).with_name("swaps.tsv")
"""The words that are swapped."""

TEMPLATE = Path(__file__).with_name("paraphrase.j2")
"""What asks a model for other words."""

N_PARAPHRASES = 3
"""Wordings that the model is asked for, of each text."""

MIN_SIMILARITY = 0.6
"""Cosine similarity to its source that a paraphrase must have."""

MAX_NEW_TOKENS = 300
TEMPERATURE = 0.7

_WORD = re.compile(r"[^\W\d_]+(?:'am\b)?")

# Words that follow a pronoun and cannot follow a possessive: "give it to her when", "his is".
_NOT_OF_A_NOUN = frozenset(
    """a about after again all already also always am an and any anymore are as asap at away back
because been before but by can cannot could did do does down during either else enough even for from
had has have he how i if immediately in instead into is it just know later may maybe me might more
must never no nor not now of off often on once only or our out over please she should since so some
something soon than that the their them then there these they this those though through to today
together tomorrow tonight too twice under until up very via was we were what when where whether
which while who whom why will with within without would yesterday yet you your""".split()  # noqa: SIM905
)

# After these, "her" before a noun may be whose it is or whom it goes to: "send her money".
_TAKES_TWO = frozenset(
    """ask asks asked asking bring brings bringing brought buy buys buying bought charge charged
charging give gives giving gave given get gets getting got grant granted granting hand handed
handing lend lends lending lent make makes making made offer offered offering owe owes owed owing
pay pays paying paid promise promised sell sells selling sold send sends sending sent
show shows showed shown showing teach teaches taught teaching tell tells telling told
transfer transferred transferring wish wished""".split()  # noqa: SIM905
)


def swap_groups(text: str) -> str | None:
    """Return an English text with the other gender's words and names; None where that is unsure.

    "his" becomes "her" or "hers", and "her" becomes "his" or "him", by the word that follows. Where
    that does not decide ("send her money"), there is no result: no text is better than a wrong one.
    A text without such words comes back as it is. Not handled: what agrees over several texts,
    names that are not in the list, "they", and words that are a name at times (Mark, Grace, May).

    Source:
        Zhao et al. (2018), "Gender Bias in Coreference Resolution: Evaluation and Debiasing
        Methods", arXiv:1804.06876, section 4, whose data set holds both versions of every text.
    """
    words = list(_WORD.finditer(text))
    pairs = word_pairs()
    parts, end = [], 0
    for place, found in enumerate(words):
        word = found[0].casefold()
        following = words[place + 1] if place + 1 < len(words) else None
        # A mark between the two ends the phrase.
        joined = following is not None and text[found.end() : following.start()].isspace()
        after = following[0].casefold() if following is not None and joined else ""
        if word in ("his", "her", "hers"):
            before = words[place - 1][0].casefold() if place else ""
            other = _pronoun(word, before, after, text[found.end() : found.end() + 2])
            if other is None:
                return None
        else:
            other = pairs.get(word)
        if other is not None:
            parts += [text[end : found.start()], _cased(other, found[0])]
            end = found.end()
    return "".join([*parts, text[end:]])


def _pronoun(word: str, before: str, after: str, rest: str) -> str | None:
    if word == "hers":
        return "his"
    if rest.startswith(("'", "’", "-")):  # "her's"
        return None
    owns = bool(after) and after not in _NOT_OF_A_NOUN
    if word == "his":
        return "her" if owns else "hers"
    if owns and before in _TAKES_TWO:
        return None
    return "his" if owns else "him"


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


@cache
def word_pairs() -> Mapping[str, str]:
    """Return what each word of `PAIRS` becomes, in lower case."""
    found: dict[str, str] = {}
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            one, other = line.split("\t")
            found.setdefault(one, other)
            found.setdefault(other, one)
    return found


@dataclass(frozen=True, slots=True)
class Paraphrases:
    """What a model wrote for one text."""

    kept: tuple[str, ...]
    """Wordings that say the same in other words, as far as the checks can tell."""
    n_refused: int
    """Wordings that did not pass: equal or nearly equal to the text or to another one, or too far
    from it."""


def paraphrase(
    texts: Sequence[str], model: FrozenModel, encoder: Encoder, *, language: str, seed: int = 0
) -> Iterator[Paraphrases]:
    """Yield other wordings of each text, by a frozen model.

    A wording is kept where it is not nearly the same as its source or as another wording, and its
    vector is near to its source's: `MIN_SIMILARITY`.

    Args:
        texts: What is said in other words.
        model: Any model that follows an instruction.
        encoder: Tells whether a wording is near to its source.
        language: Of the texts.
        seed: Of what the model draws.

    Raises:
        PromptbotError: The model fails.
    """
    from promptbot.models.messages import to_langchain
    from promptbot.prompt.template import Template

    template = Template(TEMPLATE.name, TEMPLATE.read_text(encoding="utf-8"))
    for text in texts:
        asked = template.render({"text": text, "language": language, "n": N_PARAPHRASES})
        answer = model.invoke(
            to_langchain([Message("user", asked)]),
            temperature=TEMPERATURE,
            max_new_tokens=MAX_NEW_TOKENS,
            seed=seed,
        )
        yield _check(text, _wordings(str(answer.text)), encoder)


def _wordings(answer: str) -> list[str]:
    lines = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line) for line in answer.splitlines())
    found = (line.strip().strip('"“”').strip() for line in lines)
    # A line that ends in a colon announces the others.
    return [line for line in found if line and not line.endswith((":", "："))][:N_PARAPHRASES]


def _check(text: str, wordings: Sequence[str], encoder: Encoder) -> Paraphrases:
    from promptbot.evals.leaks import find_leaks

    kept: list[str] = []
    vectors = encoder.encode([text, *wordings])  # (1 + n_wordings, dimension)
    near = vectors[1:] @ vectors[0]
    for wording, similarity in zip(wordings, near, strict=True):
        if similarity >= MIN_SIMILARITY and not find_leaks([wording], [text, *kept]):
            kept.append(wording)
    return Paraphrases(tuple(kept), len(wordings) - len(kept))
