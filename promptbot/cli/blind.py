"""The command /ab: two variants answer the same message, and a person picks one unseen."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from promptbot.cli.answering import variants
from promptbot.cli.markdown import INDENT, ReplyMarkdown
from promptbot.cli.style import ACCENT, QUIET, visible
from promptbot.errors import InputError

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk

ANSWERS = {"1": 0, "2": 1, "=": None}
"""What can be picked, and which reply it is."""


def compare(talk: Talk, argument: str) -> None:
    """Show the replies of two variants to the last message in random order, and keep the pick.

    The conversation stays as it is.

    Raises:
        InputError: It does not name two variants.
        UserError: One of them is wrong.
    """
    names = argument.split()
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            "two variants are compared.",
            place="/ab",
            expected=f"Variants: {', '.join(variants(talk, ''))}.",
            hint="As in: /ab default zero_shot",
        )
    text = talk.last_message()
    if text is None:
        talk.tell("There is nothing to ask yet: say something first.")
        return
    shown = random.SystemRandom().sample(names, 2)
    replies = [_reply(talk, name, text) for name in shown]
    for number, said in enumerate(replies, start=1):
        talk.console.print(Padding(Text(f"reply {number}", ACCENT), (0, 0, 0, len(INDENT))))
        talk.show(ReplyMarkdown(visible(said)))
    if replies[0].split() == replies[1].split():
        talk.tell("Both say the same.")
        winner = None
    else:
        answer = _ask(talk)
        if answer is None:
            talk.tell("No pick was made, so none is kept.")
            return
        winner = shown[place] if (place := ANSWERS[answer]) is not None else None
    _keep(talk, names, dict(zip(shown, replies, strict=True)), text, winner)


def pairs(talk: Talk, typed: str) -> list[str]:
    """Return the variants, and behind one of them the others."""
    first, space, _ = typed.partition(" ")
    names = variants(talk, "")
    return [f"{first} {name}" for name in names if name != first] if space else names


def _reply(talk: Talk, variant: str, text: str) -> str:
    """Return what a variant says to a message that followed the turns before the last one."""
    from promptbot.chain import InMemoryHistory
    from promptbot.session import Session

    session = talk.session
    earlier = InMemoryHistory()
    earlier.append(session.name, talk.before_last_message())
    chain = session.chain.under(bot=talk.live.under(variant), history=earlier)
    with talk.console.status("two replies are written", spinner_style=QUIET):
        return Session(chain, session.name).say(text).text


def _ask(talk: Talk) -> str | None:
    """Return the pick; None where the person makes none."""
    while True:
        answer = (talk.ask("Which is better? 1, 2, = for neither › ") or "").strip()
        if not answer:
            return None
        if answer in ANSWERS:
            return answer


def _keep(
    talk: Talk, names: list[str], replies: dict[str, str], text: str, winner: str | None
) -> None:
    from promptbot.picks import Pick, append_pick, count_picks, picks_file

    path = picks_file(talk.bot)
    append_pick(path, Pick(text, replies, winner, model=talk.session.chain.model.spec))
    counted = count_picks(path, names[0], names[1])
    one, two = replies
    so_far = [f"{name} {counted[name]}" for name in names] + [f"neither {counted[None]}"]
    talk.tell(f"1 was {one}, 2 was {two}. So far: {', '.join(so_far)}.")
