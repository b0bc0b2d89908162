"""`promptbot advise`: rules on made-up tasks and machines, and what runs correct."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.evals.advice import Machine, Task, advise, describe_task, this_machine
from promptbot.evals.advice import _way as make_way
from promptbot.evals.suite import load_suite
from tests.conftest import BotMaker

SMALL = Machine(2, 6.0, None, 0.0)
LARGE = Machine(16, 100.0, "a GPU", 80.0)
TASK = Task("classify", "en", "embedded", 770, 77, 10, 10, 10)


@pytest.fixture
def suite(make_classifier: BotMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A classify suite with a pool of 8 examples of each of two labels."""
    monkeypatch.chdir(tmp_path)
    make_classifier()
    rows = [
        {"input": f"{word} {n} {'abcdefgh'[n] * 9}", "label": label}
        for label, word in (("card_lost", "card"), ("balance", "money"))
        for n in range(8)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "data.jsonl").write_text('{"input": "my purse", "label": "card_lost"}\n')
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nbot: sorter\ndata: {file: data.jsonl}\npool: {file: pool.jsonl}\n"
    )
    return path


def save_curve(folder: Path, suite: str, low: float, high: float) -> None:
    """Write what a run over budgets leaves behind: a prompt, and a probe that is at 70%."""
    pair = {
        "prompt": "default",
        "baseline": "probe",
        "differences": [
            {"value": 0.2, "low": 0.1, "high": 0.3},
            {"value": (low + high) / 2, "low": low, "high": high},
        ],
    }
    accuracies = {"default": 0.7 + (low + high) / 2, "probe": 0.7}
    curves = [
        {
            "name": name,
            "points": [{"accuracy": {"value": 0.1}}, {"accuracy": {"value": value}}],
        }
        for name, value in accuracies.items()
    ]
    save_run(folder, {"suite": suite, "curve": {"pairs": [pair], "sizes": [1.0, 8.0],
                                                "curves": curves}}, ["accuracy"])  # fmt: skip


def save_run(folder: Path, numbers: dict[str, object], metrics: list[str]) -> None:
    folder.mkdir(parents=True)
    columns = [
        {"name": "default", "curve": "", "variant": None, "baseline": False},
        {"name": "probe", "curve": "", "variant": None, "baseline": True},
    ]
    methods = {"probe": {"method": "linear_probe" if "accuracy" in metrics else "causal_lora"}}
    manifest = {"columns": columns, "baselines": methods, "metrics": metrics}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(numbers))


def test_the_data_are_counted(suite: Path) -> None:
    task = describe_task(load_suite(suite))
    assert (task.n_examples, task.n_labels, task.per_label, task.fewest) == (16, 2, 8, 8)


def test_a_machine_has_processors_and_memory() -> None:
    machine = this_machine()
    assert machine.n_cores >= 1
    assert 0 < machine.free_gib < 10_000


def test_enough_examples_and_a_small_model_speak_for_a_probe(suite: Path) -> None:
    advice = advise(load_suite(suite), SMALL)
    assert advice.ways[0].name == "linear probe"
    assert advice.sentence == (
        "Linear probe, with teacher: 8 examples a label, and it trains in seconds on one core."
    )
    assert all(way.reasons for way in advice.ways)


@pytest.mark.parametrize(
    ("low", "high", "winner"),
    [(0.05, 0.2, "prompt"), (-0.2, -0.05, "linear probe"), (-0.1, 0.1, "linear probe")],
)
def test_a_run_of_the_same_suite_outweighs_the_rules(
    suite: Path, low: float, high: float, winner: str
) -> None:
    save_curve(Path("runs/small/20260101-000000-a"), "small", low, high)
    advice = advise(load_suite(suite), SMALL)
    assert advice.ways[0].name == winner
    assert advice.measured[0].same_suite
    assert ", accuracy with 8 examples a label" in advice.sentence


def test_what_was_measured_speaks_of_the_ways_that_were_measured_alone(suite: Path) -> None:
    save_curve(Path("runs/small/20260101-000000-a"), "small", -0.2, -0.04)
    ways = {way.name: way for way in advise(load_suite(suite), SMALL).ways}
    said = {
        name: [(r.points, r.text) for r in way.reasons if "measured" in r.text]
        for name, way in ways.items()
    }
    assert said == {
        "linear probe": [(10, "measured here: probe, accuracy with 8 examples a label 70.0%.")],
        "prompt": [
            (-2, "measured here: default, accuracy with 8 examples a label 58.0%, best 70.0%.")
        ],
        "calibrated prompt": [],
        "LoRA": [],
        "full fine-tuning": [],
    }


def test_a_run_without_budgets_corrects_too_and_a_calibrated_prompt_is_a_way_of_its_own(
    suite: Path,
) -> None:
    (suite.parent / "sorter" / "variants" / "calm.yaml").write_text("calibration: contextual\n")
    columns = {
        name: {"metrics": {"accuracy": {"estimate": value}}}
        for name, value in (("default", 0.5), ("probe", 0.6), ("calm", 0.9))
    }
    folder = Path("runs/small/20260101-000000-a")
    save_run(folder, {"suite": "small", "headline": "", "columns": columns}, ["accuracy"])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["columns"].append({"name": "calm", "curve": "", "variant": "calm", "baseline": False})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    advice = advise(load_suite(suite), SMALL)
    assert advice.ways[0].name == "calibrated prompt"
    assert advice.sentence.endswith("measured here: calm, accuracy 90.0%.")


