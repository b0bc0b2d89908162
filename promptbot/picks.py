"""Which of two variants a person preferred without knowing which was which, kept as a run.

::

    runs/BOT-ab/TIME-HASH/
      manifest.json     the two variants, their content, the model
      picks.jsonl       one line per pair of replies, appended as it is picked
      metrics.json  report.md  report.html      made from the above

Picks between the same two variants on the same model make one run, on whatever day they are made:
the test that judges them (`promptbot.evals.sequential`) allows to stop, and to go on, at any time.
Where a template, an example or a setting changed since, they are picks between other variants, and
a new run begins.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from promptbot import __version__
from promptbot.bot.folder import Bot
from promptbot.data import content_hash
from promptbot.errors import DataError, PromptbotError
from promptbot.evals.lines import LineFile, whole_lines
from promptbot.evals.manifest import PICKS, damaged, load_manifest
from promptbot.evals.records import RUNS, new_folder, run_folders, save_json
from promptbot.evals.sequential import Standing, judge_picks
from promptbot.interfaces import FrozenModel


@dataclass(frozen=True, slots=True)
class Pick:
    """One blind comparison of two replies to the same message."""

    input: str
    """The user's message."""
    replies: Mapping[str, str]
    """What each variant said, by its name, in the order in which they were shown."""
    winner: str | None
    """The variant that was preferred; None where neither was."""
    skipped: bool = False
    """Whether the person did not want to judge; such a pair counts for nothing."""
    n_earlier: int = 0
    """Messages of the conversation before this one, the same for both."""
    said: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When, in UTC."""


@dataclass(frozen=True, slots=True)
class PickSummary:
    """What a run of picks says."""

    folder: Path
    """The run's folder."""
    manifest: Mapping[str, Any]
    """What made the replies."""
    picks: tuple[Pick, ...]
    """In the order in which they were made."""
    standing: Standing
    """Where the test stands."""

    @property
    def names(self) -> tuple[str, str]:
        """The two variants."""
        return self.standing.names

    @property
    def suite(self) -> str:
        """The name of the folder of such runs."""
        return str(self.manifest["suite"]["name"])

    @property
    def n_skipped(self) -> int:
        """Pairs that nobody judged."""
        return sum(pick.skipped for pick in self.picks)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready values, the content of ``metrics.json``."""
        return {
            "suite": self.suite,
            "n_samples": len(self.picks) - self.n_skipped,
            "headline": self.standing.sentence,
            "n_skipped": self.n_skipped,
            "standing": asdict(self.standing),
        }


class PickRun:
    """The picks between two variants: those made before, and those that are added.

    Args:
        bots: The bot under each of the two variants.
        models: What answers for each; they may be the same.
        runs: The folder of all runs.

    Raises:
        InputError: Another process adds picks to the same run.
        StoreError: The run's folder cannot be written.
    """

    def __init__(
        self, bots: tuple[Bot, Bot], models: tuple[FrozenModel, FrozenModel], runs: Path = RUNS
    ) -> None:
        names = (bots[0].variant, bots[1].variant)
        identity = {
            "kind": PICKS,
            "bots": {b.variant: b.content_hash for b in bots},
            "models": {b.variant: [m.spec, m.revision] for b, m in zip(bots, models, strict=True)},
        }
        suite = f"{bots[0].name}-ab"
        self.folder = _find(suite, identity, runs) or new_folder(
            suite, content_hash(identity), runs
        )
        """The run's folder."""
        if not (self.folder / "manifest.json").exists():
            command = shlex.join(["promptbot", *sys.argv[1:]])
            manifest = {
                **identity,
                "suite": {"name": suite},
                "names": list(names),
                "started": datetime.now().astimezone().isoformat(timespec="seconds"),
                "command": command,
                "versions": {"promptbot": __version__},
            }
            save_json(self.folder / "manifest.json", manifest)
        self._file = LineFile(self.folder / "picks.jsonl")

    def add(self, pick: Pick) -> PickSummary:
        """Keep a pick, and return where the test stands with it.

        Raises:
            StoreError: The disk is full, or fails; all earlier picks are kept.
        """
        self._file.append(json.dumps(asdict(pick), ensure_ascii=False))
        self._file.sync()
        return summarise_picks(self.folder)

    def __enter__(self) -> PickRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def summarise_picks(folder: Path) -> PickSummary:
    """Return what a run of picks says; only its folder is read.

    Raises:
        DataError: Its files cannot be read.
    """
    manifest = load_manifest(folder)
    match manifest:
        case {"names": [str(first), str(second)], "suite": {"name": str()}}:
            picks = load_picks(folder)
        case _:
            raise damaged(folder, "names", "Expected those of two variants")
    judged = [pick.winner for pick in picks if not pick.skipped]
    return PickSummary(folder, manifest, tuple(picks), judge_picks((first, second), judged))


def load_picks(folder: Path) -> list[Pick]:
    """Return the picks of a run, oldest first; a torn last line is left out.

    Raises:
        DataError: A line that is not the last one is no pick.
    """
    path = folder / "picks.jsonl"
    picks = []
    for number, line in whole_lines(path):
        try:
            picks.append(Pick(**json.loads(line)))
        except (ValueError, TypeError):
            raise DataError(
                "this line is not a pick.",
                place=f"{path}, line {number}",
                hint="Delete the line; the other picks are judged without it.",
            ) from None
    return picks


def _find(suite: str, identity: Mapping[str, Any], runs: Path) -> Path | None:
    """Return the newest run of the same variants on the same models."""
    for folder in run_folders(runs):
        if folder.parent.name != suite:
            continue
        try:
            manifest = load_manifest(folder)
        except PromptbotError:
            continue
        if all(manifest.get(name) == value for name, value in identity.items()):
            return folder
    return None
