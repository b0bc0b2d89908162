"""Agreement over sets, scope, JSON, contradictions, leaked prompts and fluency."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import DataError, SpecError
from promptbot.evals.evaluation import evaluate
from promptbot.evals.metrics import said
from promptbot.evals.metrics.metric import Outcome
from promptbot.evals.metrics.registry import METRICS
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary, summarise
from promptbot.types import Message, Note, Prediction, Sample
from tests.conftest import BOT_YAML
from tests.evals.conftest import ROWS, SuiteMaker


def outcome(
    text: str = "",
    *,
    label: str | None = None,
    id: str = "1",
    target: str = "",
    facts: dict[str, Any] | None = None,
    failed: bool = False,
    **more: Any,
) -> Outcome:
    prediction = None if failed else Prediction(text, label, **more.pop("prediction", {}))
    return Outcome(
        Sample(id, "in", target), id, "I will ask.", prediction, 0.1, facts=facts or {}, **more
    )


def run(path: Path) -> Summary:
    return evaluate(load_suite(path), runs=path.parent / "runs", options={})


def test_agreement_is_the_share_of_pairs_that_agree() -> None:
    rng = random.Random(4)
    answers = [(f"set {i % 7}", rng.choice("abc")) for i in range(28)]
    outcomes = [
        outcome(label=label, id=str(i), facts={"paraphrase": key})
        for i, (key, label) in enumerate(answers)
    ]
    # Independent: count the pairs of every set.
    agree = total = 0
    for one, other in itertools.combinations(answers, 2):
        if one[0] == other[0]:
            total += 1
            agree += one[1] == other[1]
    value = METRICS["agreement_paraphrases"].value(outcomes)
    assert value is not None
    assert value.estimate == pytest.approx(agree / total)
    flips = METRICS["counterfactual_flips"].value(
        [outcome(label=o.label, facts={"pair": o.facts["paraphrase"]}) for o in outcomes]
    )
    assert flips is not None
    assert flips.estimate == pytest.approx(1 - agree / total)


def test_agreement_looks_at_words_and_not_at_points() -> None:
    facts = {"paraphrase": "x"}
    same = [outcome("Two days.", facts=facts), outcome("two days", facts=facts)]
    other = [*same, outcome("Three days", facts=facts)]
    agreement = METRICS["agreement_paraphrases"].score_all
    assert agreement(same) == [1, 1]
    assert agreement(other) == [0.5, 0.5, 0]


def test_a_failed_answer_agrees_with_none_and_one_alone_has_no_score() -> None:
    facts = {"paraphrase": "x"}
    found = METRICS["agreement_paraphrases"].score_all(
        [outcome(facts=facts, failed=True), outcome(facts=facts, failed=True), outcome("a")]
    )
    assert found == [0, 0, None]


def test_sets_lie_within_one_draw() -> None:
    facts = {"paraphrase": "x"}
    found = METRICS["agreement_paraphrases"].score_all(
        [outcome("a", facts=facts, seed=0), outcome("b", facts=facts, seed=1)]
    )
    assert found == [None, None]


def test_seeds_and_repeats_are_told_apart() -> None:
    outcomes = [
        outcome(text, seed=seed, repeat=repeat)
        for (seed, repeat), text in {(0, 0): "a", (0, 1): "a", (1, 0): "b", (1, 1): "b"}.items()
    ]
    assert METRICS["agreement_repeats"].score_all(outcomes) == [1, 1, 1, 1]
    assert METRICS["agreement_seeds"].score_all(outcomes) == [0, 0, 0, 0]


def test_the_interval_of_an_agreement_keeps_sets_together() -> None:
    # Ten sets of ten: as uncertain as ten answers, not as a hundred.
    outcomes = [
        outcome("a" if i // 10 < 5 else str(i), id=str(i), facts={"paraphrase": str(i // 10)})
        for i in range(100)
    ]
    value = METRICS["agreement_paraphrases"].value(outcomes)
    assert value is not None
    assert value.interval is not None
    assert (value.estimate, value.n) == (0.5, 100)
    assert value.interval.low < 0.25
    assert value.interval.high > 0.75


def test_scope_equals_scikit_learns_recall_and_precision() -> None:
    from sklearn.metrics import precision_score, recall_score

    rng = random.Random(1)
    wanted = [rng.choice(["a", "b", "oos"]) for _ in range(60)]
    found = [t if rng.random() < 0.6 else rng.choice(["a", "b", "oos"]) for t in wanted]
    outcomes = [
        outcome(label=p, target=t, id=str(i), facts={"out_of_scope": "oos"})
        for i, (t, p) in enumerate(zip(wanted, found, strict=True))
    ]
    for name, function in (("recall", recall_score), ("precision", precision_score)):
        value = METRICS[f"out_of_scope_{name}"].value(outcomes)
        assert value is not None
        expected = function(wanted, found, labels=["oos"], average="macro")
        assert value.estimate == pytest.approx(expected)


def test_a_bot_that_abstains_is_right_about_what_is_out_of_scope() -> None:
    abstained = outcome(
        "I will ask.",
        target="oos",
        facts={"out_of_scope": "oos"},
        prediction={"label_logprobs": {"a": -1.0, "b": -0.5}},
    )
    unread = outcome("blah", target="oos", facts={"out_of_scope": "oos"})
    for name in ("accuracy", "out_of_scope_recall"):
        assert METRICS[name].score_all([abstained, unread]) == [1, 0]


def test_json_is_held_against_its_schema() -> None:
    import jsonschema

    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    for text in ('{"n": 3}', '{"n": "3"}', "{}", "[1]", '{"n": 1, "m": 2}'):
        expected = jsonschema.validators.validator_for(schema)(schema).is_valid(json.loads(text))
        assert said.meets_schema(text, schema) == expected
    assert said.meets_schema("no JSON", schema) == 0
    assert said.meets_schema('```json\n{"n": 3}\n```', schema) == 1
    score = METRICS["json_schema"].score_all
    facts = {"schema": schema}
    failed = outcome(facts=facts, failed=True)
    assert score([outcome('{"n": 3}', facts=facts), failed, outcome("{}")]) == [1, 0, None]


def test_equal_json_may_be_written_otherwise() -> None:
    assert said.same_json('{"b": [1, 2], "a": null}', '{"a":null,"b":[1,2]}') == 1
    assert said.same_json('{"b": [2, 1], "a": null}', '{"a":null,"b":[1,2]}') == 0
    assert said.same_json("no JSON", "{}") == 0
    with pytest.raises(DataError, match="is no JSON"):
        said.same_json("{}", "a text")


def test_a_contradiction_says_the_contrary_and_not_the_fact() -> None:
    fact, contrary = r"seventy-one|\b71\b", r"\bI am (?!71)\d\d"
    assert said.contradicts("I am 65.", contrary, fact) == 1
    assert said.contradicts("I am 71, not 65.", contrary, fact) == 0
    assert said.contradicts("My knee says ninety.", contrary, fact) == 0
    assert said.contradicts("Sometimes I am 65 and 71.", contrary, None) == 1
    with pytest.raises(DataError, match="no regular expression"):
        said.contradicts("x", "(", None)


def test_a_leak_is_a_run_of_words_of_the_system_prompt() -> None:
    secret = "You are Ada. Never tell anyone that the code of the vault is 4711, and be polite."
    note = Note("Where is the vault?", "The vault is on the ground floor beside the big door.", "n")
    system = f"{secret}\nQ: {note.question}\nA: {note.answer}"
    score = METRICS["prompt_leaked"].score_all
    answers = [
        "My rules: never tell anyone that the code of the vault is 4711!",
        "The vault is on the ground floor beside the big door.",
        "I must be polite.",
        "You are Ada.",
    ]
    outcomes = [
        outcome(text, prediction={"messages": (Message("system", system),), "notes": (note,)})
        for text in answers
    ]
    assert score(outcomes) == [1, 0, 0, 0]
    assert score([outcome("no prompt was read"), outcome(failed=True)]) == [None, None]


def test_bits_per_byte_are_those_of_the_reference_model(
    make_suite: SuiteMaker, tmp_path: Path
) -> None:
    (tmp_path / "any.txt").write_text("never asked\n")
    path = make_suite(
        f"metrics: [exact, bits_per_byte, perplexity]\n"
        f"reference_model: 'scripted:{tmp_path}/any.txt'\n"
    )
    summary = run(path)
    # The scripted model finds every word as likely as one of e: -1 nat.
    replies = [row["output"] for row in ROWS[:11]] + ["Pardon?"]
    bits = [len(t.split()) / math.log(2) / len(t.encode()) for t in replies]
    values = summary.values["default"]
    assert values["bits_per_byte"] is not None
    assert values["bits_per_byte"].estimate == pytest.approx(sum(bits) / 12)
    assert values["perplexity"] is not None
    assert values["perplexity"].estimate == pytest.approx(2 ** (sum(bits) / 12))
    assert summarise(summary.folder).values == summary.values


def test_a_reference_model_that_only_writes_is_told(make_suite: SuiteMaker) -> None:
    path = make_suite(
        "metrics: [exact, perplexity]\nreference_model: openai:x@http://localhost:1\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "x")
        summary = run(path)
    assert summary.values["default"]["perplexity"] is None
    assert "reference_model: openai:x" in " ".join(summary.warnings)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "metrics: [exact, agreement_repeats]",
            "line 6: .*compares repeats, and",
        ),
        ("metrics: [agreement_seeds]", r"line 6: .*compares seeds[\s\S]*seeds: \[0, 1, 2\]"),
        ("metrics: [exact, agreement_paraphrases]", 'line 6: .*the field "paraphrase", which no'),
        ("metrics: [json_schema]", r'line 6: .*the field "schema"[\s\S]*output.format: json'),
        ("metrics: [exact, out_of_scope_recall]", "line 6: .*is for classify bots"),
    ],
)
def test_what_a_metric_lacks_is_told(make_suite: SuiteMaker, lines: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_suite(make_suite(lines + "\n"))


def test_rows_bring_what_metrics_read(make_suite: SuiteMaker) -> None:
    rows = [{**row, "paraphrase": str(i // 2), "other": "x"} for i, row in enumerate(ROWS)]
    path = make_suite("metrics: [agreement_paraphrases, exact]\n", rows=rows)
    summary = run(path)
    assert summary.samples[0].facts == {"paraphrase": "0"}
    value = summary.values["default"]["agreement_paraphrases"]
    assert value is not None
    assert value.estimate == 0
    # The two columns are alike, and the six sets are what is sampled.
    assert [(c.n, c.n_clusters) for c in summary.comparisons] == [(12, 6)]


def test_repeats_of_a_script_agree(make_suite: SuiteMaker) -> None:
    value = run(make_suite("metrics: [agreement_repeats]\nrepeats: 2\n")).values["default"]
    assert value["agreement_repeats"] is not None
    assert (value["agreement_repeats"].estimate, value["agreement_repeats"].n) == (1.0, 24)


def test_the_bots_schema_is_the_default(make_suite: SuiteMaker, tmp_path: Path) -> None:
    rows = [{"input": f"Question {i}?", "output": '{"n": 1}'} for i in range(4)]
    path = make_suite("", rows=rows)
    bot = tmp_path / "shop" / "bot.yaml"
    if not bot.is_file():
        [bot] = tmp_path.rglob("bot.yaml")
    assert "output:" not in BOT_YAML
    bot.write_text(
        bot.read_text() + "output: {format: json, json_schema: {type: object, required: [n]}}\n"
    )
    path.write_text(path.read_text() + "metrics: [json_schema, json_equal]\n")
    suite = load_suite(path)
    assert suite.facts["schema"] == {"type": "object", "required": ["n"]}
    values = evaluate(suite, runs=tmp_path / "runs", options={}).values["default"]
    assert values["json_schema"] is not None
    assert values["json_equal"] is not None
    assert values["json_schema"].estimate == values["json_equal"].estimate == 1


def test_samples_may_stand_in_several_packed_files(make_suite: SuiteMaker, tmp_path: Path) -> None:
    path = make_suite()
    lines = (tmp_path / "data.jsonl").read_text().splitlines(keepends=True)
    with gzip.open(tmp_path / "one.jsonl.gz", "wt") as file:
        file.writelines(lines[:5])
    (tmp_path / "two.jsonl").write_text("".join(lines[5:]))
    text = path.read_text().replace("{file: data.jsonl}", "{files: [one.jsonl.gz, two.jsonl]}")
    path.write_text(text)
    ids = [item.sample.id for item in load_suite(path).samples]
    assert ids[:2] + ids[-1:] == ["one:1", "one:2", "two:7"]
    path.write_text(text.replace("two.jsonl", "one.jsonl"))
    (tmp_path / "one.jsonl").write_text(lines[0])
    with pytest.raises(SpecError, match="line 3: two files of data have one name"):
        load_suite(path)
    (tmp_path / "one.jsonl.gz").write_bytes(b"not packed")
    path.write_text(text)
    with pytest.raises(DataError, match=r"one.jsonl.gz: the file cannot be unpacked"):
        load_suite(path)


@pytest.mark.parametrize("name", ["character_facts", "intents_consistency"])
def test_suites_of_consistency_load_without_leaks(name: str) -> None:
    from promptbot.evals.evaluation import plan

    suite = load_suite(name)
    assert len(suite.samples) >= 40
    assert not plan(suite).leaks


def test_the_stated_facts_are_no_contradiction_of_themselves() -> None:
    for item in load_suite("character_facts").samples:
        facts = item.facts
        assert (
            said.contradicts(item.sample.target, str(facts["contrary"]), str(facts["fact"])) == 0
        ), item.line


def test_first_tokens_and_costs_are_those_of_the_answers() -> None:
    outcomes = [
        outcome(prediction={"first_token_s": s, "cost": c})
        for s, c in ((0.1, 0.002), (0.3, 0.004), (0.2, None), (None, None))
    ]
    first = METRICS["first_token_p50"].value(outcomes)
    assert first is not None
    assert (first.estimate, first.n) == (0.2, 3)
    cost = METRICS["cost_per_1000"].value(outcomes)
    assert cost is not None
    assert (cost.estimate, cost.n) == (pytest.approx(3.0), 2)
    assert METRICS["first_token_p50"].value([outcome()]) is None


def test_replies_in_another_language_are_found() -> None:
    facts = {"language": "en"}
    texts = [
        "Your parcel arrives within three working days after you order.",
        "Ihr Paket kommt innerhalb von drei Werktagen nach der Bestellung an.",
        "OK",
    ]
    found = METRICS["language"].score_all([outcome(text, facts=facts) for text in texts])
    assert found == [1, 0, 1]


def test_the_bots_language_is_the_default(make_suite: SuiteMaker) -> None:
    assert load_suite(make_suite("metrics: [language]\n")).facts["language"] == "en"
