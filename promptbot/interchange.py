"""A bot's prompts in the forms that other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError
from promptbot.importing import ROLE_LINE, literal
from promptbot.models.messages import to_langchain
from promptbot.preview import previewer
from promptbot.types import Message, Prompt

if TYPE_CHECKING:
    from langchain_core.prompts import ChatPromptTemplate

    from promptbot.bot.folder import Bot
    from promptbot.bot.spec import DecodingSpec


def openai_request(bot: Bot, prompt: Prompt) -> dict[str, Any]:
    """Return the body of a chat-completions request with exactly this prompt.

    Args:
        bot: Names the model and the decoding.
        prompt: What the model is to read.
    """
    decoding = bot.spec.decoding
    provider, _, name = bot.spec.model.partition(":")
    own_server = provider == "openai" and "@" in name
    request: dict[str, Any] = {
        "model": name.partition("@")[0] if provider == "openai" else bot.spec.model,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_new_tokens,
    }
    if own_server:  # OpenAI itself refuses what it does not know
        request |= _unusual(decoding)
    return request | ({"stop": decoding.stop} if decoding.stop else {})


def langchain_template(prompt: Prompt, text: str) -> ChatPromptTemplate:
    """Return the prompt as LangChain's template, with ``input`` and, optional, ``history`` open.

    System prompt, notes and examples stand in it as they were chosen for this message; braces in
    them are text. Of an earlier conversation, LangChain puts its own messages at ``history``.

    Args:
        prompt: What the bot composed for `text`.
        text: The message, which becomes ``{input}``.

    Raises:
        InputError: The turn template changes the message, so that its place is unknown.
    """
    from langchain_core.prompts import (
        ChatPromptTemplate,
        HumanMessagePromptTemplate,
        MessagesPlaceholder,
    )

    before, after = _around(prompt, text)
    fixed = [m for part in prompt.parts[:-1] if part.kind != "turns" for m in part.messages]
    asked = f"{_escaped(before)}{{input}}{_escaped(after)}"
    return ChatPromptTemplate.from_messages(
        [
            *to_langchain(fixed),
            MessagesPlaceholder("history", optional=True),
            HumanMessagePromptTemplate.from_template(asked),
        ]
    )


def prompty_file(bot: Bot, prompt: Prompt, text: str) -> str:
    """Return the prompt as a Prompty file (version 2) whose input is the message.

    System prompt, notes and examples stand in it as they were chosen for this message.

    Args:
        bot: Names the model and the decoding.
        prompt: What the bot composed for `text`.
        text: The message, which becomes ``{{input}}``.

    Raises:
        InputError: The turn template changes the message, or a line of the prompt would begin a
            new message in this format.
    """
    import yaml

    before, after = _around(prompt, text)
    decoding = bot.spec.decoding
    provider, _, name = bot.spec.model.partition(":")
    options: dict[str, Any] = {
        "temperature": decoding.temperature,
        "maxOutputTokens": decoding.max_new_tokens,
        "topP": decoding.top_p,
    }
    unusual = _unusual(decoding)
    options |= {"topK": unusual.pop("top_k")} if "top_k" in unusual else {}
    options |= {"additionalProperties": unusual} if unusual else {}
    options |= {"stopSequences": decoding.stop} if decoding.stop else {}
    named = {"id": name, "provider": provider} if name else {"id": bot.spec.model}
    front = {
        "name": bot.name,
        "description": bot.spec.description,
        "model": {**named, "apiType": "chat", "options": options},
        "inputs": [{"name": "input", "kind": "string", "default": text.strip()}],
        "template": {"format": {"kind": "jinja2"}, "parser": {"kind": "prompty"}},
    }
    fixed = [m for part in prompt.parts[:-1] if part.kind != "turns" for m in part.messages]
    sections = [f"{m.role}:\n{literal(m.content)}\n" for m in fixed]
    sections.append(f"user:\n{literal(before)}{{{{input}}}}{literal(after)}\n")
    for message in (*fixed, Message("user", before), Message("user", after)):
        if found := ROLE_LINE.search(message.content):
            raise InputError(
                f'the line "{found[0].strip()}" would begin a new message in a Prompty file.',
                hint="Change that line of the bot, or export with --to openai.",
            )
    settings = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=96)
    return f"---\n{settings}---\n" + "\n".join(sections)


def training_lines(bot: Bot, *, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield each example of a bot as a conversation, as fine-tuning services read them.

    A line has the prompt that the bot would make for the example's input, without other examples
    (the answer could stand among them), and the example's output as the assistant's message.

    Raises:
        InputError: The bot has no examples.
    """
    if bot.spec.examples is None or not bot.examples:
        raise InputError(
            "the bot has no examples to write out.",
            place=str(bot.folder),
            hint="Add examples.jsonl, or export with --to openai.",
        )
    spec = bot.spec.model_copy(update={"examples": bot.spec.examples.model_copy(update={"k": 0})})
    compose = previewer(replace(bot, spec=spec), seed=seed)
    for example in bot.examples:
        said = [{"role": m.role, "content": m.content} for m in compose(example.input).messages]
        yield {"messages": [*said, {"role": "assistant", "content": example.output}]}


def _unusual(decoding: DecodingSpec) -> dict[str, Any]:
    """Return those settings that not every provider knows, where they change something."""
    names = ("top_k", "min_p", "repetition_penalty")
    return decoding.model_dump(include=set(names), exclude_defaults=True)


def _around(prompt: Prompt, text: str) -> tuple[str, str]:
    """Return what stands before and after the message in the last one of a prompt."""
    question = prompt.parts[-1].messages[-1].content
    before, found, after = question.rpartition(text.strip())
    if not found:
        raise InputError(
            "the bot's turn template changes the message, so {input} has no place.",
            hint="Write {{ input }} unchanged in turn.j2, or export with --to openai.",
        )
    return before, after


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
