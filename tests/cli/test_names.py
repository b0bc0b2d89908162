"""Names of sessions."""

from __future__ import annotations

import re

import pytest

from promptbot.cli.names import check_session_name, new_session_name
from promptbot.errors import InputError


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
    assert check_session_name(" 月曜日 meeting ", str) == "月曜日 meeting"


def test_a_name_that_may_not_be_kept_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError) as caught:
        check_session_name("jane@example.com", lambda text: "[email]", place="/rename")
    assert "does not keep" in str(caught.value)
    assert "jane" not in str(caught.value)
