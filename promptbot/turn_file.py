"""Conversations in files: written turn by turn, and read back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptbot.data import append_bytes, scan_rows
from promptbot.errors import DataError, InputError
from promptbot.transcript import STOPPED
from promptbot.types import Message, Reply

WRITABLE = (".jsonl", ".md")
"""Endings of files that turns can be written to; they say as what."""

READABLE = (".jsonl", ".json")
"""Endings of files that turns can be read from."""

_TURN = 'Expected {"user": ..., "reply": ...}.'


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message with its reply, as a file holds them."""

    user: str
    """What the user said."""
    reply: str
    """What the bot said; empty where there is no reply."""
    stopped: bool = False
    """Whether the reply was interrupted."""
    bot: str = ""
    """The bot's name; empty where the file does not say."""
    variant: str = ""
    """The variant's name; empty where the file does not say."""

    @property
    def messages(self) -> list[Message]:
        """Both messages."""
        reply = [Message("assistant", self.reply)] if self.reply else []
        return [Message("user", self.user), *reply]


class TurnFile:
    """Appends turns to a file, each as soon as it is complete; what stands there is kept.

    A ``.jsonl`` gets an object a line, with what made the reply; a ``.md`` a text for people.

    Args:
        path: Where; the ending says as what.

    Raises:
        InputError: The ending is another one, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix not in WRITABLE:
            raise InputError(
                f'the transcript would be a "{path.suffix or path.name}".',
                place="--transcript",
                expected=f"Expected a file that ends with {' or '.join(WRITABLE)}.",
                hint="As in: --transcript talk.jsonl",
            )
        # A turn that a crash cut short stays a line of its own.
        self._append("\n" if path.suffix == ".jsonl" and _is_torn(path) else "")

    def add(
        self, user: str, reply: Reply | str, *, session: str, bot: str, stopped: bool = False
    ) -> None:
        """Append one turn; it is on the disk on return.

        Args:
            user: What the user said.
            reply: The whole reply; of one that was stopped, what was said of it.
            session: The conversation's name.
            bot: The bot's name.
            stopped: Whether the reply was interrupted.

        Raises:
            InputError: The file cannot be written any more.
        """
        now = datetime.now(UTC)
        if self.path.suffix == ".md":
            text = reply if isinstance(reply, str) else reply.text
            moment = f"{now:%Y-%m-%d %H:%M} UTC"
            blocks = [f"**You** · {moment}", user, f"**{bot}**", text]
            blocks += [f"*{STOPPED}*"] if stopped else []
            self._append("\n\n".join(blocks) + "\n\n")
            return
        values: dict[str, Any] = {
            "session": session,
            "bot": bot,
            "said": now.isoformat(timespec="seconds"),
            "user": user,
            "reply": reply if isinstance(reply, str) else reply.text,
            "stopped": stopped,
        }
        if isinstance(reply, Reply):
            values |= {"label": reply.label} if reply.label else {}
            values |= _made_by(reply)
        self._append(json.dumps(values, ensure_ascii=False) + "\n")

    def _append(self, text: str) -> None:
        try:
            # The whole turn at once: two conversations may share a file.
            append_bytes(self.path, text.encode("utf-8", "replace"))
        except OSError as error:
            raise InputError(
                f"the file cannot be written ({error.strerror}).",
                place=str(self.path),
                hint="Check its permissions and the space left, or give another file.",
            ) from None


def _is_torn(path: Path) -> bool:
    """Say whether the last line of a file has no end."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:  # there is none, it is empty, or `_append` will say what is wrong
        return False


def _made_by(reply: Reply) -> Mapping[str, Any]:
    """Return what made a reply, without its prompt."""
    trace = reply.trace
    if trace is None:
        return {}
    return {
        "variant": trace.variant,
        "bot_hash": trace.bot_hash,
        "model": trace.model,
        "model_revision": trace.model_revision,
        "seed": trace.seed,
        "n_prompt_tokens": trace.prompt.n_tokens,
        "n_generated_tokens": trace.completion.n_generated_tokens,
        "seconds": dict(trace.seconds),
    }


def read_turns(path: Path) -> list[Turn]:
    """Return the turns of a file that ``--transcript``, ``/save`` or ``sessions export`` wrote.

    Raises:
        DataError: It cannot be read, or is no such file.
    """
    if path.suffix in READABLE and not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise DataError(
            f"there is {found}.", place=str(path), hint="Give a file that holds a conversation."
        )
    if path.suffix == ".jsonl":
        turns = [_turn_of_line(row.values, f"{path}, line {row.line}") for row in _rows(path)]
    elif path.suffix == ".json":
        turns = list(_turns_of_document(path))
    else:
        raise DataError(
            f'a conversation cannot be read from a "{path.suffix or path.name}".',
            place=str(path),
            expected=f"Expected a file that ends with {' or '.join(READABLE)}.",
            hint="Markdown and HTML are for people; write a .json with /save, "
            "or a .jsonl with --transcript.",
        )
    if not turns:
        raise DataError(
            "the file holds no turn.", place=str(path), hint="Give one that holds a conversation."
        )
    return turns


def _rows(path: Path) -> Iterator[Any]:
    for row in scan_rows(path):
        if isinstance(row, DataError):
            if ", line " not in (row.place or ""):  # the whole file cannot be read
                raise row
            raise DataError(
                row.problem,
                place=row.place,
                expected=_TURN,
                hint="Delete the line: a turn that a crash cut short is none.",
            )
        yield row


def _turn_of_line(values: Mapping[str, Any], place: str) -> Turn:
    user, reply = values.get("user"), values.get("reply", "")
    if not isinstance(user, str) or not isinstance(reply, str):
        raise DataError(
            "this line is no turn.",
            place=place,
            expected=_TURN,
            hint="Give a file that --transcript wrote.",
        )
    return Turn(
        user=user,
        reply=reply,
        stopped=bool(values.get("stopped")),
        bot=str(values.get("bot") or ""),
        variant=str(values.get("variant") or ""),
    )


def _turns_of_document(path: Path) -> Iterator[Turn]:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        messages = [(str(m["role"]), str(m["content"]), m) for m in document["messages"]]
        bot = str(document.get("bot") or "")
    except OSError as error:
        raise DataError(
            f"the file cannot be read ({error.strerror}).",
            place=str(path),
            hint="Check its name and its permissions.",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(
            "this is no conversation.",
            place=str(path),
            expected='Expected {"bot": ..., "messages": [{"role": ..., "content": ...}, ...]}.',
            hint="Give a file that /save or promptbot sessions export wrote.",
        ) from None
    for number, (role, content, _) in enumerate(messages):
        if role != "user":
            continue
        follows = messages[number + 1] if number + 1 < len(messages) else ("", "", {})
        answered = follows[0] == "assistant"
        stopped = answered and bool(follows[2].get("stopped"))
        yield Turn(content, follows[1] if answered else "", stopped, bot)
