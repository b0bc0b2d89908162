"""`promptbot eval` in three lines of Python.

::

    suite = load_suite("customer_service", limit=20)
    summary = evaluate(suite)
    print(summary.headline)
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.data import content_hash
from promptbot.errors import DataError, InputError, did_you_mean
from promptbot.evals.column_spec import ColumnSpec, shown_columns
from promptbot.evals.columns import Workshop
from promptbot.evals.fluency import BITS, measure_fluency
from promptbot.evals.judging import Asking, ask_judges, check_judges
from promptbot.evals.leaks import Leak, find_leaks
from promptbot.evals.manifest import load_evaluation, load_manifest
from promptbot.evals.measures import measure_own, not_measured, save_measured
from promptbot.evals.metrics.metric import OUT_OF_SCOPE
from promptbot.evals.metrics.registry import METRICS
from promptbot.evals.outcomes import outcomes_of
from promptbot.evals.records import (
    RUNS,
    Key,
    Record,
    RecordFile,
    load_records,
    new_folder,
    save_json,
    save_samples,
)
from promptbot.evals.report import save_reports
from promptbot.evals.runner import Job, run_jobs
from promptbot.evals.stats import cluster
from promptbot.evals.suite import Suite, load_suite
from promptbot.evals.suite_spec import sorted_budgets
from promptbot.evals.summary import Summary, shown_names, summarise
from promptbot.evals.verdict import detectable_before
from promptbot.models.call_cache import default_cache
from promptbot.models.footprint import usable_cores

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot
    from promptbot.learn.baseline import Baseline
    from promptbot.learn.search import Trial

PACKAGES = (
    "promptbot", "numpy", "onnxruntime", "tokenizers", "transformers", "torch",
    "langchain", "langchain-core", "scikit-learn",
)  # fmt: skip
"""Whose versions a manifest holds, where they are installed."""

OLDER: Mapping[str, Any] = {"repeats": 1, "prices": {}}
"""What manifests that do not say it mean."""

MAX_LEAKS_TOLD = 10
"""Pairs that an error lists."""

MAX_LABELS_TOLD = 5
"""Labels that a warning lists."""


@dataclass(frozen=True, slots=True)
class LeakedPair:
    """A sample that is also shown as an example."""

    line: int
    """The sample's line in its file."""
    sample: str
    """Its input."""
    example: str
    """The example's input."""
    example_line: int
    """The example's line in its file."""
    similarity: float
    """1 for equal texts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    n_samples: int
    """Samples."""
    n_columns: int
    """Columns."""
    n_seeds: int
    """Seeds."""
    n_repeats: int
    """How often each call is made."""
    detectable: float | None
    """Smallest difference of shares that would be shown; None for none at all."""
    bot_hashes: Mapping[str, str]
    """Content hash of the bot by ``COLUMN/SEED``."""
    leaks: tuple[LeakedPair, ...]
    """Samples that are also shown as examples."""
    n_left_out: int = 0
    """Rows of the pool that were left out because they equal a sample, or nearly."""
    pool_counts: Mapping[str, int] | None = None
    """Rows of each label in the pool; None where there is no pool."""
    unknown_targets: str = ""
    """Which labels of samples no column can answer, in a sentence; empty for none."""

    @property
    def n_answers(self) -> int:
        """How often a model is asked."""
        return self.n_samples * self.n_columns * self.n_seeds * self.n_repeats


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run tells what it does; every call does nothing unless given."""

    on_start: Callable[[Path, Mapping[Key, Record], int], None] = lambda folder, done, n: None
    """Called once with the run's folder, the records that exist already, and how many answers there
    will be."""
    on_record: Callable[[Record], None] = lambda record: None
    """Called with each new record, of judges too."""
    on_memory: Callable[[str, int], None] = lambda name, n_bytes: None
    """Called with ``COLUMN/SEED`` and about how many bytes a training takes, before it starts."""
    on_trial: Callable[[str, Trial], None] = lambda name, trial: None
    """Called with ``COLUMN/SEED`` and each setting that a baseline's search tries."""
    on_judge: Callable[[str, int], None] = lambda name, n_questions: None
    """Called with each judge's name, and the questions that it is still asked."""
    on_stop: Callable[[int], None] = lambda n_under_way: None
    """Called when a run is stopped, with the number of answers that it still waits for."""


