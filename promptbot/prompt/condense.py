"""Memories that keep what older turns said: a running summary, or facts about the user.

Turns stay word for word until they no longer fit into the memory's window. Then the oldest are
condensed until the others fill half of it, so that this happens rarely and always at the same
turns. The summary is a function of the stored turns alone: after a turn was taken back, or in
another process, it is made again from what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from promptbot.errors import PromptbotError
from promptbot.prompt.memory import Count, Turn, WindowMemory, split_turns
from promptbot.types import Message

if TYPE_CHECKING:
    from promptbot.bot.spec import MemorySpec

Render = Callable[[Mapping[str, object]], str]
"""Fills the template that asks for a summary or for facts."""

Ask = Callable[[str], str]
"""Gives what the frozen model writes to a question."""

SUMMARY_TEMPLATE = """\
Summarise the conversation below in at most three sentences, in the language "{{ language }}".
Keep names, numbers, dates, and what the user wants. Invent nothing. Write only the summary.
{% if summary %}

What was said before: {{ summary }}
{% endif %}

{% for turn in turns %}
{{ turn.role }}: {{ turn.content }}
{% endfor %}
"""
"""What asks for a summary in a bot without summary.j2."""

FACTS_TEMPLATE = """\
List what the user says about themselves in the conversation below, one fact a line, as
name: value
with short names such as name, city or order number. Invent nothing. If there is nothing, write:
none
{% if facts %}

Known already:
{% for name, value in facts.items() %}
{{ name }}: {{ value }}
{% endfor %}
{% endif %}

{% for turn in turns %}
{{ turn.role }}: {{ turn.content }}
{% endfor %}
"""
"""What asks for facts in a bot without facts.j2."""

_FACT = re.compile(r"^[-*•\s]*(?P<name>\w[^:\n]{0,59}?)\s*:\s*(?P<value>\S.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Condensed:
    """What was made of a session's older turns."""

    covered: tuple[Message, ...] = ()
    """The messages that it was made from, from the session's first on."""
    summary: str = ""
    """What they said, in short."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the user said about themselves, by name; the newest value counts."""
    n_asked: int = 0
    """How often the model was asked in the last update."""
    problem: str | None = None
    """Why the last update ended early; what stood before it then stands."""

    def within(self, history: Sequence[Message]) -> Condensed:
        """Return it for a history that begins with what it covers; else none of it.

        Turns may have been taken back since.
        """
        begins_alike = tuple(history[: len(self.covered)]) == self.covered
        return self if begins_alike else Condensed()


def condense(
    spec: MemorySpec,
    history: Sequence[Message],
    earlier: Condensed,
    *,
    render: Render,
    ask: Ask,
    count: Count,
) -> Condensed:
    """Return the summary or the facts of a session, brought up to date where that is due.

    Args:
        spec: Kind, window and patterns.
        history: The session's messages, oldest first.
        earlier: What was made of them before; dropped where they no longer begin alike.
        render: Fills the template; it is given ``summary``, ``facts`` and ``turns``.
        ask: Asks the frozen model.
        count: Tokens of some messages.
    """
    if spec.kind == "facts" and spec.patterns:
        return Condensed(facts=find_facts(spec.patterns, history))
    state = replace(earlier.within(history), n_asked=0, problem=None)
    for batch in _due(spec, history[len(state.covered) :], count):
        turns = [{"role": m.role, "content": m.content} for turn in batch for m in turn]
        values = {"summary": state.summary, "facts": dict(state.facts), "turns": turns}
        state = replace(state, n_asked=state.n_asked + 1)
        try:
            text = ask(render(values)).strip()
        except PromptbotError as error:
            return replace(state, problem=str(error).splitlines()[0])
        if not text:
            return replace(state, problem="the model wrote nothing.")
        covered = (*state.covered, *(message for turn in batch for message in turn))
        if spec.kind == "facts":
            state = replace(state, covered=covered, facts={**state.facts, **parse_facts(text)})
        else:
            state = replace(state, covered=covered, summary=text)
    return state


def find_facts(patterns: Mapping[str, Sequence[str]], history: Sequence[Message]) -> dict[str, str]:
    """Return what the user's messages say in the declared wordings; the newest value counts.

    Case and spacing do not matter. ``{word}`` takes one word, ``{value}`` everything up to the
    next punctuation mark or line break.
    """
    compiled = [
        (name, _compile(words)) for name, wordings in patterns.items() for words in wordings
    ]
    found: dict[str, str] = {}
    for message in history:
        if message.role == "user":
            for name, pattern in compiled:
                if matches := pattern.findall(message.content):
                    found[name] = matches[-1].strip()
    return found


def parse_facts(text: str) -> dict[str, str]:
    """Return the lines of the form ``name: value``; all others are left out."""
    matches = (_FACT.match(line) for line in text.splitlines())
    return {m["name"].casefold(): m["value"] for m in matches if m}


def _due(spec: MemorySpec, rest: Sequence[Message], count: Count) -> list[list[Turn]]:
    """Return the turns to condense now, in batches of at most a window each."""
    if _newest(spec.max_tokens, spec.max_turns, rest, count) == len(rest):
        return []
    half_turns = None if spec.max_turns is None else (spec.max_turns + 1) // 2
    half_tokens = None if spec.max_tokens is None else spec.max_tokens // 2
    n_kept = _newest(half_tokens, half_turns, rest, count)
    batches: list[list[Turn]] = []
    for turn in split_turns(rest[: len(rest) - n_kept]):
        together = [m for other in (batches[-1] if batches else []) for m in other] + list(turn)
        fits = spec.max_tokens is None or count(together) <= spec.max_tokens
        if batches and fits:
            batches[-1].append(turn)
        else:
            batches.append([turn])
    return batches


def _newest(
    max_tokens: int | None, max_turns: int | None, messages: Sequence[Message], count: Count
) -> int:
    """Return how many messages the newest turns within these bounds have."""
    return len(WindowMemory(max_tokens, max_turns, count).recall(messages))


def _compile(wording: str) -> re.Pattern[str]:
    pattern = r"\s+".join(map(re.escape, wording.split()))
    pattern = pattern.replace(re.escape("{word}"), r"([\w'’-]+)")
    pattern = pattern.replace(re.escape("{value}"), r"([^.,;:!?。，；：！？\n]+)")
    start = r"\b" if wording[0].isalnum() and wording.isascii() else ""
    return re.compile(start + pattern, re.IGNORECASE)
