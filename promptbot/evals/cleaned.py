"""A suite's data written anew: without what is plainly wrong, and with more of what there is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptbot.bot.folder import load_bot
from promptbot.errors import DataError, InputError, StoreError
from promptbot.evals.data_care import SAMPLES, DataReport, DataRow, drop
from promptbot.evals.leaks import find_leaks, plain_form
from promptbot.evals.suite import Suite
from promptbot.evals.suite_spec import FieldsSpec
from promptbot.learn.augment import paraphrase, swap_groups

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel

How = Literal["swaps", "paraphrase"]
"""How examples are made: other groups, or other words."""

DOUBTFUL = ("label_error", "near_conflict", "other_language", "too_long")
"""Findings for a person to decide; nothing is dropped for them."""


@dataclass(frozen=True, slots=True)
class Augmented:
    """What was made of the examples that are kept."""

    how: How
    """By what."""
    rows: tuple[Mapping[str, Any], ...]
    """New rows with the fields of their source, its id, and how they were made."""
    n_sources: int
    """Rows of which something new was made."""
    refused: Mapping[str, int]
    """What was left out, by the reason."""


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were written."""

    folder: Path
    """Where they are."""
    n_rows: Mapping[str, int]
    """Rows by file."""


def augment(
    suite: Suite,
    report: DataReport,
    how: How,
    *,
    model: FrozenModel | None = None,
    encoder: Encoder | None = None,
) -> Augmented:
    """Return new examples made of those that `drop` keeps.

    None of them equals a sample, or nearly; none equals another example.

    Args:
        suite: Whose data it is.
        report: What `examine` found.
        how: ``swaps`` (English) or ``paraphrase``.
        model: What paraphrases.
        encoder: Tells whether a paraphrase is near to its source; the bot's where None.

    Raises:
        DataError: There are no examples, or their inputs are made by a template.
        InputError: Swaps are asked for in another language, or no model is given.
        PromptbotError: The model fails.
    """
    kept, _ = drop(report)
    part = next((part for part in report.parts if part != SAMPLES), None)
    pool = suite.spec.pool
    if part is None:
        raise DataError(
            "there are no examples to make more of.",
            place=str(suite.path),
            hint="Give the bot examples, or the suite a pool.",
        )
    if pool is not None and (pool.input_template or pool.cross):
        raise DataError(
            "the inputs of the pool are made by a template, so a new one has no field to stand in.",
            place=f"{suite.path}, pool",
            hint="Write a file with the whole input in one field, and name that as the pool.",
        )
    fields = pool.fields if pool is not None else FieldsSpec()
    sources, refused = kept[part], dict[str, int]()
    if how == "swaps":
        made = _swapped(sources, report, refused)
    else:
        made = _paraphrased(sources, suite, report, model, encoder, refused)
    samples = [row.input for row in report.rows if row.part == SAMPLES]
    new = _only_new(list(made), sources, samples, refused)
    target_field = fields.target or ("label" if report.task == "classify" else "output")
    rows = [
        {
            **row.values,
            fields.input: given,
            **({target_field: target} if target != row.target else {}),
            "augmented_by": how,
            "augmented_from": row.id,
        }
        for row, given, target in new
    ]
    return Augmented(how, tuple(rows), len({row.id for row, _, _ in new}), refused)


Made = tuple[DataRow, str, str]
"""A source with a new input and its target."""


def _swapped(
    sources: Sequence[DataRow], report: DataReport, refused: dict[str, int]
) -> Iterator[Made]:
    if report.language.replace("_", "-").split("-")[0].casefold() != "en":
        raise InputError(
            f'the bot\'s language is "{report.language}", and the words that are swapped are '
            "English.",
            place="--augment swaps",
            hint="Take --augment paraphrase with a --model that knows the language.",
        )
    for row in sources:
        given = swap_groups(row.input)
        target = row.target if report.task == "classify" else swap_groups(row.target)
        if given is None or target is None:
            _count(refused, 'whom "her" means is unsure')
        elif given != row.input:
            yield row, given, target


