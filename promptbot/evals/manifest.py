"""The manifest of a run: everything that decided its predictions, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from promptbot.errors import DataError, InputError

PICKS = "picks"
"""The ``kind`` in the manifest of a run of `promptbot.picks`."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Suite(_Part):
    name: str
    description: str = ""
    margin: float
    gate: list[str]


class _Column(_Part):
    name: str
    model: str


class _Options(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")
    variants: list[str] = []
    models: list[str] = []
    limit: int | None = None
    seeds: list[int] = []
    gate: list[str] = []
    judge: str | None = None


class _Manifest(_Part):
    """What reports and `promptbot.evals.evaluation.resume` read without asking if it is there."""

    suite: _Suite
    columns: list[_Column]
    metrics: list[str]
    seeds: list[int]
    repeats: int = 1
    data_hash: str
    bot_hashes: dict[str, str]
    task: str
    fallback: str
    facts: dict[str, Any] = {}
    models: dict[str, str]
    measures: dict[str, dict[str, Any]] = {}
    leaks: list[dict[str, Any]]
    path: str
    options: _Options
    started: str
    versions: dict[str, str]


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


def load_evaluation(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run of `promptbot eval`.

    Raises:
        InputError: The run holds what people picked, not answers to samples.
        DataError: It cannot be read, or lacks what reports need.
    """
    values = load_manifest(folder)
    if values.get("kind") == PICKS:
        raise InputError(
            "this run holds a person's picks between two variants, not answers to samples.",
            place=str(folder),
            hint=f"See them with: promptbot report {folder.name}",
        )
    try:
        _Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(folder, ".".join(map(str, first["loc"])), first["msg"]) from None
    return values


def damaged(folder: Path, where: str, why: str) -> DataError:
    """Return the error of a manifest in which something is missing or wrong."""
    return DataError(
        f"the manifest is damaged: {where}: {why[:1].lower()}{why[1:]}.",
        place=str(folder / "manifest.json"),
        hint="Bring the file back as it was; a new run makes a new folder.",
    )


def draws_of(manifest: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return every seed with every repeat, in the order in which a run asks them."""
    return [(seed, repeat) for seed in manifest["seeds"] for repeat in range(repeats_of(manifest))]


def repeats_of(manifest: Mapping[str, Any]) -> int:
    """Return how often each call of a run was made."""
    return int(manifest.get("repeats", 1))
