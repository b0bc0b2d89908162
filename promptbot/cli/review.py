"""`promptbot review`: what was said about replies becomes examples, held-out data and notes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from promptbot.corrections import Correction, Review, Target

Answer = Literal["examples", "held-out", "notes", "drop", "later", "quit"]
"""What a person can decide; the first letter is enough."""


def review(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="A bot's name or folder.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The held-out data, JSONL; else evals/data/BOT.jsonl, here."
        ),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Show what waits, and decide nothing.")
    ] = False,
) -> None:
    """Go through what /good, /fix and /note kept: take it over, or drop it.

    Nothing is written before you saw the difference and said yes. Through a pipe, the answers are
    read one a line: examples, held-out, notes, drop, later; and at the end yes.
    """
    from promptbot.bot.folder import load_bot
    from promptbot.cli.style import print_error
    from promptbot.corrections import Review

    loaded = load_bot(bot)
    found = Review(loaded, data or Path("evals", "data", f"{loaded.name}.jsonl"))
    for problem in found.problems:
        print_error(problem)
    if list_only:
        _list(found.pending)
        return
    if not found.pending:
        print(f"Nothing waits for review in {found.path}.")
        return
    try:
        refused = _decide_each(found)
        status = _write(found) or refused
    except KeyboardInterrupt:
        from promptbot.errors import INTERRUPTED

        print(
            "\nNothing was written. quit ends a review, and keeps what was decided.",
            file=sys.stderr,
        )
        status = INTERRUPTED
    raise typer.Exit(status)


def _list(pending: Sequence[Correction]) -> None:
    if not sys.stdout.isatty():
        for correction in pending:
            texts = (correction.kind, correction.input, correction.output, correction.said)
            print("\t".join(" ".join(text.split()) for text in texts))
        return
    for number, correction in enumerate(pending, start=1):
        _show(correction, number, len(pending))
    if not pending:
        print("Nothing waits for review.")


def _show(correction: Correction, number: int, n: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from promptbot.cli.style import ACCENT, QUIET, make_console, shorten, visible

    console = make_console()
    about = [correction.kind, correction.variant, correction.said[:10], correction.model]
    about = [text for text in about if text]
    place = f"{number} of {n}  "
    details = shorten(" · ".join(about), max(console.width - len(place), 1))
    console.print(Text.assemble((place, ACCENT), (details, QUIET)))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")  # nothing of what is decided about is cut off
    is_note = correction.kind == "note"
    rows = [("question" if is_note else "you", correction.input)]
    if correction.replied and correction.kind == "fix":
        rows.append(("bot", correction.replied))
    rows.append(("answer" if is_note else "wanted", correction.output))
    for title, text in rows:
        grid.add_row(Text(title, QUIET), Text(visible(text), "bold" if title == "wanted" else ""))
    console.print(grid)
    if correction.n_earlier:
        said = f"After {correction.n_earlier} earlier messages: can it be understood alone?"
        console.print(Text(said, QUIET))


def _decide_each(found: Review) -> int:
    """Ask about each correction; return 1 where a decision could not be followed, else 0."""
    status = 0
    for number, correction in enumerate(found.pending, start=1):
        if sys.stdout.isatty():
            _show(correction, number, len(found.pending))
        else:
            wanted = " ".join(correction.output.split())
            print(f"{number}: {' '.join(correction.input.split())} -> {wanted}")
        answer, was_followed = _decide(found, correction, number)
        status = status if was_followed else 1
        if sys.stdout.isatty():
            print()
        if answer == "quit":
            break
    return status


def _decide(found: Review, correction: Correction, number: int) -> tuple[Answer, bool]:
    """Return the answer, and whether it could be followed; a person is asked until it can."""
    from promptbot.cli.style import print_error
    from promptbot.errors import DataError, InputError

    targets: tuple[Target, ...] = found.targets(correction)
    known: tuple[Answer, ...] = (*targets, "drop", "later", "quit")
    while True:
        typed = _ask(f"{' · '.join(known)} › ")
        word = "quit" if typed is None else typed.strip().lower() or "later"
        answer = next((answer for answer in known if answer.startswith(word)), None)
        if answer is None:
            mistake = InputError(
                f'"{word}" is no answer to number {number}.',
                place="review",
                expected=f"Expected one of: {', '.join(known)}.",
                hint="The first letter is enough.",
            )
            if not sys.stdin.isatty():  # the answers after it would be those to other questions
                raise mistake
            print_error(mistake)
            continue
        if answer == "drop":
            found.drop(correction)
        target = next((target for target in targets if target == answer), None)
        if target is None:
            return answer, True
        try:
            print(f"{target}: {found.accept(correction, target)}")
        except DataError as error:
            print_error(error)
            if not sys.stdin.isatty():
                print("Left for later.", file=sys.stderr)
                return answer, False
        else:
            return answer, True


def _write(found: Review) -> int:
    """Show what changes, ask, write; return the exit status."""
    changes = found.changes
    if not found.has_decided:
        print("Nothing was decided, so everything stays.")
        return 0
    for change in changes:
        for line in change.diff:
            _print_diff(line)
    if found.dropped:
        print(f"Dropped: {len(found.dropped)}.")
    typed = _ask("Write this? yes/no › ")
    if (typed or "").strip().lower() not in ("y", "yes"):
        print("Nothing was written: the last answer was not yes.", file=sys.stderr)
        return 1
    try:
        found.write()
    except KeyboardInterrupt:
        from promptbot.errors import INTERRUPTED

        print(
            "\nInterrupted while it was written. Review again: what was taken over is found there.",
            file=sys.stderr,
        )
        return INTERRUPTED
    names = ", ".join(str(change.path) for change in changes)
    print(f"Written: {names}." if names else "Done.")
    return 0


def _print_diff(line: str) -> None:
    from promptbot.cli.style import ACCENT, make_console, visible

    if not sys.stdout.isatty():
        print(line)
        return
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": ACCENT}
    make_console().print(Text(visible(line), styles.get(line[:1], "dim")))


def _ask(question: str) -> str | None:
    """Return the next answer; None at the end of the answers."""
    if sys.stdin.isatty():
        print(question, end="", flush=True)
    line = sys.stdin.readline() if sys.stdin is not None else ""
    return line if line else None
