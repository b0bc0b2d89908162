from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, InMemoryHistory, load_chain
from promptbot.errors import ContextOverflow, InputError, ModelError
from promptbot.models.registry import load_model
from promptbot.models.scripted import ScriptedModel
from promptbot.types import Message, Reply, Sample
from tests.conftest import BOT_YAML, BotMaker
from tests.encoders import HashingEncoder


def make_chain(folder: Path, model: ScriptedModel, variant: str | None = None) -> Chain:
    return Chain(load_bot(folder, variant), model, encoder=HashingEncoder())


def test_the_model_reads_exactly_the_composed_prompt(make_bot: BotMaker) -> None:
    model = ScriptedModel(answers=["Four euros."])
    chain = make_chain(make_bot(), model)
    reply = chain.invoke("What does delivery cost?")
    assert reply.text == "Four euros."
    assert reply.trace is not None
    assert tuple(model.prompts[0]) == reply.trace.prompt.messages


def test_streamed_pieces_add_up_to_the_reply(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot(), ScriptedModel(answers=["One two three."]))
    pieces = list(chain.stream({"input": "Hi", "session": "a"}))
    assert len(pieces) > 2
    assert all(piece.trace is None for piece in pieces[:-1])
    whole = sum(pieces[1:], start=pieces[0])
    assert whole.text == "One two three."
    assert whole.trace is not None
    assert whole.trace.completion.text == "One two three."
    steps = {"memory", "compose", "select", "retrieve", "render", "first_token", "model"}
    assert set(whole.trace.seconds) == steps
    within = ("select", "retrieve", "render")
    assert sum(whole.trace.seconds[step] for step in within) <= whole.trace.seconds["compose"]


def test_a_session_is_remembered_and_others_are_not(make_bot: BotMaker) -> None:
    model = ScriptedModel(answers=["One.", "Two.", "Three."])
    chain = make_chain(make_bot(), model, "zero_shot")
    chain.invoke({"input": "first", "session": "a"})
    chain.invoke({"input": "second", "session": "a"})
    chain.invoke({"input": "other", "session": "b"})
    assert [m.content for m in model.prompts[1][1:]] == ["first", "One.", "second"]
    assert [m.content for m in model.prompts[2][1:]] == ["other"]


def test_a_message_without_a_session_stands_alone(make_bot: BotMaker) -> None:
    history = InMemoryHistory()
    model = ScriptedModel(answers=["One.", "Two."])
    chain = Chain(load_bot(make_bot()), model, encoder=HashingEncoder(), history=history)
    replies = [chain.invoke("first"), chain.invoke("second")]
    assert "first" not in [m.content for m in model.prompts[1]]
    assert replies[0].session != replies[1].session
    assert [history.load(reply.session) for reply in replies] == [[], []]


def test_what_was_said_before_an_interruption_is_kept(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot(), ScriptedModel(answers=["One two three.", "Again."]))
    pieces = chain.stream({"input": "Hi", "session": "a"})
    said = next(iter(pieces)).text
    pieces.close()  # type: ignore[attr-defined]
    kept = chain.history.load("a")
    assert kept == [Message("user", "Hi"), Message("assistant", said)]
    assert chain.invoke({"input": "And?", "session": "a"}).text == "Again."


def test_batch_and_async_twins_answer_alike(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot(), ScriptedModel(answers=["Same."] * 5))
    assert [reply.text for reply in chain.batch(["a", "b"])] == ["Same.", "Same."]

    async def talk() -> list[str]:
        one = await chain.ainvoke("c")
        streamed = [piece.text async for piece in chain.astream("d")]
        both = await chain.abatch(["e"])
        return [one.text, "".join(streamed), both[0].text]

    assert asyncio.run(talk()) == ["Same.", "Same.", "Same."]


def test_it_composes_with_other_runnables(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot(), ScriptedModel(answers=["loud"]))
    pipeline = chain | RunnableLambda(lambda reply: reply.text.upper())
    assert pipeline.invoke("Hi") == "LOUD"


