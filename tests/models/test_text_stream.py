"""Streamed pieces are whole characters, and never the beginning of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.models.text_stream import TextStream


def decode(ids: Sequence[int]) -> str:
    """One token a byte, as in the worst case of a byte-level vocabulary."""
    return bytes(ids).decode("utf-8", errors="replace")


def stream(text: str, stops: Sequence[str] = ()) -> tuple[list[str], bool]:
    text_stream = TextStream(decode, stops)
    pieces = []
    for byte in text.encode():
        pieces.append(text_stream.push(byte))
        if text_stream.stopped:
            break
    pieces.append(text_stream.finish())
    return pieces, text_stream.stopped


@given(
    st.text(alphabet="ab \n你🙂é", max_size=30),
    st.lists(st.text("ab \n你", min_size=1), max_size=3),
)
def test_pieces_join_to_the_text_before_the_first_stop(text: str, stops: list[str]) -> None:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    pieces, stopped = stream(text, stops)
    joined = "".join(pieces)
    assert stopped == bool(found)
    if not found:
        assert joined == text.strip()
    for stop in stops:  # white space at the ends goes before the stops are cut off
        assert stop not in joined or stop in text.strip()
    assert text.strip().startswith(joined) or not joined


@pytest.mark.parametrize("character", ["é", "你", "🙂", "👩‍🔬"])
def test_no_piece_is_part_of_a_character(character: str) -> None:
    pieces, _ = stream(f"a{character}b")
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == f"a{character}b"


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    text_stream = TextStream(decode, ())
    pieces = [text_stream.push(byte) for byte in "ab🙂".encode()[:-1]]
    assert "".join([*pieces, text_stream.finish()]) == "ab"


def test_what_may_become_a_stop_text_is_held_back() -> None:
    text_stream = TextStream(decode, ["\nUser:"])
    shown = "".join(text_stream.push(byte) for byte in b"hello\nUse")
    assert shown == "hello"
    assert text_stream.push(ord("d")) == "\nUsed"
    assert not text_stream.stopped


def test_the_earliest_of_several_stops_counts() -> None:
    pieces, stopped = stream("one two three", ["three", "two"])
    assert "".join(pieces) == "one"
    assert stopped


def test_a_stop_text_at_the_very_start_leaves_nothing() -> None:
    pieces, stopped = stream("\nUser: me", ["\nUser:"])
    assert "".join(pieces) == ""
    assert stopped
