"""What a suite may say: what to evaluate, on which samples, and what must come out.

A suite is a YAML file; the paths in it start at its folder. Its samples are read here too, so that
a wrong line of data is told before anything runs.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints, ValidationError

from promptbot.bot.folder import DEFAULT_VARIANT, find_bot, load_bot, read_spec, variant_files
from promptbot.bot.spec import BotSpec, Settings, Source, Text, explain, join_errors, read_yaml
from promptbot.data import Row, content_hash, scan_rows
from promptbot.errors import DataError, PromptbotError, SpecError, did_you_mean, known_words
from promptbot.evals.gate import parse_condition
from promptbot.evals.hub import scan_hub
from promptbot.evals.judge import Judge, JudgeSpec, load_judge
from promptbot.evals.leaks import find_leaks
from promptbot.evals.matrix import Cell, expand, nested
from promptbot.evals.metrics.metric import OUT_OF_SCOPE, Metric
from promptbot.evals.metrics.registry import COMPARED, find_metric, metrics_of
from promptbot.evals.own_metrics import is_own, load_own_metric
from promptbot.evals.verdict import MARGIN
from promptbot.learn.spec import CAUSAL, BaselineSpec, named_baselines
from promptbot.models.providers import PROVIDERS
from promptbot.prompt.template import Template
from promptbot.types import Sample

T = TypeVar("T")
U = TypeVar("U")

Limit = Annotated[int, Field(ge=1)]

Budget = Limit | Literal["all"]
"""Labelled examples of each label."""

MAX_CELLS = 100
"""Variants that a matrix may make."""


class FieldsSpec(Settings):
    """Which field of a row means what."""

    input: Text = "input"
    """What the user says."""
    target: Text | None = None
    """The wanted answer or label; ``output`` in chat bots, ``label`` in classify bots if unset."""
    kind: Text | None = "kind"
    """A word by which results are also told apart; rows may lack it."""
    group: Text | list[Text] | None = None
    """The conversation: samples of one are kept together by the statistics. Several fields name
    it together."""


class RowsSpec(Settings):
    """Where rows come from: a file, or a data set that the `datasets` library reads."""

    file: Text | None = None
    """JSONL or CSV file; one that ends in .gz is unpacked."""
    files: Annotated[list[Text], Field(min_length=1)] | None = None
    """Several of them, in place of a file."""
    hub: Text | None = None
    """In place of a file: a data set of the Hugging Face hub, as OWNER/NAME, or a folder that
    begins with ``./`` or ``../``; see `promptbot.evals.hub`."""
    config: Text | None = None
    """Which configuration of that data set."""
    split: Text | None = None
    """Which part of it, as ``test`` or ``test[:500]``."""
    revision: Text | None = None
    """Which commit, tag or branch of it; the newest if unset."""
    fields: FieldsSpec = FieldsSpec()
    cross: Text | None = None
    """A second file: each row is joined with every row of it; where both have a field, the first
    file's counts. With a limit, the rows of both take turns."""
    input_template: Text | None = None
    """Jinja text that makes the input from a row's fields, and the suite's facts, in place of
    ``fields: {input: ...}``."""

    def place(self, base: Path) -> str:
        """Return where the rows are, for messages; `base` is the suite's folder."""
        if self.hub:
            return f"hub: {self.hub}, split: {self.split}"
        return ", ".join(str(base / file) for file in self.paths)

    @property
    def paths(self) -> list[str]:
        """The files; empty for a data set of the hub."""
        return self.files or ([self.file] if self.file else [])

    @property
    def stem(self) -> str:
        """Return a short name."""
        if self.paths:
            return "/".join(map(_stem, self.paths))
        return "/".join(filter(None, (Path(self.hub or "").name, self.split)))


class DataSpec(RowsSpec):
    """The samples."""

    limit: Limit | None = None
    """Samples at most, spread evenly over the file."""


class PoolSpec(RowsSpec):
    """Labelled examples from a data set in place of the bot's own; its labels become the bot's."""

    per_label: Limit = 5
    """How many examples of each label are drawn, anew for each seed. With `SuiteSpec.budgets`: the
    budget at which samples and verdicts are shown, the nearest one where it is not among them."""


