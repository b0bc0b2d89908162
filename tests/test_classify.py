"""Labels from prompts: calibration, neighbours, abstention, and models that only write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.classify import choose_neighbour_weight
from promptbot.errors import ContextOverflow, DataError, SpecError
from promptbot.models.registry import load_model
from promptbot.models.scripted import ScriptedModel
from promptbot.types import (
    Completion,
    Decision,
    Example,
    Message,
    OptionScore,
    Reply,
    Sample,
)
from tests.conftest import CLASSIFY_YAML, BotMaker
from tests.encoders import HashingEncoder


def entry(match: str, lost: float, balance: float) -> dict[str, object]:
    """Return scores for the prompts whose question holds `match`; all of a label on one wording."""
    scores = {"lost card": lost, "missing card": 0.0, "account balance": balance}
    logprobs = {k: math.log(v) if v else -1e9 for k, v in scores.items()}
    return {"match": match, "scores": logprobs}


def make(folder: Path, answers: list[object]) -> tuple[Chain, ScriptedModel]:
    model = ScriptedModel(answers=answers)  # type: ignore[arg-type]
    return Chain(load_bot(folder), model, encoder=HashingEncoder()), model


def decision(reply: Reply) -> Decision:
    assert reply.trace is not None
    assert reply.trace.decision is not None
    return reply.trace.decision


def probabilities(logprobs: object) -> dict[str, float]:
    return {label: math.exp(v) for label, v in dict(logprobs).items()}  # type: ignore[call-overload]


def classifier(make_classifier: BotMaker, settings: str, **files: str) -> Path:
    return make_classifier(files={"bot.yaml": CLASSIFY_YAML + settings, **files})


def test_contextual_calibration_turns_a_label_that_the_prompt_favours(
    make_classifier: BotMaker,
) -> None:
    folder = classifier(make_classifier, "calibration: {method: contextual, inputs: [N/A, none]}")
    answers = [entry("rich", 0.7, 0.3), entry("N/A", 0.9, 0.1), entry("none", 0.7, 0.3)]
    chain, model = make(folder, answers)
    reply = chain.invoke("How rich am I?")
    found = decision(reply)
    assert reply.label == "balance"
    assert probabilities(found.before) == pytest.approx({"card_lost": 0.7, "balance": 0.3})
    assert probabilities(found.prior) == pytest.approx({"card_lost": 0.8, "balance": 0.2})
    assert reply.trace is not None
    expected = {"card_lost": 7 / 19, "balance": 12 / 19}
    assert probabilities(reply.trace.label_logprobs) == pytest.approx(expected)
    # The content-free prompts differ from the message's in their last message only.
    assert [prompt[:-1] for prompt in model.prompts] == [model.prompts[0][:-1]] * 3
    assert found.n_prompts == 3
    assert found.n_prompt_tokens == sum(map(model.count_tokens, model.prompts))


def test_a_prior_is_scored_once_for_each_context(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: {method: contextual, inputs: [N/A]}")
    chain, model = make(folder, [entry("?", 0.7, 0.3), entry("N/A", 0.9, 0.1)])
    first, second = chain.invoke("One?"), chain.invoke("Two?")
    assert len(model.prompts) == 3
    assert [decision(reply).n_prompts for reply in (first, second)] == [2, 1]
    assert decision(first).prior == decision(second).prior


def test_domain_calibration_asks_random_words_of_the_pool(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: {method: domain, n_inputs: 4}")
    chain, model = make(folder, [entry("rich", 0.5, 0.5), entry("", 0.2, 0.8)])
    reply = chain.invoke("How rich am I?")
    words = {word for example in chain.bot.examples for word in example.input.split()}
    asked = [prompt[-1].content for prompt in model.prompts[1:]]
    assert len(asked) == 4
    assert all(set(text.split()) <= words for text in asked)
    assert probabilities(decision(reply).prior) == pytest.approx({"card_lost": 0.2, "balance": 0.8})


def test_pmi_divides_by_the_labels_without_message_and_examples(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: {method: pmi, premise: A bank.}")
    chain, model = make(folder, [entry("rich", 0.6, 0.4), entry("A bank.", 0.9, 0.1)])
    reply = chain.invoke("How rich am I?")
    assert reply.label == "balance"
    assert [m.content for m in model.prompts[1]] == ["Classify the message.", "A bank."]


def test_the_channel_scores_the_message_after_each_label(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: channel")
    answers = [
        entry("rich", 0.9, 0.1),
        {"match": "lost card", "scores": {"How rich am I?": -9.0}},
        {"match": "account balance", "scores": {"How rich am I?": -8.0}},
    ]
    chain, model = make(folder, answers)
    reply = chain.invoke("How rich am I?")
    assert reply.label == "balance"
    found = probabilities(decision(reply).calibrated)
    assert found["balance"] == pytest.approx(1 / (1 + math.exp(-1)))
    turned = [("user", "lost card"), ("assistant", "I lost my card")]
    assert [(m.role, m.content) for m in model.prompts[1][:2]] == turned
    assert model.prompts[1][-1].content == "lost card"


def test_batch_calibration_uses_the_batch_where_there_is_one(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: batch")
    chain, _ = make(folder, [entry("one", 0.9, 0.1), entry("two", 0.7, 0.3)])
    samples = [Sample("1", "one", ""), Sample("2", "two", "")]
    predictions = chain.predict(samples)
    # The mean is .8 and .2, so .9/.8 : .1/.2 = 9 : 4 and .7/.8 : .3/.2 = 7 : 12.
    shares = [probabilities(p.label_logprobs)["card_lost"] for p in predictions]
    assert shares == pytest.approx([9 / 13, 7 / 19])
    assert [p.label for p in predictions] == ["card_lost", "balance"]


def test_batch_calibration_of_a_conversation_begins_gently(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "calibration: {method: batch, burn_in: 4}")
    chain, _ = make(folder, [entry("", 0.9, 0.1)])
    priors = [probabilities(decision(chain.invoke("Hm")).prior)["card_lost"] for _ in range(40)]
    assert priors[0] == pytest.approx((2 + 0.9) / 5)
    assert priors == sorted(priors)
    assert priors[-1] == pytest.approx((2 + 36) / 44)


NEIGHBOURS = "calibration: {neighbours: {k: 1, weight: 0.6}}"


def test_neighbours_outvote_the_prompt(make_classifier: BotMaker) -> None:
    chain, _ = make(classifier(make_classifier, NEIGHBOURS), [entry("", 0.8, 0.2)])
    reply = chain.invoke("How much money have I?")
    assert decision(reply).neighbours == {"balance": 1.0}
    assert reply.trace is not None
    expected = {"card_lost": 0.4 * 0.8, "balance": 0.4 * 0.2 + 0.6}
    assert probabilities(reply.trace.label_logprobs) == pytest.approx(expected)


def test_the_neighbours_weight_is_chosen_from_dev_replies(make_classifier: BotMaker) -> None:
    chain, _ = make(classifier(make_classifier, NEIGHBOURS), [entry("", 0.8, 0.2)])
    replies = chain.batch(["I lost a card", "How much money?"])
    weight = choose_neighbour_weight(replies, ["card_lost", "balance"])
    assert 0.8 * (1 - weight) < 0.5  # the second is right
    plain, _ = make(classifier(make_classifier, ""), [entry("", 0.8, 0.2)])
    replies = plain.batch(["a", "b"])
    with pytest.raises(DataError, match="0 of 2 replies have neighbours"):
        choose_neighbour_weight(replies, ["card_lost", "balance"])


@pytest.mark.parametrize(("least", "label", "text"), [
    (0.75, "other", "I do not know."), (0.65, "card_lost", "lost card"),
])  # fmt: skip
def test_the_bot_abstains_under_a_threshold(
    make_classifier: BotMaker, least: float, label: str, text: str
) -> None:
    settings = f"verbalizer: {{min_probability: {least}, out_of_scope: other}}"
    chain, _ = make(classifier(make_classifier, settings), [entry("", 0.7, 0.3)])
    reply = chain.invoke("Hm")
    assert (reply.label, reply.text) == (label, text)
    assert decision(reply).abstained == (label == "other")


class WritingOnly(ScriptedModel):
    """A model that gives no log-probabilities."""

    @property
    def can_score(self) -> bool:
        return False


def test_the_trace_says_that_a_label_was_written_and_not_calibrated(
    make_classifier: BotMaker,
) -> None:
    folder = classifier(make_classifier, "calibration: contextual")
    chain = Chain(load_bot(folder), WritingOnly(answers=["lost card"]), encoder=HashingEncoder())
    found = decision(chain.invoke("Help"))
    assert (found.how, found.calibration, dict(found.before)) == ("written", "none", {})
    assert "the model gives no log-probabilities: it wrote the label" in found.remarks
    assert "without label scores there was nothing to calibrate" in found.remarks


def test_a_bot_may_ask_for_the_label_in_writing(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "verbalizer: {mode: generate, parse: similar}")
    chain, _ = make(folder, ["lost the card", "nothing of it"])
    assert [chain.invoke("a").label, chain.invoke("b").label] == ["card_lost", None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("calibration: {method: domain}\nexamples: null", "draws words from the example pool"),
        ("calibration: {neighbours: {k: 2}}\nexamples: null", "looked for in the example pool"),
        (
            "calibration: contextual\nverbalizer: {mode: generate}",
            "calibration needs label scores, but verbalizer.mode is generate",
        ),
        ("verbalizer: {mode: generate, min_probability: 0.5}", "min_probability needs"),
        ("verbalizer: {out_of_scope: other}", '"other" can never be given'),
        ("ensemble: {kind: permutations}\nexamples: null", "fewer than two examples"),
        (
            "ensemble: {kind: permutations}\nverbalizer: {mode: generate}",
            "but verbalizer.mode is generate",
        ),
        ("ensemble: {kind: permutations, n: 1}", "ensemble.n is 1"),
        ("calibration: contextul", 'unknown calibration.method "contextul"'),
        ("calibration: {method: contextual, inputs: []}", r"calibration.inputs is \[\]"),
        ("calibration: {neighbours: {k: 0}}", "calibration.neighbours.k is 0"),
        ("calibration: {neighbours: {weight: 1.5}}", "calibration.neighbours.weight is 1.5"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_line(
    make_classifier: BotMaker, settings: str, message: str
) -> None:
    text = CLASSIFY_YAML
    if "examples: null" in settings:
        lines = CLASSIFY_YAML.splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("examples"))
    folder = make_classifier(files={"bot.yaml": text + settings})
    with pytest.raises(SpecError, match=message) as caught:
        load_bot(folder)
    assert "bot.yaml, line" in str(caught.value)


@pytest.mark.parametrize("settings", [
    "calibration: batch", "verbalizer: {score: mean_byte}", "ensemble: {kind: permutations}",
])  # fmt: skip
def test_a_chat_bot_has_nothing_to_calibrate(make_bot: BotMaker, settings: str) -> None:
    from tests.conftest import BOT_YAML

    with pytest.raises(SpecError, match="but task is chat"):
        load_bot(make_bot(files={"bot.yaml": f"{BOT_YAML}{settings}\n"}))


PERMUTED = "ensemble: {kind: permutations, n: 5}\n"


def test_an_ensemble_averages_over_orders_of_the_examples(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, PERMUTED)
    answers: list[object] = [
        {"scores": {"lost card": math.log(p), "missing card": -1e9, "account balance": math.log(q)}}
        for p, q in [(0.9, 0.1), (0.3, 0.7)]
    ]
    chain, model = make(folder, answers)
    reply = chain.invoke("How rich am I?")
    assert decision(reply).n_orders == 2  # two examples have no more
    assert decision(reply).n_prompts == 2
    assert reply.trace is not None
    expected = {"card_lost": 0.6, "balance": 0.4}
    assert probabilities(reply.trace.label_logprobs) == pytest.approx(expected)
    one, other = ([m.content for m in prompt] for prompt in model.prompts)
    assert one[1:3] == ["I lost my card", "lost card"] == other[3:5]
    assert one[3:5] == other[1:3]
    assert (one[0], one[-1]) == (other[0], other[-1])


def test_each_order_is_calibrated_in_its_own_prompt(make_classifier: BotMaker) -> None:
    settings = PERMUTED + "calibration: {method: contextual, inputs: [N/A]}"
    chain, model = make(
        classifier(make_classifier, settings), [entry("rich", 0.7, 0.3), entry("N/A", 0.8, 0.2)]
    )
    reply = chain.invoke("How rich am I?")
    assert decision(reply).n_prompts == 4
    assert [prompt[:-1] for prompt in model.prompts[:2]] == [p[:-1] for p in model.prompts[2:]]
    assert math.exp(decision(reply).calibrated["balance"]) == pytest.approx(12 / 19)


def test_content_free_prompts_read_little_more_than_their_own_words() -> None:
    """The embedded model reads the shared context once; each further prompt is its tail."""
    from promptbot.chain import load_chain

    chain = load_chain("intents")
    spec = chain.bot.spec
    calibration = spec.calibration.model_copy(update={"method": "contextual"})
    from dataclasses import replace

    bot = replace(chain.bot, spec=spec.model_copy(update={"calibration": calibration}))
    network = chain.model.engine.network  # type: ignore[attr-defined]
    n_read: list[int] = []
    forward = network.forward

    def counting(past, ids, *others):  # type: ignore[no-untyped-def]
        n_read.append(len(ids))
        return forward(past, ids, *others)

    network.forward = counting
    found = decision(Chain(bot, chain.model).invoke("I can't find my card anywhere"))
    assert found.n_prompts == 4
    assert len(n_read) == 4
    n_prompt, *others = n_read
    assert max(others) < n_prompt / 2


def test_an_abstention_can_be_explained_though_its_label_is_not_scored(
    make_classifier: BotMaker,
) -> None:
    from promptbot.influence import influence

    answer = entry("", 0.7, 0.3)
    answer["scores"]["I do not know."] = -1.0  # type: ignore[index]
    settings = "verbalizer: {min_probability: 0.9, out_of_scope: other}"
    chain, _ = make(classifier(make_classifier, settings), [answer])
    reply = chain.invoke("Help")
    assert reply.label == "other"
    assert influence(chain, reply).logprob == -1.0


def test_a_mixture_averages_over_the_prompts_of_variants(make_classifier: BotMaker) -> None:
    files = {
        "variants/other.yaml": "template: other.j2\n"
        "ensemble: {kind: variants, variants: [mixed]}\n",
        "other.j2": "Sort it.\n",
        "variants/mixed.yaml": "ensemble: {kind: variants, variants: [other]}\n",
    }
    folder = classifier(make_classifier, "", **files)
    bot = load_bot(folder, "mixed")

    class ByPrompt(ScriptedModel):
        """Scores by what the system prompt says."""

        def score(
            self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
        ) -> list[OptionScore]:
            self.prompts.append(list(messages))
            lost = 0.9 if messages[0].content == "Classify the message." else 0.2
            shares = {"lost card": lost, "missing card": 1e-9, "account balance": 1 - lost}
            return [OptionScore(o, math.log(shares[o]), (math.log(shares[o]),)) for o in options]

    model = ByPrompt(answers=["x"])
    reply = Chain(bot, model, encoder=HashingEncoder()).invoke("Hm")
    assert reply.trace is not None
    found = probabilities(reply.trace.label_logprobs)
    assert found == pytest.approx({"card_lost": 0.55, "balance": 0.45})
    assert decision(reply).by_variant == {"mixed": "card_lost", "other": "balance"}
    assert decision(reply).n_prompts == 2
    assert decision(reply).n_prompt_tokens == sum(map(model.count_tokens, model.prompts))
    assert [p[0].content for p in model.prompts] == ["Classify the message.", "Sort it."]
    assert bot.content_hash != load_bot(folder).content_hash


def test_a_mixture_scores_the_labels_and_examples_that_an_evaluation_gave(
    make_classifier: BotMaker,
) -> None:
    folder = classifier(
        make_classifier,
        "ensemble: {kind: variants, variants: [other]}",
        **{"variants/other.yaml": "examples: {k: 1}\n"},
    )
    bot = load_bot(folder)
    labels = {"yes": ["ja"], "no": ["nein"]}
    examples = (Example("Is it?", "ja", "yes"), Example("Not?", "nein", "no"))
    bot = replace(bot, examples=examples, spec=bot.spec.model_copy(update={"labels": labels}))
    model = ScriptedModel(answers=["ja", "nein"])
    reply = Chain(bot, model, encoder=HashingEncoder()).invoke("Really?")
    assert decision(reply).by_variant == {"default": "yes", "other": "no"}
    assert [m.content for m in model.prompts[1]][1:3] == ["Is it?", "ja"]


def test_an_unknown_variant_of_a_mixture_is_told_with_its_line(make_classifier: BotMaker) -> None:
    folder = classifier(make_classifier, "ensemble: {kind: variants, variants: [othr]}")
    with pytest.raises(SpecError, match=r'bot.yaml, line \d+: the bot has no variant "othr"'):
        load_bot(folder)


def test_written_labels_are_voted_on(make_classifier: BotMaker) -> None:
    settings = (
        "verbalizer: {mode: generate}\ndecoding: {temperature: 0.7}\n"
        "ensemble: {kind: self_consistency, n: 4}"
    )
    answers = ["no idea", "account balance", "Missing card.", "lost card"]
    chain, model = make(classifier(make_classifier, settings), answers)
    reply = chain.invoke("Where is it?")
    assert reply.label == "card_lost"
    assert reply.trace is not None
    assert reply.trace.output is not None
    assert reply.trace.output.votes == {"card_lost": 2, "balance": 1}
    assert decision(reply).n_prompts == 4
    assert decision(reply).n_prompt_tokens == sum(map(model.count_tokens, model.prompts))


def test_channel_scores_are_those_of_one_call_for_each_label(
    make_classifier: BotMaker, tiny_folder: Path
) -> None:
    folder = classifier(make_classifier, "calibration: channel")
    model = load_model(str(tiny_folder))
    chain = Chain(load_bot(folder), model, encoder=HashingEncoder())
    found = decision(chain.invoke("lost card"))
    examples = [
        Message("user", "lost card"),
        Message("assistant", "I lost my card"),
        Message("user", "account balance"),
        Message("assistant", "How much money do I have?"),
    ]
    alone = [
        model.score([*examples, Message("user", word)], ["lost card"])[0].logprob
        for word in ("lost card", "account balance")
    ]
    difference = found.calibrated["card_lost"] - found.calibrated["balance"]
    assert difference == pytest.approx(alone[0] - alone[1], abs=1e-4)
    assert abs(difference) > 1e-3


def test_a_prior_is_taken_from_the_texts_that_fit_into_the_context(
    make_classifier: BotMaker,
) -> None:
    class Short(ScriptedModel):
        """Refuses every batch with an endless prompt, as engines do."""

        def score(
            self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
        ) -> list[OptionScore]:
            if len(messages[-1].content) > 100:
                raise ContextOverflow("too long", hint="Shorten it.")
            return super().score(messages, options, end_of_turn=end_of_turn)

        def score_many(
            self, prompts: Sequence[Sequence[Message]], options: Sequence[str], **more: bool
        ) -> list[list[OptionScore]]:
            return [self.score(prompt, options, **more) for prompt in prompts]

        def generate_many(self, prompts: object, **settings: object) -> list[Completion]:
            raise AssertionError("nothing is written")

    settings = f"calibration: {{method: contextual, inputs: [N/A, {'x' * 101}]}}"
    bot = load_bot(classifier(make_classifier, settings))
    model = Short(answers=[entry("rich", 0.7, 0.3), entry("N/A", 0.9, 0.1)])
    found = decision(Chain(bot, model, encoder=HashingEncoder()).invoke("How rich am I?"))
    assert probabilities(found.prior) == pytest.approx({"card_lost": 0.9, "balance": 0.1})
    assert found.remarks == ("1 of 2 texts of contextual fit into the context",)
    assert found.n_prompts == 2
