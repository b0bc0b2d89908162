"""Baselines in a suite, and `promptbot finetune`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.errors import DataError, InputError, SpecError
from promptbot.evals.evaluation import evaluate
from promptbot.evals.suite import load_suite
from promptbot.evals.trained import accuracies, train, with_baselines
from promptbot.learn import tuned
from promptbot.learn.spec import BaselineSpec
from tests.conftest import BotMaker, write_rows
from tests.models import checkpoints

TEXTS = {
    "card_lost": ["I lost my card", "my card was stolen", "the card is gone", "card missing"],
    "balance": ["how much money is there", "show my balance", "balance please", "my money"],
}
TESTED = {"card_lost": ["where is my lost card"], "balance": ["what is my balance"]}


@pytest.fixture
def suite(make_classifier: BotMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classify suite with a pool; its model answers always the same."""
    monkeypatch.chdir(tmp_path)
    make_classifier()
    write_rows(tmp_path / "pool.jsonl", TEXTS)
    write_rows(tmp_path / "data.jsonl", TESTED)
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "balance"}\n')
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nbot: sorter\ndata: {file: data.jsonl}\n"
        "pool: {file: pool.jsonl, per_label: 2}\nmodels: ['scripted:script.jsonl']\n"
        "baseline: {probe: {method: linear_probe, model: embedded}}\n"
    )
    return path


def test_a_baseline_is_a_column_that_learns_what_the_prompts_may_show(suite: Path) -> None:
    summary = evaluate(load_suite(suite))
    assert summary.columns == ("default", "probe")
    assert summary.scores["probe"] == (1.0, 1.0)
    assert summary.scores["default"] == (0.0, 1.0)
    assert summary.manifest["baselines"] == {
        "probe": {"method": "linear_probe", "model": "embedded"}
    }
    assert "baseline probe" in summary.manifest["models"]


def test_a_method_alone_stands_for_its_defaults(suite: Path) -> None:
    text = suite.read_text()
    short = text[: text.index("baseline:")] + "baseline: [linear_probe]\n"
    suite.write_text(short)
    assert load_suite(suite).spec.baseline == {
        "linear_probe": BaselineSpec(method="linear_probe", model="teacher")
    }


def test_a_baseline_may_be_the_reference_and_be_chosen_by_name(suite: Path) -> None:
    suite.write_text(suite.read_text() + "reference: probe\n")
    assert [c.name for c in load_suite(suite).columns] == ["probe", "default"]
    assert [c.name for c in load_suite(suite, variants=["default"]).columns] == ["default"]


