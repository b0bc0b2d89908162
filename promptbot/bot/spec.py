"""What bot.yaml may say: every key with its meaning, and errors with their line.

A variant is an overlay: a YAML file that names only what differs. The merged settings are
validated as a whole, and an error is reported in the file and on the line that said it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from promptbot.bot.patterns import parse_pattern, parse_unless
from promptbot.errors import SpecError, known_words
from promptbot.types import PersonalKind

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Key = tuple[str | int, ...]
"""Path of a setting, as ``("examples", "k")``."""


class Settings(BaseModel):
    """Settings of a YAML file: unknown keys are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExamplesSpec(Settings):
    """Which examples the prompt shows, and in which order."""

    file: Text = "examples.jsonl"
    """JSONL or CSV file in the bot's folder."""
    selector: Literal[
        "fixed",
        "length",
        "random",
        "balanced",
        "ngram",
        "bm25",
        "nearest",
        "nearest_per_label",
        "diverse",
        "coverage",
        "votek",
    ] = "nearest"
    """How they are chosen; docs/selectors.md says which suits what."""
    k: Annotated[int, Field(ge=0)] = 4
    """How many are shown; 0 is zero-shot."""
    order: Literal["nearest_last", "nearest_first", "random", "file", "label_interleaved"] = (
        "nearest_last"
    )
    """In which order the model reads them."""
    max_tokens: Annotated[int, Field(ge=1)] = 200
    """Tokens of the message and the examples together; of the selector length."""
    keep: Annotated[int, Field(ge=1)] = 100
    """How many examples stand for the whole file; of the selector votek."""


class KnowledgeSpec(Settings):
    """Which notes are retrieved into the prompt."""

    file: Text = "knowledge.jsonl"
    """JSONL, CSV or Markdown file, or a folder of them, in the bot's folder."""
    k: Annotated[int, Field(ge=0)] = 3
    """How many notes are shown."""
    retriever: Literal["nearest", "bm25", "both"] = "nearest"
    """How they are found: by meaning, by shared words, or by the two rankings fused."""
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Cosine similarity under which a note is not shown, so that the fallback can speak."""


class MemorySpec(Settings):
    """Which earlier turns enter the next prompt."""

    kind: Literal["buffer", "window", "summary", "facts"] = "window"
    """Everything; the newest turns that fit; these and a running summary of the older ones; these
    and what the user said about themselves."""
    max_tokens: Annotated[int, Field(ge=0)] | None = 400
    """Tokens of the window; null for no bound but the model's context."""
    max_turns: Annotated[int, Field(ge=0)] | None = None
    """Turns of the window; null for any number."""
    template: Text | None = None
    """What asks the model for the summary or the facts; summary.j2 or facts.j2 where that file
    exists, else promptbot's own."""
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Tokens of a summary, or of new facts, at most."""
    patterns: dict[Text, Annotated[list[Text], Field(min_length=1)]] = {}
    """For facts without asking the model: wordings by the fact's name, as ``my name is {word}``;
    ``{value}`` takes everything up to the next punctuation mark."""


class DecodingSpec(Settings):
    """How the model writes."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    """0 takes the likeliest token; higher is more varied."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample among the likeliest tokens that together have this probability."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Sample among this many likeliest tokens; 0 for all."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Sample among tokens at least this fraction as likely as the likeliest."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Above 1, words already read or written become less likely; 1 changes nothing."""
    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)] = 80
    """Tokens of an answer at most."""
    stop: list[Annotated[str, StringConstraints(min_length=1)]] = []
    """Texts at which the answer ends, with their spaces and line breaks; they are not shown."""


class NeighboursSpec(Settings):
    """How the labels of the pool's nearest examples enter the label scores."""

    k: Annotated[int, Field(ge=1)] = 8
    """How many neighbours."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the neighbours; `promptbot.classify.choose_neighbour_weight` finds it on dev."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Divides similarities; a small one listens to the nearest only."""


