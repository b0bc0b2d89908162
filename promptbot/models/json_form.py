"""Keeps an answer to a JSON schema: tokens that would leave it cannot be chosen.

The grammar is llguidance's, of the extra ``structured``; it is imported when first asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError, MissingExtra, ModelError

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.output_parsers import BaseOutputParser
    from llguidance._lib import JsonCompileOptions
    from numpy.typing import NDArray

    from promptbot.models.codec import Codec


class JsonGrammars:
    """Makes the forms of one model.

    Args:
        codec: The model's tokenizer.
        place: The model's name, for errors.

    Raises:
        MissingExtra: llguidance is not installed.
        ModelError: The tokenizer has no tokenizer.json.
    """

    def __init__(self, codec: Codec, place: str) -> None:
        try:
            import llguidance
        except ImportError as error:
            raise MissingExtra("Structured output", "llguidance", "structured") from error
        if codec.serialised is None:
            raise ModelError(
                "structured output needs a tokenizer with a tokenizer.json.",
                place=place,
                hint="Save the tokenizer again with a recent Transformers.",
            )
        self._tokenizer = llguidance.LLTokenizer(codec.serialised)
        self._grammars: dict[str, str] = {}
        self._lock = threading.Lock()

    def form(self, json_schema: Mapping[str, Any]) -> JsonForm:
        """Return what keeps one answer to a schema.

        Raises:
            InputError: The schema is wrong, or asks for what a grammar cannot say.
        """
        import llguidance

        key = json.dumps(json_schema)
        with self._lock:
            if key not in self._grammars:
                # White space is bounded, because a weak model may write nothing else for ever.
                defaults: JsonCompileOptions = {"whitespace_pattern": " ?"}
                self._grammars[key] = llguidance.LLMatcher.grammar_from_json_schema(
                    json.dumps(_closed(json_schema)), defaults=defaults
                )
        matcher = llguidance.LLMatcher(self._tokenizer, self._grammars[key])
        if matcher.is_error():
            raise InputError(
                f"the model cannot follow this schema: {matcher.get_error()}",
                place="with_structured_output",
                hint="Use a plain JSON schema; see llguidance's list of what it supports.",
            )
        return JsonForm(matcher, self._tokenizer.vocab_size)


class JsonForm:
    """One answer that is being kept to a schema."""

    def __init__(self, matcher: Any, n_vocabulary: int) -> None:
        from llguidance.numpy import allocate_token_bitmask

        self._matcher = matcher
        self._bits = allocate_token_bitmask(1, n_vocabulary)

    def allowed(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits with those of impossible tokens at minus infinity; NaN stays."""
        import numpy as np
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        bits = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")
        possible = np.zeros(len(logits), dtype=np.bool_)  # wider than the vocabulary at times
        possible[: len(bits)] = bits[: len(logits)]
        return np.where(possible | np.isnan(logits), logits, np.float32("-inf"))

    def take(self, token: int) -> None:
        """Note the token that was written."""
        self._matcher.consume_token(token)

    @property
    def is_complete(self) -> bool:
        """Whether the value is complete, so that nothing more can follow."""
        return bool(self._matcher.is_stopped())


def _closed(schema: Any) -> Any:
    """Return a schema whose objects have no other fields than it names, where it leaves that open.

    A weak model would invent fields until its tokens are spent.
    """
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), Mapping):
        closed.setdefault("additionalProperties", False)
    return closed


def json_schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON schema that a class, a tool's description or a schema itself stands for.

    Raises:
        InputError: It is none of them.
    """
    from langchain_core.utils.function_calling import convert_to_json_schema

    # LangChain wants a title here, which JSON schemas need not have, and keeps objects only.
    if isinstance(schema, Mapping) and not _OF_TOOLS & schema.keys():
        return dict(schema)
    try:
        return dict(convert_to_json_schema(schema))
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"this is no schema: {str(error).splitlines()[0] if str(error) else type(error)}",
            place="with_structured_output",
            expected="Expected a pydantic class, a TypedDict or a JSON schema.",
            hint='Write one, as {"type": "object", "properties": {"subject": {"type": "string"}}}.',
        ) from None


_OF_TOOLS = {"name", "function", "toolSpec"}
"""Keys by which providers' descriptions of tools are told from JSON schemas."""


def parser_of(schema: Any) -> BaseOutputParser[Any]:
    """Return what turns the text into a value of the schema: a pydantic object, or a dict."""
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.utils.pydantic import is_basemodel_subclass

    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticOutputParser(pydantic_object=schema)
    return JsonOutputParser()
