"""Prompts of other programs as new bots: Prompty files, and chat templates of Hugging Face."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from promptbot.bot.scaffold import write_bot
from promptbot.bot.spec import RESERVED_VARIABLES
from promptbot.errors import InputError, PromptbotError, SpecError
from promptbot.models.chat_format import chat_template_in, render_chat
from promptbot.prompt.template import Template
from promptbot.types import Message

ROLE_LINE = re.compile(
    r"^[ \t]*#?[ \t]*(?P<role>system|developer|user|assistant|tool|function)[ \t]*"
    r"(?:\[[^\]\n]*\])?[ \t]*:[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""A line of a Prompty file that begins a message."""

MESSAGE_NAMES = ("input", "question", "query", "message", "user_input", "prompt", "text")
"""Names that a user's message commonly has, the likeliest first."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "temperature": ("temperature",),
    "top_p": ("topP", "top_p"),
    "top_k": ("topK", "top_k"),
    "min_p": ("min_p",),
    "repetition_penalty": ("repetition_penalty",),
    "max_new_tokens": ("maxOutputTokens", "max_completion_tokens", "max_tokens"),
    "stop": ("stopSequences", "stop"),
}
"""How both versions of Prompty call our decoding settings."""

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\n(?P<front>.*?)^---[ \t]*$\n?(?P<body>.*)\Z", re.S | re.M)
_HISTORY = re.compile(
    r"\{%-?\s*for (?P<one>\w+) in (?P<history>\w+)\s*-?%\}\s*"
    r"\{\{-?\s*(?P=one)\.role\s*-?\}\}:\s*\{\{-?\s*(?P=one)\.content\s*-?\}\}\s*"
    r"\{%-?\s*endfor\s*-?%\}"
)
"""How published Prompty files write the messages of a conversation so far."""
_KINDS = {"float": "number", "string": "string", "integer": "integer", "number": "number"}
_KINDS |= {"boolean": "boolean", "array": "array", "object": "object"}
"""JSON's name of each kind of value that Prompty's outputs have."""
_MUSTACHE = re.compile(r"\{\{[#^/>][^}]{0,60}\}\}")
_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """A bot that was made of a file."""

    folder: Path
    """Its folder."""
    remarks: tuple[str, ...]
    """What could not be carried over, or was decided, for a person to read."""


def import_file(file: Path, parent: Path, name: str | None = None) -> Imported:
    """Make a bot of a ``.prompty`` file, a ``.jinja`` chat template or a checkpoint's folder.

    The folder appears complete or not at all, and nothing in the file is executed but its
    templates, in the sandbox.

    Args:
        file: What to read.
        parent: Where the bot's folder is made.
        name: The bot's name; what the file says, or is called, when None.

    Raises:
        InputError: The file is none of these, or says what a bot cannot.
    """
    if file.suffix == ".prompty":
        return _import_prompty(file, parent, name)
    if file.is_dir() or file.suffix in (".jinja", ".json"):
        return _import_chat_template(file, parent, name)
    raise InputError(
        "this cannot be made a bot.",
        place=str(file),
        expected="Expected a .prompty file, a tokenizer_config.json or .jinja with a chat "
        "template, or a checkpoint's folder.",
        hint="Check the path; to make a bot of nothing: promptbot new NAME.",
    )


def _import_prompty(file: Path, parent: Path, name: str | None) -> Imported:
    front, body = _split(file)
    remarks: list[str] = []
    if history := _HISTORY.search(body):
        body = _HISTORY.sub("", body)
        remarks.append(
            f"the loop over {history['history']} was left out: a bot remembers conversations itself"
        )
    system, pairs, asked = _sections(body, file)
    if not body.strip():
        remarks.append("the file has no messages: the system prompt is empty")
    values = _values(front, remarks)
    message, used = _message_name(system, asked, file)
    settings: dict[str, Any] = {
        "name": name or _slug(str(front.get("name") or file.stem)),
        "description": " ".join(str(front.get("description") or "").split()),
        **_model(front, remarks),
    }
    files = {"system.j2": f"{system}\n"}
    if asked.replace(" ", "") != f"{{{{{message}}}}}":
        lead = "" if message == "input" else f"{{% set {message} = input %}}"
        files["turn.j2"] = f"{lead}{asked}\n"
    variables = {n: values.get(n, "") for n in sorted(used - {message})}
    missing = [n for n in variables if n not in values]
    if missing:
        remarks.append(f"vars without a value in the file are empty: {', '.join(missing)}")
    if message in _reads(system, file, "system"):
        variables[message] = values.get(message, "")
        remarks.append(
            f'the system prompt reads "{message}", the user\'s message, which it cannot see here: '
            "it has the file's sample"
        )
    reserved = sorted(set(variables) & RESERVED_VARIABLES)
    if reserved:
        raise InputError(
            f'the file reads "{reserved[0]}", a variable that promptbot fills itself.',
            place=str(file),
            expected=f"Reserved: {', '.join(sorted(RESERVED_VARIABLES))}.",
            hint="Rename it in the file.",
        )
    examples = _examples(pairs, variables, file, remarks)
    if examples and "turn.j2" in files:
        examples = _unwrapped(examples, files["turn.j2"], variables, remarks)
    if examples:
        files["examples.jsonl"] = "".join(
            json.dumps({"input": i, "output": o}, ensure_ascii=False) + "\n" for i, o in examples
        )
        settings["examples"] = {
            "file": "examples.jsonl",
            "selector": "fixed",
            "k": len(examples),
            "order": "file",
        }
    settings["decoding"] = _decoding(front)
    schema = _schema(front)
    if schema is not None:
        settings["output"] = {"format": "json"}
        if schema:
            settings["output"]["json_schema"] = "answer.json"
            files["answer.json"] = json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
    for key in ("tools", "tool_choice"):
        if front.get(key) or _options(front).get(key):
            remarks.append(f"{key} were left out: a bot calls no tools")
    settings["vars"] = variables
    return _write(settings, files, parent, file, remarks)


def _split(file: Path) -> tuple[dict[str, Any], str]:
    """Return the settings and the body of a Prompty file."""
    text = _read(file)
    found = _FRONT.match(text)
    if found is None:
        raise InputError(
            "the file does not begin with settings between two lines of ---.",
            place=str(file),
            hint="Check that it is a Prompty file.",
        )
    try:
        front = yaml.safe_load(found["front"])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            f"its settings are no YAML: {' '.join(str(error).split())[:200]}",
            place=str(file),
            hint="Correct them there.",
        ) from None
    if not isinstance(front, dict):
        raise InputError(
            "its settings are no lines of the form  key: value.",
            place=str(file),
            hint="Check that it is a Prompty file.",
        )
    plain = json.loads(json.dumps(front, default=str))  # dates become texts
    return plain, found["body"]


def _sections(body: str, file: Path) -> tuple[str, list[tuple[str, str]], str]:
    """Return the system prompt, the pairs of messages after it, and the last user message."""
    parts = ROLE_LINE.split(body)
    said: list[tuple[str, str]] = [("system", parts[0].strip())] if parts[0].strip() else []
    said += [
        (role.lower(), text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    system = "\n\n".join(text for role, text in said if role in ("system", "developer"))
    talk = [(role, text) for role, text in said if role not in ("system", "developer")]
    roles = [role for role, _ in talk]
    if roles and roles[-1] != "user":
        raise InputError(
            f"the last message is the {roles[-1]}'s.",
            place=str(file),
            expected="Expected the user's, with a variable for what the user says.",
            hint="Write  user:  and  {{input}}  at the end.",
        )
    if roles and roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise InputError(
            f"the messages are {', '.join(roles)}.",
            place=str(file),
            expected="Expected user and assistant in turn, and the user last.",
            hint="Leave the history of the conversation out: a bot has a memory of its own.",
        )
    pairs = [(talk[i][1], talk[i + 1][1]) for i in range(0, len(talk) - 1, 2)]
    return system, pairs, talk[-1][1] if talk else "{{input}}"


def _reads(source: str, file: Path, role: str) -> frozenset[str]:
    try:
        return Template(name=f"{file}, {role}", source=source).variables()
    except PromptbotError as error:
        mustache = _MUSTACHE.search(source)
        raise InputError(
            f"the {role} message is no template by itself: {error.problem}",
            place=str(file),
            expected=f'"{mustache[0]}" looks like Mustache; a bot\'s templates are Jinja.'
            if mustache
            else "A bot's messages are templates of their own; a loop cannot span several.",
            hint="Write it as {% if ... %}...{% endif %} or {% for ... %}...{% endfor %}."
            if mustache
            else "Leave loops over a history out: a bot has a memory of its own.",
        ) from None


def _message_name(system: str, asked: str, file: Path) -> tuple[str, frozenset[str]]:
    """Return the name of the user's message, and every variable that is read."""
    in_system, in_asked = _reads(system, file, "system"), _reads(asked, file, "user")
    alone = sorted(in_asked - in_system) or sorted(in_asked)
    known = [name for name in MESSAGE_NAMES if name in alone]
    if not alone or (len(alone) > 1 and not known):
        raise InputError(
            "which variable is the user's message? "
            f"The last message reads {', '.join(alone) or 'none'}.",
            place=str(file),
            expected=f"Expected one variable, or one of: {', '.join(MESSAGE_NAMES)}.",
            hint="Rename the variable in the file.",
        )
    return known[0] if known else alone[0], in_system | in_asked