N_PARALLEL = 8
"""Calls to remote models under way at most."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """How models are asked; none of it changes what they answer."""

    n_parallel: int = N_PARALLEL
    """Calls to models under way at most; of one that answers here, no more than there are cores."""
    per_minute: float | None = None
    """Calls to remote models that begin in a minute at most; None for no limit but theirs."""
    n_together: int = 1
    """Samples that a local model reads at once; each then has an equal share of the time."""
    use_cache: bool = True
    """Answer equal calls of this and earlier runs from the user's cache."""

    @property
    def n_threads(self) -> int:
        """Calls under way at most to a model that answers here."""
        return min(self.n_parallel, usable_cores())


def plan(suite: Suite) -> Plan:
    """Return what a run of a suite would do; no model is loaded."""
    workshop = Workshop(suite)
    bots = {
        f"{column.name}/{seed}": workshop.bot(column, seed)
        for column in suite.columns
        for seed in suite.spec.seeds
    }
    # What equals a sample was left out of the pool: only a bot's own examples can leak.
    own = bots.values() if suite.pool is None else ()
    examples = {(example.input, example.line) for bot in own for example in bot.examples}
    groups = [item.group for item in suite.samples]
    n_clusters = len(cluster([0.0] * len(groups), groups).sums)
    return Plan(
        n_samples=len(suite.samples),
        n_columns=len(suite.columns),
        n_seeds=len(suite.spec.seeds),
        n_repeats=suite.spec.repeats,
        detectable=detectable_before(n_clusters, len(suite.columns) - 1),
        bot_hashes={name: bot.content_hash for name, bot in bots.items()},
        leaks=_leaked_pairs(suite, sorted(examples)),
        n_left_out=suite.pool.n_left_out if suite.pool else 0,
        pool_counts=dict(sorted(Counter(row.sample.target for row in suite.pool.rows).items()))
        if suite.pool
        else None,
        unknown_targets=_unknown_targets(suite, bots.values()),
    )


def _unknown_targets(suite: Suite, bots: Iterable[Bot]) -> str:
    """Return a sentence on labels of samples that neither a bot nor the pool has, as typos."""
    if suite.task != "classify":
        return ""
    known = {label for bot in bots for label in bot.spec.labels or ()}
    known.update(row.sample.target for row in (suite.pool.rows if suite.pool else ()))
    known.add(str(suite.facts.get(OUT_OF_SCOPE, "")))
    lines: dict[str, list[int]] = {}
    for item in suite.samples:
        if item.sample.target not in known:
            lines.setdefault(item.sample.target, []).append(item.line)
    if not lines:
        return ""
    told = [
        f'"{label}" ({len(where)}, first on line {where[0]}) {did_you_mean(label, known)}'.strip()
        for label, where in list(lines.items())[:MAX_LABELS_TOLD]
    ]
    if len(lines) > MAX_LABELS_TOLD:
        told.append(f"and {len(lines) - MAX_LABELS_TOLD} more")
    n = sum(map(len, lines.values()))
    return (
        f"{n} of the samples ha{'s a label' if n == 1 else 've labels'} that no column can answer, "
        f"and count{'s' * (n == 1)} as wrong: {', '.join(told)}"
    )


def evaluate(
    suite: Suite,
    *,
    allow_leaks: bool = False,
    runs: Path = RUNS,
    command: str = "",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    throughput: Throughput | None = None,
) -> Summary:
    """Run a suite and return what came out; everything is kept in a new folder.

    Args:
        suite: What to evaluate.
        allow_leaks: Run although samples are also shown as examples; the report says so.
        runs: The folder of all runs.
        command: The command that was typed, for the manifest.
        options: The arguments of `load_suite`, so that `resume` can load the same suite again.
        progress: How to tell what happens.
        throughput: How models are asked.

    Raises:
        DataError: Samples are also shown as examples.
        UserError: A bot or a model cannot be loaded.
        KeyboardInterrupt: As it came; every answer so far is kept.
    """
    planned = plan(suite)
    if planned.leaks and not allow_leaks:
        raise _leak_error(suite, planned.leaks)
    identity = _identity(suite, planned)
    check_judges(suite)
    throughput = throughput or Throughput()
    workshop = Workshop(suite, n_together=throughput.n_together)
    models = _load_models(suite, workshop)
    folder = new_folder(suite.spec.name, content_hash(identity), runs)
    save_samples(folder, suite.samples)
    manifest = {
        **identity,
        "task": suite.task,
        "fallback": suite.fallback,
        "facts": dict(suite.facts),
        "models": models,
        "measures": not_measured(
            [
                *suite.own_metrics.values(),
                *(judge.metric for judge in suite.judges.values()),
                *([METRICS[BITS]] if suite.wants_fluency else []),
            ],
            folder,
        ),
        "leaks": [asdict(pair) for pair in planned.leaks],
        "allow_leaks": allow_leaks,
        "unknown_targets": planned.unknown_targets,
        "path": str(suite.path.resolve()),
        "options": dict(options or {}),
        "command": command,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": _versions(),
        "hardware": _hardware(),
    }
    save_json(folder / "manifest.json", manifest)
    return _run(workshop, folder, progress or Progress(), throughput)


