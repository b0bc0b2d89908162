"""The classification head: what it reads of a text, and where it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptbot.learn import head, tuned
from promptbot.learn.baseline import make_baseline
from promptbot.learn.probe import INVERSE_PENALTY
from promptbot.learn.spec import BaselineSpec, Method
from promptbot.models.encoder import load_encoder
from promptbot.types import Example, Sample
from tests.models import checkpoints

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

TEXTS = ["card", "I lost my card abroad and where is my order?", "a parcel"]
EXAMPLES = [
    Example(f"my {word} {end}", label, label)
    for label, word in (("card", "card"), ("parcel", "parcel"), ("wrong", "amount"))
    for end in ("is lost", "never came", "where is it", "please help", "again")
]
SAMPLES = [Sample(str(i), e.input, str(e.label)) for i, e in enumerate(EXAMPLES)]


def say_mean(folder: Path) -> Path:
    head.save_pooling(folder, head.MEAN)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return say_mean(checkpoints.bert_like(tmp_path_factory.mktemp("base") / "bert"))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, head.MEAN),
        ({"pooling_mode": "mean"}, head.MEAN),
        ({"pooling_mode": "cls"}, head.OWN),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, head.OWN),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, head.OWN),
        ({"pooling_mode": ["mean", "max"]}, head.OWN),
        ([], head.OWN),
        (None, head.OWN),
    ],
)
def test_a_checkpoint_says_what_becomes_of_its_tokens(
    tmp_path: Path, said: object, found: str
) -> None:
    if said is not None:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / head.POOLING_FILE).write_text(json.dumps(said))
    assert head.pooling_of(tmp_path) == found


def first_of_head(model: Any) -> Any:
    """Return the first layer that is not the body's."""
    of_body = {id(module) for module in model.base_model.modules()}
    return next(
        m for m in model.modules() if isinstance(m, torch.nn.Linear) and id(m) not in of_body
    )


@pytest.mark.parametrize(
    "name", ["Bert", "Roberta", "DistilBert", "MPNet", "Electra", "ModernBert"]
)
def test_every_kind_of_head_reads_the_mean_of_the_tokens_that_are_no_padding(
    tmp_path: Path, name: str
) -> None:
    import transformers

    tokenizer = checkpoints.byte_level_tokenizer(["[PAD]", "[CLS]", "[SEP]"], adds_bos="[CLS]")
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    if name != "DistilBert":
        sizes = {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 64, "embedding_size": 32,
        }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(
        vocab_size=tokenizer.get_vocab_size(), pad_token_id=0, max_position_embeddings=128,
        **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    body = getattr(transformers, f"{name}Model")(config).eval()
    checkpoints.save(tmp_path, body, tokenizer, pad_token="[PAD]")
    model, fast = head.load_with_head(say_mean(tmp_path), ["a", "b", "c"], "suite.yaml")
    read: list[Any] = []
    first_of_head(model).register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.inference_mode():
        model.eval()(**fast(TEXTS, padding=True, return_tensors="pt"))
        alone = [body(**fast(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS]
    wanted = torch.stack([hidden.mean(0) for hidden in alone])
    assert torch.allclose(read[0], wanted, atol=1e-5)


def test_the_head_starts_where_scikit_learns_regression_on_the_frozen_means_ends(
    base: Path,
) -> None:
    from sklearn.linear_model import LogisticRegression

    labels = sorted({str(e.label) for e in EXAMPLES})
    targets = [labels.index(str(e.label)) for e in EXAMPLES]
    model, tokenizer = head.load_with_head(base, labels, "suite.yaml")
    rows = [dict(tokenizer(e.input)) for e in EXAMPLES]
    assert head.start_from_regression(model, tokenizer, rows, targets)
    with torch.inference_mode():
        inputs = tokenizer([e.input for e in EXAMPLES], padding=True, return_tensors="pt")
        ours = model.eval()(**inputs).logits.softmax(-1).numpy()
        hidden = model.base_model(**inputs).last_hidden_state[:, 0].numpy()
    length = np.sqrt((hidden**2).sum(axis=1).mean())
    theirs = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    theirs.fit(hidden / length, targets)
    assert ours == pytest.approx(theirs.predict_proba(hidden / length), abs=2e-3)


def test_a_label_that_is_only_held_out_leaves_the_start_to_chance(base: Path) -> None:
    model, tokenizer = head.load_with_head(base, ["a", "b", "c"], "suite.yaml")
    before = first_of_head(model).weight.clone()
    rows = [dict(tokenizer(text)) for text in TEXTS]
    assert not head.start_from_regression(model, tokenizer, rows, [0, 1, 1])
    assert torch.equal(first_of_head(model).weight, before)


@pytest.mark.parametrize("method", ["sequence_classification", "lora"])
def test_what_read_the_mean_in_training_reads_it_when_it_is_loaded(
    base: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = 4 if method == "lora" else 0
    recipe = tuned.Recipe(1e-3, 1e-3, 8, 3, 1, rank=rank)
    monkeypatch.setattr(tuned, "recipe", lambda method, n_examples: recipe)
    spec = BaselineSpec(method=method, model=str(base))
    made, again = (make_baseline(spec, EXAMPLES, cache=tmp_path) for _ in range(2))
    assert (made.cached, again.cached) == (False, True)
    found = made.predictor.predict(SAMPLES)
    for one, other in zip(again.predictor.predict(SAMPLES), found, strict=True):
        assert one.label_logprobs == pytest.approx(dict(other.label_logprobs), abs=1e-4)
    assert json.loads((made.folder / "card.json").read_text())["pooling"] == "mean"


def test_a_head_that_is_trained_already_is_not_started_anew(base: Path, tmp_path: Path) -> None:
    def fit(start: Path, place: str, epochs: int) -> Any:
        return tuned.fit_classifier(
            EXAMPLES, start, tmp_path / place, tmp_path / f"{place}.work",
            method="sequence_classification", seed=0, place="suite.yaml",
            settings=tuned.Recipe(1e-9, 5e-2, 8, epochs, 1),
        )  # fmt: skip

    fit(base, "first", 5)
    trained = tuned.load_classifier(tmp_path / "first", base, "sequence_classification")
    again = fit(tmp_path / "first", "again", 1)
    started, _ = head.load_with_head(base, trained.labels, "suite.yaml")
    wanted = first_of_head(trained.model).weight

    def distance(model: Any) -> float:
        return float((first_of_head(model).weight - wanted).detach().norm())

    assert distance(again.model) < distance(started)


def test_how_tokens_are_pooled_is_part_of_the_key(tmp_path: Path) -> None:
    bare = checkpoints.bert_like(tmp_path / "bert")
    spec = BaselineSpec(method="sequence_classification", model=str(bare))
    first = make_baseline(spec, EXAMPLES, cache=tmp_path / "cache")
    revision = load_encoder(str(bare)).revision
    say_mean(bare)
    assert load_encoder(str(bare)).revision == revision
    assert make_baseline(spec, EXAMPLES, cache=tmp_path / "cache").folder != first.folder
