"""Baselines whose weights are trained: they learn, are kept, and go on after a break."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import ModelError
from promptbot.learn import tuned
from promptbot.learn.baseline import Baseline, make_baseline
from promptbot.learn.head import load_with_head
from promptbot.learn.spec import BaselineSpec, Method
from promptbot.models.encoder import load_encoder
from promptbot.types import Example, Sample
from tests.conftest import BotMaker
from tests.models import checkpoints

pytest.importorskip("torch")
pytest.importorskip("accelerate")

WORDS = {"card": ["card", "plastic"], "parcel": ["parcel", "box"]}
ENDS = ("is lost", "never came", "where is it", "please help", "again", "today", "broken", "late")
EXAMPLES = [
    Example(f"my {word} {end}", label, label)
    for label, words in WORDS.items()
    for word in words
    for end in ENDS
]
SAMPLES = [Sample(str(i), e.input, str(e.label)) for i, e in enumerate(EXAMPLES)]
"""What was learned from: a random encoder of two layers has nothing to generalise with."""
METHODS: list[Method] = ["sequence_classification", "lora", "contrastive"]
RECIPE = tuned.recipe


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.bert_like(tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(method: str, n_examples: int) -> tuned.Recipe:
        if method == "lora":
            return tuned.Recipe(5e-3, 5e-3, 8, 40, 2, rank=16)
        return tuned.Recipe(2e-3, 2e-3, 8, 15, 2)

    monkeypatch.setattr(tuned, "recipe", recipe)
    monkeypatch.setattr(tuned, "PATIENCE", 20)


def make(method: Method, base: Path, cache: Path, seed: int = 0) -> Baseline:
    spec = BaselineSpec(method=method, model=str(base))
    return make_baseline(spec, EXAMPLES, load_encoder(str(base)), seed=seed, cache=cache)


@pytest.mark.parametrize("method", METHODS)
def test_a_baseline_learns_is_kept_and_answers_the_same_when_loaded(
    base: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "PER_LABEL_FOR_DEV", 100)  # all are trained on
    before = load_encoder(str(base)).revision
    first = make(method, base, tmp_path)
    found = first.predictor.predict(SAMPLES)
    right = sum(p.label == s.target for p, s in zip(found, SAMPLES, strict=True))
    assert right >= 0.9 * len(SAMPLES)
    for prediction in found:
        total = sum(math.exp(value) for value in prediction.label_logprobs.values())
        assert total == pytest.approx(1.0, abs=1e-4)
    again = make(method, base, tmp_path)
    assert (first.cached, again.cached) == (False, True)
    for one, other in zip(again.predictor.predict(SAMPLES), found, strict=True):
        assert one.label_logprobs == pytest.approx(dict(other.label_logprobs), abs=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.folder.name]
    assert not list(first.folder.rglob("*.bin"))
    assert not list(first.folder.rglob("*.pt"))
    assert load_encoder(str(base)).revision == before


def test_another_seed_is_another_training(base: Path, tmp_path: Path) -> None:
    first, other = make("lora", base, tmp_path), make("lora", base, tmp_path, seed=1)
    assert first.folder != other.folder
    assert first.predictor.predict(SAMPLES) != other.predictor.predict(SAMPLES)


def test_a_training_that_was_stopped_goes_on_where_it_stood(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainerCallback

    whole = make("sequence_classification", base, tmp_path / "whole").predictor.predict(SAMPLES)
    train = tuned.train_to_end
    starts: list[int] = []

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.epoch >= 3:
                raise KeyboardInterrupt

    class Note(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            starts.append(state.global_step)

    def with_callback(callback: Any) -> Any:
        def run(trainer: Any, work: Path, method: str, place: str) -> None:
            trainer.add_callback(callback)
            train(trainer, work, method, place)

        return run

    monkeypatch.setattr(tuned, "train_to_end", with_callback(Stop()))
    with pytest.raises(KeyboardInterrupt):
        make("sequence_classification", base, tmp_path / "broken")
    assert [path.suffix for path in (tmp_path / "broken").iterdir()] == [".training"]
    monkeypatch.setattr(tuned, "train_to_end", with_callback(Note()))
    resumed = make("sequence_classification", base, tmp_path / "broken")
    assert starts[0] > 0
    for one, other in zip(resumed.predictor.predict(SAMPLES), whole, strict=True):
        assert one.label == other.label
    assert [path.name for path in (tmp_path / "broken").iterdir()] == [resumed.folder.name]


TRAINING = """
import sys
from pathlib import Path
from promptbot.learn import tuned
from tests.learn.test_tuned import make
tuned.recipe, tuned.PATIENCE = lambda method, n: tuned.Recipe(2e-3, 2e-3, 8, 20, 2), 20
make("sequence_classification", Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_training_that_was_killed_goes_on_even_from_half_a_checkpoint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    cache = tmp_path / "cache"
    child = subprocess.Popen([sys.executable, "-c", TRAINING, str(base), str(cache)])
    try:
        while not list(cache.glob("*.training/checkpoint-*/trainer_state.json")):
            assert child.poll() is None, "the training ended before it was killed"
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    [work] = cache.glob("*.training")
    whole = Path(tuned._last_checkpoint(work) or "")
    broken = work / "checkpoint-9999"  # as a kill in the middle of writing leaves one
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"half")
    starts: list[str | None] = []
    train = Trainer.train

    def noting(self: Any, resume_from_checkpoint: str | None = None) -> Any:
        starts.append(resume_from_checkpoint)
        return train(self, resume_from_checkpoint=resume_from_checkpoint)

    monkeypatch.setattr(tuned, "recipe", lambda method, n: tuned.Recipe(2e-3, 2e-3, 8, 20, 2))
    monkeypatch.setattr(Trainer, "train", noting)
    make("sequence_classification", base, cache)
    assert starts == [str(whole)]
    assert not list(cache.glob("*.part-*"))


