"""Which of two variants a person preferred, without knowing which was which."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from promptbot.bot.folder import Bot
from promptbot.corrections import review_file
from promptbot.data import append_bytes, scan_rows
from promptbot.errors import DataError, InputError

PICKS_FILE = "picks.jsonl"
"""Name of the file of picks in a bot's folder."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One blind comparison of two replies to the same message."""

    input: str
    """The user's message."""
    replies: dict[str, str]
    """What each variant said, by its name, in the order in which they were shown."""
    winner: str | None
    """The variant that was preferred; None where neither was."""
    model: str = ""
    """The model that answered."""
    said: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When, in UTC."""


def picks_file(bot: Bot) -> Path:
    """Return where the picks of a bot are kept: beside its corrections."""
    corrections = review_file(bot)
    name = PICKS_FILE if corrections.parent == bot.folder else f"{bot.name}.{PICKS_FILE}"
    return corrections.with_name(name)


def append_pick(path: Path, pick: Pick) -> None:
    """Append a pick to a file, whole.

    Raises:
        InputError: The file cannot be written.
    """
    line = json.dumps(asdict(pick), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        append_bytes(path, line)
    except OSError as error:
        raise InputError(
            f"the pick cannot be kept ({error.strerror}).",
            place=str(path),
            hint="Check its permissions and the space left.",
        ) from None


def count_picks(path: Path, one: str, other: str) -> Counter[str | None]:
    """Return how often each of two variants was preferred to the other; None counts neither."""
    counted: Counter[str | None] = Counter()
    for row in scan_rows(path) if path.exists() else ():
        if isinstance(row, DataError):
            continue  # a line that a crash cut short
        replies, winner = row.values.get("replies"), row.values.get("winner")
        if isinstance(replies, dict) and set(replies) == {one, other}:
            counted[winner if winner in replies else None] += 1
    return counted