class PriceSpec(Settings):
    """What a model's tokens cost, for a million of them."""

    input: Annotated[float, Field(ge=0)]
    """Of tokens that are read."""
    output: Annotated[float, Field(ge=0)]
    """Of tokens that are written."""

    def of(self, n_read: int, n_written: int) -> float:
        """Return the cost of so many tokens."""
        return (n_read * self.input + n_written * self.output) / 1e6


class SuiteSpec(Settings):
    """The settings of one suite."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w][\w.-]*$")]
    """Letters, digits, underscore, dot and hyphen; runs are kept under this name."""
    description: str = ""
    """One sentence for reports."""
    bot: Text
    """A bot's name, or its folder."""
    data: DataSpec
    pool: PoolSpec | None = None
    variants: Annotated[list[Text], Field(min_length=1)] = Field(default=[DEFAULT_VARIANT])
    """Variants of the bot; ``default`` is bot.yaml as it stands."""
    matrix: dict[Text, Annotated[list[JsonValue], Field(min_length=1)]] = Field(default={})
    """Further variants: every combination of these settings, as ``{examples.k: [2, 4]}``; the key
    ``variant`` names variants to change. Alone, it stands in place of `variants`."""
    models: Annotated[list[Text], Field(min_length=1)] | None = None
    """Models that answer with each variant; what the bot names if unset."""
    baseline: Annotated[dict[Text, BaselineSpec], BeforeValidator(named_baselines)] = Field(
        default={}
    )
    """Trained columns, by name: they learn from the examples that the prompts may show."""
    budgets: Annotated[list[Budget], Field(min_length=2)] | None = None
    """Labelled examples of each label, as [1, 5, 10, all]: every column is measured with each, for
    a learning curve. The draws are nested: what 5 shows, 10 shows too."""
    reference: Text | None = None
    """The column that others are compared with; the first one if unset."""
    metrics: Annotated[list[Text], Field(min_length=1)] | None = None
    """What is measured; the first one decides the verdict. Every metric of the task if unset.
    ``FILE.py:FUNCTION`` is one of the user's own, from a file beside the suite."""
    judges: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*$")], JudgeSpec] = Field(
        default={}
    )
    """Models that judge answers, by name; each is a metric. See `promptbot.evals.judge`."""
    reference_model: Text = "embedded"
    """The frozen model of `bits_per_byte` and `perplexity`."""
    out_of_scope: Text | None = None
    """The label of samples that belong to none of the bot's; what the bot says if unset. A bot
    that abstains is right about these."""
    facts: dict[Text, JsonValue] = Field(default={})
    """What metrics read where a row does not say it, as ``{marker: AZURE}``."""
    margin: Annotated[float, Field(gt=0)] = MARGIN
    """The smallest difference that matters, in the unit of the first metric; 0.05 is 5 points."""
    seeds: Annotated[list[int], Field(min_length=1)] = Field(default=[0])
    """Of everything random; a sample's score is its mean over them."""
    repeats: Limit = 1
    """How often each call is made; where the model draws, from the second on with other seeds."""
    prices: dict[Text, PriceSpec] = Field(default={})
    """By model; any one currency. Models that are not named here cost nothing that is known."""
    slices: list[Text] = Field(default=[])
    """Fields of the samples' rows by which results are also told apart, as ``language``."""
    gate: list[Text] = Field(default=[])
    """What must hold, as ``accuracy(nearest) >= 0.8``; see `promptbot.evals.gate`."""


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


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column of a report: a variant answered by a model, or a baseline."""

    name: str
    """``VARIANT``, or ``VARIANT@MODEL`` where there are several models."""
    variant: str
    """The bot's variant."""
    model: str
    """The model's spec; of a baseline, the encoder's."""
    baseline: bool = False
    """Whether it is trained, and not prompted."""
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    """What differs from the variant, by dotted name: one combination of the suite's matrix."""
    curve: str = ""
    """In suites with budgets the curve that it belongs to, its name without the budget."""
    budget: Budget | None = None
    """Labelled examples of each label; None for what the suite says, and for prompts that show
    none: they are asked once for all budgets."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Labelled rows that examples may be drawn from."""

    rows: tuple[EvalSample, ...]
    """In the order of their file."""
    n_left_out: int
    """Rows that were left out because they equal a sample, or nearly."""


