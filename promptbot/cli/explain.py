"""What went into a prompt and into a reply, for a person to read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from promptbot.bot.spec import DecodingSpec
from promptbot.cli.style import ACCENT, QUIET, shorten, visible
from promptbot.types import (
    Chosen,
    Completion,
    Dropped,
    Example,
    GuardEvent,
    Note,
    OutputCheck,
    Part,
    Prompt,
    Recall,
    Reply,
    Trace,
)

if TYPE_CHECKING:
    from promptbot.influence import Influence, PartInfluence

ROLE_STYLES = {"system": "magenta", "user": ACCENT, "assistant": "green"}

BAR_WIDTH = 24
"""Columns of the longest bar."""

MAX_LABELS = 8
"""Labels that are listed; the unlikely rest is counted."""

WORTH_A_LINE = 0.001
"""Probability from which on a label is listed."""

WORTH_A_BAR = 0.05
"""Influence, in nats, from which on a part stands out: it changes the probability by 5%."""

HELPS, HINDERS = "green", "red"

INFLUENCE_TITLES = {
    "system": "system",
    "summary": "summary",
    "fact": "facts",
    "note": "notes",
    "example": "examples",
    "turn": "turns",
}

INFLUENCE_LEGEND = "+ makes the answer likelier, - less likely; in nats"


def why(reply: Reply, width: int) -> RenderableType:
    """Return what explains a reply: its prompt, what was chosen and left out, scores and cost."""
    trace = reply.trace
    assert trace is not None
    tree = Tree(Text("why this reply", "bold"), guide_style=QUIET)
    if trace.label_logprobs:
        before = trace.decision.before if trace.decision else {}
        changed = dict(before) != dict(trace.label_logprobs)
        rows = _labels(trace.label_logprobs, before if changed else {}, width)
        _branch(tree, "labels", _method(trace), rows)
    if trace.decision and trace.decision.by_variant:
        rows = _grid((Text(k), Text(v, QUIET)) for k, v in trace.decision.by_variant.items())
        _branch(tree, "prompts", "each one's likeliest label", rows)
    if trace.guard:
        _branch(tree, "guard", "", _grid([(Text(guard_line(one)),) for one in trace.guard]))
    if trace.output:
        _branch(tree, "answers", _how_checked(trace.output), _attempts(trace.output))
    _add_prompt(tree, trace.prompt, width)
    _branch(tree, "cost", "", _grid([(Text(line),) for line in _cost(trace)]))
    _branch(tree, "made by", "", _makers(trace))
    return tree


def guard_line(event: GuardEvent) -> str:
    """Return what a guard did, in words."""
    if event.what == "emergency":
        return f'a rule answered, not the model: the message meets "{event.rule}"'
    if event.what == "max_turns":
        return f"the conversation is over: {event.count} turns were before (guard.max_turns)"
    times = f", {event.count} times" if event.count > 1 else ""
    what = "a secret of the environment" if event.what == "secret" else event.what
    said = "taken out of" if event.what == "secret" else "in"
    return f"{what} {said} the {event.where}{times}"


def prompt_tree(prompt: Prompt, width: int) -> RenderableType:
    """Return a prompt's sizes, and what was chosen for it and left out."""
    tree = Tree(Text("what went in", "bold"), guide_style=QUIET)
    _add_prompt(tree, prompt, width)
    return tree


def prompt_panels(prompt: Prompt) -> RenderableType:
    """Return the exact messages of a prompt, one panel each."""
    panels: list[RenderableType] = []
    for part in prompt.parts:
        for number, message in enumerate(part.messages):
            style = ROLE_STYLES[message.role]
            size = _tokens(part.n_tokens) if number == 0 else None
            panels.append(
                Panel(
                    Text(visible(message.content)),
                    title=Text(_title(message.role, part.kind), style),
                    title_align="left",
                    subtitle=Text(f"{part.kind}: {size}", QUIET) if size else None,
                    subtitle_align="right",
                    border_style=style,
                )
            )
    return Group(*panels)


def token_table(prompt: Prompt) -> RenderableType:
    """Return what each part of a prompt costs, and what the prompt may cost."""
    return Group(_parts(prompt.parts), Text(_budget(prompt), QUIET))


