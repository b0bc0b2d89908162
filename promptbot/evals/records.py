"""A run's folder: what was asked, what came back, and how to go on after a break.

::

    runs/SUITE/TIME-HASH/
      manifest.json     everything that decided the predictions, and the command
      samples.jsonl     the samples, so that a report needs nothing outside the folder
      records.jsonl     one line per answer, appended as it is made
      metrics.json  report.md  report.html  junit.xml      made from the above when the run ends
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from promptbot.errors import DataError, InputError, known_words
from promptbot.evals.suite import EvalSample
from promptbot.types import Prediction, Sample

RUNS = Path("runs")
"""Where runs are kept."""

SYNC_EVERY_S = 2.0
"""Seconds between writes that wait for the disk. A killed process loses nothing, since every record
is handed to the system at once; a power cut loses this much, and `--resume` asks it again."""

Key = tuple[str, str, int]
"""Column, sample id and seed: what a record answers."""


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

    @property
    def key(self) -> Key:
        """What it answers."""
        return self.column, self.sample, self.seed

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        values = asdict(self)
        if self.prediction:
            logprobs = self.prediction.label_logprobs
            rounded = {label: round(value, 6) for label, value in logprobs.items()}
            values["prediction"]["label_logprobs"] = rounded
        values["seconds"] = round(self.seconds, 6)
        return json.dumps(values, ensure_ascii=False) + "\n"

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> Record:
        """Return the record that `to_line` wrote."""
        prediction = values["prediction"]
        return Record(
            column=values["column"],
            sample=values["sample"],
            seed=values["seed"],
            prediction=Prediction(**prediction) if prediction is not None else None,
            error=values["error"],
            seconds=values["seconds"],
        )


class RecordFile:
    """Appends records to a run's folder; only one process at a time may.

    A last line without its end is what a killed process was writing: it is cut off, and its sample
    is asked again.

    Args:
        folder: The run's folder.

    Raises:
        InputError: Another process is writing there.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "records.jsonl"
        self._file = path.open("a+b")
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.close()
            raise InputError(
                "another process is writing to this run.",
                place=str(folder),
                hint="Wait until it ends, or start a run of its own without --resume.",
            ) from None
        self._file.seek(0)
        size = 0
        for line in self._file:
            if line.endswith(b"\n"):
                size += len(line)
        self._file.truncate(size)
        self._file.seek(0, os.SEEK_END)
        self._synced = time.monotonic()

    def append(self, record: Record) -> None:
        """Write a record; it survives the end of this process, however it ends."""
        self._file.write(record.to_line().encode("utf-8", "surrogatepass"))
        self._file.flush()
        if time.monotonic() - self._synced >= SYNC_EVERY_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two processes in one folder are not told apart
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def load_records(folder: Path) -> dict[Key, Record]:
    """Return the newest record of every sample; a torn last line is left out.

    Raises:
        DataError: A line that is not the last one is no record.
    """
    path = folder / "records.jsonl"
    found: dict[Key, Record] = {}
    if not path.exists():
        return found
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                record = Record.from_values(json.loads(line.decode("utf-8", "surrogatepass")))
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    "this line is not a record.",
                    place=f"{path}, line {number}",
                    hint="Delete the line and resume the run: its sample is asked again.",
                ) from None
            found[record.key] = record
    return found


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
        return folder
    raise InputError(f"{runs / suite / stem} exists.", hint="Wait a second and try again.")


def save_json(path: Path, values: Any) -> None:
    """Write a JSON file whole: a reader, or a killed process, never sees half of it."""
    save_text(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def save_text(path: Path, text: str) -> None:
    """Write a text file whole: a reader, or a killed process, never sees half of it."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(text.encode("utf-8", "surrogatepass"))
    beside.replace(path)


def save_samples(folder: Path, samples: Sequence[EvalSample]) -> None:
    """Write the samples of a run."""
    lines = [json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in samples]
    save_text(folder / "samples.jsonl", "".join(lines))


def load_samples(folder: Path) -> tuple[EvalSample, ...]:
    """Return the samples of a run, in their order."""
    text = (folder / "samples.jsonl").read_bytes().decode("utf-8", "surrogatepass")
    rows = [json.loads(line) for line in text.split("\n") if line]
    return tuple(EvalSample(**{**row, "sample": Sample(**row["sample"])}) for row in rows)


def load_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run.

    Raises:
        DataError: It cannot be read.
    """
    path = folder / "manifest.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise DataError(
            "the manifest cannot be read.",
            place=str(path),
            hint="Give the folder of a run, as promptbot runs lists them.",
        )
    return values


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
    samples: Sequence[EvalSample], column: str, seed: int, done: Mapping[Key, Record]
) -> Iterator[Sample]:
    """Yield the samples that have no answer yet; failed ones are asked again."""
    for item in samples:
        record = done.get((column, item.sample.id, seed))
        if record is None or record.prediction is None:
            yield item.sample
