"""The guard in the turn: nothing behind it ever sees what it took out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptbot.bot.check import guard_advice
from promptbot.bot.folder import load_bot
from promptbot.bot.spec import BotSpec, GuardSpec
from promptbot.chain import Chain, InMemoryHistory
from promptbot.errors import SpecError
from promptbot.guard.guard import Guard, without_secrets
from promptbot.models.scripted import ScriptedModel
from promptbot.types import GuardEvent, Message, Reply
from tests.conftest import BotMaker

MAIL, PHONE = "eva@example.com", "+44 7911 123456"


def make_chain(make_bot: BotMaker, guard: str, *answers: str, system: str = "Be kind.") -> Chain:
    yaml = f"name: shop\nguard: {guard}\n"
    bot = load_bot(make_bot(files={"bot.yaml": yaml, "system.j2": system}))
    return Chain(bot, ScriptedModel(answers=list(answers)), history=InMemoryHistory())


def events(reply: Reply) -> tuple[GuardEvent, ...]:
    assert reply.trace is not None
    return reply.trace.guard


def test_personal_data_reaches_neither_prompt_nor_trace_nor_store(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, "{redact: [email, phone]}", "Thank you.")
    reply = chain.invoke({"input": f"I am {MAIL}, {PHONE}", "session": "a"})
    assert isinstance(chain.model, ScriptedModel)
    assert chain.model.prompts[0][-1] == Message("user", "I am [email], [phone]")
    kept = str(reply.to_dict()) + str(chain.history.load("a"))
    kept = re.sub(r"\d+\.\d+", "", kept)  # seconds, whose digits can be any
    assert MAIL not in kept
    assert "7911" not in kept
    assert set(events(reply)) == {
        GuardEvent("redacted email", "message", 1),
        GuardEvent("redacted phone", "message", 1),
    }


def test_without_the_setting_everything_is_heard(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, "{fallback: Sorry.}", f"Hello {MAIL}")
    reply = chain.invoke(f"I am {MAIL}")
    assert reply.text == f"Hello {MAIL}"
    assert events(reply) == ()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_reply_loses_what_is_not_the_bots_own(make_bot: BotMaker, streamed: bool) -> None:
    said = f"Write to shop@example.com or {MAIL}, or call 020 7946 0018 today."
    chain = make_chain(
        make_bot, "{redact: [email, phone]}", said, system="We are shop@example.com."
    )
    pieces = list(chain.stream("Hi")) if streamed else [chain.invoke("Hi")]
    text = "".join(piece.text for piece in pieces)
    assert text == "Write to shop@example.com or [email], or call [phone] today."
    trace = pieces[-1].trace
    assert trace is not None
    assert trace.completion.text == text


@settings(deadline=None)  # the first example loads the number plans
@given(
    st.lists(
        st.sampled_from(
            [
                MAIL,
                PHONE,
                "GB82 WEST 1234 5698 7654 32",
                "4111 1111 1111 1111",
                "jane (at) example dot com",
                "hello",
                "7",
                "and",
                "我的电话",
            ]
        ),
        max_size=8,
    ),
    st.integers(1, 9),
)
def test_a_streamed_reply_is_screened_as_the_whole_one(words: list[str], size: int) -> None:
    text = "; ".join(words)
    guard = Guard(BotSpec(name="x", guard=GuardSpec(redact=["email", "phone", "iban", "card"])))
    whole = guard.screen(()).whole(text)
    screen = guard.screen(())
    pieces = [screen.push(text[i : i + size]) for i in range(0, len(text), size)]
    assert "".join([*pieces, screen.finish()]) == whole
    assert MAIL not in whole
    assert "4111" not in whole
    assert "jane" not in whole


def test_chinese_is_shown_while_it_is_written() -> None:
    screen = Guard(BotSpec(name="x", guard=GuardSpec(redact=["email"]))).screen(())
    text = "我们星期一到星期五开门，欢迎您随时光临本店。请写信给li@example.cn"
    shown = [screen.push(character) for character in text]
    assert len("".join(shown)) > 15
    assert "".join(shown) + screen.finish() == text.replace("li@example.cn", "[email]")


def test_secrets_of_the_environment_are_never_heard(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-abcdefghijklmnop")
    monkeypatch.setenv("MONKEY_BUSINESS", "bananas-and-more")
    text = "is sk-abcdefghijklmnop a key, or bananas-and-more?"
    assert without_secrets(text) == ("is [secret] a key, or bananas-and-more?", 1)
    chain = make_chain(make_bot, "{}", "No.")
    reply = chain.invoke(text)
    assert "sk-abc" not in str(reply.to_dict())
    assert events(reply) == (GuardEvent("secret", "message", 1),)


def test_no_prompt_holds_a_secret_that_an_author_wrote_down(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-abcdefghijklmnop"
    monkeypatch.setenv("SOME_API_KEY", secret)
    example = json.dumps({"input": f"in {secret}", "output": f"out {secret}"})
    note = json.dumps({"question": "Which key?", "answer": f"It is {secret}."})
    files = {
        "bot.yaml": f"name: shop\nvars: {{key: {secret}}}\n"
        "examples: {file: examples.jsonl, selector: fixed, k: 1, order: file}\n"
        "knowledge: {file: knowledge.jsonl, k: 1, retriever: bm25}\n",
        "system.j2": secret + " {{ key }} {% for note in knowledge %}{{ note.text }}{% endfor %}",
        "turn.j2": f"{secret}: {{{{ input }}}}",
        "examples.jsonl": example + "\n",
        "knowledge.jsonl": note + "\n",
    }
    bot = load_bot(make_bot(files=files))
    history = InMemoryHistory()
    history.append("s", [Message("user", secret), Message("assistant", f"Yes, {secret}.")])
    chain = Chain(bot, ScriptedModel(answers=["No."]), history=history)
    reply = chain.invoke({"input": "Which key?", "session": "s"})
    assert isinstance(chain.model, ScriptedModel)
    assert secret not in str(chain.model.prompts)
    assert str(chain.model.prompts).count("[secret]") == 10
    assert secret not in str(reply.to_dict())
    (remark,) = guard_advice(bot.folder)
    assert "SOME_API_KEY" in remark
    assert secret not in remark


def test_a_secret_that_begins_with_another_goes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdefgh1234")
    monkeypatch.setenv("B_TOKEN", "abcdefgh1234-and-the-rest")
    assert without_secrets("use abcdefgh1234-and-the-rest") == ("use [secret]", 1)


def test_an_emergency_is_answered_without_the_model(make_bot: BotMaker) -> None:
    chain = make_chain(
        make_bot,
        "{emergency: [{patterns: [chest pain], reply: Call 112.}], max_turns: 1}",
        "Hello.",
    )
    first = chain.invoke({"input": "hi", "session": "a"})
    rule = chain.invoke({"input": "I have chest pain", "session": "a"})
    assert (first.text, rule.text) == ("Hello.", "Call 112.")
    assert events(rule) == (GuardEvent("emergency", "message", 1, "chest pain"),)
    assert isinstance(chain.model, ScriptedModel)
    assert len(chain.model.prompts) == 1
    assert chain.history.load("a")[-1] == Message("assistant", "Call 112.")


def test_after_the_last_turn_the_bot_takes_its_leave(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, "{max_turns: 2, closing: Goodbye.}", "a", "b", "c")
    said = [chain.invoke({"input": "hi", "session": "s"}).text for _ in range(3)]
    assert said == ["a", "b", "Goodbye."]
    assert chain.invoke("a message without a session").text == "c"


@pytest.mark.parametrize(
    ("guard", "told"),
    [
        ("{redact: [emial]}", "email"),
        ("{regions: [Germany]}", "regions"),
        ("{max_turns: 0}", "max_turns"),
        ("{regions: [UK]}", 'Did you mean "GB"'),
        ("{regions: [XX]}", 'unknown region "XX"'),
        ("{regions: [de]}", 'Did you mean "DE"'),
        ("{emergency: [{patterns: [], reply: x}]}", "at least one entry"),
        ("{emergency: [{patterns: ['*'], reply: x}]}", "which any message would meet"),
        ("{emergency: [{patterns: ['chest, pain'], reply: x}]}", "chest pain|tight"),
        ("{emergency: [{patterns: ['a | b'], reply: x}]}", "without spaces"),
        ("{emergency: [{patterns: [a], unless: ['b,'], reply: x}]}", "no part of a message"),
        ("{emergency: [{patterns: ['a||b'], reply: x}]}", "which any message would meet"),
    ],
)
def test_wrong_settings_are_told_with_their_line(make_bot: BotMaker, guard: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_chain(make_bot, guard)
    assert told in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_classify_bot_has_no_sentence_to_say(make_classifier: BotMaker) -> None:
    folder = make_classifier()
    yaml = (folder / "bot.yaml").read_text(encoding="utf-8")
    (folder / "bot.yaml").write_text(yaml + "guard: {max_turns: 3}\n", encoding="utf-8")
    with pytest.raises(SpecError, match="answers are labels"):
        load_bot(folder)


def test_transcripts_are_written_without_personal_data(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from promptbot.cli.main import app

    file = tmp_path / "talk.jsonl"
    command = ["run", "customer_service", "--once", f"I am {MAIL}", "--transcript", str(file)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "[email]" in file.read_text(encoding="utf-8")
    assert MAIL not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("MYTOKEN", "abcdefghijklmnop", True),
        ("my_token", "abcdefghijklmnop", True),
        ("Github_Token_2", "abcdefghijklmnop", True),
        ("DB_PASS", "hunter2-x", True),
        ("db_pwd", "hunter2-x", True),
        ("PGPASSWORD", "hunter2-x", True),
        ("PASSWD", "correct-horse-battery", True),
        ("AWS_SECRET_ACCESS_KEY", "abcdefghijklmnop", True),
        ("OPENAI_APIKEY", "abcdefghijklmnop", True),
        ("DB_PASS", "postgres", False),
        ("OLDPWD", "/home/somebody/here", False),
        ("SSH_ASKPASS", "/usr/bin/ssh-askpass", False),
        ("TOKENIZERS_PARALLELISM", "false-and-so-on", False),
        ("COMPASS", "north-by-northwest", False),
    ],
)
def test_secrets_are_known_by_their_names(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, is_secret: bool
) -> None:
    monkeypatch.setenv(name, value)
    said = "[secret]" if is_secret else value
    assert without_secrets(f"it is {value}!")[0] == f"it is {said}!"


def test_attempts_are_screened_also_where_the_taken_answer_is_clean(make_bot: BotMaker) -> None:
    schema = '{"type": "object", "required": ["a"]}'
    yaml = (
        "name: shop\nguard: {redact: [email]}\n"
        "output: {format: json, json_schema: schema.json, retries: 1}\n"
    )
    files = {"bot.yaml": yaml, "system.j2": "Be kind.", "schema.json": schema}
    bot = load_bot(make_bot(files=files))
    model = ScriptedModel(answers=[f'{{"b": "{MAIL}"}}', '{"a": "nobody"}'])
    reply = Chain(bot, model).invoke("Who?")
    assert reply.data == {"a": "nobody"}
    assert "eva" not in str(reply.to_dict())
    assert events(reply) == (GuardEvent("redacted email", "reply", 1),)
    model = ScriptedModel(answers=[f'{{"a": "{MAIL}"}}'])
    reply = Chain(bot, model).invoke("Who?")
    assert reply.data == {"a": "[email]"}
    assert events(reply) == (GuardEvent("redacted email", "reply", 1),)


def test_what_a_person_corrects_keeps_the_bots_own_number() -> None:
    guard = Guard(BotSpec(name="x", guard=GuardSpec(redact=["phone"])))
    said = "Call 020 7946 0018, not 07911 123456."
    heard = guard.hear(said, ["Our number is 020 7946 0018."])
    assert heard.text == "Call 020 7946 0018, not [phone]."


def test_what_a_rule_said_is_kept_but_not_shown_to_the_model(make_bot: BotMaker) -> None:
    guard = "{emergency: [{patterns: [chest pain], reply: Call 112.}]}"
    chain = make_chain(make_bot, guard, "Hello.", "At nine.", "Bye.")
    said = ["hi", "chest pain", "still this chest pain", "when do you open?"]
    replies = [chain.invoke({"input": text, "session": "a"}).text for text in said]
    assert replies == ["Hello.", "Call 112.", "Call 112.", "At nine."]
    assert isinstance(chain.model, ScriptedModel)
    shown = [(one.role, one.content) for one in chain.model.prompts[-1][1:]]
    assert shown == [("user", "hi"), ("assistant", "Hello."), ("user", "when do you open?")]
    kept = [message.content for message in chain.history.load("a")]
    assert kept == [text for turn in zip(said, replies, strict=True) for text in turn]
    assert "112" not in str(chain.compose("bye", "a").messages)


def test_turns_by_rule_count_as_turns(make_bot: BotMaker) -> None:
    guard = "{emergency: [{patterns: [pain], reply: Call 112.}], max_turns: 2, closing: Goodbye.}"
    chain = make_chain(make_bot, guard, "a", "b")
    said = [chain.invoke({"input": text, "session": "s"}).text for text in ("pain", "hi", "hi")]
    assert said == ["Call 112.", "a", "Goodbye."]
