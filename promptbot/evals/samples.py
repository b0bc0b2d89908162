"""Samples: read from files or data sets, with what the statistics need to know of them.

A wrong line of data is told before anything runs.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from promptbot.data import Row, content_hash, scan_rows
from promptbot.errors import DataError, did_you_mean
from promptbot.evals.hub import scan_hub
from promptbot.evals.suite_spec import RowsSpec, stem_of
from promptbot.prompt.template import Template
from promptbot.types import Sample

T = TypeVar("T")

U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class EvalSample:
    """A sample with what the statistics need to know of it."""

    sample: Sample
    """Input and target."""
    kind: str
    """The word by which results are told apart; empty where the row has none."""
    group: str
    """The conversation it belongs to; its own id where it stands alone."""
    line: int
    """Line of its file, from 1."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """Values of the fields that the suite names as slices; without those that the row lacks."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """Fields of the row that metrics of the suite read."""


def hash_samples(samples: Sequence[EvalSample]) -> str:
    """Return the content hash of samples; 16 hexadecimal digits."""
    rows = [asdict(sample) for sample in samples]
    # Without slices and facts the hash is that of a suite that knows none.
    return content_hash([{k: v for k, v in row.items() if v != {}} for row in rows])


def read_samples(
    spec: RowsSpec,
    base: Path,
    default_target: str,
    *,
    limit: int | None = None,
    slices: Sequence[str] = (),
    facts: Sequence[str] | None = (),
    for_all: Mapping[str, JsonValue] | None = None,
) -> tuple[EvalSample, ...]:
    """Return the samples of a file or data set.

    Args:
        spec: Where they are, and which field means what.
        base: The folder at which paths start.
        default_target: The field of the target where `spec` names none.
        limit: Samples at most, spread evenly, so that a file sorted by label gives all labels.
        slices: Fields that are kept with each sample, as text.
        facts: Fields that are kept with each sample as they are; all where None.
        for_all: What the template of the input reads beside the row.

    Raises:
        DataError: There is no such data, it has no rows, or a row lacks a field.
        MissingExtra: It is a data set, and the library that reads it is not installed.
    """
    fields, where = spec.fields, spec.place(base)
    if spec.hub:
        rows = [(f"{spec.stem}:{row.line}", where, row) for row in _scan_hub(spec, base)]
    else:
        rows = [
            (f"{stem_of(file)}:{row.line}", str(base / file), row)
            for file in spec.paths
            for row in _scan_file(base / file)
        ]
    if spec.cross:
        others = list(_scan_file(base / spec.cross))
        rows = [
            (f"{name}x{other.line}", file, Row(row.line, {**other.values, **row.values}))
            for (name, file, row), other in _crossed(rows, others, limit)
        ]
    if not rows:
        raise DataError(
            "there are no samples.",
            place=where,
            hint=f"Write rows with the fields input and {default_target}."
            if where.endswith(".csv")
            else f'Write one JSON object a line: {{"input": ..., "{default_target}": ...}}.',
        )
    samples = []
    template = None
    if spec.input_template:
        template = Template(f"{where}, input_template", spec.input_template)
    for number, (name, file, row) in enumerate(_spread(rows, limit)):
        place = f"{file}, line {row.line}"
        if template:
            given = template.render({**(for_all or {}), **row.values}).strip()
        else:
            given = _text(row.values, fields.input, place)
        target = _text(row.values, fields.target or default_target, place)
        sample = Sample(name, given, target)
        kind = row.values.get(fields.kind) if fields.kind else None
        of_group = [fields.group] if isinstance(fields.group, str) else fields.group or []
        group = "/".join(_text(row.values, field, place) for field in of_group) or f"#{number}"
        found = {name: row.values[name] for name in slices if name in row.values}
        said = {name: str(value) for name, value in found.items() if value not in (None, "")}
        wanted = row.values if facts is None else facts
        known = {name: row.values[name] for name in wanted if name in row.values}
        samples.append(EvalSample(sample, str(kind or ""), group, row.line, said, known))
    return tuple(samples)


def _scan_file(path: Path) -> Iterator[Row]:
    if not path.exists():
        raise DataError("there is no such data.", place=str(path), hint=_how_to_get(path))
    for row in scan_rows(path):
        if isinstance(row, DataError):
            raise row
        yield row


def _scan_hub(spec: RowsSpec, base: Path) -> Iterator[Row]:
    name = str(spec.hub)
    folder = name.startswith((".", "/"))
    return scan_hub(
        str(base / name) if folder else name,
        str(spec.split),
        config=spec.config,
        revision=spec.revision,
    )


def _crossed(rows: Sequence[T], others: Sequence[U], limit: int | None) -> list[tuple[T, U]]:
    """Return every pair, or the first ones, in which all rows take turns, and so do all others."""
    n, m = len(rows), len(others)
    if not n or not m:
        return []
    pairs = (
        (rows[k % n], others[(k + shift) % m])
        for shift in range(math.gcd(n, m))
        for k in range(math.lcm(n, m))
    )
    return list(itertools.islice(pairs, limit))


def _spread(rows: Sequence[T], limit: int | None) -> list[T]:
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[math.floor(i * len(rows) / limit)] for i in range(limit)]


def _text(values: Mapping[str, object], field: str, place: str) -> str:
    value = values.get(field)
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int):  # labels are often numbers
        return str(value)
    if field not in values:
        near = did_you_mean(field, values)
        raise DataError(
            f'field "{field}" is missing.',
            place=place,
            expected=f"Found: {', '.join(values) or 'no fields'}. {near}".strip(),
            hint="Correct the line, or name the field under fields: in the suite.",
        )
    raise DataError(
        f'field "{field}" is {json.dumps(value, ensure_ascii=False)[:60]}.',
        place=place,
        expected="Expected a text that is not empty.",
        hint="Write the text, or delete the line.",
    )


PUBLIC_SETS = {
    "banking77": 'BANKING77 (Casanueva et al. 2020), with {"text": ..., "label": ...} a line',
    "clinc150": 'CLINC150 (Larson et al. 2019), with {"text": ..., "label": ...} a line',
    "xsid": 'xSID (van der Goot et al. 2021), with {"text": ..., "label": ...} a line',
    "bbq": 'BBQ (Parrish et al. 2022), with {"context", "question", "answers", "answer_groups", '
    '"groups", "category", "q", "cond", "polarity", "label"} a line',
    "bipia": 'BIPIA (Yi et al. 2023), with {"context", "question", "ideal"} a line for e-mails and '
    '{"category", "instruction"} for attacks',
}
"""The public data sets of the suites that ship; they are not part of promptbot."""


def _how_to_get(path: Path) -> str:
    if path.parent.name in PUBLIC_SETS:
        return (
            f"Get the {stem_of(path.name)} split of {PUBLIC_SETS[path.parent.name]}, and put it "
            "there, or change the path in the suite."
        )
    return "Create the file, or correct its name in the suite (paths start at the suite's folder)."
