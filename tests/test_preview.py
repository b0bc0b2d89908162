"""A prompt that is shown is the prompt that would be asked."""

from __future__ import annotations

from pathlib import Path

from promptbot.bot.folder import load_bot
from promptbot.chain import load_chain
from promptbot.preview import preview
from tests.conftest import BotMaker


def test_it_is_the_prompt_of_the_chain(make_bot: BotMaker, tiny_folder: Path) -> None:
    bot = load_bot(str(make_bot()))
    spec = str(tiny_folder)
    expected = load_chain(bot, model=spec).compose("When are you open?")
    found = preview(bot, "When are you open?", model=spec)
    assert found.messages == expected.messages
    assert (found.n_tokens, found.max_tokens) == (expected.n_tokens, expected.max_tokens)
