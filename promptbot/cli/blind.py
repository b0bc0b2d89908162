"""The command /ab: two variants answer the same message, and a person picks one unseen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from promptbot.cli.answering import variants
from promptbot.cli.interrupts import Working
from promptbot.cli.markdown import ReplyMarkdown
from promptbot.cli.style import ACCENT, INDENT, QUIET, visible
from promptbot.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from promptbot.bot.folder import Bot
    from promptbot.cli.terminal import Talk
    from promptbot.picks import PickSummary

QUESTION = "Which is better? 1, 2, = for neither › "

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
    bots = talk.live.under(names[0]), talk.live.under(names[1])
    shown = random.SystemRandom().sample(names, 2)
    replies = [_reply(talk, bots[names.index(name)], text) for name in shown]
    show_replies(talk.console, replies)
    if replies[0].split() == replies[1].split():
        talk.tell("Both say the same.")
        winner = None
    else:
        answer = _ask(talk)
        if answer is None:
            talk.tell("No pick was made, so none is kept.")
            return
        winner = shown[place] if (place := ANSWERS[answer]) is not None else None
    keep_pick(talk, bots, dict(zip(shown, replies, strict=True)), text, winner)


def pairs(talk: Talk, typed: str) -> list[str]:
    """Return the variants, and behind one of them the others."""
    first, space, _ = typed.partition(" ")
    names = variants(talk, "")
    return [f"{first} {name}" for name in names if name != first] if space else names


def show_replies(console: Console, replies: Sequence[str]) -> None:
    """Show two replies, numbered from 1."""
    for number, said in enumerate(replies, start=1):
        console.print(Padding(Text(f"reply {number}", ACCENT), (0, 0, 0, len(INDENT))))
        content = ReplyMarkdown(visible(said))
        console.print(Padding(content, (0, 0, 1, len(INDENT)), expand=False))


def _reply(talk: Talk, bot: Bot, text: str) -> str:
    """Return what a variant says to a message that followed the turns before the last one."""
    from promptbot.chain import InMemoryHistory
    from promptbot.session import Session

    session = talk.session
    earlier = InMemoryHistory()
    earlier.append(session.name, talk.before_last_message())
    chain = session.chain.under(bot=bot, history=earlier)
    with Working(talk.console, "two replies are written"):
        return Session(chain, session.name).say(text).text


def _ask(talk: Talk) -> str | None:
    """Return the pick; None where the person makes none."""
    while True:
        answer = (talk.ask(QUESTION) or "").strip()
        if not answer:
            return None
        if answer in ANSWERS:
            return answer


def keep_pick(
    talk: Talk, bots: tuple[Bot, Bot], replies: dict[str, str], text: str, winner: str | None
) -> None:
    """Keep which of two replies was picked, and tell whose it was."""
    from promptbot.picks import Pick, PickRun

    model = talk.session.chain.model
    n_earlier = len(talk.before_last_message())
    with PickRun(bots, (model, model)) as run:
        summary = run.add(Pick(text, replies, winner, n_earlier=n_earlier))
    tell_pick(talk.tell, summary, list(replies))


def tell_pick(tell: Callable[[str], None], summary: PickSummary, shown: Sequence[str]) -> None:
    """Say which reply was whose and where the test stands, and write the report."""
    from promptbot.evals.report.picks import save_pick_reports

    save_pick_reports(summary)
    tell(f"1 was {shown[0]}, 2 was {shown[1]}. {summary.standing.sentence}")


def show_picks(summary: PickSummary) -> None:
    """Print the report of a run of picks: the verdict, the numbers, and every pair."""
    from rich.table import Table

    from promptbot.cli.style import make_console
    from promptbot.evals.report.picks import pick_numbers

    console = make_console()
    console.print(Text(visible(summary.standing.sentence), "bold"))
    numbers = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, value in pick_numbers(summary):
        numbers.add_row(Text(name, QUIET), value)
    console.print(numbers)
    pairs = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET)
    for name in ("message", *summary.names):
        pairs.add_column(name, ratio=1, overflow="fold")
    for pick in summary.picks:
        cells = [
            Text(visible(pick.replies[name]), "green" if pick.winner == name else "")
            for name in summary.names
        ]
        pairs.add_row(visible(pick.input), *cells)
    console.print(pairs)
    console.print(str(summary.folder / "report.html"), soft_wrap=True)