def resume(
    folder: Path, progress: Progress | None = None, throughput: Throughput | None = None
) -> Summary:
    """Go on with a run and return what came out; failed answers are asked again.

    Raises:
        InputError: Something that decides the predictions has changed since.
    """
    manifest = load_evaluation(folder)
    suite = load_suite(manifest["path"], **manifest["options"])
    now = _identity(suite, plan(suite))
    changed = [name for name in now if now[name] != manifest.get(name, OLDER.get(name))]
    if changed:
        raise InputError(
            "the run cannot go on, because what it asks has changed.",
            place=str(folder),
            expected=f"Changed since it began: {', '.join(changed)}.",
            hint="Undo the change, or start a new run without --resume.",
        )
    save_samples(folder, suite.samples)  # the same, whatever happened to the file
    check_judges(suite)
    throughput = throughput or Throughput()
    workshop = Workshop(suite, n_together=throughput.n_together)
    return _run(workshop, folder, progress or Progress(), throughput)


def _load_models(suite: Suite, workshop: Workshop) -> dict[str, str]:
    """Return the revision of each model of a suite, so that none fails when others have answered.

    The one that is asked first is loaded last, and stays.
    """
    asked: dict[str, int] = {}
    for column, seed in schedule(suite):
        if column.function:
            workshop.function(column.function)
        elif not column.baseline:
            asked.setdefault(column.model, seed)
    return {spec: workshop.model(spec, seed).revision for spec, seed in reversed(asked.items())}


def _run(workshop: Workshop, folder: Path, progress: Progress, throughput: Throughput) -> Summary:
    suite = workshop.suite
    cache = default_cache() if throughput.use_cache else None
    workshop.cache = cache
    workshop.on_model = lambda spec, revision: _note_model(folder, spec, revision)
    workshop.on_baseline = lambda name, made: _note_baseline(folder, name, made)
    workshop.on_trial, workshop.on_memory = progress.on_trial, progress.on_memory
    jobs = [
        workshop.job(column, seed, repeat)
        for column, seed in schedule(suite)
        for repeat in range(suite.spec.repeats)
    ]
    with RecordFile(folder) as file, closing(cache) if cache else nullcontext():
        done = load_records(folder)
        progress.on_start(folder, done, len(suite.samples) * len(jobs))
        run_jobs(
            jobs,
            suite.samples,
            file,
            done,
            n_parallel=throughput.n_parallel,
            n_threads=throughput.n_threads,
            per_minute=throughput.per_minute,
            on_record=progress.on_record,
            on_stop=progress.on_stop,
            on_memory=lambda job, n_bytes: _note_memory(folder, job, n_bytes),
        )
        asking = Asking(
            cache,
            throughput.n_parallel,
            throughput.per_minute,
            on_model=lambda name, revision: _note_model(folder, f"judge {name}", revision),
            on_start=progress.on_judge,
            on_record=progress.on_record,
            on_stop=progress.on_stop,
        )
        _keep_scores(suite, folder, asking)
    summary = summarise(folder)
    save_reports(summary)
    return summary


def _keep_scores(suite: Suite, folder: Path, asking: Asking) -> None:
    """Make the scores that reports only read, and keep them in the run's folder."""
    if not (suite.own_metrics or suite.judges or suite.wants_fluency):
        return
    manifest, records = load_manifest(folder), load_records(folder, with_shown=True)
    outcomes = {
        column: outcomes_of(column, suite.samples, records, manifest)
        for column in shown_names(manifest)
    }
    measured = measure_own(suite, outcomes)
    if suite.wants_fluency:
        measured.append(measure_fluency(suite.spec.reference_model, outcomes))
    if suite.judges:
        measured += ask_judges(suite, folder, outcomes, asking)
    save_measured(folder, measured)


def _note_baseline(folder: Path, name: str, made: Baseline) -> None:
    """Keep in the manifest what a training cost."""
    manifest = load_manifest(folder)
    trained = manifest.setdefault("trained", {})
    trained[name] = {
        "n_examples": made.n_examples,
        "train_seconds": made.train_seconds,
        "train_bytes": made.train_bytes,
        "recipe": made.recipe,
        "search": asdict(made.search) if made.search else None,
    }
    save_json(folder / "manifest.json", manifest)