def plain_prompt(prompt: Prompt) -> str:
    """Return the exact messages of a prompt as text, each below its role, and its sizes."""
    lines = []
    for part in prompt.parts:
        for message in part.messages:
            lines += [f"[{_title(message.role, part.kind)}]", message.content, ""]
    sizes = ", ".join(f"{part.kind} {part.n_tokens}" for part in prompt.parts)
    lines.append(f"tokens: {_budget(prompt)} ({sizes})")
    lines += [f"note {_similarity(c)}: {_note_title(c.item)}" for c in prompt.notes]
    lines += [f"example {_similarity(c)}: {shorten(c.item.input, 200)}" for c in prompt.examples]
    if prompt.memory and prompt.memory.n_turns:
        lines += [f"memory: {line}" for line in memory_lines(prompt.memory)]
    lines += [f"left out {d.kind}: {shorten(d.text, 200)} ({d.reason})" for d in prompt.dropped]
    return "\n".join(lines)


def influence_bars(influence: Influence, width: int) -> RenderableType:
    """Return what each part of a prompt does to the answer, a bar each, in reading order.

    The sign says the direction without colour too, and so does the bar: solid for what makes the
    answer likelier, dotted for what makes it less likely.
    """
    tree = Tree(Text("influence", "bold"), guide_style=QUIET)
    tree.add(Text(_answer_line(influence, width)))
    most = max((abs(part.influence) for part in influence.parts), default=0.0)
    for kind, parts in groupby(influence.parts, lambda part: part.kind):
        rows = [_influence_row(part, most, width) for part in parts]
        _branch(tree, INFLUENCE_TITLES[kind], str(len(rows)), _grid(rows))
    tree.add(Text(INFLUENCE_LEGEND, QUIET))
    return tree


def plain_influence(influence: Influence) -> str:
    """Return what each part of a prompt does to the answer, a line each."""
    lines = [_answer_line(influence, 200)]
    lines += [
        f"influence {_signed(part.influence)} {part.kind}: {shorten(part.text, 200)}"
        for part in influence.parts
    ]
    return "\n".join(lines)


def label_line(logprobs: Mapping[str, float], n_labels: int = 3) -> Text:
    """Return the likeliest labels with their probabilities, on one line."""
    first, *others = _likeliest(logprobs)
    worth = [first, *(other for other in others if math.exp(other[1]) >= WORTH_A_LINE)]
    shown = " · ".join(f"{label} {_percent(logprob)}" for label, logprob in worth[:n_labels])
    return Text(shown, QUIET)


def _answer_line(influence: Influence, width: int) -> str:
    size = "" if influence.n_tokens is None else f", {_tokens(influence.n_tokens)}"
    cost = f" (log-probability {influence.logprob:.2f}{size})"
    return f"{shorten(influence.answer, max(width - len(cost) - 8, 24))}{cost}"


def _influence_row(part: PartInfluence, most: float, width: int) -> tuple[Text, ...]:
    """Return sign and size, bar and text of one part, on one line of the window."""
    helps = part.influence >= 0
    matters = abs(part.influence) >= WORTH_A_BAR
    style = (HELPS if helps else HINDERS) if matters else QUIET
    n_columns = BAR_WIDTH if width >= 80 else 6
    n_filled = math.ceil(abs(part.influence) / most * n_columns) if matters else 0
    bar = ("━" if helps else "┅") * n_filled
    rest = max(width - n_columns - 16, 12)
    return (
        Text(_signed(part.influence), style, justify="right", no_wrap=True),
        Text(f"{bar:<{n_columns}}", style, no_wrap=True),
        Text(shorten(part.text, min(rest, 200)), "" if matters else QUIET),
    )


def _signed(nats: float) -> str:
    return f"{round(nats, 2) + 0.0:+.2f}"  # never -0.00


def _add_prompt(tree: Tree, prompt: Prompt, width: int) -> None:
    _branch(tree, "prompt", _budget(prompt), _parts(prompt.parts))
    if prompt.notes:
        rows = [(_similarity(c), _note_title(c.item), c.item.source) for c in prompt.notes]
        _branch(tree, "notes", str(len(rows)), _chosen(rows, width))
    if prompt.examples:
        rows = [(_similarity(c), c.item.input, _example_place(c.item)) for c in prompt.examples]
        _branch(tree, "examples", str(len(rows)), _chosen(rows, width))
    if prompt.memory and prompt.memory.n_turns:
        told = _grid((Text(line),) for line in memory_lines(prompt.memory))
        _branch(tree, "memory", prompt.memory.kind, told)
    if prompt.dropped:
        _branch(tree, "left out", str(len(prompt.dropped)), _dropped(prompt.dropped))


def _branch(tree: Tree, title: str, detail: str, content: RenderableType) -> None:
    heading = Text.assemble((title, ACCENT), ("  " + detail if detail else "", QUIET))
    tree.add(Group(heading, content))


def _parts(parts: Sequence[Part]) -> Table:
    most = max(part.n_tokens for part in parts)
    rows = [
        (
            Text(part.kind),
            Text(str(part.n_tokens), justify="right"),
            Text(_bar(part.n_tokens / most, BAR_WIDTH), QUIET, overflow="crop", no_wrap=True),
        )
        for part in parts
    ]
    return _grid(rows)


