"""`promptbot check`: everything that is wrong with bots, at once."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    bots: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BOT]...", help="Names or folders; every bot found when left out."),
    ] = None,
) -> None:
    """Say everything that is wrong with bots, file and line, at once."""
    from promptbot.bot.check import cache_advice, check_bot, check_names, guard_advice
    from promptbot.cli.style import print_error, visible
    from promptbot.errors import MissingExtra, PromptbotError, UserError

    status = 0
    for name in check_names(list(bots or ())):
        try:
            found = check_bot(name)
        except PromptbotError as error:
            found = [error]
        missing = [problem for problem in found if isinstance(problem, MissingExtra)]
        problems = [problem for problem in found if problem not in missing]
        for problem in problems:
            print_error(problem)
        if problems:
            status = UserError.exit_status
        else:
            print(f"ok: {name} ({summarise(name)})")
            for remark in (*cache_advice(name), *guard_advice(name)):
                print(f"    {visible(remark)}")
        for one in missing:
            print(f"    not checked here: {visible(' '.join(str(one).splitlines()))}")
    raise typer.Exit(status)


def summarise(name: str) -> str:
    """Return what a bot consists of, in a few words."""
    from promptbot.bot.folder import load_bot, variant_files

    bot = load_bot(name)
    counted = [
        (len(variant_files(bot.folder)), "variant"),
        (len(bot.examples), "example"),
        (len(bot.notes), "note"),
    ]
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in counted)
