"""A bot's folder, read: settings under one variant, templates, examples, notes, content hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from promptbot.bot.spec import (
    BotSpec,
    Key,
    Source,
    overlay,
    parse_spec,
    place_of,
    read_yaml,
)
from promptbot.data import check_k, content_hash, load_examples, load_notes
from promptbot.errors import (
    BotNotFound,
    DataError,
    SpecError,
    TemplateError,
    did_you_mean,
    known_words,
)
from promptbot.types import Example, Note

DEFAULT_VARIANT = "default"
"""The variant that is bot.yaml as it stands."""


@dataclass(frozen=True)
class TemplateSource:
    """A template's text, not yet compiled."""

    name: str
    """Path that errors show."""
    text: str
    """Jinja source."""


@dataclass(frozen=True)
class Bot:
    """One bot under one variant: everything that decides a reply, except the model."""

    folder: Path
    """Where it was read from."""
    variant: str
    """The variant's name; ``default`` for bot.yaml as it stands."""
    spec: BotSpec
    """Its settings, the variant's overlay applied."""
    system: TemplateSource
    """The system prompt's template."""
    turn: TemplateSource | None
    """The template around each user message."""
    partials: Mapping[str, str]
    """Every template of the folder by file name, for ``include`` and ``import``."""
    examples: tuple[Example, ...]
    """The example pool, in file order."""
    notes: tuple[Note, ...]
    """The knowledge, in file order."""
    memory: TemplateSource | None = None
    """The template that asks for a summary or for facts; None for promptbot's own."""
    json_schema: Any = None
    """What ``output.json_schema`` says, or its file; not checked yet. None where there is none."""
    members: tuple[Bot, ...] = ()
    """The bot under the variants of its ensemble."""

    @property
    def name(self) -> str:
        """The bot's name."""
        return self.spec.name

    @property
    def own_texts(self) -> list[str]:
        """What the bot itself says and shows: the numbers and addresses in it are its own."""
        shown = [example.output for example in self.examples]
        return [
            *self.partials.values(),
            *(note.text for note in self.notes),
            *(text for text in shown if text),
            *(str(value) for value in self.spec.vars.values()),
        ]

    @cached_property
    def content_hash(self) -> str:
        """Hash of settings, templates, examples and notes; 16 hexadecimal digits.

        The place of the folder, the description, and the lines on which examples stand do not
        change a reply, so they do not change the hash.
        """
        values: dict[str, Any] = {
            "spec": self.spec.model_dump(mode="json", exclude={"description"}),
            "system": self.system.text,
            "turn": self.turn.text if self.turn else None,
            "memory": self.memory.text if self.memory else None,
            "partials": dict(self.partials),
            "examples": [(e.input, e.output, e.label) for e in self.examples],
            "notes": [asdict(note) for note in self.notes],
        }
        if self.json_schema is not None:
            values["json_schema"] = self.json_schema
        if self.members:
            values["members"] = [member.content_hash for member in self.members]
        return content_hash(values)

    def with_json(self, json_schema: Mapping[str, Any] | type) -> Bot:
        """Return this bot, made to answer with JSON of a schema, or of a pydantic class."""
        if isinstance(json_schema, type):
            from pydantic import TypeAdapter

            json_schema = TypeAdapter(json_schema).json_schema()
        output = self.spec.output.model_copy(
            update={"format": "json", "json_schema": dict(json_schema)}
        )
        spec = self.spec.model_copy(update={"output": output})
        return replace(self, spec=spec, json_schema=dict(json_schema))


def shipped_bots_folder() -> Path:
    """Return the folder of the bots that come with promptbot."""
    installed = Path(__file__).parents[1] / "templates"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "templates"


def bot_folders() -> dict[str, Path]:
    """Return every bot in ``./templates`` and among those shipped, by name; the nearer one wins."""
    found: dict[str, Path] = {}
    for parent in (Path("templates"), shipped_bots_folder()):
        if parent.is_dir():
            for folder in sorted(parent.iterdir()):
                if (folder / "bot.yaml").is_file():
                    found.setdefault(folder.name, folder)
    return found