def _chosen(rows: Iterable[tuple[str, str, str]], width: int) -> Table:
    """Return similarity, text and place of what was chosen; a narrow window drops the place."""
    return _grid(
        (
            Text(similarity, ACCENT, no_wrap=True),
            Text(shorten(text, max(width - 16, 20) if width < 80 else 200)),
            *((Text(place, QUIET, no_wrap=True),) if width >= 80 else ()),
        )
        for similarity, text, place in rows
    )


def memory_lines(memory: Recall) -> list[str]:
    """Return what the memory kept, condensed and forgot, a line each."""
    forgotten = memory.n_turns - memory.n_recalled
    condensed = f", {memory.n_condensed} condensed" if memory.n_condensed else ""
    left = forgotten - memory.n_condensed
    lines = [
        f"{memory.n_recalled} of {memory.n_turns} turns word for word{condensed}"
        + (f", {left} outside the window" if left > 0 else "")
    ]
    if memory.n_asked:
        lines.append(f"condensed for this reply, in {memory.n_asked} step(s) of the model")
    if memory.problem:
        lines.append(f"could not be condensed: {shorten(memory.problem, 200)}")
    if memory.summary:
        lines.append(f"summary: {shorten(memory.summary, 400)}")
    lines += [f"{name}: {shorten(value, 100)}" for name, value in memory.facts.items()]
    return lines


def _dropped(dropped: Sequence[Dropped]) -> Table:
    """Return what was left out; the reason is said once for all that share it."""
    rows: list[tuple[Text, ...]] = []
    reason = ""
    for item in dropped:
        if item.reason != reason:
            reason = item.reason
            rows.append((Text("because"), Text(reason, QUIET)))
        rows.append((Text(item.kind), Text(shorten(item.text, 60))))
    return _grid(rows)


def _method(trace: Trace) -> str:
    """Return how the label was found, where that was more than scoring the prompt."""
    decision = trace.decision
    if decision is None:
        return ""
    parts = [decision.calibration] if decision.calibration != "none" else []
    parts += [f"mean of {decision.n_orders} orders"] if decision.n_orders > 1 else []
    parts += [f"mean of {len(decision.by_variant)} prompts"] if decision.by_variant else []
    parts += ["neighbours"] if decision.neighbours else []
    parts += ["none reached min_probability"] if decision.abstained else []
    return " · ".join(parts)


def _how_checked(output: OutputCheck) -> str:
    kept = ["kept to the schema while writing"] if output.how == "constrained" else []
    n_written = len(output.attempts)
    return " · ".join([*kept, *([f"{n_written} were written"] if n_written > 1 else [])])


def _attempts(output: OutputCheck) -> Table:
    """Return what was written and what was wrong with it, or how the votes went."""
    rows = [
        (Text("not taken", QUIET), Text(shorten(f"{one.problem}: {one.text}", 200)))
        for one in output.attempts
        if one.problem
    ]
    rows += [
        (Text(f"{n} of {len(output.attempts)}"), Text(shorten(said, 100)))
        for said, n in output.votes.items()
    ]
    rows += [(Text("note", QUIET), Text(shorten(remark, 300))) for remark in output.remarks]
    return _grid(rows or [(Text("the form is right", QUIET),)])


def _labels(logprobs: Mapping[str, float], before: Mapping[str, float], width: int) -> Table:
    """Return the likeliest labels; with what they had before calibration where that differs."""
    likeliest = _likeliest(logprobs)
    n_listed = sum(math.exp(logprob) >= WORTH_A_LINE for _, logprob in likeliest)
    n_listed = max(1, min(n_listed, MAX_LABELS))
    rows = [
        (
            Text(label, "bold" if rank == 0 else ""),
            Text(_percent(logprob), justify="right"),
            *((Text(f"was {_percent(before[label])}", QUIET),) if before else ()),
            Text(_bar(math.exp(logprob), BAR_WIDTH), ACCENT if rank == 0 else QUIET),
        )
        for rank, (label, logprob) in enumerate(likeliest[:n_listed])
    ]
    rest = likeliest[n_listed:]
    if rest:
        together = sum(math.exp(logprob) for _, logprob in rest)
        words = f"{len(rest)} other{'s' if len(rest) > 1 else ''}"
        rows.append((Text(words, QUIET), Text(f"{together:.1%}", QUIET, justify="right"), Text()))
    n_columns = 2 + bool(before) + (width >= 60)
    return _grid(row[:n_columns] for row in rows)


