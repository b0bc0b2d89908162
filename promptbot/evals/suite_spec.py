"""The settings of a suite, as its YAML file says them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints

from promptbot.bot.folder import DEFAULT_VARIANT
from promptbot.bot.spec import Settings, Source, Text
from promptbot.errors import SpecError
from promptbot.evals.judge import JudgeSpec
from promptbot.evals.verdict import MARGIN
from promptbot.learn.spec import BaselineSpec, named_baselines

Limit = Annotated[int, Field(ge=1)]

Budget = Limit | Literal["all"]
"""Labelled examples of each label."""


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
            return "/".join(map(stem_of, self.paths))
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
    """Variants of the bot; ``default`` is bot.yaml as it stands. ``FILE.py:FUNCTION`` is a function
    of the user's own that answers, from a file beside the suite."""
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


def sorted_budgets(budgets: Sequence[Budget]) -> list[Budget]:
    """Return each budget once, the smallest first."""
    return sorted(set(budgets), key=lambda budget: math.inf if budget == "all" else budget)


def nearest_budget(budgets: Sequence[Budget], wanted: int) -> Budget:
    """Return the budget that is nearest to a number of examples, by their ratio."""
    return min(budgets, key=lambda b: math.inf if b == "all" else abs(math.log(b / wanted)))


def check_rows(spec: SuiteSpec, source: Source) -> None:
    """Check that samples and pool say where their rows come from.

    Raises:
        SpecError: One of them says nothing of it, or too much.
    """
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
        stems = [stem_of(file) for file in rows.paths]
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


def stem_of(file: str) -> str:
    """Return a file's name without its endings."""
    return Path(file.removesuffix(".gz")).stem