def find_bot(name: str | Path) -> Path:
    """Return the folder of a bot: a path, else a name in ./templates or among those shipped.

    Raises:
        BotNotFound: Nothing of this name has a bot.yaml.
    """
    if not str(name).strip():
        raise BotNotFound(
            "the name of the bot is empty.",
            expected=known_words("Bots", "", bot_folders()),
            hint="Give one of these names, or the path of a folder with a bot.yaml.",
        )
    path = Path(name).expanduser()
    try:
        if path.is_dir() and (path / "bot.yaml").is_file():
            return path
        if path.name == "bot.yaml" and path.is_file():
            return path.parent
        exists, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError):  # a name too long for the file system, or with a NUL
        exists = is_file = False
    bots = bot_folders()
    if str(name) in bots:
        return bots[str(name)]
    if exists:
        raise BotNotFound(
            "the folder holds no bot.yaml.",
            place=str(name),
            hint=f"{known_words('Bots', path.name, bots)} To make one: promptbot new NAME.",
        )
    if is_file:
        raise BotNotFound(
            "this is a file, and a bot is a folder.",
            place=str(name),
            expected="Expected a folder with a bot.yaml in it, or a bot's name.",
            hint=known_words("Bots", path.stem, bots),
        )
    raise BotNotFound(
        f'there is no bot "{name}".',
        expected=known_words("Bots", str(name), bots),
        hint="Give one of these names, or the path of a folder with a bot.yaml "
        "(promptbot new NAME makes one).",
    )


def variant_files(folder: Path) -> dict[str, Path]:
    """Return the variant files of a bot by name, in alphabetical order."""
    files = sorted((folder / "variants").glob("*.yaml"))
    return {file.stem: file for file in files}


def read_spec(
    folder: Path, variant: str | None = None, settings: Mapping[str, Any] | None = None
) -> BotSpec:
    """Return a bot's settings under a variant.

    Args:
        folder: The bot's.
        variant: One of its variants; bot.yaml as it stands when None.
        settings: What a conversation sets on top of them, nested as in bot.yaml.

    Raises:
        SpecError: bot.yaml or the variant's file is wrong, or there is no such variant.
    """
    base = read_yaml(folder / "bot.yaml")
    over = _read_variant(folder, variant)
    spec = parse_spec(base, over)  # first, so that a mistake in a file is told as one of that file
    return parse_spec(base, _with_settings(over, settings)) if settings else spec


def _with_settings(over: Source | None, settings: Mapping[str, Any] | None) -> Source | None:
    """Return a variant with what a conversation sets; errors in that are said of ``/set``."""
    if not settings:
        return over
    lines: dict[Key, int] = {}
    _note_keys(settings, (), lines)
    return Source(Path("/set"), overlay(over.values if over else {}, settings), lines)


def _note_keys(settings: Mapping[str, Any], above: Key, lines: dict[Key, int]) -> None:
    for name, value in settings.items():
        lines[*above, name] = 0
        if isinstance(value, Mapping):
            _note_keys(value, (*above, name), lines)


def _read_variant(folder: Path, variant: str | None) -> Source | None:
    files = variant_files(folder)
    if variant is None or (variant == DEFAULT_VARIANT and variant not in files):
        return None
    if variant not in files:
        raise SpecError(
            f'the bot has no variant "{variant}".',
            place=str(folder),
            hint=known_words("Variants", variant, [DEFAULT_VARIANT, *files]),
        )
    return read_yaml(files[variant])


def load_bot(
    name: str | Path, variant: str | None = None, settings: Mapping[str, Any] | None = None
) -> Bot:
    """Return a bot, found by path or name, under one of its variants.

    Args:
        name: The folder's path, or the bot's name.
        variant: One of its variants; bot.yaml as it stands when None.
        settings: What a conversation sets on top of them, nested as in bot.yaml.

    Raises:
        BotNotFound: There is no such bot.
        SpecError: Its settings are wrong.
        TemplateError: A template is missing or cannot be read.
        DataError: Its examples or its knowledge are wrong.
    """
    folder = find_bot(name)
    spec = read_spec(folder, variant, settings)
    examples: list[Example] = []
    if spec.examples:
        with said_by(folder, variant, ("examples", "file"), settings):
            examples = load_examples(data_file(folder, spec.examples.file), spec.labels)
        with said_by(folder, variant, ("examples", "k"), settings):
            check_k(spec.examples.k, len(examples), place=str(folder))
    notes: list[Note] = []
    if spec.knowledge:
        with said_by(folder, variant, ("knowledge", "file"), settings):
            notes = load_notes(data_file(folder, spec.knowledge.file))
    with said_by(folder, variant, ("template",), settings):
        system = read_template(folder, spec.template)
    with said_by(folder, variant, ("turn_template",), settings):
        turn = find_turn_template(folder, spec)
    with said_by(folder, variant, ("memory", "template"), settings):
        memory = find_memory_template(folder, spec)
    with said_by(folder, variant, ("output", "json_schema"), settings):
        json_schema = read_json_schema(folder, spec)
    members = []
    # Their own ensembles are left out, so that variants may name each other.
    alone = {**(settings or {}), "ensemble": {"kind": "none", "variants": []}}
    for number, member in enumerate(spec.ensemble.variants):
        with said_by(folder, variant, ("ensemble", "variants", number), settings):
            members.append(load_bot(folder, member, alone))
    return Bot(
        folder=folder,
        variant=variant or DEFAULT_VARIANT,
        spec=spec,
        system=system,
        turn=turn,
        partials=read_partials(folder),
        examples=tuple(examples),
        notes=tuple(notes),
        memory=memory,
        json_schema=json_schema,
        members=tuple(members),
    )