class CalibrationSpec(Settings):
    """Correction of the label scores for the prompt's own bias; see docs/calibration.md."""

    method: Literal["none", "contextual", "domain", "batch", "channel", "pmi"] = "none"
    """What the scores are divided by; ``channel`` scores the message given each label instead."""
    inputs: Annotated[list[str], Field(min_length=1)] = ["", "N/A", "[MASK]"]
    """Messages without content, for ``contextual``."""
    n_inputs: Annotated[int, Field(ge=1)] = 20
    """Texts of random words of the pool, for ``domain``."""
    premise: str = ""
    """What stands for the domain without a message, for ``pmi``."""
    burn_in: Annotated[float, Field(gt=0)] = 16
    """Messages that equal shares count for in the running mean of ``batch``."""
    neighbours: NeighboursSpec | None = None
    """Mixes in the labels of the nearest examples, after any method."""


class VerbalizerSpec(Settings):
    """How the model chooses a label."""

    mode: Literal["score", "generate"] = "score"
    """By log-probabilities, or by writing; a model that cannot score writes."""
    score: Literal["sum", "mean_token", "mean_byte"] = "sum"
    """A wording's score: log-probability as it is, or per token or byte, for long wordings."""
    parse: Literal["exact", "normalised", "similar", "nearest"] = "normalised"
    """How a written answer becomes a label: as written, but for case and punctuation, or else the
    wording most similar in letters, or nearest by the encoder."""
    min_similarity: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Under which ``similar`` and ``nearest`` find nothing."""
    min_probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Under which the bot abstains."""
    out_of_scope: Text | None = None
    """The label of an abstention; none if unset. It need not be among labels."""


class EnsembleSpec(Settings):
    """Several prompts or samples for one answer; see docs/calibration.md."""

    kind: Literal["none", "permutations", "variants", "self_consistency"] = "none"
    """One prompt; label scores averaged over orders of the examples, or over the prompts of several
    variants; or several samples of the answer, of which the most frequent one is taken."""
    n: Annotated[int, Field(ge=2, le=100)] = 4
    """How many orders or samples; fewer orders where so many do not exist."""
    variants: list[Text] = []
    """Of ``variants``: whose prompts are asked beside this one."""
    vote_on: Literal["text", "last_line", "last_number"] = "text"
    """Of ``self_consistency`` in chat bots: which part of an answer votes."""


class OutputSpec(Settings):
    """What form an answer must have; see docs/output.md."""

    format: Literal["text", "json"] = "text"
    """Free text, or one JSON value."""
    json_schema: JsonValue = None
    """A JSON schema, or the name of its file in the bot's folder; any object if unset."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often the model is asked again, told what was wrong."""
    wrong_language: Literal["ignore", "remark", "retry", "fallback"] = "ignore"
    """What is done with an answer in another language than ``language``."""


class RuleSpec(Settings):
    """A rule that answers in place of the model."""

    patterns: Annotated[list[Text], Field(min_length=1)]
    """Each a few words that must occur near one another; see docs/guards.md."""
    unless: list[Text] = []
    """Words that hush each of the patterns where they stand near what meets it."""
    reply: Text
    """What is said, word for word."""


