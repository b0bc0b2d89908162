"""What is wrong with a suite's data: duplicates, conflicts, leaks, label errors, odd rows."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from promptbot.bot.folder import load_bot
from promptbot.errors import MissingExtra, UserError
from promptbot.evals.leaks import NearTexts, plain_form
from promptbot.evals.samples import EvalSample, read_samples
from promptbot.evals.suite import Suite
from promptbot.evals.suite_spec import RowsSpec
from promptbot.types import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptbot.bot.spec import BotSpec
    from promptbot.interfaces import Encoder

SAMPLES = "samples"
"""The part that is evaluated; the other one is the pool, or the bot's own examples."""

KINDS = {
    "duplicate": "equals an earlier row, and so does its target",
    "conflict": "equals a row with another target",
    "leak": "may be shown in a prompt, and equals a sample",
    "near_leak": "may be shown in a prompt, and nearly equals a sample",
    "near_duplicate": "nearly equals an earlier row with the same target",
    "near_conflict": "nearly equals a row with another target",
    "label_error": "is given another label by a classifier that never saw it",
    "other_language": "is not in the bot's language",
    "too_long": "has more tokens than the model reads",
}
"""What may be found of a row, the surest first."""

DROPPED = {
    SAMPLES: ("duplicate", "conflict"),
    "": ("duplicate", "conflict", "leak", "near_leak", "near_duplicate"),
}
"""What `drop` takes out: of the samples, and of what prompts may show. A row is never dropped since
a model doubts its label: in clean data it doubts the hard rows, and without hard samples a test
flatters models like that one."""


@dataclass(frozen=True, slots=True)
class DataRow:
    """One row of the data."""

    part: str
    """``samples``, ``pool`` or ``examples``."""
    id: str
    """Its file's name and line, as ``train:12``."""
    line: int
    """Line of its file, from 1."""
    input: str
    """What the user says."""
    target: str
    """The label, or in chat bots the wanted answer."""
    values: Mapping[str, Any]
    """All fields of the row as they were read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found of a row."""

    kind: str
    """One of `KINDS`."""
    row: int
    """The row's place in `DataReport.rows`."""
    other: int | None = None
    """The row that it equals, or nearly."""
    similarity: float | None = None
    """Of the two inputs, in [0, 1]; 1 where they are equal but for case and punctuation. Of a
    label error the margin by which the other label is likelier."""
    detail: str = ""
    """The suggested label, the other language, or the tokens."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long the inputs of one part are, in one unit."""

    shortest: int
    median: float
    most: int
    """95 of 100 are not longer."""
    longest: int
    longest_id: str
    """The id of the longest row."""


