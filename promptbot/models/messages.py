"""Our messages as LangChain's, and LangChain's as ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from promptbot.errors import InputError
from promptbot.types import Message, Role

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "ai": "assistant",
    "user": "user",
    "assistant": "assistant",
    "SystemMessageChunk": "system",
    "HumanMessageChunk": "user",
    "AIMessageChunk": "assistant",
}
"""Our role for each of LangChain's message types, and for the roles that ChatMessage names."""


def from_langchain(messages: Iterable[BaseMessage]) -> list[Message]:
    """Return the same messages as ours; of a content in blocks, its text.

    Raises:
        InputError: A message of a kind that a prompt does not hold, such as a tool's.
    """
    return [Message(_role(message), str(message.text)) for message in messages]


def to_langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    """Return the same messages as LangChain's."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds: dict[Role, type[BaseMessage]] = {
        "system": SystemMessage,
        "user": HumanMessage,
        "assistant": AIMessage,
    }
    return [kinds[message.role](content=message.content) for message in messages]


def _role(message: BaseMessage) -> Role:
    kind = str(getattr(message, "role", message.type))
    if kind not in ROLES:
        raise InputError(
            f'a message of the kind "{kind}" cannot enter a prompt.',
            expected="Expected system, user (human) and assistant (ai) messages.",
            hint="Leave it out, or say it in a user message.",
        )
    return ROLES[kind]
