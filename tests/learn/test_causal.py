"""The prompted model itself, trained on its bot's examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from promptbot.bot.folder import load_bot
from promptbot.errors import ModelError
from promptbot.learn import causal, tuned
from promptbot.learn.baseline import make_causal_baseline
from promptbot.learn.spec import BaselineSpec, Method
from promptbot.models.transformers import load_transformers
from promptbot.types import Sample
from tests.conftest import BotMaker
from tests.models import checkpoints

pytest.importorskip("torch")
pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.embedded_like(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(method: str, n_examples: int) -> tuned.Recipe:
        return tuned.Recipe(1e-2, 1e-2, 4, 40, 2, rank=8 if method == "causal_lora" else 0)

    monkeypatch.setattr(tuned, "recipe", recipe)


@pytest.mark.parametrize("method", ["causal_lm", "causal_lora"])
def test_a_chat_bot_learns_its_answers_and_is_kept(
    base: Path, tmp_path: Path, make_bot: BotMaker, method: Method
) -> None:
    bot = load_bot(make_bot())
    before = load_transformers(str(base), "base").revision
    spec = BaselineSpec(method=method)
    first = make_causal_baseline(spec, str(base), bot, cache=tmp_path / "cache")
    samples = [Sample(str(i), e.input, e.output) for i, e in enumerate(bot.examples)]
    said = first.predictor.predict(samples)
    assert [p.text for p in said] == [s.target for s in samples]
    again = make_causal_baseline(spec, str(base), bot, cache=tmp_path / "cache")
    assert (first.cached, again.cached) == (False, True)
    assert [p.text for p in again.predictor.predict(samples)] == [p.text for p in said]
    assert load_transformers(str(base), "base").revision == before
    assert list(first.folder.rglob("*.safetensors"))
    assert not [p for p in first.folder.rglob("*") if p.suffix in (".bin", ".pt", ".pth")]


def test_a_classify_bot_answers_with_labels(
    base: Path, tmp_path: Path, make_classifier: BotMaker
) -> None:
    bot = load_bot(make_classifier())
    made = make_causal_baseline(
        BaselineSpec(method="causal_lm"), str(base), bot, cache=tmp_path / "cache"
    )
    samples = [Sample(str(i), e.input, str(e.label)) for i, e in enumerate(bot.examples)]
    assert [p.label for p in made.predictor.predict(samples)] == [s.target for s in samples]
    assert set(made.labels) == {str(e.label) for e in bot.examples}


def test_only_the_assistants_words_are_learned(base: Path, make_bot: BotMaker) -> None:
    bot = load_bot(make_bot())
    model = load_transformers(str(base), "base")
    texts = causal.training_texts(bot, model, None, 0)
    decode = model.engine.chat_format.codec.decode
    assert {decode(t.answer).strip() for t in texts} == {e.output for e in bot.examples}
    for text in texts:
        # No other example is shown: their answers are not in the prompt.
        others = {e.output for e in bot.examples} - {decode(text.answer).strip()}
        assert not any(other in decode(text.prompt) for other in others)
    rows = [
        {"input_ids": [5, 6, 7], "labels": [causal.NO_LOSS, 6, 7]},
        {"input_ids": [8], "labels": [8]},
    ]
    batch = causal.padded(rows)
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_other_examples_are_another_training(
    base: Path, tmp_path: Path, make_bot: BotMaker
) -> None:
    bot = load_bot(make_bot())
    spec = BaselineSpec(method="causal_lora")
    fewer = replace(bot, examples=bot.examples[:-1])
    folders = {
        make_causal_baseline(spec, str(base), one, cache=tmp_path / "cache").folder
        for one in (bot, fewer)
    }
    assert len(folders) == 2


def test_a_model_that_runs_elsewhere_cannot_be_trained(make_bot: BotMaker) -> None:
    with pytest.raises(ModelError, match="no model whose weights can be trained"):
        make_causal_baseline(
            BaselineSpec(method="causal_lm"), "openai:gpt-4o-mini", load_bot(make_bot())
        )


def test_the_bots_own_model_is_the_default() -> None:
    assert BaselineSpec(method="causal_lm").model == "bot"
    assert BaselineSpec(method="lora").model == "teacher"


def test_a_search_judges_by_answers_that_were_held_out(
    base: Path, tmp_path: Path, make_bot: BotMaker
) -> None:
    pytest.importorskip("optuna")
    bot = load_bot(make_bot())
    bot = replace(bot, examples=bot.examples * 4)
    spec = BaselineSpec(method="causal_lm", search=2)
    made = make_causal_baseline(spec, str(base), bot, cache=tmp_path / "cache")
    assert made.search is not None
    assert made.search.n_held_out == round(0.2 * len(bot.examples))
    # Each text is there four times, so that those held out are known from their twins.
    assert made.search.loss < 1.0
