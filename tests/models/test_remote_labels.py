"""Labels at a provider: by log-probabilities, kept to the wordings, or written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.interfaces import ChoosesOptions
from promptbot.models.provider_labels import option_logprobs
from promptbot.types import Reply
from tests.conftest import BOT_YAML, CLASSIFY_YAML, BotMaker
from tests.encoders import HashingEncoder
from tests.models.test_remote import Answer, Server, model_of, refused, said, server

__all__ = ["server"]

OPTIONS = ["lost card", "missing card", "account balance"]


def tok(token: str, share: float, **others: float) -> dict[str, Any]:
    top = [{"token": t.replace("_", " "), "logprob": math.log(p)} for t, p in others.items()]
    mine = {"token": token, "logprob": math.log(share)}
    return {**mine, "top_logprobs": [mine, *top]}


def shares(tokens: list[dict[str, Any]], options: list[str]) -> dict[str, float]:
    found = option_logprobs(tokens, options)
    assert found is not None
    return {option: math.exp(v) for option, v in found.items()}


def test_options_that_differ_at_once_get_their_tokens_probability() -> None:
    tokens = [tok("lost", 0.7, missing=0.2, account=0.06, The=0.04), tok(" card", 1.0)]
    found = shares(tokens, OPTIONS)
    assert found == pytest.approx({"lost card": 0.7, "missing card": 0.2, "account balance": 0.06})


def test_options_that_begin_alike_are_told_apart_where_the_answer_went() -> None:
    options = ["card lost", "card order", "PIN"]
    tokens = [tok("card", 0.8, PIN=0.2), tok(" lost", 0.75, _order=0.25)]
    assert shares(tokens, options) == pytest.approx(
        {"card lost": 0.6, "card order": 0.2, "PIN": 0.2}
    )
    # Where it went another way, they share.
    tokens = [tok("PIN", 0.2, card=0.8)]
    assert shares(tokens, options) == pytest.approx(
        {"card lost": 0.4, "card order": 0.4, "PIN": 0.2}
    )


def test_an_option_that_begins_another_one_ends_where_the_answer_does() -> None:
    options = ["lost card", "lost card abroad"]
    tokens = [tok("lost", 1.0), tok(" card", 1.0)]
    assert shares(tokens, options) == pytest.approx({"lost card": 1.0, "lost card abroad": 1e-9})
    tokens.append(tok(" abroad", 0.6, **{".": 0.4}))
    assert shares(tokens, options) == pytest.approx({"lost card": 0.4, "lost card abroad": 0.6})


def test_case_pieces_and_spaces_do_not_matter() -> None:
    tokens = [tok(" Lo", 0.9, mis=0.1), tok("st", 1.0), tok(" Card", 1.0)]
    found = shares(tokens, OPTIONS)
    assert found["lost card"] == pytest.approx(0.9)
    assert found["missing card"] == pytest.approx(0.1)


def test_what_no_token_begins_shares_the_rest() -> None:
    found = shares([tok("lost", 0.9, The=0.06)], OPTIONS)
    assert found["missing card"] == found["account balance"] == pytest.approx(0.02)


def test_an_answer_that_names_no_option_gives_none() -> None:
    assert option_logprobs([tok("I", 0.99999, The=0.00001)], OPTIONS) is None
    assert option_logprobs([], OPTIONS) is not None  # nothing is known: all alike


def test_the_shares_of_a_full_list_add_up_to_one() -> None:
    tokens = [tok("lost", 0.5, missing=0.3, account=0.2), tok(" card", 1.0)]
    assert sum(shares(tokens, OPTIONS).values()) == pytest.approx(1.0)


def scored(text: str, tokens: list[dict[str, Any]]) -> Answer:
    body = json.loads(said(text).body)
    body["choices"][0]["logprobs"] = {"content": [{**t, "bytes": None} for t in tokens]}
    return Answer(json.dumps(body).encode())


LOST = [tok("lost", 0.3, missing=0.3, account=0.4), tok(" card", 1.0)]


def ask(server: Server, folder: Path, *answers: Answer, n: int = 1) -> list[Reply]:
    model = model_of(server, *answers)
    assert isinstance(model, ChoosesOptions)
    chain = Chain(load_bot(folder), model, encoder=HashingEncoder())
    return [chain.invoke("Where is it?") for _ in range(n)]


def how(reply: Reply) -> str:
    assert reply.trace is not None
    assert reply.trace.decision is not None
    return reply.trace.decision.how


def test_log_probabilities_decide_where_they_are_offered(
    server: Server, make_classifier: BotMaker
) -> None:
    [reply] = ask(server, make_classifier(), scored("account balance", LOST))
    # A label is as likely as all of its wordings together.
    assert reply.label == "card_lost"
    assert how(reply) == "logprobs"
    assert reply.trace is not None
    assert math.exp(reply.trace.label_logprobs["card_lost"]) == pytest.approx(0.6)
    assert server.asked[0]["logprobs"] is True
    assert server.asked[0]["top_logprobs"] == 20
    assert reply.trace.completion.n_prompt_tokens == 7
    assert reply.trace.decision is not None
    assert "log-probabilities" in reply.trace.decision.remarks[0]


def test_abstention_works_with_a_providers_scores(
    server: Server, make_classifier: BotMaker
) -> None:
    yaml = CLASSIFY_YAML + "verbalizer: {min_probability: 0.7}\n"
    [reply] = ask(server, make_classifier(files={"bot.yaml": yaml}), scored("lost card", LOST))
    assert reply.label is None
    assert reply.trace is not None
    assert reply.trace.decision is not None
    assert reply.trace.decision.abstained


def test_an_enumeration_is_asked_for_where_log_probabilities_are_refused(
    server: Server, make_classifier: BotMaker
) -> None:
    answers = [refused(400, "logprobs are not supported"), said('{"label": "account balance"}')]
    first, second = ask(server, make_classifier(), *answers, n=2)
    assert [first.label, second.label] == ["balance", "balance"]
    assert [how(first), how(second)] == ["enumerated", "enumerated"]
    assert first.text == "account balance"
    form = server.asked[1]["response_format"]["json_schema"]
    assert form["schema"]["properties"]["label"]["enum"] == OPTIONS
    assert form["strict"] is True
    assert len(server.asked) == 3  # what was refused is not asked for again


def test_a_model_that_refuses_log_probabilities_by_403_is_not_taken_for_a_wrong_key(
    server: Server, make_classifier: BotMaker
) -> None:
    answers = [
        refused(403, "You are not allowed to request logprobs from this model"),
        said('{"label": "lost card"}'),
    ]
    [reply] = ask(server, make_classifier(), *answers)
    assert how(reply) == "enumerated"


def test_a_server_that_offers_nothing_writes(server: Server, make_classifier: BotMaker) -> None:
    answers = [refused(400, "no logprobs"), refused(400, "no response_format"), said("Lost card.")]
    first, second = ask(server, make_classifier(), *answers, n=2)
    assert [first.label, second.label] == ["card_lost", "card_lost"]
    assert [how(first), how(second)] == ["written", "written"]
    assert [("logprobs" in a, "response_format" in a) for a in server.asked] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]


def test_a_server_that_ignores_the_wish_is_not_asked_twice(
    server: Server, make_classifier: BotMaker
) -> None:
    first, second = ask(server, make_classifier(), said("lost card"), said("missing card"), n=2)
    assert [first.label, second.label] == ["card_lost", "card_lost"]
    assert [how(first), how(second)] == ["written", "written"]
    assert "logprobs" not in server.asked[1]


def test_an_answer_beside_the_labels_is_unparsed(server: Server, make_classifier: BotMaker) -> None:
    [reply] = ask(server, make_classifier(), scored("Hm", [tok("Hm", 0.9999999, Well=1e-8)]))
    assert reply.label is None
    assert how(reply) == "written"


def test_calibration_that_cannot_be_done_is_said(server: Server, make_classifier: BotMaker) -> None:
    folder = make_classifier(files={"bot.yaml": CLASSIFY_YAML + "calibration: contextual\n"})
    [reply] = ask(server, folder, scored("lost card", LOST))
    assert reply.trace is not None
    assert reply.trace.decision is not None
    assert "nothing to calibrate" in reply.trace.decision.remarks[1]


SCHEMA = "output: {format: json, json_schema: {type: object, required: [a]}, retries: 1}\n"


def test_a_server_is_asked_to_keep_to_a_schema(server: Server, make_bot: BotMaker) -> None:
    folder = make_bot(files={"bot.yaml": BOT_YAML + SCHEMA})
    [reply] = ask(server, folder, said('{"a": 1}'))
    assert reply.data == {"a": 1}
    assert reply.trace is not None
    assert reply.trace.output is not None
    assert reply.trace.output.how == "constrained"
    assert server.asked[0]["response_format"]["type"] == "json_schema"
    assert server.asked[0]["response_format"]["json_schema"]["strict"] is False
    assert server.asked[0]["max_tokens"] == 80


def test_a_server_that_refuses_schemas_is_checked_and_asked_again(
    server: Server, make_bot: BotMaker
) -> None:
    folder = make_bot(files={"bot.yaml": BOT_YAML + SCHEMA})
    answers = [refused(400, "unknown field response_format"), said("Sure!"), said('{"a": 1}')]
    [reply] = ask(server, folder, *answers)
    assert reply.data == {"a": 1}
    assert reply.trace is not None
    assert reply.trace.output is not None
    assert reply.trace.output.how == "checked"
    assert "refused it" in reply.trace.output.remarks[0]
    assert "Sure!" in server.asked[2]["messages"][-2]["content"]


def test_a_stream_does_without_a_schema_that_is_refused(server: Server) -> None:
    from tests.models.test_remote import event, streamed

    model = model_of(server, refused(400), streamed(event("{}"), event(None, "stop")))
    pieces = model.stream("hi", json_schema={"type": "object"})
    assert "".join(str(piece.text) for piece in pieces) == "{}"
    assert ["response_format" in asked for asked in server.asked] == [True, False]


def test_another_refusal_is_still_an_error(server: Server, make_classifier: BotMaker) -> None:
    from promptbot.errors import ModelError

    with pytest.raises(ModelError, match="refused the request"):
        ask(server, make_classifier(), refused(400, "temperature must be 1"))
