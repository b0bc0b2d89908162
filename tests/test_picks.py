"""Blind comparisons are kept and counted."""

from __future__ import annotations

from promptbot.bot.folder import load_bot
from promptbot.picks import Pick, append_pick, count_picks, picks_file
from tests.conftest import BotMaker


def test_picks_are_counted_for_the_two_that_met(make_bot: BotMaker) -> None:
    path = picks_file(load_bot(make_bot()))
    assert count_picks(path, "a", "b") == {}
    for replies, winner in (("ab", "a"), ("ba", "a"), ("ab", "b"), ("ab", None), ("ac", "c")):
        append_pick(path, Pick("Hi", {name: name.upper() for name in replies}, winner))
    with path.open("ab") as file:
        file.write(b'{"input": "cut sho')
    assert count_picks(path, "b", "a") == {"a": 2, "b": 1, None: 1}
    assert count_picks(path, "a", "c") == {"c": 1}
