"""A run's folder: what was asked, what came back, and how to go on after a break.

::

    runs/SUITE/TIME-HASH/
      manifest.json     everything that decided the predictions, and the command
      samples.jsonl     the samples, so that a report needs nothing outside the folder
      records.jsonl     one line per answer, appended as it is made
      texts.jsonl       each prompt once
      scores.jsonl      scores that are made once, when the run ends (`promptbot.evals.measures`)
      judges/           what judges were asked and said (`promptbot.evals.judging`)
      metrics.json  report.md  report.html  junit.xml      made from the above when the run ends
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from promptbot.data import content_hash
from promptbot.errors import DataError, InputError, StoreError, known_words
from promptbot.evals.lines import SYNC_EVERY_S, LineFile, cannot_write, whole_lines
from promptbot.evals.samples import EvalSample, hash_samples
from promptbot.types import Message, Note, Prediction, Sample

RUNS = Path("runs")
"""Where runs are kept."""


class Key(NamedTuple):
    """What a record answers."""

    column: str
    """The column's name."""
    sample: str
    """The sample's id."""
    seed: int
    """Seed of everything random."""
    repeat: int = 0
    """Which of several equal calls, from 0."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one answer was made from."""

    messages: tuple[Message, ...]
    """The prompt, as chat messages."""
    notes: tuple[Note, ...]
    """The notes in it."""

    @staticmethod
    def of(prediction: Prediction) -> Shown | None:
        """Return what a prediction was made from; None where no prompt was read."""
        if not prediction.messages:
            return None
        return Shown(prediction.messages, prediction.notes)

    def to_values(self) -> dict[str, Any]:
        """Return it as plain JSON-ready values."""
        return asdict(self)

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> Shown:
        """Return what `to_values` gave."""
        return Shown(
            tuple(Message(**message) for message in values["messages"]),
            tuple(Note(**note) for note in values["notes"]),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of one sample in one column."""

    column: str
    """The column's name."""
    sample: str
    """The sample's id."""
    seed: int
    """Seed of everything random."""
    prediction: Prediction | None
    """The answer; None where the predictor failed."""
    error: str | None
    """Why it failed; None where it did not."""
    seconds: float
    """Wall-clock time of the answer."""
    repeat: int = 0
    """Which of several equal calls, from 0."""
    shown: str | None = None
    """Content hash of what was read, its key in texts.jsonl; None where no prompt was."""
    cached: bool = False
    """Whether every call of a model for it was answered from the cache; `seconds` are then those
    that the model once took."""

    @property
    def key(self) -> Key:
        """What it answers."""
        return Key(self.column, self.sample, self.seed, self.repeat)

    def to_line(self) -> str:
        """Return it as one line of JSON; of what was read, only the hash."""
        prediction = None
        if self.prediction:
            prediction = {
                field.name: getattr(self.prediction, field.name)
                for field in fields(Prediction)
                if field.name not in ("messages", "notes")
            }
            logprobs = self.prediction.label_logprobs
            prediction["label_logprobs"] = {
                label: round(value, 6) for label, value in logprobs.items()
            }
            if self.prediction.first_token_s is not None:
                prediction["first_token_s"] = round(self.prediction.first_token_s, 6)
        values = {field.name: getattr(self, field.name) for field in fields(Record)}
        values |= {"prediction": prediction, "seconds": round(self.seconds, 6)}
        return json.dumps(values, ensure_ascii=False)

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> Record:
        """Return the record that `to_line` wrote, without what was read."""
        prediction = values["prediction"]
        if prediction is not None and prediction["label_logprobs"]:
            # The labels are the same few texts in every record of a run.
            logprobs = prediction["label_logprobs"].items()
            prediction["label_logprobs"] = {sys.intern(label): value for label, value in logprobs}
        return Record(
            column=sys.intern(values["column"]),
            sample=values["sample"],
            seed=values["seed"],
            prediction=Prediction(**prediction) if prediction is not None else None,
            error=values["error"],
            seconds=values["seconds"],
            repeat=values.get("repeat", 0),
            shown=values.get("shown"),
            cached=values.get("cached", False),
        )


class RecordFile:
    """Appends records to a run's folder, and each prompt once; only one process at a time may.

    A last line without its end is what a killed process was writing: it is cut off, and its sample
    is asked again.

    Args:
        folder: The run's folder.

    Raises:
        InputError: Another process is writing there.
        StoreError: The files cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._records = LineFile(folder / "records.jsonl")
        try:
            self._texts = LineFile(folder / "texts.jsonl")
        except BaseException:
            self._records.close()
            raise
        self._known = {shown for shown, _ in _scan_texts(folder)}

    def append(self, record: Record) -> Record:
        """Write a record and return it; it survives the end of this process, however it ends.

        Raises:
            StoreError: The disk is full, or fails; all earlier records are kept.
        """
        shown = Shown.of(record.prediction) if record.prediction else None
        if shown:
            values = shown.to_values()
            name = content_hash(values)
            record = replace(record, shown=name)
            if name not in self._known:
                # First the prompt, so that no record refers to one that is not there.
                self._texts.append(json.dumps({"hash": name, **values}, ensure_ascii=False))
                self._known.add(name)
        self._records.append(record.to_line())
        self._texts.sync(every_s=SYNC_EVERY_S)
        self._records.sync(every_s=SYNC_EVERY_S)
        return record

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._records, self._texts:
            if error is None:
                self._texts.sync()


def load_records(folder: Path, *, with_shown: bool = False) -> dict[Key, Record]:
    """Return the newest record of every call; a torn last line is left out.

    Args:
        folder: The run's folder.
        with_shown: Fill in the messages and notes of each prediction; runs that were made before
            these were kept have none.

    Raises:
        DataError: A line that is not the last one is no record.
    """
    path = folder / "records.jsonl"
    texts = load_texts(folder) if with_shown else {}
    found: dict[Key, Record] = {}
    for number, line in whole_lines(path):
        try:
            record = Record.from_values(json.loads(line))
        except (ValueError, KeyError, TypeError):
            raise DataError(
                "this line is not a record.",
                place=f"{path}, line {number}",
                hint="Delete the line and resume the run: its sample is asked again.",
            ) from None
        shown = texts.get(record.shown) if record.shown else None
        if shown and record.prediction:
            prediction = replace(record.prediction, messages=shown.messages, notes=shown.notes)
            record = replace(record, prediction=prediction)
        found[record.key] = record
    return found


def load_texts(folder: Path) -> dict[str, Shown]:
    """Return what the answers of a run were made from, by `Record.shown`.

    Raises:
        DataError: A line that is not the last one is no prompt.
    """
    # Prompts of one bot share their system message, examples and notes: one object for each.
    messages: dict[Message, Message] = {}
    notes: dict[Note, Note] = {}
    found = {}
    for name, values in _scan_texts(folder):
        shown = Shown.from_values(values)
        found[name] = Shown(
            tuple(messages.setdefault(message, message) for message in shown.messages),
            tuple(notes.setdefault(note, note) for note in shown.notes),
        )
    return found


def _scan_texts(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    path = folder / "texts.jsonl"
    for number, line in whole_lines(path):
        try:
            values = json.loads(line)
            yield values.pop("hash"), values
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                "this line is not a prompt.",
                place=f"{path}, line {number}",
                hint="Delete the line: the answers made from it are shown without it.",
            ) from None


def new_folder(suite: str, identity: str, runs: Path = RUNS) -> Path:
    """Return a new folder for a run, made on disk.

    Args:
        suite: The suite's name.
        identity: Hash of what decides the predictions.
        runs: The folder of all runs.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{identity[:8]}"
    for number in range(1, 1000):
        folder = runs / suite / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StoreError(
                f"no folder can be made for the run ({error.strerror}).",
                place=str(folder),
                hint="Make room there, or go to a folder that you may write to.",
            ) from None
        return folder
    raise InputError(f"{runs / suite / stem} exists.", hint="Wait a second and try again.")


def save_json(path: Path, values: Any) -> None:
    """Write a JSON file whole: a reader, or a killed process, never sees half of it."""
    save_text(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def save_text(path: Path, text: str) -> None:
    """Write a text file whole: a reader, or a killed process, never sees half of it.

    Raises:
        StoreError: The disk is full, or fails; an older file is then still there.
    """
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(text.encode("utf-8", "surrogatepass"))
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise cannot_write(path, error) from None


def save_samples(folder: Path, samples: Sequence[EvalSample]) -> None:
    """Write the samples of a run."""
    lines = [json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in samples]
    save_text(folder / "samples.jsonl", "".join(lines))


def load_samples(folder: Path, expected_hash: str) -> tuple[EvalSample, ...]:
    """Return the samples of a run, in their order.

    Args:
        folder: The run's folder.
        expected_hash: What the manifest says of them, see `samples.hash_samples`.

    Raises:
        DataError: They cannot be read, or are not those that the run began with.
    """
    path = folder / "samples.jsonl"
    try:
        text = path.read_bytes().decode("utf-8", "surrogatepass")
        rows = [json.loads(line) for line in text.split("\n") if line]
        samples = tuple(EvalSample(**{**row, "sample": Sample(**row["sample"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        samples = ()
    if hash_samples(samples) != expected_hash:
        raise DataError(
            "these are not the samples that the run began with.",
            place=str(path),
            hint=f"Let it be written again: promptbot eval --resume {folder}",
        )
    return samples


def run_folders(runs: Path = RUNS) -> list[Path]:
    """Return the folder of every run, newest first."""
    folders = [path.parent for path in runs.glob("*/*/manifest.json")]
    return sorted(folders, key=lambda folder: (folder.name, folder.parent.name), reverse=True)


def find_run(name: str | Path, runs: Path = RUNS) -> Path:
    """Return the folder of a run: a path, its name, or ``last``.

    Raises:
        InputError: There is none, or several have this name.
    """
    path = Path(name)
    if (path / "manifest.json").is_file():
        return path
    folders = run_folders(runs)
    if str(name) == "last" and folders:
        return folders[0]
    matching = [folder for folder in folders if folder.name == str(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InputError(
            f'several runs are called "{name}".',
            expected=f"Found: {', '.join(map(str, matching))}.",
            hint="Give the path of one.",
        )
    newest = [folder.name for folder in folders[:8]]
    raise InputError(
        f'there is no run "{name}".',
        hint=f"{known_words('Newest runs', str(name), newest)} All: promptbot runs",
    )


def iter_missing(
    samples: Sequence[EvalSample], column: str, seed: int, repeat: int, done: Mapping[Key, Record]
) -> Iterator[Sample]:
    """Yield the samples that have no answer yet; failed ones are asked again."""
    for item in samples:
        record = done.get(Key(column, item.sample.id, seed, repeat))
        if record is None or record.prediction is None:
            yield item.sample
