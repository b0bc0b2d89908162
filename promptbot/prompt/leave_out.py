"""The same prompt once more for each of its parts, without that part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptbot.prompt.memory import split_turns
from promptbot.types import Chosen, Example, Message, Note, PartKind, Prompt, Recall

LeftOutKind = Literal["system", "summary", "fact", "note", "example", "turn"]
"""What can be left out: a sentence of the system prompt, or one of what was put into a prompt."""

RenderSystem = Callable[[Prompt], str]
"""Gives the system prompt with the notes, examples and memories of a prompt, as it shows them."""

_PLACEHOLDER = "\ue000"
_BREAK = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])(?=\S)|\s*\n\s*")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A prompt without one of its parts."""

    kind: LeftOutKind
    """What is missing."""
    text: str
    """Its text."""
    messages: tuple[Message, ...]
    """The prompt that is left."""


def leave_out_each(prompt: Prompt, render_system: RenderSystem) -> list[LeftOut]:
    """Return the prompt without each of its parts in turn, in reading order.

    The parts are the sentences of the system prompt that do not come from what was put into it,
    the summary, the facts, the notes, the examples and the earlier turns. The question is never
    left out. What is missing is not replaced: the next best note or example does not move up.

    Args:
        prompt: What the model read.
        render_system: Renders the bot's system prompt for a changed prompt.
    """
    return [*_without_system(prompt, render_system), *_without_messages(prompt)]


def sentences(text: str) -> list[tuple[int, int]]:
    """Return where each sentence of a text starts and ends; a line break ends one too.

    A list's number or dash belongs to the sentence behind it.
    """
    found, start = [], 0
    for match in _BREAK.finditer(text):
        end = match.start() + len(match[0].rstrip())
        if "\n" in match[0] or any(map(str.isalpha, text[start:end])):
            found.append((start, end))
            start = match.end()
    found.append((start, len(text)))
    return [(start, end) for start, end in found if text[start:end].strip()]


def _without_system(prompt: Prompt, render_system: RenderSystem) -> Iterator[LeftOut]:
    text = _system_text(prompt)
    if not text:
        return
    for start, end in _own_sentences(text, prompt, render_system):
        left = text[:start].rstrip(" ") + text[end:] if start else text[end:].lstrip()
        yield LeftOut("system", text[start:end], _with_system(prompt, left))
    for kind, said, memory in _without_memories(prompt.memory):
        if (left := render_system(replace(prompt, memory=memory))) != text:
            yield LeftOut(kind, said, _with_system(prompt, left))
    for index, note in enumerate(prompt.notes):
        fewer = replace(prompt, notes=_without(prompt.notes, index))
        if (left := render_system(fewer)) != text:  # a template may show no notes
            yield LeftOut("note", note.item.text, _with_system(prompt, left))
    if not _messages(prompt, "examples"):
        for index, example in enumerate(prompt.examples):
            fewer = replace(prompt, examples=_without(prompt.examples, index))
            if (left := render_system(fewer)) != text:
                yield LeftOut("example", _pair(example.item), _with_system(prompt, left))


def _without_memories(memory: Recall | None) -> Iterator[tuple[LeftOutKind, str, Recall]]:
    if memory is None:
        return
    if memory.summary:
        yield "summary", memory.summary, replace(memory, summary="")
    for name, value in memory.facts.items():
        fewer = {other: said for other, said in memory.facts.items() if other != name}
        yield "fact", f"{name}: {value}", replace(memory, facts=fewer)


def _own_sentences(text: str, prompt: Prompt, render_system: RenderSystem) -> list[tuple[int, int]]:
    """Return the sentences that stay when other notes and examples are retrieved."""
    filled = render_system(_with_placeholders(prompt))
    own = Counter(filled[start:end] for start, end in sentences(filled))
    spans = []
    for start, end in sentences(text):
        if own[text[start:end]] > 0:
            own[text[start:end]] -= 1
            spans.append((start, end))
    return spans


def _with_placeholders(prompt: Prompt) -> Prompt:
    note = Note(_PLACEHOLDER, _PLACEHOLDER, _PLACEHOLDER)
    example = Example(_PLACEHOLDER, _PLACEHOLDER)
    memory = prompt.memory and replace(
        prompt.memory,
        summary=_PLACEHOLDER if prompt.memory.summary else "",
        facts=dict.fromkeys(prompt.memory.facts, _PLACEHOLDER),
    )
    return replace(
        prompt,
        notes=tuple(Chosen(note, None) for _ in prompt.notes),
        examples=tuple(Chosen(example, None) for _ in prompt.examples),
        memory=memory,
    )


def _without_messages(prompt: Prompt) -> Iterator[LeftOut]:
    pairs = _messages(prompt, "examples")
    for index in range(0, len(pairs), 2):
        left = (*pairs[:index], *pairs[index + 2 :])
        text = _said(pairs[index : index + 2])
        yield LeftOut("example", text, _with_part(prompt, "examples", left))
    turns = split_turns(_messages(prompt, "turns"))
    for index, turn in enumerate(turns):
        left = tuple(m for other in _without(turns, index) for m in other)
        yield LeftOut("turn", _said(turn), _with_part(prompt, "turns", left))


def _without(items: Sequence[object], index: int) -> tuple:  # type: ignore[type-arg]
    return (*items[:index], *items[index + 1 :])


def _messages(prompt: Prompt, kind: PartKind) -> tuple[Message, ...]:
    return next((part.messages for part in prompt.parts if part.kind == kind), ())


def _system_text(prompt: Prompt) -> str:
    return "".join(message.content for message in _messages(prompt, "system"))


def _with_system(prompt: Prompt, text: str) -> tuple[Message, ...]:
    left = (Message("system", text),) if text.strip() else ()
    return _with_part(prompt, "system", left)


def _with_part(prompt: Prompt, kind: PartKind, left: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(
        message
        for part in prompt.parts
        for message in (left if part.kind == kind else part.messages)
    )


def _said(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages)


def _pair(example: Example) -> str:
    return f"{example.input}\n{example.output}"