def test_a_checkpoint_of_other_labels_is_refused(base: Path, tmp_path: Path) -> None:
    trained = make("sequence_classification", base, tmp_path / "cache").folder
    three = [*EXAMPLES, Example("hello", "hi", "greeting")]
    with pytest.raises(ModelError, match=r"fewer labels \(greeting missing\)"):
        tuned.fit_classifier(
            three, trained, tmp_path / "out", tmp_path / "work",
            method="sequence_classification", seed=0, place="suite.yaml",
        )  # fmt: skip


def test_as_many_labels_of_other_names_are_other_labels(base: Path, tmp_path: Path) -> None:
    trained = make("sequence_classification", base, tmp_path / "cache").folder
    renamed = [Example(e.input, e.output, f"new_{e.label}") for e in EXAMPLES]
    with pytest.raises(ModelError, match=r"2 other labels \(card, parcel\)"):
        tuned.fit_classifier(
            renamed, trained, tmp_path / "out", tmp_path / "work",
            method="sequence_classification", seed=0, place="suite.yaml",
        )  # fmt: skip


def test_the_head_learns_at_its_own_rate(base: Path) -> None:
    model, _ = load_with_head(base, ("card", "parcel"), "suite.yaml")
    recipe = tuned.Recipe(1e-4, 1e-2, 8, 1, 1, rank=4)
    for adapted in (model, tuned.with_adapter(model, recipe.rank)):
        groups = tuned._groups(adapted, recipe)
        in_groups = sum(p.numel() for group in groups for p in group["params"])
        assert in_groups == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        fast = [p for group in groups if group["lr"] == 1e-2 for p in group["params"]]
        head = [p for n, p in adapted.named_parameters() if "classifier" in n and p.requires_grad]
        assert {id(p) for p in fast} == {id(p) for p in head}
        assert all(group["weight_decay"] == 0 for group in groups if group["params"][0].ndim < 2)