@dataclass(frozen=True)
class Suite:
    """A suite that was read and found to make sense."""

    path: Path
    """Its file."""
    spec: SuiteSpec
    """Its settings, the command line's choices applied."""
    bot: Path
    """The bot's folder."""
    task: str
    """``chat`` or ``classify``."""
    fallback: str
    """The bot's fallback sentence."""
    columns: tuple[ColumnSpec, ...]
    """What is compared; the reference first."""
    metrics: tuple[str, ...]
    """What is measured; the first one decides the verdict."""
    samples: tuple[EvalSample, ...]
    """On what."""
    own_metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics from Python files beside the suite, by name."""
    judges: Mapping[str, Judge] = field(default_factory=dict)
    """Models that judge answers, by name."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What metrics read of the suite and its bot, beside the samples' rows."""
    models_of_user: frozenset[str] = frozenset()
    """Models that the user named, and not a file: only these may be on a server of choice."""

    @property
    def wants_fluency(self) -> bool:
        """Whether replies are scored by the reference model."""
        return bool({"bits_per_byte", "perplexity"} & set(self.metrics))

    @property
    def data_hash(self) -> str:
        """Content hash of the samples; 16 hexadecimal digits."""
        return hash_samples(self.samples)

    @cached_property
    def pool(self) -> Pool | None:
        """What examples are drawn from; None where the bot's own examples are used.

        Rows that equal a sample, or nearly, are left out: they would give its answer away.

        Raises:
            DataError: The file is missing or wrong, or nothing is left of it.
        """
        spec = self.spec.pool
        if spec is None:
            return None
        rows = read_samples(spec, self.path.parent, "label")
        inputs = [item.sample.input for item in self.samples]
        leaks = {leak.sample for leak in find_leaks([row.sample.input for row in rows], inputs)}
        kept = tuple(row for number, row in enumerate(rows) if number not in leaks)
        if not kept:
            raise DataError(
                "every row of the pool equals a sample, or nearly.",
                place=spec.place(self.path.parent),
                expected="Expected labelled examples that are not tested.",
                hint="Give another split as the pool.",
            )
        return Pool(kept, len(leaks))


def hash_samples(samples: Sequence[EvalSample]) -> str:
    """Return the content hash of samples; 16 hexadecimal digits."""
    rows = [asdict(sample) for sample in samples]
    # Without slices and facts the hash is that of a suite that knows none.
    return content_hash([{k: v for k, v in row.items() if v != {}} for row in rows])


def shipped_suites_folder() -> Path:
    """Return the folder of the suites that come with promptbot."""
    installed = Path(__file__).parent / "suites"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "evals"