def test_finetune_prints_each_budget_and_trains_nothing_twice(suite: Path) -> None:
    command = ["finetune", suite.name, "--budget", "1", "--budget", "all", "--seed", "3"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert [line.split(" [")[0] for line in first.stdout.splitlines()][1] == (
        "probe, all examples: accuracy 100.0%"
    )
    assert "trained on 2 examples" in first.stderr
    assert "trained on 8 examples" in first.stderr
    again = CliRunner().invoke(app, command)
    assert again.stdout == first.stdout
    assert again.stderr.count("trained before") == 2


def test_a_label_that_training_never_saw_is_told(suite: Path) -> None:
    write_rows(suite.parent / "data.jsonl", TESTED | {"pin": ["I forgot my PIN"]})
    result = CliRunner().invoke(app, ["finetune", suite.name])
    assert "never saw, so that none of their samples can be right: pin" in result.stderr
    assert "accuracy 66.7%" in result.stdout


def test_accuracy_is_the_mean_over_seeds(suite: Path) -> None:
    loaded = load_suite(suite, seeds=[0, 1, 2])
    trained = list(train(loaded, [1]))
    [row] = accuracies(loaded, trained)
    by_seed = [sum(item.scores) / 2 for item in trained]
    assert (row.n_seeds, row.lowest, row.highest) == (3, min(by_seed), max(by_seed))
    assert row.estimate == pytest.approx(sum(by_seed) / 3)


@pytest.mark.parametrize("budget", ["0", "-1", "many", "1.5"])
def test_a_wrong_budget_is_refused(suite: Path, budget: str) -> None:
    result = CliRunner().invoke(app, ["finetune", suite.name, f"--budget={budget}"])
    assert isinstance(result.exception, InputError)
    assert "or all" in str(result.exception)


def test_an_unknown_method_is_refused(suite: Path) -> None:
    result = CliRunner().invoke(app, ["finetune", suite.name, "--method", "linear_prob"])
    assert 'Did you mean "linear_probe"?' in str(result.exception)


def test_budgets_need_a_pool(suite: Path) -> None:
    lines = [line for line in suite.read_text().splitlines() if not line.startswith("pool")]
    suite.write_text("\n".join(lines))
    with pytest.raises(DataError, match="has no pool"):
        list(train(load_suite(suite), [5]))


def test_what_is_wrong_in_a_suite_is_told_with_its_line(suite: Path) -> None:
    text = suite.read_text()
    suite.write_text(text.replace("method: linear_probe", "method: linear_prob"))
    with pytest.raises(SpecError, match=r"line 6.*(?s:.*)Did you mean \"linear_probe\""):
        load_suite(suite)
    suite.write_text(text.replace("baseline: {probe", "baseline: {default"))
    with pytest.raises(SpecError, match="is a baseline and a variant"):
        load_suite(suite)


def test_chat_bots_have_no_labels_to_learn(suite: Path, make_bot: BotMaker) -> None:
    make_bot()
    (suite.parent / "data.jsonl").write_text('{"input": "Hello", "output": "Hi there!"}\n')
    text = suite.read_text().replace("bot: sorter", "bot: shop")
    suite.write_text(text)
    with pytest.raises(SpecError, match="task is chat"):
        load_suite(suite)
    suite.write_text(text[: text.index("pool:")] + "baseline: causal_lora\n")
    [prompted, trained] = load_suite(suite).columns
    assert (trained.baseline, trained.model) == (True, prompted.model)
    suite.write_text(text[: text.index("pool:")])
    with pytest.raises(SpecError, match="task is chat"):
        with_baselines(load_suite(suite), {"probe": BaselineSpec(method="linear_probe")})


def test_a_probe_has_nothing_to_search_in_a_suite_or_a_command(suite: Path) -> None:
    result = CliRunner().invoke(app, ["finetune", suite.name, "--search", "3"])
    assert isinstance(result.exception, InputError)
    assert "chooses its penalty by itself" in str(result.exception)
    text = suite.read_text()
    suite.write_text(text.replace("model: embedded}", "model: embedded, search: 3}"))
    with pytest.raises(SpecError, match=r"line 6(?s:.*)chooses its penalty by itself"):
        load_suite(suite)


def test_a_search_is_of_the_baselines_settings_and_in_the_manifest_only_where_there_is_one(
    suite: Path,
) -> None:
    text = suite.read_text()
    suite.write_text(text.replace("method: linear_probe, model: embedded", "method: lora"))
    [spec] = load_suite(suite).spec.baseline.values()
    assert spec.search == 0
    suite.write_text(
        text.replace("method: linear_probe, model: embedded", "method: lora, search: 4")
    )
    [spec] = load_suite(suite).spec.baseline.values()
    assert spec.search == 4


def test_eval_says_what_a_training_takes_and_each_setting_that_is_tried(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("optuna")
    base = checkpoints.bert_like(suite.parent / "bert")
    recipe = tuned.Recipe(1e-3, 1e-3, 8, 1, 1)
    monkeypatch.setattr(tuned, "recipe", lambda method, n_examples: recipe)
    text = suite.read_text().replace("per_label: 2", "per_label: 4")
    settings = f"{{method: sequence_classification, model: {base}, search: 2}}"
    suite.write_text(text[: text.index("baseline:")] + f"baseline: {{tuned: {settings}}}\n")
    result = CliRunner().invoke(app, ["eval", suite.name])
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("tuned/0: ")]
    assert "training takes at most about" in told[0]
    assert [line.split(":")[1] for line in told[1:]] == [" setting 1 of 2", " setting 2 of 2"]
