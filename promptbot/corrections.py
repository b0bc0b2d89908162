"""Corrections of replies: kept beside the bot, and turned into examples, held-out data or notes.

A correction is one line of a review file. Nothing reads that file while the bot answers: it waits
for a person, who takes each line over, or drops it, with `Review`.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from promptbot.bot.folder import Bot, inside
from promptbot.data import Row, scan_notes, scan_rows
from promptbot.errors import DataError, InputError
from promptbot.evals.leaks import find_leaks
from promptbot.evals.metrics.text import normalise
from promptbot.types import Note

Kind = Literal["good", "fix", "note"]
"""A reply that was right, one that was not, or something that the bot should know."""

Target = Literal["examples", "held-out", "notes"]
"""Where a correction can go."""

KINDS: tuple[Kind, ...] = get_args(Kind)

REVIEW_FILE = "review.jsonl"
"""Name of the review file in a bot's folder."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said about one reply, or adds to the knowledge."""

    kind: Kind
    """What they said."""
    input: str
    """The user's message; of a note, the question."""
    output: str
    """What the bot should answer; in a classify bot, the label's name."""
    replied: str = ""
    """What the bot did answer; empty for notes."""
    said: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When, in UTC."""
    session: str = ""
    """The conversation's name."""
    variant: str = ""
    """The variant that answered."""
    model: str = ""
    """The model that answered."""
    n_earlier: int = 0
    """Messages of the conversation before this one, which the message may need to be understood."""
    raw: str = field(default="", compare=False)
    """Its line in the review file; empty before it stands there."""


def review_file(bot: Bot) -> Path:
    """Return where the corrections of a bot are kept.

    That is beside its settings, or in the user's data folder where these cannot be written or
    would be lost with the next upgrade, as those of the bots that come with promptbot.
    """
    beside = bot.folder / REVIEW_FILE
    is_installed = Path(__file__).resolve().parent in bot.folder.resolve().parents
    if not is_installed and os.access(beside if beside.exists() else bot.folder, os.W_OK):
        return beside
    from platformdirs import user_data_dir

    return Path(user_data_dir("promptbot", appauthor=False)) / "review" / f"{bot.name}.jsonl"