class GuardSpec(Settings):
    """What the bot says when it cannot or must not answer, and what it does not hear."""

    fallback: Text = "I do not know."
    """The sentence that templates see as ``fallback``."""
    redact: list[PersonalKind] = []
    """Personal data that is taken out of messages and replies before anything is done with them."""
    regions: list[str] = []
    """Whose national ids, and phone numbers without country code; the language's where empty."""
    emergency: list[RuleSpec] = []
    """Rules that answer before the model; the first that is met speaks."""
    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Turns of a session after which the bot only says ``closing``."""
    closing: Text = "This conversation has come to its end. Please start a new one."


class BotSpec(Settings):
    """The settings of one bot under one variant."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w][\w.-]*$")]
    """Letters, digits, underscore, dot and hyphen."""
    description: str = ""
    """One sentence for ``promptbot bots``."""
    language: Text = "en"
    """Language code that templates see."""
    task: Literal["chat", "classify"] = "chat"
    """Answer freely, or choose one of the labels."""
    model: Text = "embedded"
    """Which frozen model answers: embedded, a folder, hf:owner/name, openai:NAME, ..."""
    encoder: Text = "embedded"
    """Which frozen encoder measures similarity."""
    template: Text = "system.j2"
    """The system prompt's template."""
    turn_template: Text | None = None
    """Template around each user message (it sees ``input``); turn.j2 where that file exists."""
    examples: ExamplesSpec | None = None
    knowledge: KnowledgeSpec | None = None
    memory: MemorySpec = MemorySpec()
    decoding: DecodingSpec = DecodingSpec()
    labels: dict[Text, Annotated[list[Text], Field(min_length=1)]] | None = None
    """The verbalizer: wordings by label; the first wording is what examples show."""
    verbalizer: VerbalizerSpec = VerbalizerSpec()
    calibration: CalibrationSpec = CalibrationSpec()
    """Settings, or a method alone, as  calibration: contextual."""
    ensemble: EnsembleSpec = EnsembleSpec()
    output: OutputSpec = OutputSpec()
    """Settings, or a format alone, as  output: json."""
    guard: GuardSpec = GuardSpec()
    vars: dict[str, JsonValue] = {}
    """Free variables of the templates."""

    @field_validator("output", mode="before")
    @classmethod
    def _format_alone(cls, value: object) -> object:
        return {"format": value} if isinstance(value, str) else value

    @field_validator("calibration", mode="before")
    @classmethod
    def _method_alone(cls, value: object) -> object:
        return {"method": value} if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Source:
    """One YAML file with the line of every key."""

    path: Path
    """Where it was read from."""
    values: Mapping[str, Any]
    """Its settings."""
    lines: Mapping[Key, int] = field(default_factory=dict)
    """Line of each key and list item, from 1."""

    def line(self, key: Key) -> int:
        """Return the line of a key, or of its nearest parent that has one; 0 for none."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines[key] if key else 0

    def place(self, key: Key) -> str:
        """Return ``file, line n`` of a key, or of its nearest parent that has one."""
        line = self.line(key)
        return f"{self.path}, line {line}" if line else str(self.path)


_KIND = {yaml.SequenceNode: "list", yaml.ScalarNode: "single value"}


class _Loader(yaml.SafeLoader):
    """Safe YAML without the surprises: no merge keys, and dates stay texts."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp) for tag, regexp in resolvers if "timestamp" not in tag and "merge" not in tag
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Source:
    """Return the settings of a YAML file with the line of every key.

    Raises:
        SpecError: The file cannot be read, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(
            "there is no such file.",
            place=str(path),
            hint="Create it (promptbot new NAME makes a complete folder).",
        ) from None
    except OSError as error:
        raise SpecError(
            f"the file cannot be read ({error.strerror}).",
            place=str(path),
            hint="Check its permissions.",
        ) from None
    except UnicodeDecodeError:
        raise SpecError(
            "the file is not UTF-8.", place=str(path), hint="Save it as UTF-8 text."
        ) from None
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Source(path, {})
        if not isinstance(node, yaml.MappingNode):
            raise SpecError(
                f"found a {_KIND[type(node)]}, not settings.",
                place=f"{path}, line {node.start_mark.line + 1}",
                expected="Expected lines of the form  key: value.",
                hint="See any bot.yaml that promptbot new makes.",
            )
        lines: dict[Key, int] = {}
        _note_lines(node, (), lines, path, frozenset())
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from None
    except yaml.YAMLError as error:
        raise SpecError(
            f"this is not YAML: {' '.join(str(error).split())}.",
            place=str(path),
            hint="Save it as plain UTF-8 text.",
        ) from None
    except RecursionError:
        raise SpecError(
            "the settings are nested too deeply.", place=str(path), hint="Flatten them."
        ) from None
    finally:
        if loader:
            loader.dispose()
    return Source(path, values, lines)


def read_value(text: str, place: str) -> Any:
    """Return what a text means as the value of a setting in bot.yaml.

    Raises:
        SpecError: It is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError):
        raise SpecError(
            f'"{text[:60]}" is not a value of YAML.',
            place=place,
            hint='Put texts with : or # between quotes, as "like: this".',
        ) from None


