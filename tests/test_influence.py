"""Leave-one-out influence, against naive scoring of prompts made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import PrivateAttr

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.errors import CannotScore, InputError
from promptbot.influence import influence
from promptbot.interfaces import FrozenModel
from promptbot.models.registry import load_model
from promptbot.models.scripted import ScriptedModel
from promptbot.types import Completion, Message, OptionScore, Reply
from tests.conftest import CLASSIFY_YAML, BotMaker
from tests.encoders import HashingEncoder

SMALL_YAML = """\
name: small
template: system.j2
examples: {file: examples.jsonl, selector: fixed, k: 1, order: file}
knowledge: {file: knowledge.jsonl, k: 1}
decoding: {max_new_tokens: 4}
"""
SMALL_J2 = """\
Be kind.
{% for note in knowledge %}
{{ note.answer }}
{% endfor %}
"""
NOTE = '{"question": "When are you open?", "answer": "From 9 to 5."}\n'


def plain_logprob(folder: Path, messages: list[Message], answer: str, *, ended: bool) -> float:
    """Return an answer's log-probability by one forward pass of Transformers itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    chat = [{"role": m.role, "content": m.content} for m in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    closing = " " + answer + ("<|end|>" if ended else "")
    whole = prompt + tokenizer.encode(closing, add_special_tokens=False)
    with torch.inference_mode():
        logprobs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logprobs[i - 1, whole[i]]) for i in range(len(prompt), len(whole)))


def fake_reply(chain: Chain, text: str, stop: str, session: str | None = None) -> Reply:
    """Return what the chain replies, with the text that the model is to have written."""
    from dataclasses import replace

    reply = chain.invoke({"input": "Hello?", "session": session} if session else "Hello?")
    assert reply.trace is not None
    completion = Completion(text=text, stop_reason=stop)  # type: ignore[arg-type]
    return replace(reply, text=text, trace=replace(reply.trace, completion=completion))


@pytest.mark.parametrize("stop", ["end", "length"])
def test_influence_is_that_of_naive_scoring(
    make_bot: BotMaker,
    tiny_folder: Path,
    stop: str,
) -> None:
    files = {"bot.yaml": SMALL_YAML, "system.j2": SMALL_J2, "knowledge.jsonl": NOTE}
    chain = Chain(
        load_bot(make_bot(files=files)), load_model(str(tiny_folder)), encoder=HashingEncoder()
    )
    chain.history.append("a", [Message("user", "My order?"), Message("assistant", "It is here.")])
    reply = fake_reply(chain, "lost card", stop, "a")
    found = influence(chain, reply)

    system = Message("system", "Be kind.\nFrom 9 to 5.")
    example = [Message("user", "Hello"), Message("assistant", "Hi there!")]
    turn = [Message("user", "My order?"), Message("assistant", "It is here.")]
    question = Message("user", "Hello?")
    prompts = {
        "": [system, *example, *turn, question],
        "system": [Message("system", "From 9 to 5."), *example, *turn, question],
        "note": [Message("system", "Be kind."), *example, *turn, question],
        "example": [system, *turn, question],
        "turn": [system, *example, question],
    }
    wanted = {
        kind: plain_logprob(tiny_folder, prompt, "lost card", ended=stop == "end")
        for kind, prompt in prompts.items()
    }
    assert found.answer == "lost card"
    assert found.logprob == pytest.approx(wanted[""], abs=1e-4)
    assert [part.kind for part in found.parts] == ["system", "note", "example", "turn"]
    for part in found.parts:
        assert part.logprob == pytest.approx(wanted[part.kind], abs=1e-4)
        assert part.influence == pytest.approx(wanted[""] - wanted[part.kind], abs=1e-4)
    assert len({round(part.influence, 4) for part in found.parts}) == 4


def test_in_a_classify_bot_it_is_that_of_the_label(make_classifier: BotMaker) -> None:
    def scores(lost: float, missing: float, balance: float) -> dict[str, dict[str, float]]:
        words = ("lost card", "missing card", "account balance")
        values = (math.log(p) for p in (lost, missing, balance))
        return {"scores": dict(zip(words, values, strict=True))}

    # The reply, then the whole prompt, then without the system prompt and each of the examples.
    script = [scores(0.1, 0.2, 0.7)] * 2
    script += [scores(0.1, 0.4, 0.5), scores(0.4, 0.4, 0.2), scores(0.1, 0.1, 0.8)]
    model = ScriptedModel(answers=script)
    bot = load_bot(make_classifier(files={"bot.yaml": CLASSIFY_YAML}))
    chain = Chain(bot, model)
    found = influence(chain, chain.invoke("Help"))
    assert (found.answer, found.n_tokens) == ("balance", None)
    assert found.logprob == pytest.approx(math.log(0.7))
    wanted = [
        ("system", "Classify the message.", 0.5),
        ("example", "I lost my card\nlost card", 0.2),
        ("example", "How much money do I have?\naccount balance", 0.8),
    ]
    assert [(part.kind, part.text) for part in found.parts] == [w[:2] for w in wanted]
    for part, (_, _, without) in zip(found.parts, wanted, strict=True):
        assert part.influence == pytest.approx(math.log(0.7) - math.log(without))
    # Every smaller prompt was asked once, in reading order.
    assert [len(prompt) for prompt in model.prompts] == [6, 6, 5, 4, 4]


class WritingOnly(ScriptedModel):
    """A model that gives no log-probabilities."""

    @property
    def can_score(self) -> bool:
        return False


def test_a_model_that_only_writes_is_told_apart(make_bot: BotMaker) -> None:
    chain = Chain(load_bot(make_bot()), WritingOnly(answers=["x"]), encoder=HashingEncoder())
    with pytest.raises(CannotScore, match="only writes"):
        influence(chain, chain.invoke("Hi"))


def test_an_empty_reply_has_no_influences(make_bot: BotMaker) -> None:
    model: FrozenModel = ScriptedModel(answers=[" "])
    chain = Chain(load_bot(make_bot()), model, encoder=HashingEncoder())
    with pytest.raises(InputError, match="no answer"):
        influence(chain, chain.invoke("Hi"))


class Batching(ScriptedModel):
    """A model that computes several prompts together, and notes how many at a time."""

    _batches: list[int] = PrivateAttr(default_factory=list)

    @property
    def batches(self) -> list[int]:
        return self._batches

    def score_many(
        self,
        prompts: Sequence[Sequence[Message]],
        options: Sequence[str],
        *,
        end_of_turn: bool = True,
    ) -> list[list[OptionScore]]:
        self._batches.append(len(prompts))
        return [self.score(one, options, end_of_turn=end_of_turn) for one in prompts]

    def generate_many(self, prompts: object, **settings: object) -> list[Completion]:
        raise AssertionError("influence writes nothing")


def test_all_smaller_prompts_are_one_batch_where_the_model_can(
    make_bot: BotMaker, make_classifier: BotMaker
) -> None:
    labels = {"lost card": -1.0, "missing card": -2.0, "account balance": -3.0}
    sorter = Batching(answers=[{"match": "", "scores": labels}])
    chain = Chain(load_bot(make_classifier()), sorter)
    found = influence(chain, chain.invoke("Help"))
    assert sorter.batches == [1 + len(found.parts)]

    talker = Batching(answers=["Yes.", {"match": "", "scores": {"Yes.": -1.0}}])
    chain = Chain(load_bot(make_bot()), talker, encoder=HashingEncoder())
    found = influence(chain, chain.invoke("Hi"))
    assert talker.batches == [1 + len(found.parts)]
