"""Suites: what they may say, and how mistakes in them are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptbot.errors import DataError, SpecError
from promptbot.evals.suite import load_suite
from tests.evals.conftest import SuiteMaker

SHIPPED = ["character", "clinic", "customer_service", "intents", "kefu", "tutor"]


@pytest.mark.parametrize("name", SHIPPED)
def test_suites_that_ship_load_with_120_samples_and_no_leaks(name: str) -> None:
    from promptbot.evals.evaluation import plan

    suite = load_suite(name)
    assert len(suite.samples) >= 120
    assert not plan(suite).leaks


@pytest.mark.parametrize("name", ["banking77", "clinc150"])
def test_suites_over_public_sets_say_what_to_get(name: str) -> None:
    from promptbot.evals.suite import shipped_suites_folder

    path = shipped_suites_folder() / f"{name}.yaml"
    data = path.parent / f"../../shared/data/{name}/test.jsonl"
    if data.exists():
        assert len(load_suite(path, limit=10).samples) == 10
        return
    with pytest.raises(DataError, match="Get the test split of"):
        load_suite(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("varients: [a]", r'small.yaml, line 6: unknown setting "varients"[\s\S]*"variants"'),
        ("reference: zero_shoot", r'line 6: reference "zero_shoot"[\s\S]*"zero_shot"'),
        ("metrics: [exact, exakt]", r'line 6: unknown metric "exakt"[\s\S]*Did you mean "exact"'),
        ("metrics: [accuracy]", r'line 6: metric "accuracy" is for classify bots'),
        ("metrics: [distinct_2]", r"line 6: .*cannot decide the verdict"),
        ("seeds: [a]", r"line 6: seeds.0 is 'a'"),
        ("margin: 0", r"line 6: margin is 0"),
        ("gate: [exact(default) is good]", r"line 6: .*is not a condition"),
        ("gate: ['exact(fast) >= 0.8']", r'line 6: the gate names "fast"'),
        ("gate: ['accuracy(default) >= 0.8']", r'line 6: the gate names the metric "accuracy"'),
    ],
)
def test_mistakes_are_told_with_their_line(make_suite: SuiteMaker, line: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_suite(make_suite(line + "\n"))


def test_an_unknown_variant_is_told_with_its_line(make_suite: SuiteMaker) -> None:
    path = make_suite()
    path.write_text(path.read_text().replace("zero_shot", "zero_shoot"))
    with pytest.raises(SpecError, match=r'line 5: the bot has no variant "zero_shoot"'):
        load_suite(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no samples"),
        ([{"inputs": "x", "output": "y"}], r'line 1: field "input" is missing[\s\S]*"inputs"'),
        ([{"input": "x", "output": " "}], 'line 1: field "output" is " "'),
    ],
)
def test_wrong_data_is_told_with_its_line(
    make_suite: SuiteMaker, rows: list[dict[str, str]], message: str
) -> None:
    path = make_suite()
    import json

    (path.parent / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        load_suite(path)


def test_a_limit_takes_samples_from_all_over_the_file(make_suite: SuiteMaker) -> None:
    lines = [item.line for item in load_suite(make_suite(), limit=4).samples]
    assert lines == [1, 4, 7, 10]


def test_the_reference_comes_first_and_models_name_their_columns(make_suite: SuiteMaker) -> None:
    suite = load_suite(make_suite("reference: zero_shot\n"))
    assert [column.name for column in suite.columns] == ["zero_shot", "default"]
    two = load_suite(make_suite(), models=["embedded", "scripted:a"], variants=["default"])
    assert [column.name for column in two.columns] == ["default@embedded", "default@scripted:a"]


def test_chosen_variants_leave_out_conditions_on_others(make_suite: SuiteMaker) -> None:
    path = make_suite("gate: ['exact(default) >= 0.1', 'exact(zero_shot) >= 0.1']\n")
    assert load_suite(path, variants=["default"]).spec.gate == ["exact(default) >= 0.1"]


def test_unknown_suites_are_told_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match='Did you mean "tutor"'):
        load_suite("tutro")