def test_a_constant_that_changes_results_changes_the_key(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make("sequence_classification", base, tmp_path)
    monkeypatch.setattr(tuned, "WEIGHT_DECAY", 0.5)
    assert make("sequence_classification", base, tmp_path).folder != first.folder


def test_longer_texts_and_all_weights_take_more_memory(base: Path) -> None:
    def needed(method: str, n_tokens: int) -> int:
        return tuned.memory_needed(base, method, 100, n_tokens)

    assert needed("lora", 1) < needed("sequence_classification", 1)  # what texts take counts less
    assert needed("lora", 50) < needed("lora", 200)
    short, longer = "my card", "my card is lost again"
    assert tuned.longest(base, [longer, short]) == tuned.longest(base, [longer])
    assert tuned.longest(base, [short]) < tuned.longest(base, [longer])
    assert tuned.longest(base, ["my card " * 1_000]) == tuned.MAX_TOKENS  # such texts are cut


def test_memory_is_told_before_a_training_and_not_without_one(base: Path, tmp_path: Path) -> None:
    spec = BaselineSpec(method="lora", model=str(base))
    told: list[int] = []
    for n_told in (1, 1):
        make_baseline(spec, EXAMPLES, cache=tmp_path, on_memory=told.append)
        assert len(told) == n_told
    longest = tuned.longest(base, [e.input for e in EXAMPLES])
    assert told == [tuned.memory_needed(base, "lora", len(EXAMPLES), longest)]


@pytest.mark.parametrize("model_type", ["unheard_of", "m2m_100"])
def test_an_architecture_without_a_head_is_named(tmp_path: Path, model_type: str) -> None:
    broken = checkpoints.bert_like(tmp_path / "x")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    with pytest.raises(ModelError, match="cannot be trained to sort texts"):
        tuned.fit_classifier(
            EXAMPLES, broken, tmp_path / "out", tmp_path / "work",
            method="sequence_classification", seed=0, place="suite.yaml",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "smaller"),
    [("sequence_classification", "method: linear_probe"), ("lora", "method: linear_probe")],
)
def test_memory_that_does_not_suffice_says_what_to_try(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method, smaller: str
) -> None:
    from transformers import Trainer

    def full(*_args: Any, **_named: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 10 GB")

    monkeypatch.setattr(Trainer, "train", full)
    with pytest.raises(ModelError, match=smaller) as told:
        make(method, base, tmp_path)
    assert f"Take method: {method}" not in str(told.value)
    assert not list(tmp_path.glob("*.part-*"))


def test_a_label_with_one_example_leaves_nothing_to_stop_by_and_is_trained_all_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "PER_LABEL_FOR_DEV", 2)
    monkeypatch.setattr(tuned, "recipe", lambda method, n: tuned.Recipe(1e-3, 1e-3, 8, 1, 1))
    one_more = [*EXAMPLES, Example("hello", "hi", "greeting")]
    spec = BaselineSpec(method="sequence_classification", model=str(base))
    made = make_baseline(spec, one_more, cache=tmp_path)
    assert made.labels == ("card", "greeting", "parcel")
    assert set(made.predictor.predict(SAMPLES[:1])[0].label_logprobs) == set(made.labels)


def test_training_stops_when_the_held_out_loss_no_longer_falls_and_keeps_the_best_epoch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "PER_LABEL_FOR_DEV", 2)
    monkeypatch.setattr(tuned, "PATIENCE", 2)
    # So large a rate that what was learned is soon lost.
    monkeypatch.setattr(tuned, "recipe", lambda method, n: tuned.Recipe(5e-2, 5e-2, 8, 40, 2))
    train, trainers = tuned.train_to_end, []

    def noting(trainer: Any, *args: Any) -> None:
        trainers.append(trainer)
        train(trainer, *args)

    monkeypatch.setattr(tuned, "train_to_end", noting)
    make("sequence_classification", base, tmp_path)
    [trainer] = trainers
    losses = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert len(losses) == losses.index(min(losses)) + 1 + tuned.PATIENCE < 40
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), rel=1e-4)


def test_labels_weigh_alike_however_many_examples_they_have(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "recipe", lambda method, n: tuned.Recipe(1e-3, 1e-2, 10, 30, 1))
    rare, often = Example("blue", "rare", "rare"), Example("blue", "often", "often")
    spec = BaselineSpec(method="sequence_classification", model=str(base))
    made = make_baseline(spec, [rare, *[often] * 9], cache=tmp_path)
    [prediction] = made.predictor.predict([Sample("1", "blue", "rare")])
    shares = [math.exp(value) for value in prediction.label_logprobs.values()]
    assert shares == pytest.approx([0.5, 0.5], abs=0.1)