def append_correction(path: Path, correction: Correction) -> int:
    """Append a correction to a review file, whole or not at all, and return how many wait there.

    Raises:
        InputError: The file cannot be written.
    """
    values = {k: v for k, v in asdict(correction).items() if k != "raw" and v not in ("", 0)}
    line = json.dumps(values, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(path) as descriptor:
            text = path.read_bytes()
            # A line that a crash cut short stays a line of its own.
            os.write(descriptor, b"\n" * (not text.endswith(b"\n") and bool(text)) + line)
            os.fsync(descriptor)
            return text.count(b"\n") + 1
    except OSError as error:
        raise InputError(
            f"the correction cannot be kept ({error.strerror}).",
            place=str(path),
            hint="Check its permissions and the space left.",
        ) from None


def read_corrections(path: Path) -> tuple[list[Correction], list[DataError]]:
    """Return the corrections that wait in a review file, oldest first, and what is wrong in it."""
    if not path.exists():
        return [], []
    found: list[Correction] = []
    problems: list[DataError] = []
    # Lines end at "\n" alone: a text may hold U+2028 and the like.
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    for row in scan_rows(path):
        if isinstance(row, DataError):
            problems.append(row)
            continue
        correction = _parse(row, lines[row.line - 1])
        if correction:
            found.append(correction)
        else:
            problems.append(
                DataError(
                    "this line is no correction.",
                    place=f"{path}, line {row.line}",
                    expected='Expected {"kind": "fix", "input": ..., "output": ...}.',
                    hint="Delete the line.",
                )
            )
    return found, problems


def _parse(row: Row, raw: str) -> Correction | None:
    values = row.values
    texts = {k: v for k, v in values.items() if isinstance(v, str) and k in _TEXTS}
    kind = values.get("kind")
    if kind not in KINDS or not (texts.get("input", "").strip() and texts.get("output", "")):
        return None
    n_earlier = values.get("n_earlier", 0)
    n_earlier = n_earlier if isinstance(n_earlier, int) else 0
    return Correction(**texts, kind=kind, n_earlier=n_earlier, raw=raw)


_TEXTS = frozenset({"input", "output", "replied", "said", "session", "variant", "model"})


@dataclass(frozen=True, slots=True)
class Change:
    """What a review makes of one file."""

    path: Path
    """The file."""
    before: str
    """Its text now; empty where there is no file."""
    after: str
    """Its text afterwards."""

    @property
    def diff(self) -> list[str]:
        """Lines of a unified diff, without line breaks."""
        lines = difflib.unified_diff(
            self.before.splitlines(),
            self.after.splitlines(),
            str(self.path),
            str(self.path),
            lineterm="",
            n=1,
        )
        return list(lines)


class Review:
    """Decides what becomes of the corrections of a bot; `write` does it.

    Args:
        bot: The bot, as it was loaded.
        held_out: The evaluation data, JSONL; made where it does not exist yet.

    Raises:
        DataError: The held-out data, the examples or the notes cannot be read.
    """

    def __init__(self, bot: Bot, held_out: Path) -> None:
        self.bot = bot
        self.path = review_file(bot)
        self.pending, self.problems = read_corrections(self.path)
        """What waits, oldest first, and what is wrong in the review file."""
        self.dropped: list[Correction] = []
        """What was decided to be forgotten."""
        self._held_out_path = held_out
        self._decided: list[Correction] = []
        self._tables: dict[Target, _Table] = {}

    def targets(self, correction: Correction) -> tuple[Target, ...]:
        """Return where a correction can go."""
        if correction.kind != "note":
            return ("examples", "held-out")
        return ("notes",)

    def accept(self, correction: Correction, target: Target) -> str:
        """Take a correction over, and return what that does, in words.

        Raises:
            DataError: It would give away the answer to a held-out message (or the other way
                round), its label is unknown, a note that is not to be changed here answers it
                otherwise, or the file cannot be written.
        """
        table, said = self._table_to_write(target), ""
        if target == "notes":
            said = self._find_note_elsewhere(correction, table)
        else:
            self._refuse_unknown_label(correction)
            self._refuse_leak(correction, target)
        said = said or table.put(correction.input, correction.output)
        self._decided.append(correction)
        return said

    def drop(self, correction: Correction) -> None:
        """Forget a correction."""
        self.dropped.append(correction)
        self._decided.append(correction)

    @property
    def has_decided(self) -> bool:
        """Whether anything was decided."""
        return bool(self._decided)

    @property
    def changes(self) -> list[Change]:
        """What the decisions so far change, file by file."""
        changes = [table.change for table in self._tables.values()]
        return [change for change in changes if change.before != change.after]

    def write(self) -> None:
        """Write every file, each whole or not at all, and take what was decided off the list.

        The list comes last: where something fails before, what was taken over is offered again,
        and found to be there already.

        Raises:
            InputError: A file was changed meanwhile, or cannot be written.
        """
        decided = {correction.raw for correction in self._decided}
        with _locked(self.path):  # against another review of the bot, too
            for change in self.changes:
                if _text_of(change.path) != change.before:
                    raise InputError(
                        "the file was changed during the review.",
                        place=str(change.path),
                        hint="Nothing was written there; review again.",
                    )
                _replace(change.path, change.after)
            self._tables = {}
            lines = self.path.read_bytes().decode("utf-8", "replace").split("\n")
            _replace(self.path, "\n".join(line for line in lines if line not in decided))

    def _find_note_elsewhere(self, correction: Correction, table: _Table) -> str:
        """Return where a note stands that the table cannot change; nothing where there is none.

        Raises:
            DataError: It gives another answer.
        """
        question = normalise(correction.input)
        notes = [note for note in self.bot.notes if normalise(note.question) == question]
        if not notes or table.can_change(correction.input):
            return ""
        for note in notes:
            if note.answer == correction.output:
                return f"stands there already, in {note.source}"
        raise DataError(
            "the notes answer this question already.",
            place=notes[0].source,
            expected=f'They say: "{_in_brief(notes[0].answer)}".',
            hint="Change it there, and drop this one.",
        )

    def _refuse_unknown_label(self, correction: Correction) -> None:
        labels = self.bot.spec.labels
        if labels and correction.output not in labels:
            raise DataError(
                f'"{correction.output}" is no label of this bot.',
                place=str(self.path),
                expected=f"Labels: {', '.join(labels)}.",
                hint="Drop it, and correct the reply with one of them.",
            )

    def _refuse_leak(self, correction: Correction, target: Target) -> None:
        other: Target = "held-out" if target == "examples" else "examples"
        if other == "examples" and self.bot.spec.examples is None:
            return
        table = self._table(other)
        inputs = table.inputs
        for leak in find_leaks([correction.input], inputs):
            raise DataError(
                "this message is held out for evaluation, and an example would give it away."
                if target == "examples"
                else "this message is an example, so the evaluation would be given it away.",
                place=f"{table.path}, line {table.line_of(leak.example)}",
                expected=f'It reads: "{inputs[leak.example]}" (similarity {leak.similarity:.2f}).',
                hint=f"Put it there too ({other}), or drop it.",
            )

    def _table(self, target: Target) -> _Table:
        if target not in self._tables:
            self._tables[target] = self._open(target)
        return self._tables[target]

    def _table_to_write(self, target: Target) -> _Table:
        """Return a table; one that cannot be written is told before more is decided."""
        table = self._table(target)
        places = [table.path, *table.path.absolute().parents]
        place = next(place for place in places if place.exists())
        if not os.access(place, os.W_OK):
            raise DataError(
                "the file cannot be written.",
                place=str(table.path),
                hint="Give --data another file."
                if target == "held-out"
                else "Copy the bot's folder to where you may write, and review it there.",
            )
        return table

    def _open(self, target: Target) -> _Table:
        spec, answer = self.bot.spec, "label" if self.bot.spec.labels else "output"
        if target == "held-out":
            return _JsonTable(self._held_out_path, ("input", answer))
        section = spec.examples if target == "examples" else spec.knowledge
        if section is None:
            key = "examples" if target == "examples" else "knowledge"
            raise DataError(
                f"{self.bot.name} has no {target}.",
                place=str(self.bot.folder / "bot.yaml"),
                hint=f"Add {key}: {{file: {key}.jsonl}}, and a first line to that file.",
            )
        path = inside(self.bot.folder, section.file)
        if target == "examples":
            return _JsonTable(path, ("input", answer))
        if path.is_dir():
            path = path / "reviewed.jsonl"
        if path.suffix == ".md":
            return _MarkdownTable(path)
        return _JsonTable(path, ("question", "answer"))


class _Table:
    """A file of pairs, and what it is to become."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = _text_of(path)

    @property
    def inputs(self) -> list[str]:
        """The first text of every pair."""
        raise NotImplementedError

    @property
    def change(self) -> Change:
        """What it is to become."""
        raise NotImplementedError

    def line_of(self, number: int) -> int:
        """Return the line of a pair, from 1."""
        raise NotImplementedError

    def can_change(self, first: str) -> bool:
        """Say whether `put` would change a pair that has this first text."""
        raise NotImplementedError

    def put(self, first: str, second: str) -> str:
        """Add a pair, or change the one with the same first text; say which."""
        raise NotImplementedError


class _JsonTable(_Table):
    """Lines of JSON; every line that is not concerned stays as it is, byte for byte."""

    def __init__(self, path: Path, names: tuple[str, str]) -> None:
        super().__init__(path)
        if path.suffix != ".jsonl":
            raise DataError(
                f'corrections cannot be written to a "{path.suffix or path.name}".',
                place=str(path),
                expected="Expected a .jsonl.",
                hint="Save its content as JSONL, one object a line, and name that file instead.",
            )
        self._names = names
        self._lines = self.before.split("\n")
        if not self._lines[-1]:
            self._lines.pop()
        self._rows: list[tuple[int, Mapping[str, Any]]] = []
        for row in scan_rows(path) if path.exists() else ():
            if isinstance(row, DataError):
                raise row
            self._rows.append((row.line, row.values))

    @property
    def inputs(self) -> list[str]:
        return [str(values.get(self._names[0], "")) for _, values in self._rows]

    @property
    def change(self) -> Change:
        return Change(self.path, self.before, "".join(f"{line}\n" for line in self._lines))

    def line_of(self, number: int) -> int:
        return self._rows[number][0]

    def can_change(self, first: str) -> bool:
        return normalise(first) in map(normalise, self.inputs)

    def put(self, first: str, second: str) -> str:
        wanted, (name, answer) = normalise(first), self._names
        for place, (line, values) in enumerate(self._rows):
            if normalise(str(values.get(name, ""))) != wanted:
                continue
            if values.get(answer) == second:
                return f"stands there already, on line {line}"
            changed = {**values, answer: second}
            self._rows[place] = (line, changed)
            self._lines[line - 1] = json.dumps(changed, ensure_ascii=False)
            return f'replaces the answer on line {line}, "{_in_brief(str(values.get(answer)))}"'
        added = {name: first, answer: second}
        self._lines.append(json.dumps(added, ensure_ascii=False))
        self._rows.append((len(self._lines), added))
        return "is added"


class _MarkdownTable(_Table):
    """Headings with what stands below them; new ones are added at the end, no other is changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._notes = [note for note in scan_notes(path) if isinstance(note, Note)]
        self._added: dict[str, tuple[str, str]] = {}

    @property
    def inputs(self) -> list[str]:
        return [note.question for note in self._notes]

    @property
    def change(self) -> Change:
        text = self.before.rstrip("\n")
        blocks = [f"# {question}\n\n{answer}" for question, answer in self._added.values()]
        after = "\n\n".join([text, *blocks] if text else blocks)
        return Change(self.path, self.before, f"{after}\n" if blocks else self.before)

    def line_of(self, number: int) -> int:
        return int(self._notes[number].source.rpartition(":")[2])

    def can_change(self, first: str) -> bool:
        return normalise(first) in self._added

    def put(self, first: str, second: str) -> str:
        before = self._added.get(normalise(first), ("", ""))[1]
        self._added[normalise(first)] = (" ".join(first.split()), second)
        if before == second:
            return "stands there already"
        return f'replaces the answer "{_in_brief(before)}"' if before else "is added"


def _in_brief(text: str) -> str:
    return textwrap.shorten(text, 80, placeholder="…")


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(
            f"the file cannot be read ({reason}).", place=str(path), hint="Check it, and try again."
        ) from None


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; a link stays one, and so do the permissions."""
    path = path.resolve()
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"the file cannot be written ({error.strerror}).",
            place=str(path),
            hint="Check its permissions and the space left; it is as it was.",
        ) from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file to append to it while no other process does, or takes lines out of it."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            # Whoever held the lock before may have put another file in its place.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: one write is whole there too, and two reviews at once are rare
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
