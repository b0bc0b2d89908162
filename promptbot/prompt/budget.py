"""What to leave out when a prompt is longer than the model's context.

System prompt and question are never cut. What is too long even alone goes first; then the oldest
turns, the examples that the selector values least, and the least similar notes. Each is recorded
with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from promptbot.errors import ContextOverflow
from promptbot.types import Chosen, Dropped, Example, Message, Note

T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """What could enter a prompt, in the order in which it would be kept."""

    examples: tuple[Chosen[Example], ...]
    """In the selector's order: what it would keep longest comes first."""
    notes: tuple[Chosen[Note], ...]
    """Most similar first."""
    turns: tuple[tuple[Message, ...], ...]
    """Oldest first; each a user message with its reply."""


def fit(
    contents: Contents, count: Callable[[Contents], int], max_tokens: int | None
) -> tuple[Contents, tuple[Dropped, ...]]:
    """Return as much of `contents` as fits, and what was left out.

    Args:
        contents: What was chosen and recalled.
        count: Tokens of the whole prompt made from some contents.
        max_tokens: Tokens that the prompt may have; None for no bound.

    Raises:
        ContextOverflow: Not even system prompt and question fit.
    """
    if max_tokens is None or (n_tokens := count(contents)) <= max_tokens:
        return contents, ()

    def fits(some: Contents) -> bool:
        return count(some) <= max_tokens

    dropped: list[Dropped] = []
    if not fits(replace(contents, turns=())):
        # Else one endless example would first push out everything that does fit.
        contents, dropped = _without_endless(contents, count, max_tokens)
    reason = f"the prompt had {n_tokens} tokens, {max_tokens} fit"

    turns, old = _split(contents.turns[::-1], lambda t: fits(replace(contents, turns=t[::-1])))
    dropped += [Dropped("turn", _turn_text(turn), reason) for turn in reversed(old)]
    contents = replace(contents, turns=turns[::-1])

    examples, far = _split(contents.examples, lambda e: fits(replace(contents, examples=e)))
    dropped += [Dropped("example", c.item.input, reason) for c in reversed(far)]
    contents = replace(contents, examples=examples)

    notes, unlike = _split(contents.notes, lambda n: fits(replace(contents, notes=n)))
    dropped += [Dropped("note", c.item.text, reason) for c in reversed(unlike)]
    contents = replace(contents, notes=notes)

    if (n_left := count(contents)) > max_tokens:
        raise ContextOverflow(
            f"system prompt and message have {n_left} tokens together.",
            expected=f"The model's context leaves {max_tokens} tokens for the prompt.",
            hint="Send a shorter message, shorten the system prompt, "
            "lower decoding.max_new_tokens, or choose a model with a longer context.",
        )
    return contents, tuple(dropped)


def _split(
    items: tuple[T, ...], fits: Callable[[tuple[T, ...]], bool]
) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return as many of the first items as fit, and the others."""
    if not items or fits(items):
        return items, ()
    # Fewer contents never make a longer prompt, so the number is halved towards what fits.
    low, high = 0, len(items)  # high is known not to fit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(items[:middle]):
            low = middle
        else:
            high = middle
    return items[:low], items[low:]


def _without_endless(
    contents: Contents, count: Callable[[Contents], int], max_tokens: int
) -> tuple[Contents, list[Dropped]]:
    """Return the contents without each example and note that does not fit even alone."""
    empty = Contents((), (), ())
    if count(empty) > max_tokens:  # then nothing fits, and that is another complaint
        return contents, []
    dropped: list[Dropped] = []

    def fits(kind: Literal["example", "note"], text: str, alone: Contents) -> bool:
        if (n_tokens := count(alone)) <= max_tokens:
            return True
        reason = f"even alone it made {n_tokens} tokens, {max_tokens} fit"
        dropped.append(Dropped(kind, text, reason))
        return False

    examples = tuple(
        c for c in contents.examples if fits("example", c.item.input, replace(empty, examples=(c,)))
    )
    notes = tuple(
        c for c in contents.notes if fits("note", c.item.text, replace(empty, notes=(c,)))
    )
    return replace(contents, examples=examples, notes=notes), dropped


def _turn_text(turn: Sequence[Message]) -> str:
    return "\n".join(message.content for message in turn)
