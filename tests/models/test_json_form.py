"""Answers that are kept to a JSON schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from promptbot.errors import InputError, MissingExtra
from promptbot.models.local import LocalChatModel
from promptbot.models.onnx import load_onnx

pytest.importorskip("llguidance")

from promptbot.models.json_form import JsonGrammars

SCHEMA = {
    "title": "Answer",
    "type": "object",
    "properties": {"label": {"enum": ["card", "order"]}, "n": {"type": "integer", "maximum": 9}},
    "required": ["label", "n"],
}


class Answer(BaseModel):
    """One of two words."""

    lost: bool


@pytest.fixture
def model(tiny_folder: Path) -> LocalChatModel:
    return load_onnx(tiny_folder, "tiny")


@pytest.mark.parametrize("seed", range(4))
def test_even_random_weights_answer_in_the_schema(model: LocalChatModel, seed: int) -> None:
    bound = model.with_structured_output(SCHEMA, temperature=2.0, seed=seed)
    found = bound.invoke("x")
    assert found["label"] in ("card", "order")
    assert isinstance(found["n"], int)
    assert set(found) == {"label", "n"}  # no other fields than the schema names


def test_a_pydantic_class_gives_its_objects(model: LocalChatModel) -> None:
    assert isinstance(model.with_structured_output(Answer).invoke("x"), Answer)


def test_the_raw_message_may_come_along(model: LocalChatModel) -> None:
    found = model.with_structured_output(Answer, include_raw=True).invoke("x")
    assert isinstance(found["parsed"], Answer)
    assert found["parsing_error"] is None
    assert Answer.model_validate_json(found["raw"].text) == found["parsed"]


def test_an_answer_that_is_cut_off_is_an_error(model: LocalChatModel) -> None:
    with pytest.raises(InputError, match="before its JSON was complete"):
        model.with_structured_output(SCHEMA, max_new_tokens=2).invoke("x")
    assert model.invoke("x", max_new_tokens=2)  # the model goes on


def test_a_schema_that_is_none_is_told_before_the_first_question(model: LocalChatModel) -> None:
    schema = {"title": "Strange", "type": "strange", "properties": {}}
    with pytest.raises(InputError, match="strange"):
        model.with_structured_output(schema)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}, dict),
        ({"title": "Two", "type": "array", "items": {"enum": [1]}, "maxItems": 2}, list),
        ({"name": "f", "parameters": {"type": "object", "properties": {}}}, dict),
    ],
)
def test_a_json_schema_needs_no_title_and_no_object(
    model: LocalChatModel, schema: dict[str, Any], kind: type
) -> None:
    assert isinstance(model.with_structured_output(schema).invoke("x"), kind)


@pytest.mark.parametrize("schema", [{"function": 5}, [1], "text"])
def test_what_is_no_schema_is_told(model: LocalChatModel, schema: Any) -> None:
    with pytest.raises(InputError, match="this is no schema"):
        model.with_structured_output(schema)


def test_a_missing_grammar_library_is_named(
    model: LocalChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtra, match=r"promptbot\[structured\]"):
        model.with_structured_output(SCHEMA)


def test_nan_is_not_hidden_by_the_form(model: LocalChatModel) -> None:
    form = JsonGrammars(model.engine.chat_format.codec, "tiny").form(SCHEMA)
    logits: Any = np.zeros(model.engine.network.n_vocabulary, dtype=np.float32)
    logits[7] = np.nan
    allowed = form.allowed(logits)
    assert np.isnan(allowed[7])
    assert np.isneginf(allowed).sum() > len(allowed) // 2