def _note_lines(
    node: yaml.Node, key: Key, lines: dict[Key, int], path: Path, above: frozenset[int]
) -> None:
    if id(node) in above:
        raise SpecError(
            "an alias refers to the setting that it stands in.",
            place=f"{path}, line {node.start_mark.line + 1}",
            hint="Write the value out.",
        )
    above |= {id(node)}
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node.value, str) else str(key_node.value)
            line = key_node.start_mark.line + 1
            if (*key, name) in lines:
                raise SpecError(
                    f'key "{name}" stands here a second time.',
                    place=f"{path}, line {line}",
                    expected=f"It was first set on line {lines[*key, name]}.",
                    hint="Keep one of them.",
                )
            lines[*key, name] = line
            _note_lines(value_node, (*key, name), lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*key, index), lines, path, above)


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> SpecError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}, line {mark.line + 1}" if mark else str(path)
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem):
        return SpecError(
            "this line has a tab where YAML wants spaces.",
            place=place,
            hint="Indent with two spaces.",
        )
    what = " ".join(part for part in (error.context, error.problem) if part)
    return SpecError(
        f"this is not YAML: {what}.",
        place=place,
        hint="Put texts with : or # between quotes, and indent with two spaces.",
    )


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with what `over` says: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = overlay(below, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_spec(base: Source, variant: Source | None = None) -> BotSpec:
    """Return the settings of a bot, or of one of its variants.

    Raises:
        SpecError: Everything that is wrong, one paragraph each.
    """
    values = overlay(base.values, variant.values if variant else {})
    try:
        spec = BotSpec.model_validate(values)
    except ValidationError as error:
        details = sorted(
            error.errors(), key=lambda d: _source(d["loc"], base, variant).line(d["loc"])
        )
        raise join_errors(
            [explain(detail, place_of(detail["loc"], base, variant)) for detail in details]
        ) from None
    problems = list(_contradictions(spec, base, variant))
    if problems:
        raise join_errors(problems)
    return spec


def join_errors(errors: list[SpecError]) -> SpecError:
    """Return one error that says everything the given ones say."""
    if len(errors) == 1:
        return errors[0]
    joined = SpecError(errors[0].problem, place=errors[0].place, hint=errors[0].hint)
    joined.args = ("\n\n".join(str(error) for error in errors),)
    return joined


def _source(key: Key, base: Source, variant: Source | None) -> Source:
    """Return the file that says a setting: the variant's where it does, else bot.yaml."""
    if variant is None or key in variant.lines:
        return variant or base
    # Blocks of a variant are laid over those of bot.yaml, lists replace them.
    if key in base.lines and not any(isinstance(part, int) for part in key):
        return base
    return variant if len(key) > 1 and key[:-1] in variant.lines else base


def place_of(key: Key, base: Source, variant: Source | None) -> str:
    """Return the file and line that says a setting under a variant."""
    return _source(key, base, variant).place(key)


BY_LABEL = frozenset({"balanced", "nearest_per_label", "label_interleaved"})
"""Selectors and orders that go by label."""


def _contradictions(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    examples, knowledge = spec.examples, spec.knowledge
    for key in ("selector", "order"):
        word = getattr(examples, key, None)
        if word in BY_LABEL and spec.task == "chat":
            yield SpecError(
                f"examples.{key} is {word}, but the examples of a chat bot have no labels.",
                place=place_of(("examples", key), base, variant),
                hint=f"Choose another {key}, or set task: classify with labels:.",
            )
    if examples and examples.selector == "votek" and examples.k > examples.keep:
        yield SpecError(
            f"examples.k is {examples.k}, but votek keeps {examples.keep} examples to choose from.",
            place=place_of(("examples", "k"), base, variant),
            hint="Lower examples.k, or raise examples.keep.",
        )
    # A variant may choose another selector over a base whose votek keeps some.
    kept, chosen = ("examples", "keep"), ("examples", "selector")
    if (
        examples
        and examples.selector != "votek"
        and examples.keep != ExamplesSpec.model_fields["keep"].default
        and _source(kept, base, variant) is _source(chosen, base, variant)
    ):
        yield SpecError(
            f"examples.keep is for votek, but examples.selector is {examples.selector}.",
            place=place_of(kept, base, variant),
            hint="Set selector: votek, or take keep out.",
        )
    if knowledge and knowledge.retriever == "bm25" and knowledge.min_similarity is not None:
        yield SpecError(
            "knowledge.min_similarity is a cosine similarity, which bm25 does not measure.",
            place=place_of(("knowledge", "min_similarity"), base, variant),
            hint="Set knowledge.retriever to nearest or both, or min_similarity to null.",
        )
    if spec.task == "classify" and not spec.labels:
        yield SpecError(
            "task is classify, but there are no labels.",
            place=place_of(("task",), base, variant),
            hint='Add labels, as  labels: {card_lost: ["lost card"]}.',
        )
    if spec.task == "chat" and spec.labels:
        yield SpecError(
            "labels are given, but task is chat.",
            place=place_of(("labels",), base, variant),
            hint="Set task: classify, or take the labels out.",
        )
    yield from _useless_scoring(spec, base, variant)
    yield from _useless_samples(spec, base, variant)
    yield from _wrong_output(spec, base, variant)
    yield from _wrong_guard(spec, base, variant)
    if spec.memory.patterns and spec.memory.kind != "facts":
        yield SpecError(
            f"patterns are given, but the memory is {spec.memory.kind}.",
            place=place_of(("memory", "patterns"), base, variant),
            hint="Set kind: facts, or take the patterns out.",
        )
    for name, wordings in spec.memory.patterns.items():
        for wording in wordings:
            if wording.count("{word}") + wording.count("{value}") != 1:
                yield SpecError(
                    f'pattern "{wording}" does not say once where its value stands.',
                    place=place_of(("memory", "patterns", name), base, variant),
                    expected="Expected {word} or {value} in it, as: my name is {word}",
                    hint="Put one of them there.",
                )
    for name in sorted(set(spec.vars) & RESERVED_VARIABLES):
        yield SpecError(
            f'variable "{name}" is one that promptbot fills itself.',
            place=place_of(("vars", name), base, variant),
            expected=f"Reserved: {', '.join(sorted(RESERVED_VARIABLES))}.",
            hint="Choose another name.",
        )
    for name in spec.vars:
        if not name.isidentifier():
            yield SpecError(
                f'variable "{name}" cannot be used in a template.',
                place=place_of(("vars", name), base, variant),
                expected="Expected letters, digits and underscores, no digit first.",
                hint="Choose another name.",
            )


def _useless_scoring(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    """Yield settings of calibration and verbalizer that the bot cannot use."""
    calibration, verbalizer = spec.calibration, spec.verbalizer
    calibrates = calibration.method != "none" or calibration.neighbours is not None
    place = place_of(("calibration",), base, variant)
    if spec.ensemble.kind in ("permutations", "variants"):
        missing = ""
        mixes = spec.ensemble.kind == "variants"
        over = "the prompts of variants" if mixes else "orders of the examples"
        if spec.task == "chat":
            missing = "task is chat"
        elif verbalizer.mode == "generate":
            missing = "verbalizer.mode is generate"
        elif mixes:
            if not spec.ensemble.variants:
                missing = "no variant is named"
            elif calibration.method == "batch":
                missing = "calibration is batch, whose mean runs over one prompt"
        elif spec.examples is None or spec.examples.k < 2:
            missing = "the prompt shows fewer than two examples"
        if missing:
            yield SpecError(
                f"an ensemble of {spec.ensemble.kind} averages label scores over {over}, "
                f"but {missing}.",
                place=place_of(("ensemble",), base, variant),
                hint="Take ensemble out, or set task: classify, verbalizer.mode: score and "
                + (
                    "ensemble.variants."
                    if spec.ensemble.kind == "variants"
                    else "examples.k of 2 or more."
                ),
            )
    if spec.task == "chat":
        if calibrates:
            yield SpecError(
                "calibration corrects label scores, but task is chat.",
                place=place,
                hint="Set task: classify, or take calibration out.",
            )
        if verbalizer != VerbalizerSpec():
            yield SpecError(
                "verbalizer chooses labels, but task is chat.",
                place=place_of(("verbalizer",), base, variant),
                hint="Set task: classify, or take verbalizer out.",
            )
        return
    if calibrates and verbalizer.mode == "generate":
        yield SpecError(
            "calibration needs label scores, but verbalizer.mode is generate.",
            place=place,
            hint="Set verbalizer.mode: score, or take calibration out.",
        )
    if calibration.method == "domain" and spec.examples is None:
        yield SpecError(
            "domain calibration draws words from the example pool, but there is none.",
            place=place,
            hint="Add examples, or use  calibration: contextual.",
        )
    if calibration.neighbours and spec.examples is None:
        yield SpecError(
            "calibration.neighbours are looked for in the example pool, but there is none.",
            place=place,
            hint="Add examples, or take neighbours out.",
        )
    if verbalizer.min_probability and verbalizer.mode == "generate":
        yield SpecError(
            "verbalizer.min_probability needs probabilities, but verbalizer.mode is generate.",
            place=place_of(("verbalizer", "min_probability"), base, variant),
            hint="Set verbalizer.mode: score, or take min_probability out.",
        )
    out_of_scope = verbalizer.out_of_scope
    if out_of_scope and not verbalizer.min_probability and out_of_scope not in (spec.labels or {}):
        yield SpecError(
            f'the label "{out_of_scope}" can never be given: it is not among labels, and nothing '
            "makes the bot abstain.",
            place=place_of(("verbalizer", "out_of_scope"), base, variant),
            hint="Set verbalizer.min_probability, or add it to labels.",
        )


def _useless_samples(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    """Yield settings of a majority that would take nothing or always the same."""
    ensemble = spec.ensemble
    if ensemble.variants and ensemble.kind != "variants":
        yield SpecError(
            f"ensemble.variants are named, but ensemble.kind is {ensemble.kind}.",
            place=place_of(("ensemble", "variants"), base, variant),
            hint="Set kind: variants, or take variants out.",
        )
    named = ensemble.variants
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice:
        yield SpecError(
            f'ensemble.variants names "{twice}" twice.',
            place=place_of(("ensemble", "variants"), base, variant),
            expected="Expected different variants: the bot's own prompt counts as one beside them.",
            hint="Name it once.",
        )
    if ensemble.kind != "self_consistency":
        return
    place = place_of(("ensemble",), base, variant)
    if spec.decoding.temperature == 0:
        yield SpecError(
            "self_consistency takes several samples, but decoding.temperature is 0: all of them "
            "would be the same.",
            place=place,
            hint="Set decoding.temperature, to 0.7 for instance.",
        )
    if spec.task == "classify" and spec.verbalizer.mode == "score":
        yield SpecError(
            "self_consistency takes several written answers, but verbalizer.mode is score, which "
            "knows every label's probability without samples.",
            place=place,
            hint="Set verbalizer.mode: generate, or take ensemble out.",
        )


def _wrong_output(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    """Yield settings of the answer's form that contradict others."""
    output = spec.output
    if spec.task == "classify" and output != OutputSpec():
        yield SpecError(
            "output is set, but task is classify: the answer is a label.",
            place=place_of(("output",), base, variant),
            hint="Set task: chat, or take output out.",
        )
    elif output.json_schema is not None and output.format != "json":
        yield SpecError(
            f"output.json_schema is given, but output.format is {output.format}.",
            place=place_of(("output", "json_schema"), base, variant),
            hint="Set format: json, or take json_schema out.",
        )
    elif output.format == "json" and output.wrong_language != "ignore":
        yield SpecError(
            "output.wrong_language is for free text, but output.format is json.",
            place=place_of(("output", "wrong_language"), base, variant),
            hint="Take one of them out.",
        )


def _wrong_guard(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    """Yield rules that the bot cannot say, or that any message would meet."""
    if spec.task == "classify":
        for key in ("emergency", "max_turns"):
            if getattr(spec.guard, key):
                yield SpecError(
                    f"guard.{key} answers with a sentence, but task is classify: answers are "
                    "labels.",
                    place=place_of(("guard", key), base, variant),
                    hint="Set task: chat, or take it out.",
                )
    for number, rule in enumerate(spec.guard.emergency):
        for key, parse, texts in (
            ("patterns", parse_pattern, rule.patterns),
            ("unless", parse_unless, rule.unless),
        ):
            for i, text in enumerate(texts):
                try:
                    parse(text)
                except SpecError as error:
                    place = ("guard", "emergency", number, key, i)
                    yield error.located(place_of(place, base, variant))
    yield from _unknown_regions(spec, base, variant)


_MISTAKEN_REGIONS = {"UK": "GB", "EN": "GB", "EL": "GR", "JA": "JP", "KO": "KR", "ZH": "CN"}


def _unknown_regions(spec: BotSpec, base: Source, variant: Source | None) -> Iterable[SpecError]:
    if not spec.guard.regions:
        return
    from phonenumbers import SUPPORTED_REGIONS

    for number, region in enumerate(spec.guard.regions):
        if region not in SUPPORTED_REGIONS:
            code = _MISTAKEN_REGIONS.get(region.upper(), region.upper())
            meant = f' Did you mean "{code}"?' if code in SUPPORTED_REGIONS else ""
            yield SpecError(
                f'unknown region "{region}" in guard.regions.',
                place=place_of(("guard", "regions", number), base, variant),
                expected="Expected codes of two capitals, as US, GB or DE.",
                hint=f"Known: {', '.join(sorted(SUPPORTED_REGIONS))}.{meant}",
            )


RESERVED_VARIABLES = frozenset(
    {
        "examples",
        "facts",
        "fallback",
        "input",
        "json_schema",
        "knowledge",
        "labels",
        "language",
        "summary",
        "turns",
    }
)
"""Names that templates see beside the bot's own `vars`."""


def explain(detail: ErrorDetails, place: str, root: type[BaseModel] = BotSpec) -> SpecError:
    """Return pydantic's complaint about the settings of `root` in promptbot's words."""
    key: Key = detail["loc"]
    name = ".".join(map(str, key))
    if detail["type"] == "missing":
        return SpecError(
            f'setting "{name}" is missing.', place=place, hint=f"Add a line  {key[-1]}: ..."
        )
    if detail["type"] == "extra_forbidden":
        known = _known_keys(key[:-1], root)
        return SpecError(
            f'unknown setting "{name}".',
            place=place,
            hint=known_words("Known", str(key[-1]), known),
        )
    found = detail["input"]
    if detail["type"] == "literal_error":
        # Inside a list, no field names the choices; pydantic's own words do.
        choices = _choices(key, root) or re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        return SpecError(
            f'unknown {name} "{found}".',
            place=place,
            hint=known_words("Known", str(found), choices),
        )
    expected = _EXPECTED.get(detail["type"]) or detail["msg"].replace(
        "Input should be", "Expected a value"
    )
    if isinstance(found, float) and not math.isfinite(found):
        expected = "Expected an ordinary number, as 0.7"
    return SpecError(
        f"{name} is {found!r}.",
        place=place,
        expected=f"{expected.rstrip('.')}.",
        hint=f"Correct the value of {name}.",
    )


_EXPECTED = {
    "int_type": "Expected a whole number",
    "float_type": "Expected a number",
    "string_type": "Expected a text; put it between quotes",
    "list_type": "Expected a list, as [one, two]",
    "dict_type": "Expected settings below it, as {key: value}",
    "model_type": "Expected settings below it, as {key: value}",
    "too_short": "Expected a list with at least one entry",
    "string_too_short": "Expected a text that is not empty",
    "string_pattern_mismatch": "Expected letters, digits, underscore, dot and hyphen only",
}


def _section(key: Key, root: type[BaseModel]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for part in key:
        if model and str(part) not in model.model_fields:
            continue  # a name that the user chose, as that of a baseline
        annotation = model.model_fields[str(part)].annotation if model else None
        candidates = [annotation, *get_args(annotation)]
        model = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None
        )
    return model


def setting_names(root: type[BaseModel] = BotSpec) -> dict[str, tuple[str, ...]]:
    """Return every setting below `root` by its dotted name, with its values where they are few."""
    found: dict[str, tuple[str, ...]] = {}
    for name, info in root.model_fields.items():
        section = _section((name,), root)
        if section is None:
            choices = ("true", "false") if info.annotation is bool else _choices((name,), root)
            is_word = all(isinstance(choice, str) for choice in get_args(info.annotation))
            found[name] = tuple(choices) if is_word else ()
        else:
            found |= {f"{name}.{key}": words for key, words in setting_names(section).items()}
    return found


def _known_keys(key: Key, root: type[BaseModel]) -> list[str]:
    model = _section(key, root)
    return list(model.model_fields) if model else []


def _choices(key: Key, root: type[BaseModel]) -> list[str]:
    model = _section(key[:-1], root)
    annotation = model.model_fields[str(key[-1])].annotation if model else None
    return [str(choice) for choice in get_args(annotation)]


__all__ = [
    "RESERVED_VARIABLES",
    "BotSpec",
    "CalibrationSpec",
    "DecodingSpec",
    "EnsembleSpec",
    "ExamplesSpec",
    "GuardSpec",
    "KnowledgeSpec",
    "MemorySpec",
    "NeighboursSpec",
    "OutputSpec",
    "Settings",
    "Source",
    "VerbalizerSpec",
    "explain",
    "join_errors",
    "overlay",
    "parse_spec",
    "read_value",
    "read_yaml",
    "setting_names",
]
