"""Suites: what they may say, and how mistakes in them are told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from promptbot.errors import DataError, SpecError
from promptbot.evals.columns import Workshop
from promptbot.evals.evaluation import evaluate, resume
from promptbot.evals.suite import load_suite
from tests.evals.conftest import SuiteMaker

SHIPPED = ["character", "clinic", "customer_service", "intents", "kefu", "tutor"]


@pytest.mark.parametrize("name", SHIPPED)
def test_suites_that_ship_load_with_120_samples_and_no_leaks(name: str) -> None:
    from promptbot.evals.evaluation import plan

    suite = load_suite(name)
    assert len(suite.samples) >= 120
    assert not plan(suite).leaks


PUBLIC = ["banking77", "bbq", "bipia", "clinc150", "clinc150_oos", "xsid_zh"]


@pytest.mark.parametrize("name", PUBLIC)
def test_suites_over_public_sets_say_what_to_get(name: str, tmp_path: Path) -> None:
    from promptbot.evals.suite import shipped_suites_folder

    shipped = shipped_suites_folder()
    assert "../../shared/data" in (shipped / f"{name}.yaml").read_text()
    # Two folders down, there is no such data.
    folder = tmp_path / "a" / "b"
    shutil.copytree(shipped, folder)
    with pytest.raises(DataError, match=r"Get the \w+ split of \w+ \("):
        load_suite(folder / f"{name}.yaml")


@pytest.mark.parametrize("name", PUBLIC)
def test_suites_over_public_sets_load(name: str) -> None:
    from promptbot.evals.evaluation import plan
    from promptbot.evals.suite import shipped_suites_folder

    if not (shipped_suites_folder() / "../../shared/data").is_dir():
        pytest.skip("the public data sets are not here")
    suite = load_suite(name, limit=10)
    assert len(suite.samples) == 10
    assert not plan(suite).leaks
    # Texts that stand there several times count once.
    all_of_it = load_suite(name).samples
    texts = {(item.sample.input, item.sample.target) for item in all_of_it}
    assert len(texts) == len(
        {(item.sample.input, item.sample.target, item.group) for item in all_of_it}
    )


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
        ([], "there are no samples"),
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


def test_an_empty_csv_is_told_in_the_words_of_csv(make_suite: SuiteMaker) -> None:
    path = make_suite()
    (path.parent / "data.csv").write_text("input,output\n")
    path.write_text(path.read_text().replace("data.jsonl", "data.csv"))
    with pytest.raises(DataError, match="no samples") as told:
        load_suite(path)
    assert "JSON" not in str(told.value)
    assert "input and output" in str(told.value)


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


def test_a_matrix_expands_into_named_variants(make_suite: SuiteMaker) -> None:
    path = make_suite(
        "matrix: {variant: [default, zero_shot], decoding.temperature: [0.0, 0.7], "
        "decoding.stop: [[], ['A b']]}\n"
    )
    path.write_text(path.read_text().replace("variants: [default, zero_shot]\n", ""))
    suite = load_suite(path)
    names = [column.name for column in suite.columns]
    assert len(names) == 8
    assert names[:2] == ["default,temperature=0.0,stop=[]", 'default,temperature=0.0,stop=["Ab"]']
    workshop = Workshop(suite)
    decodings = [workshop.bot(column, 0).spec.decoding for column in suite.columns]
    assert [d.temperature for d in decodings] == [0.0, 0.0, 0.7, 0.7] * 2
    assert decodings[1].stop == ["A b"]
    assert len({workshop.bot(column, 0).content_hash for column in suite.columns}) == 8
    picked = load_suite(path, variants=[names[3]])
    assert [column.name for column in picked.columns] == [names[3]]


def test_a_matrix_stands_beside_variants_and_its_columns_can_be_named(
    make_suite: SuiteMaker,
) -> None:
    path = make_suite(
        "matrix: {examples.k: [0, 1, 2]}\nreference: k=1\n"
        "gate: ['exact(k=2) >= 0.5', 'k=2 not worse than k=1 by 0.1']\n"
    )
    suite = load_suite(path)
    assert [c.name for c in suite.columns] == ["k=1", "default", "zero_shot", "k=0", "k=2"]
    some = load_suite(path, variants=["k=2", "default"])
    assert [c.name for c in some.columns] == ["default", "k=2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("matrix: {examples.kk: [1]}", r'line 6: kk=1: unknown setting "examples.kk"'),
        ("matrix: {examples.k: [1, many]}", r"line 6: k=many: examples.k is 'many'"),
        ("matrix: {examples.k: []}", "line 6: matrix.examples.k is"),
        ("matrix: {variant: [nope]}", r'line 6: the bot has no variant "nope"'),
        (
            "matrix: {examples.k: [0, 1], decoding.max_new_tokens: [" + "1, " * 60 + "1]}",
            "makes 122 variants",
        ),
        ("slices: [kinds]", r'line 6: no sample has the field "kinds"'),
        ("prices: {m: {input: 1}}", 'line 6: setting "prices.m.output" is missing'),
        ("repeats: 0", "line 6: repeats is 0"),
    ],
)
def test_mistakes_in_a_matrix_slices_and_prices_are_told_with_their_line(
    make_suite: SuiteMaker, line: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_suite(make_suite(line + "\n"))


def test_a_matrix_that_asks_for_more_examples_than_there_are_is_told(
    make_suite: SuiteMaker,
) -> None:
    from promptbot.evals.evaluation import plan

    with pytest.raises(DataError, match=r"small.yaml, matrix: k=9: asks for k = 9"):
        plan(load_suite(make_suite("matrix: {examples.k: [1, 9]}\n")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{}", "data names no file"),
        ("{file: data.jsonl, hub: a/b, split: test}", "both a file and a data set"),
        ("{hub: a/b}", "does not say which split"),
        ("{file: data.jsonl, split: test}", "has the setting split, which a file has not"),
    ],
)
def test_data_is_a_file_or_a_data_set(make_suite: SuiteMaker, data: str, message: str) -> None:
    path = make_suite()
    path.write_text(path.read_text().replace("{file: data.jsonl}", data))
    with pytest.raises(SpecError, match=rf"line 3: .*{message}"):
        load_suite(path)


def test_slices_are_kept_with_samples_and_measured_apart(
    make_suite: SuiteMaker, tmp_path: Path
) -> None:
    rows = [
        {"input": f"q {n}", "output": f"a {n}", "language": ["en", "zh"][n % 2], "level": n % 3}
        for n in range(12)
    ]
    del rows[0]["language"]
    suite = load_suite(make_suite("slices: [language, level]\n", rows=rows))  # type: ignore[arg-type]
    assert dict(suite.samples[0].slices) == {"level": "0"}
    assert dict(suite.samples[1].slices) == {"language": "zh", "level": "1"}
    summary = evaluate(suite, runs=tmp_path / "runs")
    sizes = {
        name: {word: row["default"].n for word, row in found.items() if row["default"]}
        for name, found in summary.slices.items()
    }
    assert sizes == {"language": {"zh": 6, "en": 5}, "level": {"0": 4, "1": 4, "2": 4}}
    assert "exact by language" in (summary.folder / "report.md").read_text()
    assert "exact by level" in (summary.folder / "report.html").read_text()
    assert resume(summary.folder).to_dict()["slices"] == summary.to_dict()["slices"]


def test_csv_gives_the_same_samples_as_jsonl(make_suite: SuiteMaker) -> None:
    path = make_suite()
    whole = load_suite(path)
    rows = ["question,wanted,kind"]
    rows += [f"{i.sample.input},{i.sample.target},{i.kind}" for i in whole.samples]
    (path.parent / "data.csv").write_text("\n".join(rows) + "\n")
    path.write_text(
        path.read_text().replace(
            "{file: data.jsonl}",
            "{file: data.csv, fields: {input: question, target: wanted}}",
        )
    )
    found = load_suite(path)
    assert [(i.sample, i.kind) for i in found.samples] == [
        (replace(i.sample, id=f"data:{i.line + 1}"), i.kind) for i in whole.samples
    ]


def test_unknown_suites_are_told_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match='Did you mean "tutor"'):
        load_suite("tutro")