@dataclass(frozen=True)
class DataReport:
    """What is in a suite's data, and what is wrong with it."""

    suite: str
    """The suite's name."""
    task: str
    """``chat`` or ``classify``."""
    language: str
    """The bot's."""
    model: str
    """Whose tokens are counted."""
    rows: tuple[DataRow, ...]
    """Every row: the samples, then what prompts may show."""
    findings: tuple[Finding, ...]
    """Of one row there may be several; ordered by kind, then as they are worth reading."""
    labels: Mapping[str, Mapping[str, int]]
    """Rows of each label by part, the commonest first; empty in chat bots."""
    n_chars: tuple[int, ...]
    """Characters of each row's input."""
    n_tokens: tuple[int, ...]
    """Tokens of each row's input as a message; empty where they cannot be counted."""
    not_done: tuple[str, ...] = field(default=())
    """What could not be looked at, and why; a sentence each."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, the samples first."""
        return tuple(dict.fromkeys(row.part for row in self.rows))

    def of_kind(self, kind: str, part: str | None = None) -> list[Finding]:
        """Return the findings of one kind, of all parts or of one."""
        return [
            one
            for one in self.findings
            if one.kind == kind and part in (None, self.rows[one.row].part)
        ]

    def sizes(self, part: str, unit: str) -> Sizes | None:
        """Return how long the inputs of a part are, in ``characters`` or ``tokens``."""
        numbers = self.n_chars if unit == "characters" else self.n_tokens
        found = [(n, i) for i, n in enumerate(numbers) if self.rows[i].part == part]
        if not found:
            return None
        values = sorted(n for n, _ in found)
        longest = max(found, key=lambda pair: pair[0])
        return Sizes(
            values[0],
            statistics.median(values),
            values[min(int(0.95 * len(values)), len(values) - 1)],
            longest[0],
            self.rows[longest[1]].id,
        )

    def warnings(self) -> Iterator[str]:
        """Yield what the labels' balance says, in sentences."""
        shown = next((part for part in self.parts if part != SAMPLES), None)
        if not self.labels or shown is None:
            return
        counts = {label: found.get(shown, 0) for label, found in self.labels.items()}
        if missing := [label for label, n in counts.items() if not n]:
            yield f"No row of the {shown} has the label {_some(missing)}: it cannot be shown."
        if single := [label for label, n in counts.items() if n == 1]:
            yield f"One row of the {shown} alone has the label {_some(single)}."
        most, fewest = max(counts.values()), min((n for n in counts.values() if n), default=0)
        if fewest and most >= 5 * fewest:
            yield f"The commonest label of the {shown} has {most / fewest:.0f} times the rarest's."
        if unseen := [label for label, n in self.labels.items() if not n.get(SAMPLES)]:
            yield f"No sample has the label {_some(unseen)}: it is not tested."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; rows by their ids."""
        return {
            "suite": self.suite,
            "task": self.task,
            "language": self.language,
            "n_rows": dict(Counter(row.part for row in self.rows)),
            "labels": {label: dict(counts) for label, counts in self.labels.items()},
            "sizes": {
                part: {
                    unit: asdict(sizes)
                    for unit in ("characters", "tokens")
                    if (sizes := self.sizes(part, unit))
                }
                for part in self.parts
            },
            "counts": {
                kind: {part: len(self.of_kind(kind, part)) for part in self.parts} for kind in KINDS
            },
            "findings": [self.tell(one) for one in self.findings],
            "warnings": list(self.warnings()),
            "not_done": list(self.not_done),
        }

    def tell(self, one: Finding) -> dict[str, Any]:
        """Return a finding with its row and the other one, JSON-ready."""
        row = self.rows[one.row]
        told: dict[str, Any] = {
            "kind": one.kind,
            "part": row.part,
            "id": row.id,
            "input": row.input,
            "target": row.target,
        }
        if one.other is not None:
            other = self.rows[one.other]
            told |= {
                "other_part": other.part,
                "other_id": other.id,
                "other_input": other.input,
                "other_target": other.target,
            }
        if one.similarity is not None:
            told["similarity"] = round(one.similarity, 4)
        if one.detail:
            told["detail"] = one.detail
        return told


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def examine(suite: Suite, *, encoder: Encoder | None = None) -> DataReport:
    """Return what is in a suite's data, and what is wrong with it.

    All rows are read, whatever limit the suite has, but for files that are joined by ``cross``.

    Args:
        suite: Its samples, and its pool or its bot's own examples.
        encoder: Whose vectors tell likely label errors; the bot's where None.

    Raises:
        DataError: A file is missing or wrong.
    """
    bot = load_bot(suite.bot).spec
    rows = tuple(_rows(suite, bot))
    found, groups = find_twins(rows, is_chat=suite.task == "chat")
    not_done: list[str] = []
    labels: dict[str, dict[str, int]] = {}
    if suite.task == "classify":
        labels = _label_counts(rows, [] if suite.spec.pool else list(bot.labels or ()))
        found += _label_errors(rows, groups, bot, encoder, not_done)
    model = suite.columns[0].model
    n_tokens, too_long = _tokens(rows, suite, model, not_done)
    found += too_long + _languages(rows, bot.language, not_done)
    order = {kind: number for number, kind in enumerate(KINDS)}
    found.sort(key=lambda one: (order[one.kind], -(one.similarity or 0), one.row))
    return DataReport(
        suite=suite.spec.name,
        task=suite.task,
        language=bot.language,
        model=model,
        rows=rows,
        findings=tuple(found),
        labels=labels,
        n_chars=tuple(len(row.input) for row in rows),
        n_tokens=n_tokens,
        not_done=tuple(not_done),
    )


def drop(report: DataReport) -> tuple[dict[str, list[DataRow]], list[tuple[DataRow, Finding]]]:
    """Return the rows that are kept, by part, and those that are dropped, with the reason.

    Of equal rows the first one stays; of equal rows with different targets none does, since nobody
    here can say which is right.
    """
    reasons: dict[int, Finding] = {}
    for one in report.findings:
        part = report.rows[one.row].part
        # A row of the pool that contradicts a sample is a leak; the sample stays.
        across = one.other is not None and report.rows[one.other].part != part
        wanted = DROPPED.get(part, DROPPED[""])
        if one.kind in wanted and not (one.kind == "conflict" and across):
            reasons.setdefault(one.row, one)
    kept: dict[str, list[DataRow]] = {part: [] for part in report.parts}
    for number, row in enumerate(report.rows):
        if number not in reasons:
            kept[row.part].append(row)
    return kept, [(report.rows[number], reasons[number]) for number in sorted(reasons)]


def _rows(suite: Suite, bot: BotSpec) -> Iterator[DataRow]:
    default = "label" if suite.task == "classify" else "output"
    data, base = suite.spec.data, suite.path.parent
    limit = data.limit if data.cross else None
    samples = read_samples(data, base, default, limit=limit, facts=None, for_all=suite.spec.facts)
    yield from _named(SAMPLES, samples)
    if suite.spec.pool is not None:
        pool = read_samples(suite.spec.pool, base, "label", facts=None, for_all=suite.spec.facts)
        yield from _named("pool", pool)
    elif bot.examples is not None:
        # Read by load_bot before, so that what is wrong was told.
        own = RowsSpec(file=bot.examples.file)
        if (suite.bot / bot.examples.file).exists():
            yield from _named("examples", read_samples(own, suite.bot, default, facts=None))


def _named(part: str, items: Sequence[EvalSample]) -> Iterator[DataRow]:
    for item in items:
        sample = item.sample
        yield DataRow(part, sample.id, item.line, sample.input, sample.target, item.facts)


def _label_counts(rows: Sequence[DataRow], known: Sequence[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {label: {} for label in known}
    for row in rows:
        of_label = counts.setdefault(row.target, {})
        of_label[row.part] = of_label.get(row.part, 0) + 1
    shown = next((row.part for row in rows if row.part != SAMPLES), SAMPLES)
    return dict(sorted(counts.items(), key=lambda item: (-item[1].get(shown, 0), item[0])))


def find_twins(
    rows: Sequence[DataRow], *, is_chat: bool = False
) -> tuple[list[Finding], list[int]]:
    """Return duplicates, conflicts and leaks, exact and near, and a group for each row.

    Args:
        rows: The samples before what prompts may show.
        is_chat: Whether targets are answers, which are alike but for case and punctuation.

    Returns:
        The findings, and a number for each row that equal and nearly equal rows share.
    """
    forms = [plain_form(row.input) for row in rows]
    targets = [plain_form(row.target) if is_chat else row.target for row in rows]
    by_form: dict[str, list[int]] = {}
    for number, form in enumerate(forms):
        by_form.setdefault(form, []).append(number)
    found: list[Finding] = []
    firsts: list[int] = []  # the first row of every part, form and target: each is compared once
    for same in by_form.values():
        found += _of_equals(rows, targets, same)
        firsts += {(rows[i].part, targets[i]): i for i in reversed(same)}.values()
    firsts.sort()
    gone = {one.row for one in found if one.kind in ("conflict", "leak")}
    near, links = _near(rows, forms, targets, firsts, gone)
    groups = list(range(len(rows)))

    def root(number: int) -> int:
        while groups[number] != number:
            groups[number] = groups[groups[number]]
            number = groups[number]
        return number

    for same in by_form.values():
        links += [(number, same[0]) for number in same[1:]]
    for one, other in links:
        groups[root(one)] = root(other)
    return found + near, [root(number) for number in range(len(rows))]


def _of_equals(
    rows: Sequence[DataRow], targets: Sequence[str], same: Sequence[int]
) -> Iterator[Finding]:
    """Yield what is wrong with rows of one text."""
    first: dict[tuple[str, str], int] = {}
    sample = next((i for i in same if rows[i].part == SAMPLES), None)
    for number in same:
        part = rows[number].part
        if (part, targets[number]) in first:
            yield Finding("duplicate", number, first[part, targets[number]], 1.0)
        first.setdefault((part, targets[number]), number)
        if part != SAMPLES and sample is not None:
            yield Finding("leak", number, sample, 1.0)
        others = [i for i in same if targets[i] != targets[number]]
        if others:
            beside = [i for i in others if rows[i].part == part]
            yield Finding("conflict", number, (beside or others)[0], 1.0)


def _near(
    rows: Sequence[DataRow],
    forms: Sequence[str],
    targets: Sequence[str],
    firsts: Sequence[int],
    gone: Collection[int],
) -> tuple[list[Finding], list[tuple[int, int]]]:
    """Return what is wrong with nearly equal texts, and the pairs of them."""
    from promptbot.prompt.progress import tracked

    index = NearTexts([rows[i].input for i in firsts])
    parts = np.array([rows[i].part != SAMPLES for i in firsts])  # (n_firsts,)
    _, of_form = np.unique([forms[i] for i in firsts], return_inverse=True)
    _, of_target = np.unique([targets[i] for i in firsts], return_inverse=True)
    # What nearly equals only rows that go stays itself.
    stays = np.array([i not in gone for i in firsts], dtype=bool)  # (n_firsts,)
    found: list[Finding] = []
    links: list[tuple[int, int]] = []
    for here, number in enumerate(tracked(firsts, "Comparing the texts")):
        places, similarities = index.find(rows[number].input, before=here)
        is_other = of_form[places] != of_form[here]
        places, similarities = places[is_other], similarities[is_other]
        if not len(places):
            continue
        links.append((number, firsts[int(places[similarities.argmax()])]))
        same_target = of_target[places] == of_target[here]
        same_part = parts[places] == parts[here]
        cases = {
            "near_duplicate": same_target & same_part & stays[places],
            "near_conflict": ~same_target,
            "near_leak": ~same_part,
        }
        for kind, case in cases.items():
            if case.any():
                best = int(np.where(case, similarities, -1.0).argmax())
                other, similarity = firsts[int(places[best])], float(similarities[best])
                found.append(Finding(kind, number, other, similarity))
                stays[here] &= kind == "near_conflict"
    return found, links


def _label_errors(
    rows: Sequence[DataRow],
    groups: Sequence[int],
    bot: BotSpec,
    encoder: Encoder | None,
    not_done: list[str],
) -> list[Finding]:
    from promptbot.learn.label_errors import MIN_GROUPS, find_label_errors

    try:
        import sklearn  # noqa: F401 (before anything is encoded)

        check = find_label_errors(
            _vectors([row.input for row in rows], bot, encoder),
            [row.target for row in rows],
            groups,
        )
    except ImportError:
        missing = MissingExtra("Finding likely label errors", "scikit-learn", "finetune")
        not_done.append(" ".join(str(missing).split("\n")))
        return []
    except UserError as error:
        not_done.append(f"Likely label errors were not looked for: {_one_line(error)}")
        return []
    if check.not_judged:
        not_done.append(
            f"Labels with fewer than {MIN_GROUPS} texts are not judged: {_some(check.not_judged)}."
        )
    return [
        Finding("label_error", error.row, None, error.margin, error.suggested)
        for error in check.errors
    ]


def _vectors(texts: Sequence[str], bot: BotSpec, encoder: Encoder | None) -> NDArray[np.float32]:
    from promptbot.prompt.similarity import SimilarityIndex

    if encoder is None:
        from promptbot.models.encoder import load_encoder

        encoder = load_encoder(bot.encoder)
    return SimilarityIndex(texts, encoder).vectors()


def _tokens(
    rows: Sequence[DataRow], suite: Suite, model: str, not_done: list[str]
) -> tuple[tuple[int, ...], list[Finding]]:
    from promptbot.models.counting import load_counter
    from promptbot.models.encoder import whole_characters
    from promptbot.models.registry import refuse_foreign_server

    try:
        refuse_foreign_server(model, place=str(suite.path))
        counter = load_counter(model)
        texts = whole_characters([row.input for row in rows])
        counts = tuple(counter.count_tokens([Message("user", text)]) for text in texts)
    except UserError as error:
        not_done.append(f"Tokens were not counted: {_one_line(error)}")
        return (), []
    context = counter.context_tokens
    return counts, [
        Finding("too_long", i, detail=f"{n:,} tokens of {context:,}")
        for i, n in enumerate(counts)
        if context is not None and n > context
    ]


def _languages(rows: Sequence[DataRow], language: str, not_done: list[str]) -> list[Finding]:
    from promptbot.prompt.output import other_language

    try:
        return [
            Finding("other_language", i, detail=other)
            for i, row in enumerate(rows)
            if (other := other_language(row.input, language))
        ]
    except UserError as error:
        not_done.append(f"Languages were not looked at: {_one_line(error)}")
        return []


def _one_line(error: UserError) -> str:
    return " ".join(str(error).split())