def find_suite(name: str | Path) -> Path:
    """Return the file of a suite: a path, else a name in ./evals or among those shipped.

    Raises:
        SpecError: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known: dict[str, Path] = {}
    for folder in (Path("evals"), shipped_suites_folder()):
        for file in sorted(folder.glob("*.yaml")):
            known.setdefault(file.stem, file)
    if str(name) in known:
        return known[str(name)]
    raise SpecError(
        f'there is no suite "{name}".',
        hint=known_words("Suites", path.stem, known) + " Or give the path of a suite's file.",
    )


def load_suite(
    name: str | Path,
    *,
    variants: Sequence[str] = (),
    models: Sequence[str] = (),
    limit: int | None = None,
    seeds: Sequence[int] = (),
    gate: Sequence[str] = (),
    judge: str | None = None,
) -> Suite:
    """Return a suite, found by path or name, with its samples.

    Args:
        name: A path, or the name of a suite.
        variants: In place of the suite's.
        models: In place of the suite's.
        limit: Samples at most, in place of the suite's.
        seeds: In place of the suite's.
        gate: Further conditions.
        judge: The model of every judge, in place of the suite's.

    Raises:
        SpecError: The suite, or its bot, is wrong; the message says file and line.
        DataError: The samples are missing or wrong.
    """
    path = find_suite(name)
    source = read_yaml(path)
    spec = _parse(source)
    _check_rows(spec, source)
    trained = [name for name in variants if name in spec.baseline]
    cells = expand(spec.matrix)
    picked = [cell for cell in cells if cell.name in variants]
    own = {*trained, *(cell.name for cell in picked)}
    if variants:
        cells = tuple(picked)
    variants = [name for name in variants if name not in own]
    listed = spec.variants if "variants" in spec.model_fields_set or not cells else []
    chosen: dict[str, object] = {
        "variants": variants if variants or picked else listed,
        "baseline": {
            name: baseline
            for name, baseline in spec.baseline.items()
            if name in trained or not (variants or picked)
        },
        "models": list(models) or spec.models,
        "seeds": list(dict.fromkeys(seeds or spec.seeds)),
        "gate": [*spec.gate, *gate],
        "data": spec.data.model_copy(update={"limit": limit or spec.data.limit}),
    }
    # A command that leaves variants out also leaves out what the suite says about them.
    if (variants or picked) and spec.reference not in {*variants, *own}:
        chosen["reference"] = None
    spec = spec.model_copy(update=chosen)
    bot = _find_bot(spec, source)
    bot_spec = read_spec(bot)
    _check_baselines(spec, bot_spec.task, source)
    columns = _columns(spec, cells, bot_spec.model, bot, source)
    if variants or picked or models:
        names = {column.name for column in columns}
        kept = [c for c in spec.gate if c in gate or set(parse_condition(c).names) <= names]
        spec = spec.model_copy(update={"gate": kept})
    judges = _judges(spec, judge, source)
    found = _metrics(spec, bot_spec.task, judges, source)
    metrics = tuple(found)
    _check_gate(spec, columns, metrics, source)
    target = "label" if bot_spec.task == "classify" else "output"
    samples = read_samples(
        spec.data,
        path.parent,
        target,
        limit=spec.data.limit,
        slices=spec.slices,
        facts=[name for m in found.values() for name in (*m.fields, *m.may_have)],
        for_all=spec.facts,
    )
    facts = _facts(spec, bot, bot_spec, columns, found)
    _check_fields(spec, found, facts, samples, source)
    _check_slices(spec, samples, source)
    return Suite(
        path=path,
        spec=spec,
        bot=bot,
        task=bot_spec.task,
        fallback=bot_spec.guard.fallback,
        columns=columns,
        metrics=metrics,
        samples=samples,
        own_metrics={
            name: metric
            for name, metric in found.items()
            if spec.metrics and name not in spec.metrics and name not in judges
        },
        judges=judges,
        facts=facts,
        models_of_user=frozenset([*models, *([judge] if judge else [])]),
    )


def _parse(source: Source) -> SuiteSpec:
    try:
        return SuiteSpec.model_validate(dict(source.values))
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda detail: source.line(detail["loc"]))
        raise join_errors(
            [explain(detail, source.place(detail["loc"]), SuiteSpec) for detail in details]
        ) from None


def _find_bot(spec: SuiteSpec, source: Source) -> Path:
    beside = source.path.parent / spec.bot
    if (beside / "bot.yaml").is_file():
        return beside
    try:
        return find_bot(spec.bot)
    except PromptbotError as error:
        raise SpecError(
            error.problem,
            place=source.place(("bot",)),
            expected=error.expected,
            hint=error.hint,
        ) from None


def _check_rows(spec: SuiteSpec, source: Source) -> None:
    parts: list[tuple[str, RowsSpec | None]] = [("data", spec.data), ("pool", spec.pool)]
    for name, rows in parts:
        if rows is None:
            continue
        named = [key for key in ("file", "files", "hub") if getattr(rows, key)]
        if len(named) != 1:
            words = {"file": "a file", "files": "several files", "hub": "a data set"}
            what = f"both {' and '.join(words[key] for key in named)}" if named else "no file"
            raise SpecError(
                f"{name} names {what}.",
                place=source.place((name,)),
                expected="Expected one of  file: PATH,  files: [PATH, PATH]  and  hub: OWNER/NAME.",
                hint="Write where the rows come from.",
            )
        if rows.hub and not rows.split:
            raise SpecError(
                f"{name} does not say which split of {rows.hub}.",
                place=source.place((name, "hub")),
                hint="Add  split: test  or another; examples and samples need different ones.",
            )
        stems = [_stem(file) for file in rows.paths]
        if len(set(stems)) < len(stems):
            raise SpecError(
                f"two files of {name} have one name.",
                place=source.place((name, "files")),
                hint="Rename one: samples are called by their file and line.",
            )
        extra = [key for key in ("config", "split", "revision") if getattr(rows, key)]
        if rows.paths and extra:
            raise SpecError(
                f"{name} has the setting {extra[0]}, which a file has not.",
                place=source.place((name, extra[0])),
                hint="It belongs to  hub: ; a file is one split.",
            )


def _check_slices(spec: SuiteSpec, samples: Sequence[EvalSample], source: Source) -> None:
    for number, name in enumerate(spec.slices):
        if not any(name in item.slices for item in samples):
            raise SpecError(
                f'no sample has the field "{name}".',
                place=source.place(("slices", number)),
                expected=f"Expected a field of {spec.data.place(source.path.parent)}.",
                hint="Correct the name, or take it out.",
            )


def _check_cells(cells: Sequence[Cell], bot: Path, source: Source) -> None:
    if len(cells) > MAX_CELLS:
        raise SpecError(
            f"the matrix makes {len(cells)} variants.",
            place=source.place(("matrix",)),
            expected=f"Expected at most {MAX_CELLS}: with so many, little can be shown of each.",
            hint="Leave values out, or make several suites.",
        )
    known = [DEFAULT_VARIANT, *variant_files(bot)]
    for cell in cells:
        if cell.variant not in known:
            raise SpecError(
                f'the bot has no variant "{cell.variant}".',
                place=source.place(("matrix", "variant")),
                hint=known_words("Variants", cell.variant, known),
            )
        try:
            read_spec(bot, cell.variant, nested(cell.settings))
        except SpecError as error:
            said = next((key for key in cell.settings if key in error.problem), None)
            raise SpecError(
                f"{cell.name}: {error.problem}",
                place=source.place(("matrix", said) if said else ("matrix",)),
                expected=error.expected,
                hint=error.hint,
            ) from None


def _columns(
    spec: SuiteSpec, cells: Sequence[Cell], model: str, bot: Path, source: Source
) -> tuple[ColumnSpec, ...]:
    _check_cells(cells, bot, source)
    known = [DEFAULT_VARIANT, *variant_files(bot)]
    for number, variant in enumerate(spec.variants):
        if variant not in known:
            raise SpecError(
                f'the bot has no variant "{variant}".',
                place=source.place(("variants", number)),
                hint=known_words("Variants", variant, known),
            )
    models = list(dict.fromkeys(spec.models or [model]))
    cells = [*(Cell(variant, variant) for variant in dict.fromkeys(spec.variants)), *cells]
    columns = [
        ColumnSpec(
            cell.name if len(models) == 1 else f"{cell.name}@{model}",
            cell.variant,
            model,
            settings=cell.settings,
        )
        for model in models
        for cell in cells
    ]
    columns += [
        ColumnSpec(name, DEFAULT_VARIANT, baseline.starts_from(models[0]), baseline=True)
        for name, baseline in spec.baseline.items()
    ]
    names = [column.name for column in columns]
    if spec.budgets is not None:
        columns = _with_budgets(spec, columns, bot, source)
    if spec.reference is None:
        return tuple(columns)
    if spec.reference not in names:
        raise SpecError(
            f'reference "{spec.reference}" is not among the columns.',
            place=source.place(("reference",)),
            hint=known_words("Columns", spec.reference, names),
        )
    return tuple(
        sorted(columns, key=lambda column: spec.reference not in (column.name, column.curve))
    )


def _with_budgets(
    spec: SuiteSpec, columns: Sequence[ColumnSpec], bot: Path, source: Source
) -> list[ColumnSpec]:
    """Return each column once for every budget; prompts without examples once for all."""
    if spec.pool is None:
        raise SpecError(
            "budgets are given, but there is no pool to draw examples from.",
            place=source.place(("budgets",)),
            expected="Expected pool: {file: ...} with labelled examples.",
            hint="Name a file with more labelled examples than the largest budget.",
        )
    assert spec.budgets is not None
    budgets = sorted_budgets(spec.budgets)
    found = []
    for column in columns:
        if not column.baseline and not _reads_pool(
            read_spec(bot, column.variant, nested(column.settings))
        ):
            found.append(replace(column, curve=column.name))
            continue
        found += [
            replace(column, name=f"{column.name}@{budget}", curve=column.name, budget=budget)
            for budget in budgets
        ]
    return found


def _reads_pool(spec: BotSpec) -> bool:
    """Tell whether a prompt depends on what the example pool holds."""
    shows = spec.examples is not None and spec.examples.k > 0
    return shows or spec.calibration.method == "domain" or spec.calibration.neighbours is not None


def is_remote_model(spec: str) -> bool:
    """Return whether a model runs elsewhere, so that asking it is mostly waiting."""
    return spec.partition(":")[0].replace("-", "_").lower() in PROVIDERS


def shown_columns(spec: SuiteSpec, columns: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """Return the columns whose samples and verdicts a report shows, the reference first.

    Of a suite with budgets these are the columns at one of them; see `PoolSpec.per_label`.
    """
    if spec.budgets is None or spec.pool is None:
        return tuple(columns)
    shown = nearest_budget(spec.budgets, spec.pool.per_label)
    return tuple(column for column in columns if column.budget in (None, shown))


def sorted_budgets(budgets: Sequence[Budget]) -> list[Budget]:
    """Return each budget once, the smallest first."""
    return sorted(set(budgets), key=lambda budget: math.inf if budget == "all" else budget)


def nearest_budget(budgets: Sequence[Budget], wanted: int) -> Budget:
    """Return the budget that is nearest to a number of examples, by their ratio."""
    return min(budgets, key=lambda b: math.inf if b == "all" else abs(math.log(b / wanted)))


def _check_baselines(spec: SuiteSpec, task: str, source: Source) -> None:
    for name, baseline in spec.baseline.items():
        if task != "classify" and baseline.method not in CAUSAL:
            raise SpecError(
                f"baseline {name} learns labels, but the bot's task is {task}.",
                place=source.place(("baseline", name)),
                expected=f"Expected one of the methods {', '.join(CAUSAL)}.",
                hint="Take one of these, or take it out of the suite.",
            )
        if name in spec.variants:
            raise SpecError(
                f'"{name}" is a baseline and a variant.',
                place=source.place(("baseline", name)),
                expected="Expected every column to have its own name.",
                hint=f"Rename it, as  my_{name}: {{method: {baseline.method}}}.",
            )


def _judges(spec: SuiteSpec, model: str | None, source: Source) -> dict[str, Judge]:
    if model and not spec.judges:
        raise SpecError(
            "a judge is named, and the suite has none.",
            place=str(source.path),
            hint="Leave --judge out, or write  judges: {helpful: {model: ...}}  in the suite.",
        )
    found = {}
    for name, judge in spec.judges.items():
        place = source.place(("judges", name))
        if spec.metrics is not None and name not in spec.metrics:
            raise SpecError(
                f'the judge "{name}" is not among the metrics.',
                place=place,
                hint=f"Add it, as  metrics: [{', '.join([*spec.metrics, name])}], or take it out.",
            )
        chosen = judge.model_copy(update={"model": model}) if model else judge
        found[name] = load_judge(name, chosen, source.path.parent, place)
    return found


def _metrics(
    spec: SuiteSpec, task: str, judges: Mapping[str, Judge], source: Source
) -> dict[str, Metric]:
    """Return what a suite measures by name, the metric that decides the verdict first."""
    judged = {name: judge.metric for name, judge in judges.items()}
    if spec.metrics is None:
        names = [COMPARED[task], *metrics_of(task)]
        return {name: find_metric(name, task) for name in names} | judged
    found: dict[str, Metric] = {}
    for number, name in enumerate(spec.metrics):
        place = source.place(("metrics", number))
        if name in judged:
            metric = judged[name]
        elif is_own(name):
            metric = load_own_metric(name, source.path.parent, task, place)
        else:
            metric = find_metric(name, task, place)
        found[metric.name] = metric
    first = next(iter(found.values()))
    if not _can_decide(first):
        able = [name for name in metrics_of(task) if _can_decide(find_metric(name, task))]
        raise SpecError(
            f'metric "{first.name}" cannot decide the verdict: it has no score for each sample.',
            place=source.place(("metrics", 0)),
            hint=f"Put one of these first: {', '.join(able)}.",
        )
    return found


def _facts(
    spec: SuiteSpec,
    bot: Path,
    bot_spec: BotSpec,
    columns: Sequence[ColumnSpec],
    metrics: Mapping[str, Metric],
) -> dict[str, Any]:
    """Return what metrics read of the suite and its bot, for all samples."""
    wanted = {name for metric in metrics.values() for name in metric.fields}
    facts: dict[str, Any] = dict(spec.facts)
    if outside := spec.out_of_scope or bot_spec.verbalizer.out_of_scope:
        facts[OUT_OF_SCOPE] = outside
    if "language" in wanted and bot_spec.language:
        facts.setdefault("language", bot_spec.language)
    if "schema" in wanted:
        bots = (load_bot(bot, c.variant, nested(c.settings)) for c in columns if not c.baseline)
        writers = (one for one in bots if one.spec.output.format == "json")
        if writer := next(writers, None):
            facts["schema"] = writer.json_schema or {"type": "object"}
    return facts


def _check_fields(
    spec: SuiteSpec,
    metrics: Mapping[str, Metric],
    facts: Mapping[str, Any],
    samples: Sequence[EvalSample],
    source: Source,
) -> None:
    for number, metric in enumerate(metrics.values()):
        place = source.place(("metrics", number))
        for name in metric.fields:
            if name not in facts and not any(name in item.facts for item in samples):
                raise SpecError(
                    f'metric "{metric.name}" reads the field "{name}", which no sample has.',
                    place=place,
                    expected=f"Expected it in {spec.data.place(source.path.parent)}.",
                    hint=f"Add it there ({NEEDS.get(name, 'see docs/metrics.md')}), or take the "
                    "metric out.",
                )
        n = {"seeds": len(spec.seeds), "repeats": spec.repeats, "": 2}[metric.compares]
        if n < 2:
            raise SpecError(
                f'metric "{metric.name}" compares {metric.compares}, and the suite has one.',
                place=place,
                hint="Add  seeds: [0, 1, 2]" if metric.compares == "seeds" else "Add  repeats: 3",
            )


NEEDS = {
    "paraphrase": "one name for all rows that ask the same",
    "pair": "one name for all rows that differ in the group alone",
    "schema": "a JSON schema, or let the bot say output.format: json",
    "out_of_scope": "or write  out_of_scope: LABEL  in the suite",
    "marker": "or write  facts: {marker: WORD}  in the suite",
    "secrets": "or write  facts: {secrets: [WORD]}  in the suite",
    "contrary": "a regular expression of what contradicts the persona",
}
"""What the fields are that metrics read."""


def _can_decide(metric: Metric) -> bool:
    return metric.has_scores and metric.decides


def _check_gate(
    spec: SuiteSpec, columns: Sequence[ColumnSpec], metrics: Sequence[str], source: Source
) -> None:
    names = [column.name for column in shown_columns(spec, columns)]
    said = source.values.get("gate")
    n_in_file = len(said) if isinstance(said, list) else 0
    for number, text in enumerate(spec.gate):
        place = source.place(("gate", number)) if number < n_in_file else "--gate"
        condition = parse_condition(text, place)
        for name in condition.names:
            if name not in names:
                raise SpecError(
                    f'the gate names "{name}", which is not among the columns.',
                    place=place,
                    hint=known_words("Columns", name, names),
                )
        if condition.metric and condition.metric not in metrics:
            raise SpecError(
                f'the gate names the metric "{condition.metric}", which is not measured.',
                place=place,
                hint=known_words("Metrics", condition.metric, metrics),
            )


def read_samples(
    spec: RowsSpec,
    base: Path,
    default_target: str,
    *,
    limit: int | None = None,
    slices: Sequence[str] = (),
    facts: Sequence[str] = (),
    for_all: Mapping[str, JsonValue] | None = None,
) -> tuple[EvalSample, ...]:
    """Return the samples of a file or data set.

    Args:
        spec: Where they are, and which field means what.
        base: The folder at which paths start.
        default_target: The field of the target where `spec` names none.
        limit: Samples at most, spread evenly, so that a file sorted by label gives all labels.
        slices: Fields that are kept with each sample, as text.
        facts: Fields that are kept with each sample as they are.
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
            (f"{_stem(file)}:{row.line}", str(base / file), row)
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
            hint=f'Write one JSON object a line: {{"input": ..., "{default_target}": ...}}.',
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
        known = {name: row.values[name] for name in facts if name in row.values}
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


def _stem(file: str) -> str:
    return Path(file.removesuffix(".gz")).stem


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
            f"Get the {_stem(path.name)} split of {PUBLIC_SETS[path.parent.name]}, and put it "
            "there, or change the path in the suite."
        )
    return "Create the file, or correct its name in the suite (paths start at the suite's folder)."
