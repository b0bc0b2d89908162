"""The same prompt without each of its parts."""

from __future__ import annotations

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.models.scripted import ScriptedModel
from promptbot.prompt.leave_out import LeftOut, sentences
from promptbot.types import Message
from tests.conftest import BOT_YAML, BotMaker
from tests.encoders import HashingEncoder

QUESTION = Message("user", "When are you open?")
EXAMPLES = (
    Message("user", "Hello"),
    Message("assistant", "Hi there!"),
    Message("user", "Bye"),
    Message("assistant", "Goodbye!"),
)
SYSTEM = """\
You work at Acme. If no note fits, say: I will ask.

Q: Where are you?
A: In Mill Street.

Q: When are you open?
A: From 9 to 5."""


def left_out(bot: BotMaker, files: dict[str, str] | None = None, said: int = 0) -> list[LeftOut]:
    model = ScriptedModel(answers=["Yes."] * (said + 1))
    chain = Chain(load_bot(bot(files=files)), model, encoder=HashingEncoder())
    for number in range(said):
        chain.invoke({"input": f"message {number}", "session": "a"})
    return chain.leave_out_each(chain.compose("When are you open?", "a"))


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_each_part_is_left_out_once_and_all_else_stays(make_bot: BotMaker) -> None:
    found = left_out(make_bot)
    assert [(left.kind, left.text) for left in found] == [
        ("system", "You work at Acme."),
        ("system", "If no note fits, say: I will ask."),
        ("note", "Where are you?\nIn Mill Street."),
        ("note", "When are you open?\nFrom 9 to 5."),
        ("example", "Hello\nHi there!"),
        ("example", "Bye\nGoodbye!"),
    ]
    assert found[0].messages == (
        Message("system", SYSTEM.removeprefix("You work at Acme. ")),
        *EXAMPLES,
        QUESTION,
    )
    assert found[1].messages[0].content == SYSTEM.replace(" If no note fits, say: I will ask.", "")
    assert found[2].messages[0].content == SYSTEM.replace(
        "\nQ: Where are you?\nA: In Mill Street.\n", ""
    )
    assert found[5].messages == (Message("system", SYSTEM), *EXAMPLES[:2], QUESTION)


def test_a_turn_goes_with_its_reply(make_bot: BotMaker) -> None:
    turns = [left for left in left_out(make_bot, said=2) if left.kind == "turn"]
    assert [left.text for left in turns] == ["message 0\nYes.", "message 1\nYes."]
    assert turns[0].messages[-3:] == (
        Message("user", "message 1"),
        Message("assistant", "Yes."),
        QUESTION,
    )


def test_examples_that_the_template_writes_are_left_out_there(make_bot: BotMaker) -> None:
    template = (
        "Do as shown.\n{% for e in examples %}\n{{ e.input }} -> {{ e.output }}\n{% endfor %}"
    )
    found = left_out(make_bot, {"system.j2": template})
    assert [(left.kind, left.messages[0].content) for left in found] == [
        ("system", "Hello -> Hi there!\nBye -> Goodbye!"),
        ("example", "Do as shown.\nBye -> Goodbye!"),
        ("example", "Do as shown.\nHello -> Hi there!"),
    ]


def test_without_a_system_prompt_there_is_no_empty_message(make_bot: BotMaker) -> None:
    found = left_out(make_bot, {"system.j2": "Be kind.", "bot.yaml": BOT_YAML})
    assert [left.kind for left in found] == ["system", "example", "example"]
    assert found[0].messages == (*EXAMPLES, QUESTION)


def test_sentences_end_where_a_reader_would_end_them() -> None:
    assert split("Open from 9 a.m. to 5. Closed on Sundays!\n- Be brief") == [
        "Open from 9 a.m. to 5.",
        "Closed on Sundays!",
        "- Be brief",
    ]
    assert split("1. First.\n2. Second.") == ["1. First.", "2. Second."]
    assert split("你好。再见！") == ["你好。", "再见！"]
    assert split('He said "Stop." Then he left.') == ['He said "Stop."', "Then he left."]
    assert split("") == split("  \n ") == []
