"""Everything that can be wrong in a bot's folder, found at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from promptbot.bot.folder import (
    TemplateSource,
    bot_folders,
    data_file,
    find_bot,
    find_memory_template,
    find_turn_template,
    load_bot,
    place_of_schema,
    read_json_schema,
    read_partials,
    read_spec,
    read_template,
    said_by,
    variant_files,
)
from promptbot.bot.spec import RESERVED_VARIABLES, BotSpec, Key
from promptbot.data import check_k, scan_examples, scan_notes
from promptbot.errors import DataError, MissingExtra, PromptbotError, SpecError
from promptbot.guard.guard import secrets_of_environment
from promptbot.guard.numbers import NATIONAL_IDS, regions_of
from promptbot.models.prefix_cache import common_length
from promptbot.prompt.output import ANY_OBJECT, check_schema, other_language
from promptbot.prompt.template import Template
from promptbot.prompt.verbalizer import Verbalizer
from promptbot.types import Example

T = TypeVar("T")

LONG_BEHIND = 160
"""Characters of fixed text, about 40 tokens, from which on their place is worth a remark."""

SYSTEM_VARIABLES = RESERVED_VARIABLES - {"input", "turns"}
"""What promptbot fills in a system prompt's template."""
TURN_VARIABLES = RESERVED_VARIABLES - {"examples", "facts", "knowledge", "summary", "turns"}
"""What promptbot fills in the template around a user message."""
MEMORY_VARIABLES = RESERVED_VARIABLES - {"examples", "input", "knowledge"}
"""What promptbot fills in the template that asks for a summary or for facts."""


def check_bot(name: str | Path) -> list[PromptbotError]:
    """Return everything that is wrong with a bot: settings, variants, templates, data.

    Each problem is reported once, in the file that holds it, even where several variants meet it.
    A `MissingExtra` among them is no mistake of the bot: what it names was not checked.

    Raises:
        BotNotFound: There is no such folder, or it holds no bot.yaml.
    """
    folder = find_bot(name)
    found: dict[str, PromptbotError] = {}
    for variant in (None, *variant_files(folder)):
        for problem in _check_variant(folder, variant):
            found.setdefault(str(problem), problem)
        if variant is None and found:
            # A broken bot.yaml makes every variant wrong in the same way.
            try:
                read_spec(folder)
            except PromptbotError:
                break
    return list(found.values())


def check_names(names: list[str]) -> list[str]:
    """Return the bots to check: those named, or all that are found."""
    return names or list(bot_folders())


def _check_variant(folder: Path, variant: str | None) -> Iterator[PromptbotError]:
    try:
        spec = read_spec(folder, variant)
    except PromptbotError as error:
        yield error
        return
    for number, member in enumerate(spec.ensemble.variants):
        key = ("ensemble", "variants", number)
        problem = _attempt(partial(read_spec, folder, member), folder, variant, key)[1]
        if problem:
            yield problem
    yield from check_templates(folder, spec, variant)
    yield from _check_labels(folder, spec)
    yield from _check_output(folder, spec, variant)
    if spec.examples:
        yield from _check_examples(folder, spec, variant)
    if spec.knowledge:
        yield from _check_knowledge(folder, spec.knowledge.file, variant)


def check_templates(
    folder: Path, spec: BotSpec, variant: str | None = None
) -> Iterator[PromptbotError]:
    """Yield everything that is wrong with the templates that these settings use."""
    partials, problem = _attempt(lambda: read_partials(folder))
    if partials is None:
        assert problem is not None
        yield problem
        return
    readers: list[tuple[Key, Callable[[], TemplateSource | None], frozenset[str]]] = [
        (("template",), lambda: read_template(folder, spec.template), SYSTEM_VARIABLES),
        (("turn_template",), lambda: find_turn_template(folder, spec), TURN_VARIABLES),
        (("memory", "template"), lambda: find_memory_template(folder, spec), MEMORY_VARIABLES),
    ]
    for key, read, filled in readers:
        source, problem = _attempt(read, folder, variant, key)
        if problem:
            yield problem
        elif source:
            template = Template(name=source.name, source=source.text, partials=partials)
            mistakes = template.check([*spec.vars, *sorted(filled)])
            yield from mistakes
            if not mistakes:
                # What only a rendering shows: endless loops, megabytes, forbidden attributes.
                trial = {name: value for name, value in _trial(spec).items() if name in filled}
                problem = _attempt(partial(template.render, {**spec.vars, **trial}))[1]
                if problem:
                    yield problem


