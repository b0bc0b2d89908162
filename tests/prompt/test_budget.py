from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.errors import ContextOverflow
from promptbot.prompt.budget import Contents, fit
from promptbot.types import Chosen, Example, Message, Note

BASE = 10
"""Tokens of system prompt and question."""


def contents(examples: list[int], notes: list[int], turns: list[int]) -> Contents:
    """Make contents whose texts are as many letters long as the numbers say."""
    return Contents(
        examples=tuple(Chosen(Example("e" * n, ""), 1 - i / 100) for i, n in enumerate(examples)),
        notes=tuple(Chosen(Note("", "n" * n, ""), 1 - i / 100) for i, n in enumerate(notes)),
        turns=tuple((Message("user", "t" * n),) for n in turns),
    )


def count(some: Contents) -> int:
    return (
        BASE
        + sum(len(c.item.input) for c in some.examples)
        + sum(len(c.item.text) for c in some.notes)
        + sum(len(m.content) for turn in some.turns for m in turn)
    )


def test_everything_stays_where_there_is_room() -> None:
    whole = contents([5, 5], [5], [5, 5])
    assert fit(whole, count, 100) == (whole, ())
    assert fit(whole, count, None) == (whole, ())


def test_oldest_turn_goes_first() -> None:
    kept, dropped = fit(contents([5, 5], [5], [1, 2, 3]), count, 30)
    assert [len(turn[0].content) for turn in kept.turns] == [2, 3]
    assert [(d.kind, d.text) for d in dropped] == [("turn", "t")]
    assert "31 tokens, 30 fit" in dropped[0].reason


def test_least_similar_example_goes_after_every_turn() -> None:
    kept, dropped = fit(contents([5, 6], [5], [5, 5]), count, 25)
    assert kept.turns == ()
    assert [len(c.item.input) for c in kept.examples] == [5]
    assert [d.kind for d in dropped] == ["turn", "turn", "example"]


def test_notes_go_last() -> None:
    kept, dropped = fit(contents([5], [5, 6], [5]), count, 17)
    assert (kept.turns, kept.examples) == ((), ())
    assert [len(c.item.answer) for c in kept.notes] == [5]
    assert [d.kind for d in dropped] == ["turn", "example", "note"]


def test_system_prompt_and_question_are_never_cut() -> None:
    with pytest.raises(ContextOverflow, match="10 tokens together"):
        fit(contents([5], [5], [5]), count, 9)


sizes = st.lists(st.integers(1, 20), max_size=12)


@given(examples=sizes, notes=sizes, turns=sizes, limit=st.integers(BASE, 200))
def test_what_is_kept_fits_and_nothing_is_lost(
    examples: list[int], notes: list[int], turns: list[int], limit: int
) -> None:
    whole = contents(examples, notes, turns)
    kept, dropped = fit(whole, count, limit)
    assert count(kept) <= limit
    n_kept = len(kept.examples) + len(kept.notes) + len(kept.turns)
    assert n_kept + len(dropped) == len(examples) + len(notes) + len(turns)
    assert kept.turns == whole.turns[len(whole.turns) - len(kept.turns) :]
    could_stay = tuple(c for c in whole.examples if count(Contents((c,), (), ())) <= limit)
    if all(d.reason.startswith("the prompt") for d in dropped):
        could_stay = whole.examples
    assert kept.examples == could_stay[: len(kept.examples)]
    if kept.turns and dropped:
        kinds = {d.kind for d in dropped if not d.reason.startswith("even alone")}
        assert kinds <= {"turn"}


@given(turns=st.lists(st.integers(1, 20), min_size=1, max_size=12), limit=st.integers(BASE, 200))
def test_no_turn_is_dropped_that_would_have_fitted(turns: list[int], limit: int) -> None:
    whole = contents([], [], turns)
    kept, dropped = fit(whole, count, limit)
    if dropped:
        one_more = whole.turns[len(whole.turns) - len(kept.turns) - 1 :]
        assert count(Contents((), (), one_more)) > limit


def test_an_example_longer_than_the_whole_budget_pushes_nothing_else_out() -> None:
    kept, dropped = fit(contents([90, 5, 6], [5], [3, 4]), count, 40)
    assert [len(c.item.input) for c in kept.examples] == [5, 6]
    assert [len(turn[0].content) for turn in kept.turns] == [3, 4]
    assert [(d.kind, len(d.text)) for d in dropped] == [("example", 90)]
    assert dropped[0].reason == "even alone it made 100 tokens, 40 fit"


def test_a_note_longer_than_the_whole_budget_pushes_nothing_else_out() -> None:
    kept, dropped = fit(contents([5], [7, 90], [3]), count, 30)
    assert (len(kept.examples), len(kept.notes), len(kept.turns)) == (1, 1, 1)
    assert [(d.kind, len(d.text)) for d in dropped] == [("note", 90)]
