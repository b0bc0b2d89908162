"""The scripted model: answers in order, by match, with scores; and what it says of bad scripts."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

from promptbot.errors import InputError, ModelError
from promptbot.interfaces import FrozenModel
from promptbot.models.scripted import ScriptedModel, load_scripted
from promptbot.types import Message

ASK = [Message("system", "Be brief."), Message("user", "Which label?")]


def test_answers_come_in_order_and_prompts_are_recorded() -> None:
    model = ScriptedModel(answers=["one", "two"])
    assert model.invoke([SystemMessage("Be brief."), HumanMessage("first")]).text == "one"
    assert model.invoke("second").text == "two"
    assert model.prompts == [
        [Message("system", "Be brief."), Message("user", "first")],
        [Message("user", "second")],
    ]


def test_a_matching_entry_goes_first_and_is_never_used_up() -> None:
    model = ScriptedModel(answers=["in turn", {"match": "bye", "text": "Goodbye."}])
    assert [model.invoke(text).text for text in ("bye now", "hello", "bye")] == [
        "Goodbye.",
        "in turn",
        "Goodbye.",
    ]


def test_match_looks_at_the_last_user_message_alone() -> None:
    model = ScriptedModel(answers=["in turn", {"match": "bye", "text": "Goodbye."}])
    earlier = [HumanMessage("bye"), HumanMessage("hello")]
    assert model.invoke(earlier).text == "in turn"


def test_the_pieces_of_a_stream_are_words_that_add_up() -> None:
    model = ScriptedModel(answers=["  Two  words,\nthen three 🙂 "])
    pieces = [str(chunk.text) for chunk in model.stream("go")]
    assert "".join(pieces) == "  Two  words,\nthen three 🙂 "
    assert [piece for piece in pieces if piece][:2] == ["  Two", "  words,"]


def test_stream_and_invoke_report_the_same_usage() -> None:
    whole = ScriptedModel(answers=["a b c"]).invoke("x y")
    chunks = list(ScriptedModel(answers=["a b c"]).stream("x y"))
    streamed = sum(chunks[1:], start=chunks[0])
    assert whole.usage_metadata == streamed.usage_metadata
    assert whole.usage_metadata == {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}
    assert streamed.response_metadata["finish_reason"] == "stop"


def test_an_empty_answer_streams_as_an_empty_answer() -> None:
    chunks = list(ScriptedModel(answers=[{"text": ""}]).stream("go"))
    assert "".join(str(chunk.text) for chunk in chunks) == ""


def test_async_and_batch_answer_too() -> None:
    model = ScriptedModel(answers=[{"match": "a", "text": "A"}, {"match": "b", "text": "B"}])
    assert [reply.text for reply in model.batch(["a", "b"])] == ["A", "B"]
    assert asyncio.run(model.ainvoke("b")).text == "B"


def test_an_exhausted_script_is_a_clear_error() -> None:
    model = ScriptedModel(answers=["only"])
    model.invoke("1")
    with pytest.raises(ModelError, match=r"no answer left for prompt 2\.\nIt holds 1 entry"):
        model.invoke("2")
    with pytest.raises(ModelError, match="no answer left"):
        model.score(ASK, ["x"])


def test_scores_come_from_the_script() -> None:
    model = ScriptedModel(answers=["text", {"scores": {"yes": -0.1, "no": -2}}])
    scores = model.score(ASK, ["no", "yes"])
    assert [(s.option, s.logprob, s.token_logprobs) for s in scores] == [
        ("no", -2.0, (-2.0,)),
        ("yes", -0.1, (-0.1,)),
    ]
    assert model.invoke("hi").text == "text"
    assert model.prompts[0] == ASK


def test_without_scores_the_next_answer_is_the_likeliest_option() -> None:
    model = ScriptedModel(answers=[" Lost Card "])
    by_option = {s.option: s.logprob for s in model.score(ASK, ["lost card", "fee", "pin"])}
    assert by_option["lost card"] == pytest.approx(math.log(0.99))
    assert by_option["fee"] == by_option["pin"] == pytest.approx(math.log(0.005))
    assert sum(math.exp(logprob) for logprob in by_option.values()) == pytest.approx(1)


def test_an_answer_that_is_no_option_is_an_error() -> None:
    with pytest.raises(ModelError, match='Did you mean "lost card"'):
        ScriptedModel(answers=["lost cart"]).score(ASK, ["lost card", "fee"])


def test_an_option_that_the_scores_lack_is_an_error() -> None:
    with pytest.raises(ModelError, match='no score for "fee"'):
        ScriptedModel(answers=[{"scores": {"pin": -1}}]).score(ASK, ["pin", "fee"])


def test_tokens_are_words_and_one_per_message() -> None:
    assert ScriptedModel(answers=[]).count_tokens(ASK) == (2 + 1) + (2 + 1)


def test_it_is_a_frozen_model_whose_revision_is_its_script() -> None:
    model = ScriptedModel(answers=["a"], context_tokens=50)
    assert isinstance(model, FrozenModel)
    assert model.context_tokens == 50
    assert model.digest() == model.revision == ScriptedModel(answers=["a"]).revision
    assert model.revision != ScriptedModel(answers=["b"]).revision


def test_a_word_costs_one_nat_of_fluency() -> None:
    score = ScriptedModel(answers=[]).loglikelihood("two words")
    assert (score.logprob, score.n_tokens, score.n_bytes) == (-2.0, 2, 9)
    with pytest.raises(InputError, match="too short"):
        ScriptedModel(answers=[]).loglikelihood(" ")


def test_a_tool_message_cannot_enter_a_prompt() -> None:
    with pytest.raises(InputError, match='kind "tool"'):
        ScriptedModel(answers=["a"]).invoke([ToolMessage("x", tool_call_id="1")])


def test_a_text_file_holds_one_answer_a_line(tmp_path: Path) -> None:
    file = tmp_path / "script.txt"
    file.write_bytes('\ufeffHello \u2028 there.\r\n\r\n{"not": "json"}\r\n'.encode())
    model = load_scripted(file, "scripted:script.txt")
    assert [model.invoke("x").text for _ in range(2)] == [
        "Hello \u2028 there.",
        '{"not": "json"}',
    ]


def test_a_jsonl_file_holds_every_form(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text('"plain"\n{"text": "keyed", "match": "k"}\n\n{"scores": {"a": -1}}\n')
    model = load_scripted(file, "scripted:script.jsonl")
    assert model.spec == "scripted:script.jsonl"
    assert [model.invoke(text).text for text in ("k", "x")] == ["keyed", "plain"]
    assert model.score(ASK, ["a"])[0].logprob == -1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{broken", "not JSON"),
        ("3", "cannot use '3'"),
        ('{"txt": "a"}', "cannot use"),
        ('{"text": "a", "scores": {"b": -1}}', "cannot use"),
        ('{"scores": {"a": 0.5}}', "at most 0"),
        ('{"scores": {"a": NaN}}', "at most 0"),
        ('{"text": "a", "match": 3}', "cannot use"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text(f'"fine"\n\n{line}\n')
    with pytest.raises(ModelError, match=f"line 3: (.|\n)*{complaint}"):
        load_scripted(file, "scripted:x")


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.txt: .*No such file"):
        load_scripted(tmp_path / "missing.txt", "scripted:x")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ModelError, match="not UTF-8"):
        load_scripted(tmp_path / "latin.txt", "scripted:x")