def cache_advice(name: str | Path) -> list[str]:
    """Return a remark on each template whose fixed text a model must read again with every message.

    The prefix cache of a model ends at the first token that differs. Fixed text behind the notes
    or behind anything else that changes with the message is therefore never found there.
    """
    folder = find_bot(name)
    remarks: dict[str, None] = {}
    for variant in (None, *variant_files(folder)):
        spec = read_spec(folder, variant)
        source = read_template(folder, spec.template)
        template = Template(name=source.name, source=source.text, partials=read_partials(folder))
        one, other = (template.render({**spec.vars, **_trial(spec, text)}).strip() for text in "ab")
        if one == other:
            continue
        n_before = common_length(one, other)
        n_behind = common_length(one[::-1], other[::-1])
        if n_behind >= LONG_BEHIND:
            remark = (
                f"{source.name}: {n_behind} characters of fixed text stand behind text that "
                f"changes with each message, {n_before} before it. A model's prefix cache keeps "
                "only what stands before: put fixed text first."
            )
            remarks[remark] = None
    return list(remarks)


def guard_advice(name: str | Path) -> list[str]:
    """Return a remark on what a bot is to take out but cannot know, and on secrets in its texts."""
    folder = find_bot(name)
    remarks: dict[str, None] = {}
    secrets = secrets_of_environment()
    for variant in (None, *variant_files(folder)):
        own_texts = load_bot(folder, variant).own_texts if secrets else []
        for secret, value in secrets.items():
            if any(value in text for text in own_texts):
                remarks[
                    f"the value of the environment variable {secret} stands in its texts. It is "
                    "taken out of every prompt; take it out of the folder, too."
                ] = None
        spec = read_spec(folder, variant)
        regions = spec.guard.regions or regions_of(spec.language)
        if "phone" in spec.guard.redact and not regions:
            remark = (
                f"guard.redact: phone numbers without a country code will not be found, since it "
                f'is not known where the language "{spec.language}" is spoken. Say whose numbers '
                "they are, as  guard: {regions: [GB]}"
            )
            remarks[remark] = None
        without = [region for region in regions if region not in NATIONAL_IDS]
        if "national_id" in spec.guard.redact and (without or not regions):
            whose = ", ".join(without) or f'the language "{spec.language}"'
            remark = (
                f"guard.redact: national ids of {whose} are not known and will not be found. "
                f"Known are those of: {', '.join(NATIONAL_IDS)}."
            )
            remarks[remark] = None
    return list(remarks)


def _trial(spec: BotSpec, text: str = "") -> dict[str, object]:
    """Return values of the kinds that a template gets in a conversation, with a text of ours."""
    note = {"question": "Q", "answer": "A", "text": "Q A", "source": "knowledge.jsonl:1"}
    by_words = spec.knowledge is not None and spec.knowledge.retriever == "bm25"
    similarity = None if by_words else 0.5
    notes = [{**{k: v + text for k, v in note.items()}, "similarity": similarity}] * 3
    return {
        "fallback": spec.guard.fallback,
        "language": spec.language,
        "labels": spec.labels or {},
        "knowledge": notes,
        "examples": [{"input": "I" + text, "output": "O" + text}] * 3,
        "input": "I" + text,
        "json_schema": "{}" if spec.output.format == "json" else "",
        "summary": "S" + text,
        "facts": {"name": "N" + text},
        "turns": [{"role": "user", "content": "C" + text}] * 2,
    }


def _check_labels(folder: Path, spec: BotSpec) -> Iterator[PromptbotError]:
    if spec.labels:
        labels = spec.labels
        verbalizer, problem = _attempt(lambda: Verbalizer(labels))
        if problem:
            yield problem if problem.place else problem.located(str(folder / "bot.yaml"))
        for one, other in verbalizer.lookalikes() if verbalizer else ():
            yield SpecError(
                f'the wordings "{one}" and "{other}" of two labels read alike.',
                place=str(folder / "bot.yaml"),
                expected="A model that writes its answer may mean either.",
                hint="Choose wordings that differ in more than case and punctuation.",
            )