@contextmanager
def said_by(
    folder: Path, variant: str | None, key: Key, settings: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Give an error that names only the folder the file and line of the setting that caused it."""
    try:
        yield
    except (DataError, SpecError, TemplateError) as error:
        if error.place != str(folder):
            raise
        base = read_yaml(folder / "bot.yaml")
        over = _with_settings(_read_variant(folder, variant), settings)
        raise error.located(place_of(key, base, over)) from None


def inside(folder: Path, name: str) -> Path:
    """Return the path of a bot's file, looked for beside its variants and then in the folder.

    Raises:
        DataError: The path leads out of the folder, directly or by a link.
    """
    in_variants = folder / "variants" / name
    path = in_variants if in_variants.exists() else folder / name
    try:
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        leaves = True
    if leaves:
        raise DataError(
            f'"{name}" leads out of the bot\'s folder.',
            place=str(folder),
            hint="Put the file into the folder: a bot is complete in itself.",
        )
    return path


def data_file(folder: Path, name: str) -> Path:
    """Return the path of a bot's examples or knowledge.

    Raises:
        DataError: There is no such file, or the path leads out of the folder.
    """
    path = inside(folder, name)
    if not path.exists():
        near = did_you_mean(name, [file.name for file in sorted(folder.iterdir())])
        raise DataError(
            f'there is no file "{name}" in the folder.',
            place=str(folder),
            hint=near or "Create it, or correct the name here.",
        )
    return path


def read_template(folder: Path, name: str) -> TemplateSource:
    """Return the text of a template.

    Raises:
        TemplateError: There is no such file, or it cannot be read.
    """
    path = inside(folder, name)
    if not path.is_file():
        known = [file.name for file in _template_files(folder)]
        raise TemplateError(
            f'there is no template "{name}".',
            place=str(folder),
            hint=known_words("Templates", name, known),
        )
    return TemplateSource(name=str(path), text=_read_text(path))


def find_turn_template(folder: Path, spec: BotSpec) -> TemplateSource | None:
    """Return the template around user messages: the one named, else turn.j2 where it exists."""
    if spec.turn_template:
        return read_template(folder, spec.turn_template)
    return read_template(folder, "turn.j2") if (folder / "turn.j2").is_file() else None


def find_memory_template(folder: Path, spec: BotSpec) -> TemplateSource | None:
    """Return what asks for the summary or facts: the template named, else the memory's own file."""
    if spec.memory.template:
        return read_template(folder, spec.memory.template)
    name = f"{spec.memory.kind}.j2"
    wanted = spec.memory.kind in ("summary", "facts") and (folder / name).is_file()
    return read_template(folder, name) if wanted else None


def place_of_schema(folder: Path, spec: BotSpec) -> str:
    """Return where a bot's JSON schema is written, for errors."""
    named = spec.output.json_schema
    return str(folder / (named if isinstance(named, str) else "bot.yaml"))


def read_json_schema(folder: Path, spec: BotSpec) -> Any:
    """Return what ``output.json_schema`` says, or the file that it names; None where it is unset.

    Raises:
        DataError: There is no such file, or it is not JSON.
    """
    named = spec.output.json_schema
    if not isinstance(named, str):
        return named
    path = inside(folder, named)
    if not path.is_file():
        known = [file.name for file in sorted(folder.glob("*.json"))]
        raise DataError(
            f'there is no file "{named}".',
            place=str(folder),
            hint=known_words("JSON files", named, known),
        )
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"the file cannot be read ({error.strerror}).",
            place=str(path),
            hint="Check its permissions.",
        ) from None
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(
            f"this is not JSON: {what}.",
            place=f"{path}{line}",
            hint="Correct it there; JSON wants double quotes and no comma at the end.",
        ) from None


def read_partials(folder: Path) -> dict[str, str]:
    """Return every template of the folder by file name."""
    return {file.name: _read_text(inside(folder, file.name)) for file in _template_files(folder)}


def _template_files(folder: Path) -> Iterator[Path]:
    for parent in (folder, folder / "variants"):
        yield from sorted(file for file in parent.glob("*.j2") if file.is_file())


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror})."
        raise TemplateError(problem, place=str(path), hint="Check its permissions.") from None
    except UnicodeDecodeError:
        raise TemplateError(
            "the file is not UTF-8.", place=str(path), hint="Save it as UTF-8 text."
        ) from None
