"""Counts tokens as a model does, by its tokenizer alone: showing a prompt reads no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.errors import MissingExtra, MissingKey
from promptbot.models.codec import Codec
from promptbot.models.layouts import read_layout
from promptbot.models.providers import estimated_tokens, is_remote_model
from promptbot.models.registry import EMBEDDED, hub_name, load_model
from promptbot.models.weights import graph_in, read_json, verify_small_files

if TYPE_CHECKING:
    from promptbot.interfaces import CountsTokens
    from promptbot.models.chat_format import ChatFormat
    from promptbot.types import Message


class EstimatedCounter:
    """About the size of prompts for a remote model of which nothing is at hand."""

    context_tokens = None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return about the tokens of these messages; see `providers.estimated_tokens`."""
        return estimated_tokens(messages)


class TokenCounter:
    """The size of prompts for one model.

    Args:
        chat_format: How messages become its tokens.
        context_tokens: How many it reads; None when unknown.
    """

    def __init__(self, chat_format: ChatFormat, context_tokens: int | None) -> None:
        self._chat_format = chat_format
        self._context_tokens = context_tokens

    @property
    def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together; None when unknown."""
        return self._context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, role markers included, without an answer's."""
        return self._chat_format.count(messages)


def load_counter(spec: str) -> CountsTokens:
    """Return what counts tokens as the model that a spec names.

    A model without a tokenizer of its own here (remote, scripted) counts by itself. What a remote
    one tells is an estimate in any case, so it takes neither its key nor its package.

    Raises:
        ModelError: The spec names no model, or its tokenizer or configuration cannot be read.
        MissingExtra: The engine's packages are not installed.
    """
    spec = spec.strip()
    folder = EMBEDDED if spec == "embedded" else Path(spec).expanduser()
    if spec and graph_in(folder):
        from promptbot.models.chat_format import load_chat_format

        verify_small_files(folder)
        chat_format = load_chat_format(Codec.load(folder), folder, eos_ids=(), place=spec)
        layout = read_layout(read_json(folder / "config.json"), str(folder))
        return TokenCounter(chat_format, layout.context)
    name = str(folder) if spec and folder.is_dir() else hub_name(spec)
    if name is not None:
        from promptbot.models.transformers import load_chat_format_of

        return TokenCounter(*load_chat_format_of(name, spec))
    try:
        return load_model(spec)
    except (MissingExtra, MissingKey):
        if not is_remote_model(spec):
            raise
        return EstimatedCounter()
