"""Commands that turn what a person says about a reply into data: /good, /fix."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from promptbot.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk
    from promptbot.corrections import Correction, Kind
    from promptbot.types import Reply


def good(talk: Talk, argument: str) -> None:
    """Keep the last reply for review, as one that is right."""
    if reply := talk.last_reply():
        wanted = reply.label if talk.bot.spec.labels else reply.text
        if not (wanted or "").strip():
            talk.tell("The last reply says nothing. Tell what it should be: /fix TEXT")
            return
        _keep(talk, "good", reply, wanted or "")


def fix(talk: Talk, argument: str) -> None:
    """Keep for review what the last reply should have been.

    Raises:
        InputError: Nothing is given, or in a classify bot no label.
    """
    labels = talk.bot.spec.labels
    if not argument:
        raise InputError(
            "what should the last reply have been?",
            place="/fix",
            hint=f"As in: /fix {next(iter(labels))}" if labels else "As in: /fix We open at nine.",
        )
    if labels and argument not in labels:
        raise InputError(
            f'"{argument}" is no label of this bot.',
            place="/fix",
            expected=f"Labels: {', '.join(labels)}.",
            hint=did_you_mean(argument, labels) or "Give one of them.",
        )
    if reply := talk.last_reply():
        _keep(talk, "fix", reply, argument)


def labels(talk: Talk, typed: str) -> list[str]:
    """Return the labels of a classify bot, which is what its replies can be corrected to."""
    return list(talk.bot.spec.labels or ())


def _keep(talk: Talk, kind: Kind, reply: Reply, wanted: str) -> None:
    from promptbot.corrections import Correction

    assert reply.trace is not None
    n_said = len(talk.history.load(talk.session.name))
    keep(
        talk,
        Correction(
            kind,
            input=talk.answered,
            output=wanted,
            replied=reply.text,
            session=talk.session.name,
            variant=reply.trace.variant,
            model=reply.trace.model,
            n_earlier=max(n_said - 2, 0),
        ),
        f"Kept as {'right' if kind == 'good' else 'corrected'}",
        own=[reply.text, *(message.content for message in reply.trace.prompt.messages)],
    )


def keep(talk: Talk, correction: Correction, said: str, own: Sequence[str] = ()) -> None:
    """Append a correction to the bot's review file and say so.

    What a person typed loses its personal data, but not what stands in the bot's `own` texts, as
    the shop's telephone number does; replies lost it when they were made.
    """
    from promptbot.corrections import append_correction, review_file

    correction = replace(correction, input=talk.hear(correction.input))
    if correction.kind != "good":
        correction = replace(correction, output=talk.hear(correction.output, own))
    n_waiting = append_correction(review_file(talk.bot), correction)
    command = shlex.join(["promptbot", "review", talk.place])
    talk.tell(f"{said}; {n_waiting} to review: {command}")
