"""Examples and notes from files, with the line of everything that is wrong in them.

Readers come in pairs: `scan_*` yields every row or its error, so that ``promptbot check`` can show
all of them at once; `load_*` raises the first.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptbot.errors import DataError, did_you_mean
from promptbot.types import Example, Note

SEPARATORS = {";": "semicolons", "\t": "tabs"}
"""What spreadsheets write in place of commas."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file."""

    line: int
    """Line on which it starts, from 1."""
    values: Mapping[str, Any]
    """Its fields."""


def content_hash(value: object) -> str:
    """Return the hash of a JSON-ready value; 16 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def append_bytes(path: Path, data: bytes) -> None:
    """Append to a file, made for its owner alone where there is none, by one write.

    Whoever appends to the same file at the same time stands before or after, never within. On
    return it is on the disk.

    Raises:
        OSError: The file cannot be written, or takes a part only, as a full disk does.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def scan_rows(path: Path) -> Iterator[Row | DataError]:
    """Yield every record of a JSONL or CSV file, or what is wrong with it.

    A JSONL file whose name ends in ``.gz`` is unpacked while it is read. A byte-order mark and
    Windows line ends are accepted; empty lines are skipped. The file is read line by line, so its
    size is bounded only by what its records need.
    """
    if not path.is_file():
        yield DataError(
            "there is no such file.",
            place=str(path),
            hint=_missing_file_hint(path),
        )
        return
    if path.suffix == ".gz":
        yield from _scan_gzip(path)
        return
    if binary := _binary(path):
        yield binary
        return
    if path.suffix == ".csv":
        yield from _scan_csv(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        yield _unreadable(path, error)
        return
    with file:
        yield from _scan_json_lines(file, path)


def _scan_gzip(path: Path) -> Iterator[Row | DataError]:
    import gzip
    import zlib

    try:
        with gzip.open(path) as file:
            yield from _scan_json_lines(file, path)
    except (OSError, EOFError, zlib.error) as error:
        yield DataError(
            f"the file cannot be unpacked ({error}).",
            place=str(path),
            hint="Get it again, or take .gz off its name if it is not packed.",
        )


def _scan_json_lines(file: Iterable[bytes], path: Path) -> Iterator[Row | DataError]:
    for number, raw in enumerate(file, start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.strip():
            yield _parse_json_line(raw, number, path)


def _binary(path: Path) -> DataError | None:
    """Return the error of a file that is no text: it holds a zero byte among its first 8,192."""
    try:
        with path.open("rb") as file:
            start = file.read(8192)
    except OSError as error:
        return _unreadable(path, error)
    if b"\0" not in start:
        return None
    return DataError(
        f"byte {start.index(0) + 1} is zero, so this is not a UTF-8 text.",
        place=str(path),
        expected="Expected a text: JSONL, CSV or Markdown.",
        hint="Save it as UTF-8 (UTF-16 has zero bytes too), or export its text from the program "
        "that made it.",
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"the file cannot be read ({error.strerror}).",
        place=str(path),
        hint="Check its permissions.",
    )


def _parse_json_line(raw: bytes, number: int, path: Path) -> Row | DataError:
    place = f"{path}, line {number}"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return DataError(
            f"byte {error.start + 1} is not UTF-8.",
            place=place,
            hint="Save the file as UTF-8.",
        )
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        return DataError(
            f"this line is not JSON{where}: {what}.",
            place=place,
            expected='Expected one JSON object a line, as {"input": "Hi", "output": "Hello!"}.',
            hint=f"Found: {_shorten(text)}",
        )
    if not isinstance(values, dict):
        return DataError(
            f"this line is a JSON {type(values).__name__}, not an object.",
            place=place,
            expected='Expected one JSON object a line, as {"input": "Hi", "output": "Hello!"}.',
            hint=f"Found: {_shorten(text)}",
        )
    return Row(line=number, values=values)


def _scan_csv(path: Path) -> Iterator[Row | DataError]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        yield _unreadable(path, error)
        return
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        yield DataError(
            "this line is not UTF-8.", place=f"{path}, line {line}", hint="Save the file as UTF-8."
        )
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    start = 2
    try:
        names = reader.fieldnames or []
        if len(names) == 1 and (found := re.search("[;\t]", names[0])):
            yield DataError(
                f"the fields are separated by {SEPARATORS[found[0]]}, not by commas.",
                place=f"{path}, line 1",
                expected=f"Found: {_shorten(names[0])}",
                hint="Save the file with commas, or as JSONL.",
            )
            return
        for values in reader:
            if None in values or None in values.values():
                yield DataError(
                    "this row has another number of fields than the first line.",
                    place=f"{path}, line {start}",
                    expected=f"Expected: {', '.join(reader.fieldnames or [])}.",
                    hint='Put texts that hold commas between double quotes: "like, this".',
                )
            else:
                yield Row(line=start, values=values)
            start = reader.line_num + 1
    except csv.Error as error:
        yield DataError(
            f"this is not CSV: {error}.",
            place=f"{path}, line {start}",
            hint='Put texts that hold commas or quotes between double quotes: "like, this".',
        )


def scan_examples(
    path: Path, labels: Mapping[str, list[str]] | None = None
) -> Iterator[Example | DataError]:
    """Yield every example of a file, or what is wrong with it.

    Args:
        path: A JSONL or CSV file with ``input`` and ``output`` (with labels: ``label``).
        labels: The verbalizer of a classify bot; an example's output is its label's first wording.
    """
    answer_field = "output" if labels is None else "label"
    for row in scan_rows(path):
        if isinstance(row, DataError):
            yield row
            continue
        fields = _text_fields(row, path, ("input", answer_field))
        if isinstance(fields, DataError):
            yield fields
            continue
        text, answer = fields
        if labels is None:
            yield Example(input=text, output=answer, line=row.line)
        elif answer in labels:
            yield Example(input=text, output=labels[answer][0], label=answer, line=row.line)
        else:
            yield DataError(
                f'label "{answer}" is not among the labels of bot.yaml.',
                place=f"{path}, line {row.line}",
                expected=f"Labels: {', '.join(labels)}.",
                hint=did_you_mean(answer, labels) or "Add it under labels: or change the line.",
            )


NOTE_FILES = {".md", ".jsonl", ".csv"}
"""What a folder of knowledge may hold, by the end of the name."""


def scan_notes(path: Path) -> Iterator[Note | DataError]:
    """Yield every note of a file or folder, or what is wrong with it.

    JSONL and CSV hold ``question`` and ``answer``, and may hold a ``source``, which the trace then
    shows in place of file and line. A Markdown file is split at its headings: the heading is the
    question, what stands below it the answer. A folder stands for all files within it; those whose
    names begin with a dot do not count, and others that are not of these kinds are errors, since
    what they say would be missed without a word.
    """
    if path.is_dir():
        yield from _scan_note_folder(path)
    else:
        yield from _scan_note_file(path, path.name)


def _scan_note_folder(folder: Path) -> Iterator[Note | DataError]:
    files = sorted(
        file
        for file in folder.rglob("*")
        if not file.is_dir()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not files:
        yield DataError(
            "the folder holds no notes.",
            place=str(folder),
            expected="Expected *.md, *.jsonl or *.csv files.",
            hint="Put a file there, or take knowledge: out of bot.yaml.",
        )
    for file in files:
        if not file.resolve().is_relative_to(folder.resolve()):
            yield DataError(
                "this link leads out of the folder.",
                place=str(file),
                hint="Put the file itself there: a bot is complete in itself.",
            )
        elif file.suffix not in NOTE_FILES:
            yield DataError(
                f'knowledge cannot be read from a file of the kind "{file.suffix or file.name}".',
                place=str(file),
                expected="Expected *.md, *.jsonl or *.csv files.",
                hint="Export its text as Markdown, or move the file out of the folder. In Python, "
                "promptbot.langchain_compat.documents_from_loader reads many kinds.",
            )
        else:
            yield from _scan_note_file(file, file.relative_to(folder).as_posix())


def _scan_note_file(path: Path, name: str) -> Iterator[Note | DataError]:
    if path.suffix == ".md":
        yield from _scan_markdown(path, name)
        return
    for row in scan_rows(path):
        if isinstance(row, DataError):
            yield row
            continue
        fields = _text_fields(row, path, ("question", "answer"))
        if isinstance(fields, DataError):
            yield fields
            continue
        source = row.values.get("source") or ""
        if not isinstance(source, str):
            yield DataError(
                f'field "source" is {_shorten(json.dumps(source, ensure_ascii=False))}.',
                place=f"{path}, line {row.line}",
                expected="Expected a text, or no source: then it is file and line.",
                hint="Put it between quotes.",
            )
        else:
            yield Note(*fields, source=source.strip() or f"{name}:{row.line}")


def _scan_markdown(path: Path, name: str) -> Iterator[Note | DataError]:
    if path.exists() and (binary := _binary(path)):
        yield binary
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        yield DataError("there is no such file.", place=str(path), hint=_missing_file_hint(path))
        return
    except OSError as error:
        yield _unreadable(path, error)
        return
    except UnicodeDecodeError:
        yield DataError("the file is not UTF-8.", place=str(path), hint="Save it as UTF-8 text.")
        return
    heading, start, lines, fenced = "", 1, list[str](), False
    for number, line in enumerate([*text.splitlines(), "# "], start=1):
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("#") and not fenced:
            body = "\n".join(lines).strip()
            if body:
                yield Note(question=heading, answer=body, source=f"{name}:{start}")
            heading, start, lines = line.lstrip("#").strip(), number, []
        else:
            lines.append(line)


def load_examples(path: Path, labels: Mapping[str, list[str]] | None = None) -> list[Example]:
    """Return the examples of a file; see `scan_examples`.

    Raises:
        DataError: The first thing that is wrong.
    """
    return _all_or_first_error(scan_examples(path, labels))


def load_notes(path: Path) -> list[Note]:
    """Return the notes of a file or folder; see `scan_notes`.

    Raises:
        DataError: The first thing that is wrong.
    """
    return _all_or_first_error(scan_notes(path))


def check_k(k: int, n_examples: int, place: str = "examples.k") -> None:
    """Check that k examples can be chosen from a pool.

    Args:
        k: How many are asked for.
        n_examples: How many the pool holds.
        place: File or setting that asks, for the message.

    Raises:
        DataError: k is negative or larger than the pool.
    """
    if 0 <= k <= n_examples:
        return
    if not n_examples:
        raise DataError(
            f"asks for k = {k} examples, the pool is empty.",
            place=place,
            hint="Add examples, or set k to 0 for a prompt without examples.",
        )
    raise DataError(
        f"asks for k = {k} examples, the pool holds {n_examples}.",
        place=place,
        expected=f"Expected a k from 0 to {n_examples}.",
        hint="Lower k, or add examples." if k > 0 else "Use 0 for a prompt without examples.",
    )


def _all_or_first_error(items: Iterator[Any]) -> list[Any]:
    found = []
    for item in items:
        if isinstance(item, DataError):
            raise item
        found.append(item)
    return found


def _text_fields(row: Row, path: Path, names: tuple[str, str]) -> tuple[str, str] | DataError:
    """Return the named fields of a row as stripped texts, or what is wrong with them."""
    place = f"{path}, line {row.line}"
    texts = []
    for name in names:
        value = row.values.get(name)
        if value is None:
            found = ", ".join(map(str, row.values)) or "no fields"
            return DataError(
                f'field "{name}" is missing.',
                place=place,
                expected=f"Expected: {', '.join(names)}. Found: {found}.",
                hint=_similar_field_hint(name, row.values) or f'Add "{name}" to this line.',
            )
        if not isinstance(value, str) or not value.strip():
            return DataError(
                f'field "{name}" is {_shorten(json.dumps(value, ensure_ascii=False))}.',
                place=place,
                expected="Expected a text that is not empty.",
                hint="Write the text, or delete the line.",
            )
        texts.append(value.strip())
    return texts[0], texts[1]


def _similar_field_hint(name: str, found: Mapping[str, Any]) -> str:
    misspelt = did_you_mean(name, found)
    return misspelt.replace("Did you mean", "Is it").replace("?", f' for "{name}"?')


def _missing_file_hint(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return did_you_mean(path.name, siblings) or "Create it, or correct the name in bot.yaml."


def _shorten(text: str, n_chars: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= n_chars else text[: n_chars - 1] + "…"
