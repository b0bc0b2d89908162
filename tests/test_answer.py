"""Answers that are looked at before they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from promptbot.bot.check import check_bot
from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, load_chain
from promptbot.errors import DataError, SpecError
from promptbot.models.onnx import load_onnx
from promptbot.models.scripted import ScriptedModel
from promptbot.types import OutputCheck, Reply
from tests.conftest import BOT_YAML, BotMaker
from tests.encoders import HashingEncoder

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON_YAML = BOT_YAML + "output: {format: json, json_schema: answer.json, retries: 1}\n"


def json_bot(make_bot: BotMaker, schema: object = SCHEMA, yaml: str = JSON_YAML) -> Path:
    return make_bot(files={"bot.yaml": yaml, "answer.json": json.dumps(schema)})


def make(folder: Path, *answers: str) -> tuple[Chain, ScriptedModel]:
    model = ScriptedModel(answers=list(answers))
    return Chain(load_bot(folder), model, encoder=HashingEncoder()), model


def output(reply: Reply) -> OutputCheck:
    assert reply.trace is not None
    assert reply.trace.output is not None
    return reply.trace.output


def test_an_answer_that_fits_the_schema_is_data(make_bot: BotMaker) -> None:
    chain, _ = make(json_bot(make_bot), '{"city": "Rome"}')
    reply = chain.invoke("Where to?")
    assert reply.data == {"city": "Rome"}
    assert reply.to_dict()["data"] == {"city": "Rome"}
    assert reply.text == '{"city": "Rome"}'
    assert [one.problem for one in output(reply).attempts] == [None]


def test_the_model_is_told_what_was_wrong_and_asked_again(make_bot: BotMaker) -> None:
    chain, model = make(json_bot(make_bot), "Rome, of course", '{"city": "Oslo"}')
    reply = chain.invoke("Where to?")
    assert reply.data == {"city": "Oslo"}
    assert [(m.role, m.content) for m in model.prompts[1][-2:-1]] == [
        ("assistant", "Rome, of course")
    ]
    complaint = model.prompts[1][-1].content
    assert "not JSON" in complaint
    assert json.dumps(SCHEMA) in complaint
    assert reply.trace is not None
    # What both calls cost is added up.
    n_read = sum(model.count_tokens(prompt) for prompt in model.prompts)
    assert reply.trace.completion.n_prompt_tokens == n_read


def test_after_the_retries_the_answer_stands_without_data(make_bot: BotMaker) -> None:
    chain, model = make(json_bot(make_bot), '{"city": "Bern"}', "{}")
    reply = chain.invoke("Where to?")
    assert reply.data is None
    assert reply.text == "{}"
    assert len(model.prompts) == 2
    problems = [one.problem or "" for one in output(reply).attempts]
    assert problems == [
        "at city, 'Bern' is not one of ['Rome', 'Oslo']",
        "'city' is a required property",
    ]
    assert any("taken as it is: 'city' is a required" in r for r in output(reply).remarks)


def test_no_retry_is_made_where_it_would_not_fit(make_bot: BotMaker) -> None:
    model = ScriptedModel(answers=["no", "no"], context_tokens=220)
    chain = Chain(load_bot(json_bot(make_bot)), model, encoder=HashingEncoder())
    long = "word " * 80
    assert chain.invoke(long).data is None
    assert len(model.prompts) == 1


def test_nothing_of_a_rejected_answer_is_streamed(make_bot: BotMaker) -> None:
    chain, _ = make(json_bot(make_bot), "Rome, of course", '{"city": "Oslo"}')
    assert "".join(piece.text for piece in chain.stream("Where to?")) == '{"city": "Oslo"}'


def test_a_pydantic_class_is_a_schema_too(make_bot: BotMaker) -> None:
    class Trip(BaseModel):
        """A journey."""

        city: str
        days: int

    model = ScriptedModel(
        answers=['{"city": "Rome", "days": "two"}', '{"city": "Rome", "days": 2}']
    )
    chain = load_chain(make_bot(), model=model, encoder=HashingEncoder(), json_schema=Trip)
    assert Trip.model_validate(chain.invoke("Where to?").data) == Trip(city="Rome", days=2)


def test_the_template_sees_the_schema(make_bot: BotMaker) -> None:
    folder = make_bot(
        files={
            "bot.yaml": BOT_YAML + "output: {format: json, json_schema: {type: integer}}\n",
            "system.j2": "Answer with JSON: {{ json_schema }}",
        }
    )
    chain, model = make(folder, "7")
    assert chain.invoke("How many?").data == 7
    assert model.prompts[0][0].content == 'Answer with JSON: {"type": "integer"}'


def test_json_alone_wants_any_object(make_bot: BotMaker) -> None:
    chain, _ = make(make_bot(files={"bot.yaml": BOT_YAML + "output: json\n"}), "[1]", '{"a": 1}')
    assert chain.invoke("Hi").data == {"a": 1}


def test_a_local_model_cannot_leave_the_schema(make_bot: BotMaker, tiny_folder: Path) -> None:
    bot = load_bot(json_bot(make_bot, yaml=JSON_YAML.replace("k: 2", "k: 0")))
    model = load_onnx(tiny_folder, "tiny")
    spec = bot.spec.model_copy(
        update={"decoding": bot.spec.decoding.model_copy(update={"temperature": 2.0})}
    )
    from dataclasses import replace

    for seed in range(3):
        chain = Chain(replace(bot, spec=spec, notes=()), model, encoder=HashingEncoder(), seed=seed)
        reply = chain.invoke("a")
        assert reply.data["city"] in ("Rome", "Oslo")
        assert output(reply).how == "constrained"


def test_a_local_answer_that_is_cut_is_no_data(make_bot: BotMaker, tiny_folder: Path) -> None:
    yaml = JSON_YAML.replace("retries: 1", "retries: 0") + "decoding: {max_new_tokens: 3}\n"
    bot = load_bot(json_bot(make_bot, yaml=yaml.replace("k: 2", "k: 0")))
    reply = Chain(bot, load_onnx(tiny_folder, "tiny"), encoder=HashingEncoder()).invoke("a")
    assert reply.data is None
    assert "before its JSON was complete" in str(output(reply).attempts[0].problem)


def test_the_schema_is_part_of_the_hash(make_bot: BotMaker) -> None:
    one = load_bot(json_bot(make_bot)).content_hash
    other = load_bot(json_bot(make_bot, schema={"type": "object"})).content_hash
    assert one != other


@pytest.mark.parametrize(
    ("yaml", "schema", "told"),
    [
        ("output: {format: json, json_schema: answr.json}", "{}", 'Did you mean "answer.json"'),
        ("output: {format: json, json_schema: answer.json}", "{,}", "answer.json, line 1: .* JSON"),
        ("output: {format: json, json_schema: answer.json}", '{"enum": []}', "no answer can meet"),
        ("output: {format: json, json_schema: {type: strin}}", "{}", "this is no JSON schema"),
        ("output: {json_schema: answer.json}", "{}", "output.format is text"),
        ("output: {format: xml}", "{}", 'unknown output.format "xml"'),
        ("output: {format: json, wrong_language: retry}", "{}", "for free text"),
        ("output: {wrong_language: retry}\nlanguage: tlh", "{}", '"tlh" cannot be told'),
        ("ensemble: {kind: self_consistency}", "{}", "all of them would be the same"),
        ("ensemble: {kind: variants, variants: [zero_shot]}", "{}", "task is chat"),
        ("ensemble: {variants: [zero_shot]}", "{}", "ensemble.kind is none"),
    ],
)
def test_check_tells_what_is_wrong_with_the_output(
    make_bot: BotMaker, yaml: str, schema: str, told: str
) -> None:
    folder = make_bot(files={"bot.yaml": f"{BOT_YAML}{yaml}\n", "answer.json": schema})
    problems = "\n".join(map(str, check_bot(folder)))
    import re

    assert re.search(told, problems), problems


def test_a_wrong_schema_stops_the_first_message(make_bot: BotMaker) -> None:
    chain, model = make(json_bot(make_bot, schema={"enum": []}), "x")
    with pytest.raises(SpecError, match=r"answer.json: no answer can meet this schema"):
        chain.invoke("Hi")
    assert not model.prompts
    with pytest.raises(DataError, match=r"bot.yaml, line \d+: .*leads out"):
        load_bot(make_bot(files={"bot.yaml": JSON_YAML.replace("answer.json", "../x.json")}))


GERMAN = "Die Lieferung dauert zwei bis vier Werktage."
ENGLISH = "Delivery takes two to four working days."


def spoken(make_bot: BotMaker, what: str) -> Path:
    return make_bot(files={"bot.yaml": f"{BOT_YAML}output: {{wrong_language: {what}}}\n"})


def test_an_answer_in_another_language_is_remarked(make_bot: BotMaker) -> None:
    chain, _ = make(spoken(make_bot, "remark"), GERMAN, ENGLISH)
    pieces = list(chain.stream("How long?"))
    assert len(pieces) > 2  # it is streamed all the same
    whole = sum(pieces[1:], start=pieces[0])
    assert whole.text == GERMAN
    assert output(whole).attempts[0].problem == "the language is de, not en"
    assert output(chain.invoke("How long?")).attempts[0].problem is None


def test_an_answer_in_another_language_is_asked_for_again(make_bot: BotMaker) -> None:
    chain, model = make(spoken(make_bot, "retry"), GERMAN, ENGLISH)
    assert chain.invoke("How long?").text == ENGLISH
    assert model.prompts[1][-1].content == "Answer again, in the language en."


def test_the_fallback_speaks_in_place_of_another_language(make_bot: BotMaker) -> None:
    chain, _ = make(spoken(make_bot, "fallback"), GERMAN)
    reply = chain.invoke({"input": "How long?", "session": "a"})
    assert reply.text == "I will ask."
    assert output(reply).attempts[0].text == GERMAN
    assert chain.history.load("a")[-1].content == "I will ask."


VOTING = "ensemble: {kind: self_consistency, n: 3}\ndecoding: {temperature: 0.7}\n"


def test_the_most_frequent_of_several_answers_is_taken(make_bot: BotMaker) -> None:
    chain, model = make(make_bot(files={"bot.yaml": BOT_YAML + VOTING}), "Four.", "Five.", "five")
    reply = chain.invoke("How many?")
    assert reply.text == "Five."
    assert output(reply).votes == {"five": 2, "four": 1}
    assert model.prompts == [model.prompts[0]] * 3
    assert reply.trace is not None
    assert reply.trace.completion.n_generated_tokens == 3


@pytest.mark.parametrize(
    ("vote_on", "answers", "taken"),
    [
        ("last_number", ["2 + 2 is 4", "It is 5.", "So, 4.0 it is"], "2 + 2 is 4"),
        ("last_line", ["a\nyes", "b\nno", "c\nNo."], "b\nno"),
        ("last_number", ["none", "nothing", "no"], "none"),
        ("text", ["a", "b", "c"], "a"),  # a tie goes to the first
    ],
)
def test_what_votes_is_chosen(
    make_bot: BotMaker, vote_on: str, answers: list[str], taken: str
) -> None:
    voting = VOTING.replace("n: 3", f"n: 3, vote_on: {vote_on}")
    chain, _ = make(make_bot(files={"bot.yaml": BOT_YAML + voting}), *answers)
    assert chain.invoke("How many?").text == taken


def test_samples_differ_and_are_the_same_again(make_bot: BotMaker, tiny_folder: Path) -> None:
    yaml = BOT_YAML.replace("k: 2", "k: 0") + VOTING.replace("0.7", "2.0, max_new_tokens: 5")
    bot = load_bot(make_bot(files={"bot.yaml": yaml}))
    model = load_onnx(tiny_folder, "tiny")

    def texts(seed: int) -> list[str]:
        chain = Chain(bot, model, encoder=HashingEncoder(), seed=seed)
        return [one.text for one in output(chain.invoke("a")).attempts]

    assert len(set(texts(0))) > 1
    assert texts(0) == texts(0)


def test_json_votes_by_its_value(make_bot: BotMaker) -> None:
    yaml = BOT_YAML + "output: json\n" + VOTING
    answers = ['{"a": 1, "b": 2}', "not JSON", '{"b": 2, "a": 1}']
    chain, _ = make(make_bot(files={"bot.yaml": yaml}), *answers)
    reply = chain.invoke("Hi")
    assert reply.data == {"a": 1, "b": 2}
    assert list(output(reply).votes.values()) == [2]
    assert [bool(one.problem) for one in output(reply).attempts] == [False, True, False]


def test_a_reply_of_json_is_plain_values(make_bot: BotMaker) -> None:
    chain, _ = make(json_bot(make_bot), '{"city": "Rome"}')
    plain: dict[str, Any] = json.loads(json.dumps(chain.invoke("Hi").to_dict()))
    assert plain["trace"]["output"]["how"] == "checked"


def test_a_stop_text_keeps_its_line_breaks_and_spaces(make_bot: BotMaker) -> None:
    yaml = BOT_YAML + 'decoding: {stop: ["\\nUser:", "\\n", " - "]}\n'
    bot = load_bot(make_bot(files={"bot.yaml": yaml}))
    assert bot.spec.decoding.stop == ["\nUser:", "\n", " - "]
    (problem,) = check_bot(make_bot("b", {"bot.yaml": BOT_YAML + 'decoding: {stop: [""]}\n'}))
    assert "decoding.stop.0 is ''" in str(problem)
