"""Rows of a data set that the `datasets` library reads: of the Hugging Face hub, or a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptbot.data import Row
from promptbot.errors import DataError, MissingExtra


def scan_hub(
    name: str, split: str, *, config: str | None = None, revision: str | None = None
) -> Iterator[Row]:
    """Yield the rows of a data set; a class label is told by its name, a missing one is None.

    Data sets that need a program to be read are refused by the library: only data is loaded.

    Args:
        name: ``OWNER/NAME`` of the hub, or a folder of Parquet, JSONL or CSV files, whose path
            begins with a dot or a slash.
        split: As ``test``, or a slice of one, as ``test[:500]``.
        config: Which of its configurations.
        revision: Commit, tag or branch; the newest if None.

    Raises:
        MissingExtra: The library is not installed.
        DataError: There is no such data set or split, or the hub cannot be reached.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtra("Reading a data set of the hub", "datasets", "data") from None
    from promptbot.prompt.similarity import cache_folder

    place = f"hub: {name}, split: {split}"
    if name.startswith((".", "/")) and not Path(name).is_dir():
        raise DataError(
            "there is no such folder.", place=place, hint="Correct its path in the suite."
        )
    quiet = not datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(
            name, config, split=split, revision=revision, cache_dir=str(cache_folder("datasets"))
        )
    except Exception as error:  # whatever the library raises, the user asked for this data
        said = " ".join(str(error).split())[:300]
        raise DataError(
            f"the data set cannot be read: {said}",
            place=place,
            hint="Check name, config and split, and that the hub can be reached.",
        ) from None
    finally:
        if not quiet:
            datasets.enable_progress_bars()
    names = {
        key: feature.names
        for key, feature in data.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    for number, values in enumerate(data, start=1):
        yield Row(number, {key: _named(value, names.get(key)) for key, value in values.items()})


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None:
        return value
    # The hub's test sets without labels say -1.
    return None if value is None or value < 0 else names[value]