def _values(front: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    """Return the sample values of a file's inputs, as both versions write them."""
    values: dict[str, Any] = {}
    inputs = front.get("inputs")
    if isinstance(inputs, list):
        named = {i["name"]: i for i in inputs if isinstance(i, dict) and "name" in i}
    else:
        named = dict(inputs) if isinstance(inputs, dict) else {}
    for name, one in named.items():
        keys = ("default", "sample", "example")
        if not isinstance(one, dict):
            values[name] = one
        elif found := [one[key] for key in keys if one.get(key) is not None]:
            values[name] = found[0]
    sample = front.get("sample")
    if isinstance(sample, dict):
        values |= sample
    elif sample is not None:
        remarks.append(f"the sample {str(sample)[:60]!r} was not read")
    return {str(name): value for name, value in values.items()}


def _examples(
    pairs: list[tuple[str, str]], variables: Mapping[str, Any], file: Path, remarks: list[str]
) -> list[tuple[str, str]]:
    """Return the file's pairs of messages as texts, their variables filled in."""
    examples = []
    for number, pair in enumerate(pairs, start=1):
        texts = []
        for source in pair:
            if missing := _reads(source, file, "example") - set(variables):
                remarks.append(f"example {number} reads {', '.join(missing)} and was left out")
                break
            template = Template(name=str(file), source=source)
            texts.append(template.render(dict(variables)))
        if len(texts) == 2 and all(text.strip() for text in texts):
            examples.append((texts[0], texts[1]))
    return examples


def _unwrapped(
    examples: list[tuple[str, str]], turn: str, variables: Mapping[str, Any], remarks: list[str]
) -> list[tuple[str, str]]:
    """Return examples without what turn.j2 will write around their inputs again."""
    mark = "\ue000u\ue001"
    wrapped = Template(name="turn.j2", source=turn).render({**variables, "input": mark})
    before, _, after = wrapped.partition(mark)
    around = len(before + after)
    if all(i.startswith(before) and i.endswith(after) and len(i) > around for i, _ in examples):
        return [(i[len(before) : len(i) - len(after)], o) for i, o in examples]
    remarks.append("turn.j2 also stands around the inputs of the examples now")
    return examples


def _options(front: Mapping[str, Any]) -> dict[str, Any]:
    model = front.get("model")
    found = (model.get("options") or model.get("parameters")) if isinstance(model, dict) else None
    if not isinstance(found, dict):
        return {}
    more = found.get("additionalProperties")
    return {**(more if isinstance(more, dict) else {}), **found}


def _decoding(front: Mapping[str, Any]) -> dict[str, Any]:
    options = _options(front)
    decoding: dict[str, Any] = {}
    for ours, names in OPTIONS.items():
        for name in names:
            if options.get(name) is not None:
                decoding.setdefault(ours, options[name])
    if isinstance(decoding.get("stop"), str):
        decoding["stop"] = [decoding["stop"]]
    for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
        if isinstance(decoding.get(name), int):
            decoding[name] = float(decoding[name])
    return decoding


def _schema(front: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the answers; empty for any JSON, None for text."""
    form = _options(front).get("response_format")
    outputs = _outputs(front)
    if not isinstance(form, dict) or form.get("type") == "text":
        return outputs
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return dict(schema) if isinstance(schema, dict) else outputs or {}


def _outputs(front: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema that the fields of version 2's ``outputs`` make; None without any."""
    outputs = front.get("outputs")
    if isinstance(outputs, dict):
        outputs = [{"name": n, **one} for n, one in outputs.items() if isinstance(one, dict)]
    properties = {}
    for one in outputs if isinstance(outputs, list) else ():
        if isinstance(one, dict) and "name" in one and one.get("kind") in _KINDS:
            told = {"description": one["description"]} if one.get("description") else {}
            properties[str(one["name"])] = {"type": _KINDS[one["kind"]], **told}
    if not properties:
        return None
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _model(front: Mapping[str, Any], remarks: list[str]) -> dict[str, str]:
    """Return the model as bot.yaml names it, where it is one of a provider's own."""
    model = front.get("model")
    if isinstance(model, str):
        model = {"id": model}
    if not isinstance(model, dict):
        return {}
    configuration = model.get("configuration")
    configuration = configuration if isinstance(configuration, dict) else {}
    provider = model.get("provider") or configuration.get("type")
    name = model.get("id") or configuration.get("name") or configuration.get("model")
    if name == "embedded":
        return {"model": name}
    if provider in ("openai", "anthropic") and isinstance(name, str) and "$" not in name:
        return {"model": f"{provider}:{name}"}
    if model:
        remarks.append("the file's model is not one that a bot may name: the embedded one answers")
    return {}


def _import_chat_template(file: Path, parent: Path, name: str | None) -> Imported:
    """Make a bot of what a checkpoint's chat template says by default."""
    template, special = chat_template_in(file)
    place = str(file)
    remarks = []

    def written(*messages: Message, answer: bool = False) -> str:
        return render_chat(template, messages, special, place=place, answer=answer)

    user, assistant = Message("user", "\ue000u\ue001"), Message("assistant", "\ue000a\ue001")
    system = ""
    before = written(user, answer=True).partition(user.content)[0]
    try:
        with_system = written(Message("system", "\ue000s\ue001"), user, answer=True)
    except InputError:
        with_system = ""
    head, found, rest = with_system.partition("\ue000s\ue001")
    tail = rest.partition(user.content)[0]
    if not found:
        remarks.append("the chat template has no system role: models read system.j2 as the user's")
    elif before.startswith(head) and before.endswith(tail) and len(before) > len(head + tail):
        system = before[len(head) : len(before) - len(tail)].strip()
    if not system:
        system = "You are a helpful assistant."
        remarks.append("the chat template has no system prompt: system.j2 has a plain one")
    after = written(user, assistant).partition(assistant.content)[2].strip()
    if not after:
        both = written(user, assistant, Message("user", "\ue000v\ue001"))
        after = both.partition(assistant.content)[2].partition("\ue000v\ue001")[0].strip()
    folder = file if file.is_dir() else file.parent
    settings: dict[str, Any] = {
        "name": name or _slug(folder.resolve().name if file.suffix != ".jinja" else file.stem),
        "description": f"Talks as the chat template of {folder.resolve().name} does by default.",
    }
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.onnx")):
        settings["model"] = str(folder.resolve())
    else:
        remarks.append("no weights stand beside it: choose the model with --model")
    if after:
        settings["decoding"] = {"stop": [after.splitlines()[0]]}
    settings["memory"] = {"kind": "window", "max_tokens": 400}
    return _write(settings, {"system.j2": literal(system) + "\n"}, parent, file, remarks)


def literal(text: str) -> str:
    """Return the template that writes exactly this text."""
    return re.sub(r"\{[{%#]|[}%#]\}", lambda found: f'{{{{ "{found[0]}" }}}}', text)


def _write(
    settings: Mapping[str, Any],
    files: Mapping[str, str],
    parent: Path,
    file: Path,
    remarks: list[str],
) -> Imported:
    kept = {name: value for name, value in settings.items() if value not in ("", {}, [])}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=96)
    head = f"# Made of {file.name} by promptbot import.\n"
    try:
        folder = write_bot(str(settings["name"]), parent, {"bot.yaml": head + text, **files})
    except SpecError as error:  # of a bot.yaml that nobody will see
        raise InputError(
            error.problem,
            place=str(file),
            expected=error.expected,
            hint="Correct the value in this file.",
        ) from None
    return Imported(folder, tuple(remarks))


def _slug(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name.strip()).strip("_.-")[:64] or "imported"


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(
            f"it cannot be read ({error.strerror}).", place=str(file), hint="Check the path."
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            "it is not UTF-8.", place=str(file), hint="Save it as UTF-8 text."
        ) from None
