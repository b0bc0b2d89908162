"""What the columns of a report are: each variant on each model, a matrix's cells, baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from promptbot.bot.folder import DEFAULT_VARIANT, read_spec, variant_files
from promptbot.bot.spec import BotSpec, Source
from promptbot.errors import SpecError, known_words
from promptbot.evals.matrix import Cell, nested
from promptbot.evals.own_metrics import is_own
from promptbot.evals.own_predictor import FUNCTION
from promptbot.evals.suite_spec import Budget, SuiteSpec, nearest_budget, sorted_budgets
from promptbot.learn.spec import CAUSAL

MAX_CELLS = 100
"""Variants that a matrix may make."""


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

    @property
    def function(self) -> str | None:
        """The user's own function that answers, as ``rules.py:answer``; None for other columns."""
        return self.model.removeprefix(FUNCTION) if self.model.startswith(FUNCTION) else None


def make_columns(
    spec: SuiteSpec, cells: Sequence[Cell], model: str, bot: Path, source: Source
) -> tuple[ColumnSpec, ...]:
    """Return the columns of a suite, the reference first.

    Args:
        spec: The suite's settings.
        cells: What its matrix makes.
        model: The bot's own model.
        bot: The bot's folder.
        source: The suite's file, for messages.

    Raises:
        SpecError: A variant, a setting or the reference does not exist.
    """
    _check_cells(cells, bot, source)
    known = [DEFAULT_VARIANT, *variant_files(bot)]
    for number, variant in enumerate(spec.variants):
        if variant not in known and not is_own(variant):
            raise SpecError(
                f'the bot has no variant "{variant}".',
                place=source.place(("variants", number)),
                hint=known_words("Variants", variant, known),
            )
    models = list(dict.fromkeys(spec.models or [model]))
    variants = list(dict.fromkeys(spec.variants))
    functions = [variant for variant in variants if is_own(variant)]
    cells = [*(Cell(v, v) for v in variants if v not in functions), *cells]
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
    columns += [ColumnSpec(name, DEFAULT_VARIANT, FUNCTION + name) for name in functions]
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
        if column.function or (
            not column.baseline
            and not _reads_pool(read_spec(bot, column.variant, nested(column.settings)))
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


def check_baselines(spec: SuiteSpec, task: str, source: Source) -> None:
    """Check that the baselines fit the bot.

    Raises:
        SpecError: One cannot learn the bot's task, or is named like a variant.
    """
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


def shown_columns(spec: SuiteSpec, columns: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """Return the columns whose samples and verdicts a report shows, the reference first.

    Of a suite with budgets these are the columns at one of them; see `PoolSpec.per_label`.
    """
    if spec.budgets is None or spec.pool is None:
        return tuple(columns)
    shown = nearest_budget(spec.budgets, spec.pool.per_label)
    return tuple(column for column in columns if column.budget in (None, shown))
