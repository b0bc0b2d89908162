"""`promptbot run BOT --ab A B`: two variants answer each message unseen, and a person picks."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from promptbot.cli.blind import ANSWERS, show_replies, tell_pick
from promptbot.cli.interrupts import Working
from promptbot.cli.style import ACCENT, QUIET, SIGN, error_text, make_console, print_error, visible
from promptbot.errors import InputError, PromptbotError
from promptbot.types import Message

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot
    from promptbot.chain import Chain
    from promptbot.picks import PickRun, PickSummary

SKIP = "s"
"""What a person types who does not want to judge."""

QUESTION = "Which is better? 1, 2, = for neither, s to skip › "

EXPECTED = "1, 2, = for neither, or s to skip"


class SharedHistory:
    """The conversation that both variants read: what one said enters it only when it is chosen."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        """Every message so far, oldest first."""

    def load(self, session: str) -> list[Message]:
        """Return what was said so far."""
        return list(self.said)

    def append(self, session: str, messages: Sequence[Message], *, stopped: bool = False) -> None:
        """Forget a turn: which of two replies was said is not known yet."""


def hold(
    bot: str, names: tuple[str, str], *, model: str | None, seed: int, at_terminal: bool
) -> int:
    """Let a person compare two variants until they leave, and return the exit status.

    The conversation goes on with the reply that was picked; where neither was, with the one that
    was shown first.

    Raises:
        InputError: The variants are the same, a pick in a pipe is none, or nothing was piped.
        UserError: A bot or a model cannot be loaded.
    """
    from promptbot.bot.folder import load_bot
    from promptbot.picks import PickRun

    if names[0] == names[1]:
        raise InputError(
            f"{names[0]} is compared with itself.",
            place="--ab",
            expected="Expected two variants.",
            hint=f"The variants of {bot}: promptbot bots",
        )
    bots = load_bot(bot, names[0]), load_bot(bot, names[1])
    history = SharedHistory()
    if at_terminal:
        console = make_console()
        console.print(f"  [{ACCENT} bold]{visible(bots[0].name)}[/]", markup=True, end="")
        console.print(f"  {names[0]} against {names[1]}, unseen", style=QUIET)
        console.print("  You pick the better of two replies in random order. Ctrl-D leaves.\n")
        with Working(console, "the model is loaded"):
            chains = _load(bots, history, model, seed)
        turns = _typed_turns()
    else:
        chains = _load(bots, history, model, seed)
        turns = _piped_turns()
    with PickRun(bots, (chains[0].model, chains[1].model)) as run:
        status, summary = compare_turns(names, chains, history, turns, run, at_terminal)
    if summary and not at_terminal:
        print(summary.standing.sentence)
    if summary:
        print(summary.folder / "report.html")
    return status


Turn = tuple[str, "Callable[[bool], str | None]"]
"""A message, and what returns the pick, given whether both replies are the same."""


def compare_turns(
    names: tuple[str, str],
    chains: tuple[Chain, Chain],
    history: SharedHistory,
    turns: Iterator[Turn],
    run: PickRun,
    at_terminal: bool,
) -> tuple[int, PickSummary | None]:
    """Ask both variants every message, and keep each pick."""
    from promptbot.picks import Pick

    console = make_console()
    order = random.SystemRandom()
    status, summary = 0, None
    for typed, ask in turns:
        text = chains[0].hear(typed)  # what is kept of it anywhere is what the bot hears
        shown = order.sample(names, 2)
        try:
            with Working(console, "two replies are written"):
                replies = [_reply(chains[names.index(name)], text) for name in shown]
        except PromptbotError as error:
            status = status or error.exit_status
            if at_terminal:
                console.print(error_text(error))
            else:
                print_error(error)
                ask(False)  # the pick that was to follow is for no reply
            continue
        same = replies[0].split() == replies[1].split()
        if at_terminal:
            show_replies(console, replies)
        else:
            for number, said in enumerate(replies, start=1):
                print(f"{number}: {' '.join(said.split())}", flush=True)
        if same:
            print("  Both say the same." if at_terminal else "Both say the same.", flush=True)
        answer = ask(same)
        if answer is None:
            break
        place = None if same else ANSWERS.get(answer)
        pick = Pick(
            text,
            dict(zip(shown, replies, strict=True)),
            None if place is None else shown[place],
            skipped=answer == SKIP and not same,
            n_earlier=len(history.said),
        )
        summary = run.add(pick)
        tell_pick(_teller(at_terminal), summary, shown)
        history.said += [Message("user", text), Message("assistant", replies[place or 0])]
    return status, summary


def _teller(at_terminal: bool) -> Callable[[str], None]:
    if not at_terminal:
        return lambda text: print(text, flush=True)
    return lambda text: make_console().print(f"  {visible(text)}\n", style=QUIET)


def _reply(chain: Chain, text: str) -> str:
    from promptbot.session import Session

    return Session(chain, "ab").say(text).text


def _load(
    bots: tuple[Bot, Bot], history: SharedHistory, model: str | None, seed: int
) -> tuple[Chain, Chain]:
    """Return both chains; a model that both name is loaded once."""
    from promptbot.chain import load_chain

    first = load_chain(bots[0], model=model, history=history, seed=seed)
    if model is not None or bots[0].spec.model == bots[1].spec.model:
        return first, first.under(bot=bots[1])
    return first, load_chain(bots[1], history=history, seed=seed)


def _typed_turns() -> Iterator[Turn]:
    from promptbot.cli.line import ask

    def pick(same: bool) -> str | None:
        if same:
            return "="
        while True:
            answer = ask(f"  {QUESTION}")
            if answer is None or answer.strip() in (*ANSWERS, SKIP):
                return answer and answer.strip()

    while (text := ask(SIGN)) is not None:
        if text.strip():
            yield text.strip(), pick


def _piped_turns() -> Iterator[Turn]:
    from promptbot.cli.plain import read_messages

    lines = read_messages(sys.stdin.buffer if sys.stdin is not None else io.BytesIO())

    def pick(same: bool) -> str | None:
        answer = next(lines, None)
        if answer is not None and answer not in (*ANSWERS, SKIP):
            raise InputError(
                f'"{answer}" is no pick.',
                place="standard input",
                expected=f"After each message a line with the pick: {EXPECTED}.",
                hint="Picks before this one are kept.",
            )
        return answer

    for text in lines:
        yield text, pick