def test_the_embedded_encoder_is_no_checkpoint_to_train(tmp_path: Path) -> None:
    spec = BaselineSpec(method="lora", model="embedded")
    with pytest.raises(ModelError, match="teacher"):
        make_baseline(spec, EXAMPLES, load_encoder("embedded"), cache=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_real_encoder_learns_from_ten_examples_a_label_in_the_memory_that_was_told(
    tmp_path: Path, method: Method
) -> None:
    from promptbot.evals.suite import load_suite
    from promptbot.evals.trained import train, with_baselines

    suite = load_suite("intents")
    spec = BaselineSpec(method=method, model="teacher")
    monkey = pytest.MonkeyPatch()
    monkey.setattr(tuned, "recipe", RECIPE)
    monkey.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[int] = []
    measured = with_baselines(suite, {method: spec})
    [found] = train(measured, on_memory=lambda _, n_bytes: told.append(n_bytes))
    monkey.undo()
    assert sum(found.scores) / len(found.scores) > 0.75
    took = found.baseline.train_bytes
    assert took is not None
    assert told[0] / 3 < took <= told[0]


@pytest.mark.parametrize("method", METHODS)
def test_few_examples_want_more_epochs(method: str) -> None:
    recipes = [RECIPE(method, n) for n in (20, 770, 10_003)]
    assert recipes[0].epochs >= recipes[1].epochs >= recipes[2].epochs >= 3
    assert all(one.warmup_steps >= 1 for one in recipes)


def test_a_search_is_within_the_examples_and_its_settings_are_trained_with(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    fit, trained = tuned.fit_classifier, []

    def noting(examples: list[Example], *args: Any, **named: Any) -> Any:
        trained.append((len(examples), named["settings"]))
        return fit(examples, *args, **named)

    monkeypatch.setattr(tuned, "fit_classifier", noting)
    # So that its own settings are beaten for certain.
    slow = tuned.Recipe(2e-4, 2e-4, 8, 4, 2)
    monkeypatch.setattr(tuned, "recipe", lambda method, n_examples: slow)
    spec = BaselineSpec(method="sequence_classification", model=str(base), search=5)
    trials: list[Any] = []
    made = make_baseline(spec, EXAMPLES, cache=tmp_path, on_trial=trials.append)
    assert made.search is not None
    n_held_out = made.search.n_held_out
    assert n_held_out == round(0.2 * len(EXAMPLES))
    assert [n for n, _ in trained] == [len(EXAMPLES) - n_held_out] * 5 + [len(EXAMPLES)]
    assert trained[-1][1] == made.search.recipe != slow
    assert made.search.loss == min(t.loss for t in trials) < made.search.loss_before
    assert made.recipe is not None
    assert made.recipe["learning_rate"] == made.search.recipe.learning_rate
    again = make_baseline(spec, EXAMPLES, cache=tmp_path)
    assert (again.cached, again.search, len(trained)) == (True, made.search, 6)


def test_a_search_among_too_few_examples_takes_the_methods_own_settings(
    base: Path, tmp_path: Path
) -> None:
    few = [Example(f"my {label}", label, label) for label in ("card", "parcel", "box")]
    spec = BaselineSpec(method="lora", model=str(base), search=3)
    made = make_baseline(spec, few, cache=tmp_path)
    assert made.search is None
    assert made.recipe is not None
    assert made.recipe["learning_rate"] == 5e-3


@pytest.mark.slow
def test_several_processes_train_one_baseline_and_one_of_them_speaks(
    base: Path, tmp_path: Path, make_classifier: BotMaker
) -> None:
    make_classifier()
    rows = "".join(json.dumps({"input": e.input, "label": e.label}) + "\n" for e in EXAMPLES)
    (tmp_path / "pool.jsonl").write_text(rows)
    tested = '{"input": "plastic, please help", "label": "card"}\n'
    (tmp_path / "data.jsonl").write_text(tested)
    (tmp_path / "small.yaml").write_text(
        "name: small\nbot: sorter\ndata: {file: data.jsonl}\n"
        "pool: {file: pool.jsonl, per_label: 8}\n"
        f"baseline: {{tuned: {{method: sequence_classification, model: {base}}}}}\n"
    )
    environment = {
        **os.environ,
        "PROMPTBOT_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = ["-m", "promptbot", "finetune", "small.yaml"]
    together, alone = (
        subprocess.run(
            [*start, *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=600, check=False,
        )
        for start in (launch, [sys.executable])
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("tuned: accuracy") == 1
    assert together.stderr.count("trained on 16 examples") == 1
    # What two trained, one finds: it is the same training.
    assert alone.stdout == together.stdout
    assert "trained before on 16 examples" in alone.stderr