def _paraphrased(
    sources: Sequence[DataRow],
    suite: Suite,
    report: DataReport,
    model: FrozenModel | None,
    encoder: Encoder | None,
    refused: dict[str, int],
) -> Iterator[Made]:
    from promptbot.models.encoder import load_encoder
    from promptbot.prompt.progress import tracked

    if model is None:
        raise InputError(
            "no model is given.",
            place="--augment paraphrase",
            hint="Give one that follows instructions, as --model openai:gpt-4o-mini.",
        )
    encoder = encoder or load_encoder(load_bot(suite.bot).spec.encoder)
    texts = [row.input for row in sources]
    made = paraphrase(texts, model, encoder, language=report.language)
    for row, found in zip(tracked(sources, "Asking the model"), made, strict=True):
        _count(refused, "equal to the source or to each other, or too far from it", found.n_refused)
        for wording in found.kept:
            yield row, wording, row.target


def _only_new(
    made: Sequence[Made],
    sources: Sequence[DataRow],
    samples: Sequence[str],
    refused: dict[str, int],
) -> list[Made]:
    """Return what gives no sample away and stands nowhere yet."""
    leaks = {leak.sample for leak in find_leaks([given for _, given, _ in made], samples)}
    # A swapped text is near to its source on purpose, so that only equal ones count.
    known = {plain_form(row.input) for row in sources}
    new = []
    for place, item in enumerate(made):
        form = plain_form(item[1])
        if place in leaks:
            _count(refused, "equal to a sample, or nearly")
        elif form in known:
            _count(refused, "equal to another example")
        else:
            known.add(form)
            new.append(item)
    return new


def _count(refused: dict[str, int], why: str, n: int = 1) -> None:
    if n:
        refused[why] = refused.get(why, 0) + n


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into, which gets its name when the block ends well.

    It is there whole or not at all; what already has the name stays as it is.

    Raises:
        InputError: There is something of this name.
        StoreError: It cannot be written.
    """
    place = f"--write {folder}"
    if folder.exists() or folder.is_symlink():
        raise InputError(
            "there is already something of this name.",
            place=place,
            expected="Expected a new folder: nothing is ever overwritten.",
            hint="Give another name, or move it away.",
        )
    folder = folder.absolute()
    part = folder.parent / f".{folder.name}.{os.getpid()}.part"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        yield part
        part.rename(folder)
    except OSError as error:
        raise StoreError(
            f"the folder cannot be written ({error.strerror}).",
            place=place,
            hint="Give a place where you may write, with room for the files.",
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def save_clean(report: DataReport, folder: Path, augmented: Augmented | None = None) -> Written:
    """Write the cleaned data, what was dropped, what is doubtful, and the page, into a folder.

    Args:
        report: What `examine` found.
        folder: An existing folder; see `whole_folder`.
        augmented: New examples, for a file of their own.

    Raises:
        OSError: It cannot be written.
    """
    from promptbot.evals.report.data import render_data_html

    kept, dropped = drop(report)
    files: dict[str, list[Mapping[str, Any]]] = {
        f"{part}.jsonl": [row.values for row in rows] for part, rows in kept.items()
    }
    files["dropped.jsonl"] = [{**report.tell(why), "row": dict(row.values)} for row, why in dropped]
    gone = {row.id for row, _ in dropped}
    files["doubtful.jsonl"] = [
        told
        for one in report.findings
        if one.kind in DOUBTFUL and (told := report.tell(one))["id"] not in gone
    ]
    if augmented is not None:
        files["augmented.jsonl"] = list(augmented.rows)
    for name, rows in files.items():
        (folder / name).write_bytes(b"".join(map(_line, rows)))
    page = render_data_html(report).encode("utf-8", "surrogatepass")
    (folder / "data.html").write_bytes(page)
    return Written(folder, {name: len(rows) for name, rows in files.items()})


def _line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of UTF-8: with half a surrogate pair in ASCII, which can hold it."""
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row) + "\n").encode()