def test_callbacks_see_chain_and_model(make_bot: BotMaker) -> None:
    class Recorder(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_chain_start(self, *args: object, **kwargs: object) -> None:
            self.seen.append("chain")

        def on_chat_model_start(self, *args: object, **kwargs: object) -> None:
            self.seen.append("model")

    recorder = Recorder()
    chain = make_chain(make_bot(), ScriptedModel(answers=["x"]))
    chain.invoke("Hi", config={"callbacks": [recorder]})
    assert recorder.seen == ["chain", "model"]


def test_a_classify_bot_scores_its_labels(make_classifier: BotMaker) -> None:
    model = ScriptedModel(answers=["account balance"])
    reply = make_chain(make_classifier(), model).invoke("How rich am I?")
    assert reply.label == "balance"
    assert reply.text == "account balance"
    assert reply.trace is not None
    assert set(reply.trace.label_logprobs) == {"card_lost", "balance"}
    assert reply.trace.completion.stop_reason == "scored"


class WritingOnly(ScriptedModel):
    """A model that gives no log-probabilities."""

    @property
    def can_score(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("answer", "label"),
    [("Missing card.", "card_lost"), ("no idea", None), ("card_lost", "card_lost")],
)
def test_a_model_that_only_writes_is_parsed_and_never_guessed(
    make_classifier: BotMaker, answer: str, label: str | None
) -> None:
    reply = make_chain(make_classifier(), WritingOnly(answers=[answer])).invoke("Help")
    assert (reply.text, reply.label) == (answer, label)


def test_predictions_stand_in_the_order_of_the_samples(make_classifier: BotMaker) -> None:
    script = ["lost card", "account balance"]
    chain = make_chain(make_classifier(), ScriptedModel(answers=script))
    samples = [Sample(str(i), f"message {i}", "") for i in range(2)]
    predictions = chain.predict(samples[:1]) + chain.predict(samples[1:])
    assert [p.label for p in predictions] == ["card_lost", "balance"]


@pytest.mark.parametrize("value", [3, None, {"text": "Hi"}, {"input": 3}, ["Hi"]])
def test_what_is_no_message_is_refused(make_bot: BotMaker, value: object) -> None:
    chain = make_chain(make_bot(), ScriptedModel(answers=["x"]))
    with pytest.raises(InputError):
        chain.invoke(value)  # type: ignore[arg-type]


def test_nothing_is_remembered_of_a_message_that_does_not_fit(make_bot: BotMaker) -> None:
    model = ScriptedModel(answers=["x"], context_tokens=200)
    chain = make_chain(make_bot(), model)
    with pytest.raises(ContextOverflow):
        chain.invoke({"input": "word " * 1000, "session": "a"})
    assert chain.history.load("a") == []


def test_bots_and_models_are_loaded_by_name(make_bot: BotMaker, tmp_path: Path) -> None:
    (tmp_path / "script.txt").write_text("Hello you.\n")
    chain = load_chain(
        make_bot(), model=f"scripted:{tmp_path / 'script.txt'}", encoder=HashingEncoder(), seed=3
    )
    reply = chain.invoke("Hi")
    assert reply.text == "Hello you."
    assert reply.trace is not None
    assert reply.trace.seed == 3


def test_a_trace_names_everything_that_decided_the_reply(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot())
    chain = Chain(bot, ScriptedModel(answers=["x"]), encoder=HashingEncoder())
    trace = chain.invoke("Hi").trace
    assert trace is not None
    assert (trace.bot, trace.variant, trace.bot_hash) == ("shop", "default", bot.content_hash)
    assert trace.model_revision == chain.model.revision
    assert trace.encoder_revision == "hashing-1"


def test_a_reply_becomes_json(make_bot: BotMaker) -> None:
    import json

    chain = make_chain(make_bot(), ScriptedModel(answers=["x"]))
    line = json.loads(json.dumps(chain.invoke("Hi").to_dict()))
    assert line["text"] == "x"
    assert line["trace"]["prompt"]["parts"][0]["kind"] == "system"


def test_pieces_of_a_reply_add_up() -> None:
    assert Reply("a", "s") + Reply("b", "s", label="l") == Reply("ab", "s", label="l")


def test_a_bot_cannot_send_messages_and_keys_to_a_server_of_its_choice(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    elsewhere = "model: openai:gpt@http://collector.example/v1\n"
    folder = make_bot(files={"bot.yaml": BOT_YAML + elsewhere})
    with pytest.raises(ModelError, match=r"to collector\.example") as caught:
        load_chain(folder)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_bot_may_name_a_server_on_this_machine(make_bot: BotMaker, host: str) -> None:
    spec = f"openai:gpt@http://{host}:1/v1"
    chain = load_chain(make_bot(files={"bot.yaml": BOT_YAML + f"model: '{spec}'\n"}))
    assert chain.model.spec == spec


def test_a_stop_text_is_told_from_the_end(make_bot: BotMaker, tiny_folder: Path) -> None:
    from promptbot.models.onnx import load_onnx

    model = load_onnx(tiny_folder, "tiny")
    bot = load_bot(make_bot(files={"bot.yaml": BOT_YAML.replace("k: 2", "k: 0")}))
    whole = Chain(bot, model, encoder=HashingEncoder()).invoke("a").text
    stop = whole.strip()[3:5]
    assert stop
    decoding = bot.spec.decoding.model_copy(update={"stop": [stop]})
    spec = bot.spec.model_copy(update={"decoding": decoding})
    reply = Chain(replace(bot, spec=spec), model, encoder=HashingEncoder()).invoke("a")
    assert stop not in reply.text
    assert reply.trace is not None
    assert reply.trace.completion.stop_reason == "stop"


SUMMING = "memory: {kind: summary, max_tokens: 40, max_new_tokens: 20}\n"


def test_every_setting_of_decoding_reaches_model_hash_and_trace(
    make_bot: BotMaker, tiny_folder: Path
) -> None:
    def ask(settings: str) -> tuple[str, Reply]:
        yaml = f"{BOT_YAML}decoding: {{max_new_tokens: 12, {settings}}}\n"
        bot = load_bot(make_bot(files={"bot.yaml": yaml}))
        model = load_model(str(tiny_folder))
        return bot.content_hash, Chain(bot, model, encoder=HashingEncoder()).invoke("Hello")

    plain_hash, plain = ask("temperature: 0")
    penalised_hash, penalised = ask("temperature: 0, repetition_penalty: 8.0")
    assert penalised_hash != plain_hash
    assert penalised.text != plain.text
    assert penalised.trace is not None
    assert penalised.trace.decoding["repetition_penalty"] == 8.0
    for narrow in ("top_k: 1", "min_p: 1.0"):  # only the likeliest token is left to draw
        drawn_hash, drawn = ask(f"temperature: 9.0, {narrow}")
        assert (drawn.text, drawn_hash == plain_hash) == (plain.text, False)
    assert ask("temperature: 9.0")[1].text != plain.text


def test_a_reply_that_nobody_wrote_has_no_decoding(make_classifier: BotMaker) -> None:
    chain = Chain(load_bot(make_classifier()), ScriptedModel(answers=["lost card"]))
    trace = chain.invoke("Help").trace
    assert trace is not None
    assert trace.decoding == {}


def test_summaries_of_few_sessions_are_kept(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptbot.chain.N_CONDENSED", 2)
    chain = make_chain(
        make_bot(files={"bot.yaml": BOT_YAML + SUMMING}),
        ScriptedModel(answers=[{"match": "", "text": "word " * 15}]),
    )
    for session in "abc":
        for _ in range(4):
            reply = chain.invoke({"input": "word " * 15, "session": session})
        assert reply.trace is not None
        assert reply.trace.prompt.memory is not None
        assert reply.trace.prompt.memory.summary
    assert list(chain._condensed) == ["b", "c"]
    # What was let go is made again from the turns.
    reply = chain.invoke({"input": "word", "session": "a"})
    assert reply.trace is not None
    assert reply.trace.prompt.memory is not None
    assert reply.trace.prompt.memory.summary


def test_the_embedded_model_condenses_a_conversation(make_bot: BotMaker) -> None:
    chain = load_chain(make_bot(files={"bot.yaml": BOT_YAML + SUMMING}), model="embedded")
    messages = ["My name is Ana and I live in Oslo.", "What does delivery cost?", "Thanks!", "Bye"]
    for message in messages:
        reply = chain.invoke({"input": message, "session": "a"})
    assert reply.trace is not None
    recall = reply.trace.prompt.memory
    assert recall is not None
    assert recall.problem is None
    assert recall.n_condensed >= 1
    assert recall.summary
