"""What to leave out when a prompt is longer than the model's context.

System prompt and question are never cut. The oldest turns go first, then the examples least
similar to the question, then the least similar notes; each is recorded with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from promptbot.errors import ContextOverflow
from promptbot.types import Chosen, Dropped, Example, Message, Note


@dataclass(frozen=True)
class Contents:
    """What could enter a prompt, in the order in which it would be kept."""

    examples: tuple[Chosen[Example], ...]
    """Most similar first."""
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
    dropped: list[Dropped] = []
    if max_tokens is None:
        return contents, ()
    n_tokens = count(contents)
    reason = f"the prompt had {n_tokens} tokens, {max_tokens} fit"
    # Fewer contents never make a longer prompt, so each kind is halved towards what fits.
    n_turns = len(contents.turns)
    if n_tokens > max_tokens and n_turns:
        kept = _most_that_fit(
            n_turns,
            lambda n: count(replace(contents, turns=contents.turns[n_turns - n :])) <= max_tokens,
        )
        for turn in contents.turns[: n_turns - kept]:
            dropped.append(Dropped("turn", "\n".join(m.content for m in turn), reason))
        contents = replace(contents, turns=contents.turns[n_turns - kept :])
        n_tokens = count(contents)
    if n_tokens > max_tokens and contents.examples:
        kept = _most_that_fit(
            len(contents.examples),
            lambda n: count(replace(contents, examples=contents.examples[:n])) <= max_tokens,
        )
        for example in reversed(contents.examples[kept:]):
            dropped.append(Dropped("example", example.item.input, reason))
        contents = replace(contents, examples=contents.examples[:kept])
        n_tokens = count(contents)
    if n_tokens > max_tokens and contents.notes:
        kept = _most_that_fit(
            len(contents.notes),
            lambda n: count(replace(contents, notes=contents.notes[:n])) <= max_tokens,
        )
        for note in reversed(contents.notes[kept:]):
            dropped.append(Dropped("note", note.item.text, reason))
        contents = replace(contents, notes=contents.notes[:kept])
        n_tokens = count(contents)
    if n_tokens > max_tokens:
        raise ContextOverflow(
            f"system prompt and message have {n_tokens} tokens together.",
            expected=f"The model's context leaves {max_tokens} tokens for the prompt.",
            hint="Send a shorter message, shorten the system prompt, "
            "lower decoding.max_new_tokens, or choose a model with a longer context.",
        )
    return contents, tuple(dropped)


def _most_that_fit(n_max: int, fits: Callable[[int], bool]) -> int:
    """Return the largest n below n_max that fits, or 0 where none does."""
    low, high = 0, n_max  # high is known not to fit
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
