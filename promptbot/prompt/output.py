"""What form an answer must have: JSON of a schema, and the bot's language."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError, MissingExtra, SpecError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

Schema = Mapping[str, Any]
"""A JSON schema."""

ANY_OBJECT: Schema = {"type": "object"}
"""The schema of a bot that asks for JSON and names none."""

MIN_LETTERS = 24
"""A text with fewer letters could be of many languages, so it is not judged."""

MAX_WANTED = 0.01
"""Probability of the wanted language under which a text is taken for another one's."""

_FENCED = re.compile(r"\A```(?:json)?\s*\n(?P<inner>.*?)\n?\s*```\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says as JSON."""

    data: Any
    """The value; None where there is a problem."""
    problem: str | None
    """Why it is not what the schema asks for; None where it is."""


def check_schema(schema: object, place: str) -> Schema:
    """Return a JSON schema that some answer can meet.

    Args:
        schema: What was found.
        place: File, or line of bot.yaml, for errors.

    Raises:
        SpecError: It is no JSON schema, or no answer can meet it; the message says which part.
        MissingExtra: jsonschema or llguidance is not installed.
    """
    validators, guidance = _libraries()
    if not isinstance(schema, Mapping):
        raise SpecError(
            f"found {str(schema)[:60]!r}, which is no JSON schema.",
            place=place,
            expected='Expected an object, as {"type": "object", "properties": {...}}.',
            hint="Write the schema there, or the name of a file in the bot's folder.",
        )
    validator = validators.validator_for(schema)
    try:
        validator.check_schema(schema)
    except Exception as error:  # jsonschema's SchemaError, and what its plugins raise
        where = "/".join(map(str, getattr(error, "absolute_path", ()))) or "its top"
        raise SpecError(
            f"this is no JSON schema: at {where}, {getattr(error, 'message', error)}.",
            place=place,
            hint="See json-schema.org for what a schema may say.",
        ) from None
    try:
        grammar = guidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        told = str(guidance.LLMatcher.validate_grammar(grammar, guidance.LLTokenizer("byte")))
    except (TypeError, ValueError) as error:
        told = str(error)
    # What a grammar cannot say, jsonschema still can check; only contradictions are errors.
    if "nsatisfiable" in told or "does not exist" in told or "not present in a registry" in told:
        raise SpecError(
            f"no answer can meet this schema: {' '.join(told.split())}.",
            place=place,
            hint="Mend the part of the schema that it names.",
        )
    return schema


def parse_json(text: str, schema: Schema) -> Parsed:
    """Return the JSON value that a text is, checked against a schema.

    A value between the marks of a code block counts as the value; other words around it do not.
    """
    validators, _ = _libraries()
    fenced = _FENCED.match(text.strip())
    try:
        data = json.loads(fenced["inner"] if fenced else text)
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ValueError) else "nested too deeply"
        return Parsed(None, f"not JSON: {what}")
    from jsonschema.exceptions import best_match

    try:
        found = best_match(validators.validator_for(schema)(schema).iter_errors(data))
    except RecursionError:
        return Parsed(None, "nested too deeply")
    if found is None:
        return Parsed(data, None)
    where = "/".join(map(str, found.absolute_path))
    message = " ".join(found.message.split())
    return Parsed(None, f"{f'at {where}, ' if where else ''}{message[:300]}")


def canonical(data: object) -> str:
    """Return a JSON value as one text, equal for equal values."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False)


def other_language(text: str, wanted: str) -> str | None:
    """Return the code of the language that a text is written in, where it is not the wanted one.

    None where it is, where the text is too short to say, or where no language is clear. Regional
    forms are one language here: ``pt-BR`` is ``pt``.

    Raises:
        MissingExtra: py3langid is not installed.
        InputError: py3langid does not know the wanted language.

    Source:
        Lui & Baldwin (2012), "langid.py: An Off-the-shelf Language Identification Tool", ACL.
    """
    wanted = wanted.replace("_", "-").split("-")[0].casefold()
    identifier = _identifier()
    if wanted not in known_languages():
        raise InputError(
            f'the language "{wanted}" cannot be told from others.',
            place="language",
            expected=f"Known: {', '.join(known_languages())}.",
            hint="Correct language:, or take output.wrong_language out.",
        )
    # A letter of a script without spaces says as much as several of an alphabet.
    n_letters = sum(3 if ord(c) > 0x2E7F else 1 for c in text if c.isalpha())
    if n_letters < MIN_LETTERS:
        return None
    with _LOCK:
        shares = {str(code): float(share) for code, share in identifier.rank(text)}
    return max(shares, key=shares.__getitem__) if shares[wanted] < MAX_WANTED else None


@cache
def known_languages() -> tuple[str, ...]:
    """Return the codes of the languages that can be told apart."""
    return tuple(sorted(_identifier().labels))


_LOCK = threading.Lock()


@cache
def _identifier() -> LanguageIdentifier:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtra("Checking the language of answers", "py3langid", "language") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _libraries() -> tuple[Any, Any]:
    """Return jsonschema's validators, and llguidance."""
    try:
        import llguidance
        from jsonschema import validators
    except ImportError as error:
        missing = error.name or "jsonschema"
        raise MissingExtra("output.format: json", missing, "structured") from error
    return validators, llguidance
