"""Prompts for other programs say exactly what the bot's own prompt says."""

from __future__ import annotations

import json

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.errors import InputError
from promptbot.interchange import langchain_template, openai_request, training_lines
from promptbot.models.messages import from_langchain
from promptbot.models.scripted import ScriptedModel
from promptbot.types import Message
from tests.conftest import BOT_YAML, BotMaker
from tests.encoders import HashingEncoder

BRACES = '{"question": "Code?", "answer": "Write {name} or {{ name }}."}\n'


def make_chain(make_bot: BotMaker, **files: str) -> Chain:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return Chain(
        load_bot(make_bot(files=named)), ScriptedModel(answers=["x"]), encoder=HashingEncoder()
    )


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
@pytest.mark.parametrize("turn", ["{{ input }}", "Customer {1}: {{ input }}\n(answer briefly)"])
def test_langchain_reads_its_template_back_as_our_messages(make_bot: BotMaker, turn: str) -> None:
    from langchain_core.load import dumpd, load
    from langchain_core.messages import AIMessage, HumanMessage

    chain = make_chain(make_bot, turn_j2=turn, knowledge_jsonl=BRACES)
    prompt = chain.compose("Is {this} open?")
    written = json.loads(json.dumps(dumpd(langchain_template(prompt, "Is {this} open?"))))
    template = load(written, allowed_objects="core")
    filled = template.invoke({"input": "Is {this} open?"}).to_messages()
    assert from_langchain(filled) == list(prompt.messages)
    assert "Write {name} or {{ name }}." in filled[0].content
    earlier = [HumanMessage("Hi"), AIMessage("Hello.")]
    filled = template.invoke({"input": "Other", "history": earlier}).to_messages()
    assert filled[-3:-1] == earlier
    assert filled[-1].content == turn.replace("{{ input }}", "Other")


def test_a_turn_template_that_changes_the_message_has_no_place_for_it(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, turn_j2="{{ input | upper }}")
    with pytest.raises(InputError, match="no place"):
        langchain_template(chain.compose("Open?"), "Open?")


def test_an_openai_request_holds_messages_model_and_decoding(make_bot: BotMaker) -> None:
    settings = "model: openai:gpt-4o-mini@http://localhost:1/v1\ndecoding: {stop: [END]}\n"
    chain = make_chain(make_bot, bot_yaml=BOT_YAML + settings)
    prompt = chain.compose("Open?")
    request = openai_request(chain.bot, prompt)
    assert [Message(**message) for message in request.pop("messages")] == list(prompt.messages)
    assert request == {
        "model": "gpt-4o-mini",
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 80,
        "stop": ["END"],
    }


def test_requests_and_training_lines_pass_the_types_of_openais_own_package(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none is asked")
    chat = pytest.importorskip("openai.types.chat")
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from pydantic import TypeAdapter, with_config

    strict = with_config({"extra": "forbid"})
    request_of = TypeAdapter(strict(CompletionCreateParamsNonStreaming))
    settings = "model: openai:gpt-4o-mini\ndecoding: {stop: [END], temperature: 0.7, top_k: 5}\n"
    chain = make_chain(make_bot, bot_yaml=BOT_YAML + settings)
    request = openai_request(chain.bot, chain.compose("Open?"))
    assert request_of.validate_python(request)["stop"] == ["END"]
    with pytest.raises(ValueError, match="top_k"):
        request_of.validate_python({**request, "top_k": 5})
    message_of = TypeAdapter(chat.ChatCompletionMessageParam)
    for line in training_lines(chain.bot):
        said = [message_of.validate_python(message) for message in line["messages"]]
        assert [one["role"] for one in said] == ["system", "user", "assistant"]


def test_settings_that_openai_does_not_know_go_to_other_servers_only(make_bot: BotMaker) -> None:
    decoding = "decoding: {temperature: 0.7, top_k: 40, min_p: 0.1, repetition_penalty: 1.2}\n"
    for model, expected in [
        ("openai:qwen3@http://localhost:1/v1", {"top_k": 40, "min_p": 0.1}),
        ("openai:gpt-4o-mini", {}),
    ]:
        chain = make_chain(make_bot, bot_yaml=f"{BOT_YAML}model: {model}\n{decoding}")
        request = openai_request(chain.bot, chain.compose("Open?"))
        assert {key: request[key] for key in ("top_k", "min_p") if key in request} == expected
        assert ("repetition_penalty" in request) == bool(expected)


def test_training_lines_never_show_the_answer_before_it_is_asked_for(make_bot: BotMaker) -> None:
    template = "Be kind.{% for e in examples %} {{ e.output }}{% endfor %}"
    bot = load_bot(make_bot(files={"system.j2": template}))
    assert list(training_lines(bot)) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answer},
            ]
        }
        for asked, answer in [
            ("Hello", "Hi there!"),
            ("Bye", "Goodbye!"),
            ("Thank you", "You are welcome!"),
        ]
    ]


def test_a_bot_without_examples_has_no_training_lines(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot(files={"bot.yaml": "name: shop\n", "system.j2": "Be kind."}))
    with pytest.raises(InputError, match="no examples"):
        list(training_lines(bot))
