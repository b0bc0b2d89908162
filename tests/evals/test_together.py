"""Samples that a local model reads at once get the answers that they get alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptbot.evals.columns import Workshop
from promptbot.evals.evaluation import Throughput, evaluate
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary
from promptbot.evals.together import TogetherModel, TogetherPredictor
from promptbot.models.call_cache import CallCache
from promptbot.types import Completion, Message, OptionScore

TEXTS = [
    "lost card",
    "where is my order?",
    "a parcel",
    "wrong amount",
    "hello",
    "card payment",
    "ok",
]

CLASSIFY = """\
name: labels
task: classify
template: system.j2
labels: {card: [card], order: [order, parcel]}
examples: {file: examples.jsonl, selector: fixed, k: 2, order: file}
"""

CHAT = """\
name: chat
template: system.j2
decoding: {temperature: TEMPERATURE, max_new_tokens: 6}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.models.checkpoints import embedded_like

    return embedded_like(tmp_path_factory.mktemp("checkpoint"))


def write_suite(folder: Path, bot_yaml: str, checkpoint: Path) -> Path:
    bot = folder / "bot"
    bot.mkdir()
    (bot / "bot.yaml").write_text(bot_yaml)
    (bot / "system.j2").write_text("Answer.")
    key = "label" if "classify" in bot_yaml else "output"
    rows = [{"input": text, key: "card"} for text in TEXTS]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if key == "label":
        examples = [{"input": "my card!", "label": "card"}, {"input": "my box!", "label": "order"}]
        (bot / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    suite = folder / "suite.yaml"
    suite.write_text(
        f"name: s\nbot: bot\ndata: {{file: data.jsonl}}\nmodels: ['{checkpoint}']\nseeds: [0, 1]\n"
    )
    return suite


def answers(path: Path, n: int, **throughput: Any) -> tuple[dict[Any, Any], Summary]:
    summary = evaluate(
        load_suite(path),
        runs=path.parent / "runs",
        throughput=Throughput(n_together=n, **throughput),
        options={},
    )
    found = {}
    for key, record in summary.records.items():
        said = record.prediction
        assert said is not None, record.error
        found[key] = (said.text, said.label, said.n_prompt_tokens, said.n_generated_tokens)
    return found, summary


@pytest.mark.parametrize(
    "bot_yaml",
    [
        CLASSIFY,
        CLASSIFY + "calibration: contextual\n",
        CLASSIFY + "ensemble: {kind: permutations, n: 2}\n",
        CLASSIFY + "calibration: batch\n",
        CHAT.replace("TEMPERATURE", "0.0"),
        CHAT.replace("TEMPERATURE", "0.9"),
    ],
)
@pytest.mark.parametrize("n", [3, 64])
def test_answers_do_not_depend_on_how_many_are_asked(
    tmp_path: Path, checkpoint: Path, bot_yaml: str, n: int
) -> None:
    path = write_suite(tmp_path, bot_yaml, checkpoint)
    alone, one_by_one = answers(path, 1, use_cache=False)
    together, at_once = answers(path, n, use_cache=False)
    assert together == alone
    for key, record in one_by_one.records.items():
        other = at_once.records[key].prediction
        assert record.prediction is not None
        assert other is not None
        assert other.label_logprobs == pytest.approx(record.prediction.label_logprobs, abs=1e-4)
        assert other.messages == record.prediction.messages


def test_the_model_is_asked_for_several_at_once(tmp_path: Path, checkpoint: Path) -> None:
    suite = load_suite(write_suite(tmp_path, CLASSIFY, checkpoint))
    workshop = Workshop(suite, n_together=64)
    predictor = workshop.predictor(suite.columns[0], 0)
    assert isinstance(predictor, TogetherPredictor)
    inner = CountingModel(predictor.model.model)
    predictor.model.model = inner  # type: ignore[assignment]
    predictor.predict([item.sample for item in suite.samples])
    assert (inner.n_alone, inner.n_many) == (1, [len(TEXTS) - 1])
    assert workshop.job(suite.columns[0], 0, 0).n_together == 64


class CountingModel:
    def __init__(self, model: Any) -> None:
        self.model, self.n_alone, self.n_many = model, 0, list[int]()

    def score(self, *args: Any, **kwargs: Any) -> list[OptionScore]:
        self.n_alone += 1
        return list(self.model.score(*args, **kwargs))

    def score_many(self, prompts: Any, *args: Any, **kwargs: Any) -> list[list[OptionScore]]:
        self.n_many.append(len(prompts))
        return list(self.model.score_many(prompts, *args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


def test_one_that_is_too_long_fails_alone(tmp_path: Path, checkpoint: Path) -> None:
    path = write_suite(tmp_path, CHAT.replace("TEMPERATURE", "0.0"), checkpoint)
    rows = [{"input": text, "output": "x"} for text in [*TEXTS[:2], "card " * 5000, TEXTS[3]]]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = evaluate(
        load_suite(path), runs=tmp_path / "runs", throughput=Throughput(n_together=4), options={}
    )
    assert summary.n_failed["default"] == 2  # with either seed
    assert {r.sample for r in summary.records.values() if r.error} == {"data:3"}


@pytest.mark.parametrize("bot_yaml", [CLASSIFY, CHAT.replace("TEMPERATURE", "0.0")])
def test_what_was_asked_together_is_found_in_the_cache_alone(
    tmp_path: Path, checkpoint: Path, bot_yaml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.sqlite"
    monkeypatch.setattr("promptbot.evals.evaluation.default_cache", lambda: CallCache(cache))
    path = write_suite(tmp_path, bot_yaml, checkpoint)
    together, first = answers(path, 64)
    # Scores do not depend on the seed, so that the second one finds those of the first.
    assert not any(r.cached for key, r in first.records.items() if key.seed == 0)
    for n in (1, 64):
        again, summary = answers(path, n)
        assert again == together
        assert all(record.cached for record in summary.records.values())


def test_an_answer_that_was_asked_ahead_is_given_once() -> None:
    class Stub:
        spec = "stub"

        def generate_many(self, prompts: Any, **settings: Any) -> list[Completion]:
            return [Completion(f"ahead of {prompt[-1].content}") for prompt in prompts]

        def invoke(self, input: Any, config: Any = None, **settings: Any) -> Any:
            from langchain_core.messages import AIMessage

            return AIMessage(content="asked")

    from promptbot.models.messages import to_langchain

    model = TogetherModel(Stub())  # type: ignore[arg-type]
    one, two = ((Message("user", word),) for word in ("one", "two"))
    model.watch(one)
    assert model.invoke(to_langchain(one), temperature=0.0).content == "asked"
    model.ask_ahead([two])
    assert model.invoke(to_langchain(two), temperature=1.0).content == "asked"
    assert model.invoke(to_langchain(two), temperature=0.0).content == "ahead of two"
    assert model.invoke(to_langchain(two), temperature=0.0).content == "asked"


def test_remote_and_scripted_models_are_asked_one_by_one(tmp_path: Path, checkpoint: Path) -> None:
    path = write_suite(tmp_path, CLASSIFY, checkpoint)
    for model in ("openai:x", "scripted:y"):
        suite = load_suite(path, models=[model])
        assert Workshop(suite, n_together=8).job(suite.columns[0], 0, 0).n_together == 1


@pytest.mark.parametrize(("n", "use_cache"), [(1, False), (1, True), (8, False), (8, True)])
def test_json_is_kept_to_its_schema_however_models_are_asked(
    tmp_path: Path, checkpoint: Path, n: int, use_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache.sqlite"
    monkeypatch.setattr("promptbot.evals.evaluation.default_cache", lambda: CallCache(cache))
    schema = "{type: object, required: [n], properties: {n: {enum: [1, 22]}}, "
    schema += "additionalProperties: false}"
    bot = CHAT.replace("TEMPERATURE", "0.0").replace("max_new_tokens: 6", "max_new_tokens: 30")
    bot += f"output: {{format: json, json_schema: {schema}}}\n"
    path = write_suite(tmp_path, bot, checkpoint)
    path.write_text(path.read_text() + "metrics: [json_schema]\n")
    # A random model writes such JSON only where it is kept to it.
    _, summary = answers(path, n, use_cache=use_cache)
    value = summary.values["default"]["json_schema"]
    assert value is not None
    assert value.estimate == 1
