from __future__ import annotations

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.errors import FrozenModelChanged
from promptbot.models.scripted import ScriptedModel
from promptbot.session import Session
from promptbot.types import Message
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