def _check_output(folder: Path, spec: BotSpec, variant: str | None) -> Iterator[PromptbotError]:
    key: Key = ("output", "json_schema")
    schema, problem = _attempt(lambda: read_json_schema(folder, spec), folder, variant, key)
    if schema is None and spec.output.format == "json":
        schema = ANY_OBJECT
    if problem is None and schema is not None:
        in_file = isinstance(spec.output.json_schema, str)
        place = place_of_schema(folder, spec) if in_file else str(folder)
        problem = _attempt(lambda: check_schema(schema, place), folder, variant, key)[1]
    if problem is None and spec.output.wrong_language != "ignore":
        problem = _attempt(lambda: other_language("", spec.language))[1]
    if isinstance(problem, MissingExtra):
        name = f"variants/{variant}.yaml" if variant in variant_files(folder) else "bot.yaml"
        problem = problem.located(str(folder / name))
    if problem:
        yield problem


def _check_examples(folder: Path, spec: BotSpec, variant: str | None) -> Iterator[PromptbotError]:
    assert spec.examples is not None
    name = spec.examples.file
    path, problem = _attempt(lambda: data_file(folder, name), folder, variant, ("examples", "file"))
    if path is None:
        assert problem is not None
        yield problem
        return
    examples: list[Example] = []
    first_seen: dict[str, Example] = {}
    broken = False
    for item in scan_examples(path, spec.labels):
        if isinstance(item, DataError):
            broken = True
            yield item
            continue
        examples.append(item)
        key = " ".join(item.input.lower().split())
        twin = first_seen.setdefault(key, item)
        if twin is not item and (twin.label, twin.output) != (item.label, item.output):
            yield DataError(
                f'"{item.input}" is answered "{item.output}", but on line {twin.line} '
                f'"{twin.output}".',
                place=f"{path}, line {item.line}",
                hint="Keep the right one: a model cannot follow both.",
            )
    if not broken:
        k = spec.examples.k
        problem = _attempt(
            lambda: check_k(k, len(examples), place=str(folder)),
            folder,
            variant,
            ("examples", "k"),
        )[1]
        if problem:
            yield problem
        if not examples:
            for setting, uses in _pool_users(spec):
                refuse = partial(_refuse_empty_pool, uses, place=str(folder))
                problem = _attempt(refuse, folder, variant, setting)[1]
                assert problem is not None
                yield problem
    unused = set(spec.labels or ()) - {example.label for example in examples}
    if unused and not broken:
        yield SpecError(
            f"no example shows the labels {', '.join(sorted(unused))}.",
            place=str(path),
            hint="Add at least one example of each, or take the labels out of bot.yaml.",
        )


def _pool_users(spec: BotSpec) -> Iterator[tuple[Key, str]]:
    """Yield what needs the example pool even where no example is shown, and its setting."""
    if spec.calibration.method == "domain":
        yield ("calibration", "method"), "domain calibration draws words from"
    if spec.calibration.neighbours:
        yield ("calibration", "neighbours"), "calibration.neighbours are looked for in"


def _refuse_empty_pool(uses: str, *, place: str) -> None:
    raise DataError(
        f"{uses} the example pool, which is empty.",
        place=place,
        hint="Add examples, or use  calibration: contextual.",
    )


def _check_knowledge(folder: Path, name: str, variant: str | None) -> Iterator[PromptbotError]:
    path, problem = _attempt(
        lambda: data_file(folder, name), folder, variant, ("knowledge", "file")
    )
    if path is None:
        assert problem is not None
        yield problem
        return
    notes = 0
    for item in scan_notes(path):
        notes += 1
        if isinstance(item, DataError):
            yield item
    if not notes:
        yield DataError(
            "the knowledge is empty.",
            place=str(path),
            hint="Add notes, or take knowledge: out of bot.yaml.",
        )


def _attempt(
    function: Callable[[], T],
    folder: Path | None = None,
    variant: str | None = None,
    key: Key = (),
) -> tuple[T | None, PromptbotError | None]:
    """Return what a function gives, or its error with the place of the setting that caused it."""
    try:
        if folder is None:
            return function(), None
        with said_by(folder, variant, key):
            return function(), None
    except PromptbotError as error:
        return None, error
