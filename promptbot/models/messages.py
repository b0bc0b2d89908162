"""Our messages as LangChain's, and LangChain's as ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from promptbot.errors import InputError
from promptbot.types import Completion, Message, Role

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

END_OF: dict[str, Literal["end", "length", "stop"]] = {
    "length": "length",
    "stop_string": "stop",
}
"""Why an answer ended, by what providers call it where that is not the end of the turn."""

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


def completion_of(text: str, message: AIMessage | None) -> Completion:
    """Return what a model wrote with what its message says of cost and end; None says nothing."""
    usage = message.usage_metadata if message and message.usage_metadata else None
    metadata = message.response_metadata if message else {}
    own = metadata.get("stop_reason")  # of the local engines, which tell a stop text from the end
    reason = own if own in ("end", "length", "stop") else metadata.get("finish_reason")
    return Completion(
        text=text,
        n_prompt_tokens=usage["input_tokens"] if usage else 0,
        n_cached_tokens=usage.get("input_token_details", {}).get("cache_read", 0) if usage else 0,
        n_generated_tokens=usage["output_tokens"] if usage else 0,
        stop_reason="stop" if own == "stop" else END_OF.get(str(reason), "end"),
    )


def _role(message: BaseMessage) -> Role:
    kind = str(getattr(message, "role", message.type))
    if kind not in ROLES:
        raise InputError(
            f'a message of the kind "{kind}" cannot enter a prompt.',
            expected="Expected system, user (human) and assistant (ai) messages.",
            hint="Leave it out, or say it in a user message.",
        )
    return ROLES[kind]