def _likeliest(logprobs: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(logprobs.items(), key=lambda item: -item[1])


def _cost(trace: Trace) -> list[str]:
    """Return time and tokens of a reply, a line each."""
    seconds, completion = trace.seconds, trace.completion
    if completion.stop_reason == "rule":
        return ["no model was asked"]
    asked = trace.prompt.memory is not None and trace.prompt.memory.n_asked > 0
    rows = [
        [
            *([("memory", "memory")] if asked else []),
            ("compose", "compose"),
            ("first_token", "first token"),
            ("model", "whole answer"),
        ],
        [("select", "to select"), ("retrieve", "retrieve"), ("render", "render")],
    ]
    lines = [
        " · ".join(f"{name} {_duration(seconds[key])}" for key, name in row if key in seconds)
        for row in rows
        if any(key in seconds for key, _ in row)
    ]
    tokens = [f"read {trace.prompt.n_tokens}"]
    if completion.n_cached_tokens:
        tokens.append(f"{completion.n_cached_tokens} of them from the cache")
    if completion.stop_reason == "scored":
        tokens.append("labels scored, nothing written")
    else:
        tokens.append(f"wrote {completion.n_generated_tokens}")
        if speed := tokens_per_second(trace):
            tokens.append(f"{speed:.0f} tokens/s")
    lines.append(" · ".join(tokens))
    if (decision := trace.decision) is not None:
        if decision.n_prompts > 1:
            lines.append(
                f"{decision.n_prompts} prompts for the scores, {decision.n_prompt_tokens} tokens; "
                "what they share is read once"
            )
        lines += decision.remarks
    if completion.stop_reason == "length":
        lines.append("cut at decoding.max_new_tokens")
    return [line for line in lines if line]


def cost_in_brief(trace: Trace) -> list[str]:
    """Return tokens, time and speed of a reply, for a status line."""
    brief = [_budget(trace.prompt)]
    if "model" in trace.seconds:
        brief.append(_duration(trace.seconds["model"]))
    if speed := tokens_per_second(trace):
        brief.append(f"{speed:.0f} tokens/s")
    return brief


def tokens_per_second(trace: Trace) -> float | None:
    """Return how fast the answer was written after its first token; None where it was too short."""
    completion: Completion = trace.completion
    writing = trace.seconds.get("model", 0.0) - trace.seconds.get("first_token", 0.0)
    if completion.n_generated_tokens < 2 or writing <= 0:
        return None
    return (completion.n_generated_tokens - 1) / writing


def _makers(trace: Trace) -> Table:
    rows = [
        ("bot", f"{trace.bot}, variant {trace.variant}", trace.bot_hash),
        ("model", trace.model, trace.model_revision),
    ]
    if trace.encoder_revision:
        rows.append(("encoder", "", trace.encoder_revision))
    rows.append(("seed", str(trace.seed), ""))
    if unusual := DecodingSpec.model_construct(**trace.decoding).model_dump(exclude_defaults=True):
        rows.append(("decoding", ", ".join(f"{k} {v}" for k, v in unusual.items()), ""))
    return _grid(
        (Text(kind), Text.assemble(visible(name), "  " if name else "", (_short(revision), QUIET)))
        for kind, name, revision in rows
    )


def _short(revision: str) -> str:
    """Return enough of a content hash to tell two apart; a provider's name stays whole."""
    is_hash = all(character in "0123456789abcdef" for character in revision[-16:])
    return revision.removeprefix("sha256:")[:12] if is_hash else visible(revision)


def _grid(rows: Iterable[tuple[Text, ...]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*row)
    return grid


def _bar(fraction: float, width: int) -> str:
    """Return a bar; what is not nothing has at least half a column."""
    halves = round(max(0.0, min(fraction, 1.0)) * width * 2)
    halves = max(halves, 1) if fraction > 0.001 else halves
    return "━" * (halves // 2) + "╸" * (halves % 2)


def _similarity(chosen: Chosen[Note] | Chosen[Example]) -> str:
    return f"{chosen.nearness:.2f}" if chosen.nearness is not None else "   –"


def _note_title(note: Note) -> str:
    return shorten(note.question or note.answer, 200)


def _example_place(example: Example) -> str:
    return f"line {example.line}" if example.line else ""


def _budget(prompt: Prompt) -> str:
    bound = f" of {prompt.max_tokens}" if prompt.max_tokens is not None else ""
    return f"{prompt.n_tokens}{bound} tokens"


def _title(role: str, kind: str) -> str:
    return role if role == kind else f"{role} · {kind}"


def _tokens(n_tokens: int) -> str:
    return f"{n_tokens} token{'' if n_tokens == 1 else 's'}"


def _percent(logprob: float) -> str:
    return f"{math.exp(logprob):.1%}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
