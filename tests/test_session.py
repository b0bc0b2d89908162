from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.outputs import ChatGenerationChunk

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.errors import FrozenModelChanged
from promptbot.models.scripted import ScriptedModel
from promptbot.session import Session
from promptbot.types import Chosen, Example, Message
from tests.conftest import BotMaker
from tests.encoders import HashingEncoder


def make_session(make_bot: BotMaker, model: ScriptedModel) -> Session:
    return Session(Chain(load_bot(make_bot()), model, encoder=HashingEncoder()), "a")


def test_a_session_keeps_its_messages_and_last_reply(make_bot: BotMaker) -> None:
    session = make_session(make_bot, ScriptedModel(answers=["One.", "Two."]))
    session.say("first")
    assert session.say("second").text == "Two."
    assert session.last is not None
    assert session.last.text == "Two."
    assert session.messages == [
        Message("user", "first"),
        Message("assistant", "One."),
        Message("user", "second"),
        Message("assistant", "Two."),
    ]


def test_a_frozen_model_passes_and_a_changed_one_does_not(make_bot: BotMaker) -> None:
    class Changed(ScriptedModel):
        def digest(self) -> str:
            return "other"

    make_session(make_bot, ScriptedModel(answers=["x"])).check_frozen()
    with pytest.raises(FrozenModelChanged, match="digest is other"):
        make_session(make_bot, Changed(answers=["x"])).check_frozen()


def test_another_seed_reaches_what_the_model_draws_and_the_trace(make_bot: BotMaker) -> None:
    seeds: list[int] = []

    class Drawing(ScriptedModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            seeds.append(kwargs["seed"])
            yield from super()._stream(*args, **kwargs)

    session = make_session(make_bot, Drawing(answers=["x", "y"]))
    session.say("hi")
    session.use(seed=7)
    session.say("hi")
    assert seeds == [0, 7]
    assert session.last is not None
    assert session.last.trace is not None
    assert session.last.trace.seed == 7


def test_a_selector_of_ones_own_stays_under_another_variant(make_bot: BotMaker) -> None:
    class Last:
        def select(self, query: str, k: int) -> list[Chosen[Example]]:
            return [Chosen(example, None) for example in bot.examples[-k:]]

    bot = load_bot(make_bot())
    chain = Chain(bot, ScriptedModel(answers=["x"]), encoder=HashingEncoder(), selector=Last())
    shown = chain.under(seed=3).compose("hi").examples
    assert [chosen.item.input for chosen in shown] == ["Bye", "Thank you"]