def _note_memory(folder: Path, job: Job, n_bytes: int) -> None:
    """Keep in the manifest how much memory a column's answers took at most."""
    manifest = load_manifest(folder)
    known, name = manifest.setdefault("answer_bytes", {}), f"{job.column}/{job.seed}"
    known[name] = max(n_bytes, known.get(name, 0))
    save_json(folder / "manifest.json", manifest)


def schedule(suite: Suite) -> list[tuple[ColumnSpec, int]]:
    """Return columns and seeds in the order in which they are asked.

    Columns of one model stand together, because one is loaded at a time. A learning curve goes by
    seeds first: its first third is a whole curve, and what follows makes it surer. Within a seed
    what is cheap comes first, trained columns and small budgets.
    """
    pairs = [(column, seed) for column in suite.columns for seed in suite.spec.seeds]
    if suite.spec.budgets is None:
        return sorted(pairs, key=lambda pair: pair[0].model)
    curves = list(dict.fromkeys(column.curve for column in suite.columns))
    budgets = [None, *sorted_budgets(suite.spec.budgets)]

    def cost(pair: tuple[ColumnSpec, int]) -> tuple[object, ...]:
        column, seed = pair
        kind = (not column.baseline, "" if column.baseline else column.model)
        place = curves.index(column.curve), budgets.index(column.budget)
        return suite.spec.seeds.index(seed), *kind, *place

    return sorted(pairs, key=cost)


def _note_model(folder: Path, spec: str, revision: str) -> None:
    """Keep a model's revision in the manifest; a resumed run must meet the same one."""
    manifest = load_manifest(folder)
    known = manifest["models"].setdefault(spec, revision)
    if known != revision:
        raise InputError(
            f"the model {spec} is not the one that the run began with.",
            place=str(folder),
            expected=f"Began with {known[:16]}, found {revision[:16]}.",
            hint="Bring the model back, or start a new run without --resume.",
        )
    save_json(folder / "manifest.json", manifest)


def _identity(suite: Suite, planned: Plan) -> dict[str, Any]:
    """Return what decides the predictions, as JSON-ready values."""
    shown = shown_columns(suite.spec, suite.columns)
    return {
        "suite": {
            "name": suite.spec.name,
            "description": suite.spec.description,
            "margin": suite.spec.margin,
            "gate": list(suite.spec.gate),
        },
        # Without a matrix as in manifests that know none.
        "columns": [
            {name: value for name, value in asdict(column).items() if value != {}}
            for column in suite.columns
        ],
        "metrics": list(suite.metrics),
        # Without a search as in manifests that know none.
        "baselines": {
            n: b.model_dump(exclude=None if b.search else {"search"})
            for n, b in suite.spec.baseline.items()
        },
        "seeds": list(suite.spec.seeds),
        "repeats": suite.spec.repeats,
        "prices": {model: price.model_dump() for model, price in suite.spec.prices.items()},
        "budgets": suite.spec.budgets,
        "shown_budget": next((c.budget for c in shown if c.budget), None),
        "pool": planned.pool_counts,
        "n_left_out": planned.n_left_out,
        "data_hash": suite.data_hash,
        "bot_hashes": dict(planned.bot_hashes),
    }


def _leaked_pairs(suite: Suite, examples: list[tuple[str, int]]) -> tuple[LeakedPair, ...]:
    def pair(leak: Leak) -> LeakedPair:
        item, (text, line) = suite.samples[leak.sample], examples[leak.example]
        return LeakedPair(item.line, item.sample.input, text, line, leak.similarity)

    inputs = [item.sample.input for item in suite.samples]
    return tuple(pair(leak) for leak in find_leaks(inputs, [text for text, _ in examples]))


def _leak_error(suite: Suite, leaks: tuple[LeakedPair, ...]) -> DataError:
    told = [
        f"  line {pair.line}: {pair.sample!r} ~ example on line {pair.example_line}: "
        f"{pair.example!r} ({pair.similarity:.0%})"
        for pair in leaks[:MAX_LEAKS_TOLD]
    ]
    if len(leaks) > MAX_LEAKS_TOLD:
        told.append(f"  ... and {len(leaks) - MAX_LEAKS_TOLD} more")
    return DataError(
        f"{len(leaks)} of {len(suite.samples)} samples are also shown as examples, "
        "equal or nearly so.",
        place=suite.spec.data.place(suite.path.parent),
        expected="\n".join(told),
        hint="Take them out of either file, or run with --allow-leaks, which marks the report.",
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hardware() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": usable_cores(),
    }