def test_a_run_of_another_suite_only_adds_to_them(suite: Path) -> None:
    save_curve(Path("runs/other/20260101-000000-a"), "other", 0.05, 0.2)
    advice = advise(load_suite(suite), SMALL)
    assert advice.ways[0].name == "linear probe"
    assert not advice.measured[0].same_suite


def test_runs_without_a_curve_or_with_a_damaged_one_are_passed_over(suite: Path) -> None:
    for name, text in (("a", '{"suite": "small"}'), ("b", "{"), ("c", '{"curve": {"pairs": 3}}')):
        folder = Path(f"runs/small/20260101-000000-{name}")
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "metrics.json").write_text(text)
    assert advise(load_suite(suite), SMALL).measured == ()


@pytest.mark.parametrize(
    ("change", "name", "possible", "said"),
    [
        ({"per_label": 2.0}, "prompt", True, "too few to train on"),
        ({"kind": "chat"}, "linear probe", False, "no labels to learn"),
        ({"kind": "chat"}, "calibrated prompt", False, "no label scores"),
        ({"kind": "chat"}, "LoRA", True, "770 examples: answers can be learned"),
        ({"kind": "chat", "n_examples": 40}, "LoRA", True, "few to learn answers from"),
        ({"kind": "chat", "model": "openai:gpt"}, "LoRA", False, "not here to be trained"),
        ({"kind": "chat"}, "full fine-tuning", True, "means training again"),
        ({"n_labels": 1}, "linear probe", False, "770 examples of 1 labels"),
        ({"fewest": 0}, "linear probe", True, "can never be answered"),
        ({"fewest": 3, "most": 90}, "calibrated prompt", True, "from 3 to 90 examples"),
        ({"model": "openai:gpt"}, "calibrated prompt", False, "gives no scores"),
        ({"language": "zh"}, "linear probe", True, "know English alone"),
    ],
)
def test_each_rule_says_why(
    change: dict[str, object], name: str, possible: bool, said: str
) -> None:
    way = make_way(name, replace(TASK, **change), SMALL, ())  # type: ignore[arg-type]
    assert way.possible == possible
    assert any(said in reason.text for reason in way.reasons)


def test_a_larger_machine_is_given_a_larger_model() -> None:
    assert make_way("prompt", TASK, SMALL, ()).model == "embedded"
    assert make_way("prompt", TASK, LARGE, ()).model == "hf:Qwen/Qwen2.5-7B-Instruct"
    own = replace(TASK, model="hf:my/model")
    assert make_way("prompt", own, LARGE, ()).model == "hf:my/model"


def test_a_way_that_does_not_fit_into_memory_is_ruled_out() -> None:
    tiny = Machine(2, 0.2, None, 0.0)
    assert any("are free" in r.text for r in make_way("full fine-tuning", TASK, tiny, ()).reasons)


@pytest.fixture
def chat_suite(make_bot: BotMaker, suite: Path) -> Path:
    make_bot()
    (suite.parent / "data.jsonl").write_text('{"input": "Hello", "output": "Hi there!"}\n')
    suite.write_text("name: small\nbot: shop\ndata: {file: data.jsonl}\n")
    return suite


def test_a_chat_bot_is_trained_where_it_has_examples_enough_and_its_own_model(
    chat_suite: Path,
) -> None:
    loaded = load_suite(chat_suite)
    few = advise(loaded, SMALL)
    assert few.ways[0].name == "prompt"
    many = replace(few.task, model="embedded", n_examples=5_000)
    lora = make_way("LoRA", many, SMALL, ())
    assert lora.points > make_way("prompt", many, SMALL, ()).points
    assert (lora.method, lora.model) == ("causal_lora", "embedded")
    assert not make_way("full fine-tuning", many, Machine(2, 0.01, None, 0.0), ()).possible


def test_a_run_of_a_chat_bot_corrects_the_rules(chat_suite: Path) -> None:
    columns = {
        name: {"metrics": {"exact": {"estimate": value}}}
        for name, value in (("default", 0.2), ("probe", 0.8))
    }
    numbers = {"suite": "small", "headline": "", "columns": columns}
    save_run(Path("runs/small/20260101-000000-a"), numbers, ["exact"])
    chat_suite.write_text(chat_suite.read_text() + "models: [embedded]\n")
    bot = chat_suite.parent / "shop" / "bot.yaml"
    bot.write_text(re.sub(r"model: .*", "model: embedded", bot.read_text()))
    advice = advise(load_suite(chat_suite), SMALL)
    assert advice.ways[0].method == "causal_lora"
    assert advice.sentence.endswith("measured here: probe, exact 80.0%.")


def test_the_command_prints_the_advice_its_basis_and_json(suite: Path) -> None:
    result = CliRunner().invoke(app, ["advise", suite.name])
    assert result.exit_code == 0, result.output
    assert "Task: classify, en; 16 examples of 2 labels." in " ".join(result.stdout.split())
    assert "To measure: write budgets: [1, 5, 10, all]" in " ".join(result.stdout.split())
    values = json.loads(CliRunner().invoke(app, ["advise", suite.name, "--json"]).stdout)
    assert {way["name"] for way in values["ways"]} == {
        "prompt", "calibrated prompt", "linear probe", "LoRA", "full fine-tuning",
    }  # fmt: skip
