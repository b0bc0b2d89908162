"""Stored conversations from the command line."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from promptbot.cli.sessions import age, ago, excerpt
from promptbot.errors import InputError
from promptbot.store import Store
from promptbot.types import Message
from tests.cli.conftest import Cli
from tests.cli.screen import ENTER, Screen
from tests.cli.test_terminal import PROMPTBOT


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/own.db"
    shop, clinic = Store(url, bot="shop"), Store(url, bot="clinic")
    shop.append(
        "monday", [Message("user", "Großer ÄRGER!"), Message("assistant", "50% <b>off</b>")]
    )
    clinic.append("tuesday", [Message("user", "hello"), Message("assistant", "Hello!")])
    shop.close()
    clinic.close()
    return url


def test_sessions_are_listed_newest_first(cli: Cli, url: str) -> None:
    result = cli("sessions", "--db", url)
    assert [line.split("\t")[:3] for line in result.lines] == [
        ["tuesday", "clinic", "2"],
        ["monday", "shop", "2"],
    ]


def test_a_terminal_gets_a_table(url: str) -> None:
    with Screen([*PROMPTBOT, "sessions", "--db", url], columns=40) as screen:
        assert screen.wait() == 0
        assert screen.lines[0].split() == ["name", "bot", "messages", "last"]
        assert screen.lines[1].split()[:3] == ["tuesday", "clinic", "2"]


@pytest.mark.parametrize(
    ("text", "found"), [("ärger", "monday"), ("50%", "monday"), ("HELLO", "tuesday")]
)
def test_a_text_is_found_whatever_its_case(cli: Cli, url: str, text: str, found: str) -> None:
    result = cli("sessions", "search", text, "--db", url)
    assert result.status == 0
    assert {line.split("\t")[0] for line in result.lines} == {found}


@pytest.mark.parametrize("text", ["%", "_ello", "nowhere"])
def test_signs_are_searched_as_they_are(cli: Cli, url: str, text: str) -> None:
    result = cli("sessions", "search", text, "--db", url)
    assert (result.status == 0) == (text == "%")


def test_show_and_export_hold_what_was_said(cli: Cli, url: str) -> None:
    shown = cli("sessions", "show", "monday", "--db", url)
    assert shown.out == cli("sessions", "export", "monday", "--to", "md", "--db", url).out
    assert "**You**" in shown.out
    assert "**shop**" in shown.out
    exported = json.loads(cli("sessions", "export", "monday", "--db", url).out)
    assert (exported["session"], exported["bot"]) == ("monday", "shop")
    said = [(message["role"], message["content"]) for message in exported["messages"]]
    assert said == [("user", "Großer ÄRGER!"), ("assistant", "50% <b>off</b>")]
    assert datetime.fromisoformat(exported["messages"][0]["said"]).utcoffset() == timedelta(0)
    page = cli("sessions", "export", "monday", "--to", "html", "--db", url).out
    assert "50% &lt;b&gt;off&lt;/b&gt;" in page
    assert "<b>" not in page


def test_an_unknown_conversation_is_told_with_the_known(cli: Cli, url: str) -> None:
    for arguments in (["show", "mondy"], ["export", "mondy"], ["rm", "mondy"]):
        result = cli("sessions", *arguments, "--db", url)
        assert result.status == 2
        assert 'Did you mean "monday"?' in result.err


def test_what_is_deleted_is_gone_from_the_file_too(cli: Cli, url: str, tmp_path: Path) -> None:
    reader = Store(url)
    assert len(reader.sessions()) == 2  # an open store keeps SQLite's log alive
    assert cli("sessions", "rm", "monday", "--db", url).out == "Deleted monday, 2 messages.\n"
    assert [session.name for session in reader.sessions()] == ["tuesday"]
    files = list(tmp_path.glob("own.db*"))
    assert files
    assert not [file for file in files if b"RGER" in file.read_bytes()]


def test_only_what_is_old_is_deleted_by_age(cli: Cli, url: str, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=31)
    with sqlite3.connect(tmp_path / "own.db") as connection:
        connection.execute(
            "UPDATE sessions SET updated = ? WHERE name = 'monday'",
            (long_ago.strftime("%Y-%m-%d %H:%M:%S.%f"),),
        )
    assert cli("sessions", "rm", "--older-than", "5w", "--db", url).out == "Nothing is that old.\n"
    unasked = cli("sessions", "rm", "--older-than", "30d", "--db", url)
    assert unasked.status == 2
    assert "1 conversation would be deleted for good" in unasked.err
    assert "promptbot sessions rm --older-than 30d --yes" in unasked.err
    assert len(Store(url).sessions()) == 2
    result = cli("sessions", "rm", "--older-than", "30d", "--yes", "--db", url)
    assert result.out == "Deleted monday, 2 messages.\n"
    assert [session.name for session in Store(url).sessions()] == ["tuesday"]
    assert Store(url).load("monday") == []


@pytest.mark.parametrize("arguments", [[], ["monday", "--older-than", "30d"]])
def test_rm_wants_to_know_what(cli: Cli, url: str, arguments: list[str]) -> None:
    result = cli("sessions", "rm", *arguments, "--db", url)
    assert result.status == 2
    assert "not clear what to delete" in result.err
    assert len(Store(url).sessions()) == 2


def test_ages_are_hours_days_and_weeks() -> None:
    assert age("12h") == timedelta(hours=12)
    assert age(" 30D ") == timedelta(days=30)
    assert age("8w") == timedelta(weeks=8)
    for wrong in ("", "30", "d", "-3d", "3 months", "999999d"):
        with pytest.raises(InputError, match="is not an age"):
            age(wrong)


def test_how_long_ago_reads_as_a_person_says_it() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    said = {0: "just now", 60: "1 minute ago", 7200: "2 hours ago", 86400: "1 day ago"}
    assert {n: ago(now - timedelta(seconds=n), now) for n in said} == said


def test_an_excerpt_shows_the_words_around() -> None:
    assert excerpt("short one", "one") == "short one"
    cut = excerpt("a " * 50 + "needle\n" + "b " * 50, "NEEDLE")
    assert cut.startswith("…a ")
    assert cut.endswith("b…")
    assert "needle b" in cut


@pytest.mark.parametrize("arguments", [[], ["show", "x"], ["search", "x"], ["rm", "x"]])
def test_a_mistyped_database_is_told_and_not_made(
    cli: Cli, tmp_path: Path, arguments: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/wrong.db"
    result = cli("sessions", *arguments, "--db", url)
    assert result.status == 2
    assert "there is no such file" in result.err
    assert not (tmp_path / "wrong.db").exists()


@pytest.mark.parametrize(("answer", "n_left"), [("no", 2), ("yes", 0)])
def test_deleting_by_age_asks_at_a_terminal(url: str, answer: str, n_left: int) -> None:
    with Screen([*PROMPTBOT, "sessions", "rm", "--older-than", "0h", "--db", url]) as screen:
        screen.expect("Delete 2 conversations for good? yes/no")
        screen.send(answer + ENTER)
        assert screen.wait() == (1 if n_left else 0)
    assert len(Store(url).sessions()) == n_left
