"""A suite, found, read and checked: what to evaluate, on which samples, and what must come out.

A suite is a YAML file (`promptbot.evals.suite_spec`); the paths in it start at its folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptbot.bot.folder import find_bot, load_bot, read_spec
from promptbot.bot.spec import BotSpec, Source, explain, join_errors, read_yaml
from promptbot.errors import DataError, PromptbotError, SpecError, known_words
from promptbot.evals.column_spec import ColumnSpec, check_baselines, make_columns, shown_columns
from promptbot.evals.gate import parse_condition
from promptbot.evals.judge import Judge, load_judge
from promptbot.evals.leaks import find_leaks
from promptbot.evals.matrix import expand, nested
from promptbot.evals.metrics.metric import OUT_OF_SCOPE, Metric
from promptbot.evals.metrics.registry import COMPARED, find_metric, metrics_of
from promptbot.evals.own_metrics import is_own, load_own_metric
from promptbot.evals.samples import EvalSample, hash_samples, read_samples
from promptbot.evals.suite_spec import SuiteSpec, check_rows


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
    check_rows(spec, source)
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
    check_baselines(spec, bot_spec.task, source)
    columns = make_columns(spec, cells, bot_spec.model, bot, source)
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


def _check_slices(spec: SuiteSpec, samples: Sequence[EvalSample], source: Source) -> None:
    for number, name in enumerate(spec.slices):
        if not any(name in item.slices for item in samples):
            raise SpecError(
                f'no sample has the field "{name}".',
                place=source.place(("slices", number)),
                expected=f"Expected a field of {spec.data.place(source.path.parent)}.",
                hint="Correct the name, or take it out.",
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
