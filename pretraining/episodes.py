"""What an episode is, and how it becomes tokens with loss weights and guided source positions.

An episode is a chat as it is deployed. Parts of a message that are later copied are `Mark`s: where
an assistant's message holds a mark whose text stood earlier, training tells the copying heads
where (the positions of the tokens that come next).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pretraining.tokenizer import ASSISTANT, END, ROLES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TARGET = 1.0
"""Loss weight of what the assistant must say."""
SHOWN = 0.1
"""Weight of the assistant's messages inside examples."""
FIRST = 3.0
"""How much more the first token of an answer, or of a detail in it, counts: it is the choice."""
READ = 0.02
"""Weight of the user's messages."""
MAX_SUMMARY = 120
"""Longer messages are not summarised."""


About = int | str | tuple[str, ...]
"""What a summary is of: a row of the corpus, a text, or several texts whose mean vector it has."""


def halved(wording: str, first: str) -> tuple[str, ...]:
    """Return what the summary of one wording of a matter is of: half of it is the first wording's.

    So wordings of one matter come nearer to one another than the encoder that is the aim puts them.
    """
    return (wording, first) if wording != first else (first,)


@dataclass(frozen=True)
class Mark:
    """A piece of a message that may be copied, or is a copy of an equal mark before it."""

    text: str
    about: About | None = None
    """What the mark answers, where it is a note: a row of the corpus or a text. The token before
    the mark then learns to hold the summary of that question, as `<|assistant|>` does for a
    user's message; so notes and examples are found by the same means."""


Piece = str | Mark


@dataclass(frozen=True)
class Turn:
    """One message of an episode."""

    role: str
    pieces: tuple[Piece, ...]
    weight: float
    """Loss weight of its tokens."""
    about: About | None = None
    """The text that the next token summarises: a row of the corpus, or the text itself."""
    is_misread: bool = False
    """Whether what the layers above see of the whole episode's summaries is wrong in part."""

    @property
    def content(self) -> str:
        """The message as plain text."""
        return "".join(p if isinstance(p, str) else p.text for p in self.pieces)


def system(*pieces: Piece) -> Turn:
    """Return a system message."""
    return Turn("system", pieces, 0.0)


def user(*pieces: Piece, row: About | None = None, weight: float = READ) -> Turn:
    """Return a user message.

    `row` is its row in the corpus, where it stands there, or another text that asks the same and
    whose summary it shall have.
    """
    if row is not None or weight != READ:
        return Turn("user", pieces, weight, row)
    content = Turn("user", pieces, weight).content
    return Turn("user", pieces, weight, content if len(content) <= MAX_SUMMARY else None)


def shown(*pieces: Piece, weight: float = SHOWN) -> Turn:
    """Return an assistant message that is an example, not a target."""
    return Turn("assistant", pieces, weight)


def target(*pieces: Piece, weight: float = TARGET) -> Turn:
    """Return an assistant message that the model must learn to say."""
    return Turn("assistant", pieces, weight)


@dataclass(frozen=True)
class Encoded:
    """An episode as tokens."""

    ids: list[int]
    weights: list[float]
    """Loss weight of each token as a prediction target."""
    summaries: list[tuple[int, About]]
    """(position, text or its row): where the summary of a message or note is read."""
    guides: list[tuple[int, tuple[int, ...]]]
    """(position, sources): the token after `position` also stands at each of the sources, or the
    same word without the space before it; after the last token of a copy, the sources are the
    tokens that follow the originals."""
    is_misread: bool = False
    """As `Turn.is_misread`."""


_memo: dict[tuple[int, str], tuple[list[int], list[tuple[int, int]]]] = {}


def _tokens(tokenizer: Tokenizer, content: str) -> tuple[list[int], list[tuple[int, int]]]:
    key = (id(tokenizer), content)
    if key not in _memo:
        encoding = tokenizer.encode(" " + content, add_special_tokens=False)
        # The template's space is character 0: offsets count from the content's first character.
        offsets = [(a - 1, b - 1) for a, b in encoding.offsets]
        if len(_memo) > 400_000:
            _memo.clear()
        _memo[key] = (encoding.ids, offsets)
    return _memo[key]


def encode(turns: list[Turn], tokenizer: Tokenizer) -> Encoded:
    """Return an episode's tokens; every message is encoded as one string, as deployed."""
    ids: list[int] = []
    weights: list[float] = []
    summaries: list[tuple[int, About]] = []
    guides: list[tuple[int, tuple[int, ...]]] = []
    seen: dict[str, list[dict[tuple[int, int], int]]] = {}
    about: About | None = None
    for turn in turns:
        if turn.role == "assistant" and about is not None:
            summaries.append((len(ids), about))
        about = turn.about
        ids.append(ROLES[turn.role])
        weights.append(0.0)
        start = len(ids)
        new, offsets = _tokens(tokenizer, turn.content.strip())
        at = 0
        firsts = {0} if turn.role == "assistant" and turn.weight >= TARGET else set()
        for piece in turn.pieces:
            if isinstance(piece, str):
                at += len(piece)
                continue
            # Tokens of this mark by their characters inside it; the leading space belongs to it.
            place = {
                (a - at, b - at): start + t
                for t, (a, b) in enumerate(offsets)
                if a >= at - 1 and b <= at + len(piece.text) and b > at
            }
            if piece.about is not None and place:
                summaries.append((min(place.values()) - 1, piece.about))
            if firsts and place:
                firsts.add(min(place.values()) - start)
            earlier = seen.setdefault(piece.text, [])
            if turn.role == "assistant" and turn.weight >= 0.7 and earlier:
                for span, position in place.items():
                    sources = tuple(
                        p[span]
                        for p in earlier
                        if span in p and ids_at(ids, new, start, p[span]) == new[position - start]
                    )
                    if not sources and span[0] < 0:
                        # In quotes the first word has no space before it, so it is another token:
                        # what is read there is the right place, if not the token to say.
                        sources = tuple(p[0, span[1]] for p in earlier if (0, span[1]) in p)
                    if sources:
                        guides.append((position - 1, sources))
                if (
                    place
                    and max(place.values()) == start + len(new) - 1
                    and piece is turn.pieces[-1]
                ):
                    # What follows the original is where the copy ends.
                    last = max(place)
                    ends = tuple(p[last] + 1 for p in earlier if last in p)
                    ends = tuple(p for p in ends if p < start)
                    if ends:
                        guides.append((start + len(new) - 1, ends))
            earlier.append(place)
            at += len(piece.text)
        ids += new
        weights += [turn.weight * FIRST if i in firsts else turn.weight for i in range(len(new))]
        ids.append(END)
        weights.append(turn.weight)
    if about is not None:
        summaries.append((len(ids), about))
        ids.append(ASSISTANT)
        weights.append(0.0)
    return Encoded(ids, weights, summaries, guides, any(turn.is_misread for turn in turns))


def ids_at(ids: list[int], new: list[int], start: int, position: int) -> int:
    """Return the token at a position, in the tokens so far or in those of the current message."""
    return ids[position] if position < start else new[position - start]
