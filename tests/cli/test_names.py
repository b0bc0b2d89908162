"""Names of sessions."""

from __future__ import annotations

import re

from promptbot.cli.names import check_session_name, new_session_name


def test_a_made_up_name_is_readable_and_free() -> None:
    asked: list[str] = []

    def taken_twice(name: str) -> bool:
        asked.append(name)
        return len(asked) < 3

    name = new_session_name(taken_twice)
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d\d", name)
    assert asked[-1] == name
    assert len(asked) == 3


def test_a_given_name_may_be_in_any_script() -> None:
    assert check_session_name(" 月曜日 meeting ") == "月曜日 meeting"
