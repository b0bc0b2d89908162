"""What form an answer must have: schemas that can be met, JSON that fits, languages."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.errors import InputError, MissingExtra, SpecError
from promptbot.prompt.output import canonical, check_schema, other_language, parse_json

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "n": {"type": "integer", "minimum": 0}},
    "required": ["city"],
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"enum": []},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "array", "minItems": 3, "maxItems": 1},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "#/nowhere"},
    ],
)
def test_a_schema_that_no_answer_can_meet_is_an_error(schema: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"bot.yaml: no answer can meet this schema: .+"):
        check_schema(schema, "bot.yaml")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "strin"}, "at type, 'strin' is not valid"),
        ({"properties": 3}, "at properties, 3 is not of type 'object'"),
        ("answer", "no JSON schema"),
        (["a"], "no JSON schema"),
    ],
)
def test_what_is_no_schema_is_an_error(schema: object, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        check_schema(schema, "bot.yaml")


def test_what_only_a_validator_understands_is_no_error() -> None:
    schema = {"type": "array", "uniqueItems": True}
    assert check_schema(schema, "bot.yaml") == schema
    assert parse_json("[1, 1]", schema).problem == "[1, 1] has non-unique elements"


def test_json_that_fits_is_returned() -> None:
    assert parse_json('{"city": "Rome", "n": 2}', SCHEMA).data == {"city": "Rome", "n": 2}
    assert parse_json('```json\n{"city": "Rome"}\n```', SCHEMA).data == {"city": "Rome"}
    assert parse_json("null", {"type": "null"}).problem is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Rome", "not JSON: Expecting value"),
        ('{"city": "Rome"} Anything else?', "not JSON: Extra data"),
        ('{"n": 1}', "'city' is a required property"),
        ('{"city": "Rome", "n": -1}', "at n, -1 is less than the minimum of 0"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_json_that_does_not_fit_is_told_what_is_wrong(text: str, told: str) -> None:
    parsed = parse_json(text, SCHEMA)
    assert parsed.data is None
    assert told in str(parsed.problem)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_every_value_survives_its_canonical_text(value: object) -> None:
    assert parse_json(canonical(value), {}).data == value


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("Delivery takes two to four working days.", "en", None),
        ("Die Lieferung dauert zwei bis vier Werktage.", "en", "de"),
        ("Die Lieferung dauert zwei bis vier Werktage.", "de-AT", None),
        ("La livraison prend de deux à quatre jours ouvrables.", "en", "fr"),
        ("配送需要两到四个工作日，请耐心等待。", "en", "zh"),
        ("配送需要两到四个工作日。", "zh", None),
        ("Доставка занимает от двух до четырёх рабочих дней.", "en", "ru"),
        ("Danke.", "en", None),  # too short to say
        ("12345 67890 1234567890 !!!", "en", None),
        ("", "en", None),
    ],
)
def test_another_language_is_found(text: str, wanted: str, found: str | None) -> None:
    assert other_language(text, wanted) == found


def test_a_language_that_cannot_be_told_is_an_error() -> None:
    with pytest.raises(InputError, match=r'"tlh" cannot be told(.|\n)*Known: .*en'):
        other_language("", "tlh")


def test_a_missing_library_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtra, match=r"promptbot\[structured\]"):
        check_schema(SCHEMA, "bot.yaml")
