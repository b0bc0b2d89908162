"""Budgets in a suite: nested draws, columns by budget, their order, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptbot.errors import DataError, SpecError
from promptbot.evals.columns import Workshop, draw_examples
from promptbot.evals.evaluation import Progress, evaluate, plan, resume, schedule
from promptbot.evals.records import load_records, run_folders
from promptbot.evals.samples import EvalSample
from promptbot.evals.suite import load_suite
from promptbot.types import Sample
from tests.conftest import BotMaker, write_rows

POOL = {
    "card_lost": ["I lost my card", "my card was stolen", "the card is gone", "card missing"],
    "balance": ["how much money is there", "show my balance", "balance please"],
}
TESTED = {"card_lost": ["where is my lost card?"], "balance": ["what is my balance"]}


@pytest.fixture
def suite(make_classifier: BotMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite with budgets; its model answers always the same."""
    monkeypatch.chdir(tmp_path)
    make_classifier()
    (tmp_path / "sorter" / "variants" / "bare.yaml").write_text("examples: null\n")
    write_rows(tmp_path / "pool.jsonl", POOL)
    write_rows(tmp_path / "data.jsonl", TESTED)
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "balance"}\n')
    path = tmp_path / "curve.yaml"
    path.write_text(
        "name: curve\nbot: sorter\ndata: {file: data.jsonl}\nbudgets: [2, 1, all]\nseeds: [0, 1]\n"
        "pool: {file: pool.jsonl, per_label: 2}\nmodels: ['scripted:script.jsonl']\n"
        "variants: [default, bare]\n"
        "baseline: {probe: {method: linear_probe, model: embedded}}\n"
    )
    return path


def rows(n: int, label: str) -> list[EvalSample]:
    return [EvalSample(Sample(f"{label}{i}", f"{label} {i}", label), "", "", i) for i in range(n)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_smaller_draw_is_the_beginning_of_a_larger_one(seed: int) -> None:
    pool = rows(9, "a") + rows(4, "b") + rows(20, "c")
    whole = draw_examples(pool, "all", seed)
    assert len({example.input for example in whole}) == 33
    for budget in range(1, 21):
        drawn = draw_examples(pool, budget, seed)
        counts = [sum(example.label == label for example in drawn) for label in "abc"]
        assert counts == [min(budget, 9), min(budget, 4), min(budget, 20)]
        assert drawn == whole[: len(drawn)]
    assert draw_examples(pool, 3, seed) != draw_examples(pool, 3, seed + 1)


def test_every_column_that_reads_the_pool_has_one_column_a_budget(suite: Path) -> None:
    names = [column.name for column in load_suite(suite).columns]
    assert names == [
        "default@1", "default@2", "default@all", "bare", "probe@1", "probe@2", "probe@all",
    ]  # fmt: skip


def test_a_whole_curve_with_one_seed_comes_first_and_what_is_cheap_before_the_rest(
    suite: Path,
) -> None:
    order = [(column.name, seed) for column, seed in schedule(load_suite(suite))]
    assert [seed for _, seed in order] == [0] * 7 + [1] * 7
    assert [name for name, _ in order[:5]] == [
        "probe@1", "probe@2", "probe@all", "default@1", "default@2",
    ]  # fmt: skip
    assert order[7][0] == "probe@1"


def test_prompts_and_baselines_read_the_same_examples(suite: Path) -> None:
    loaded = load_suite(suite)
    workshop = Workshop(loaded)
    by_name = {column.name: column for column in loaded.columns}
    for budget, n in (("1", 2), ("2", 4), ("all", 7)):
        prompt = workshop.bot(by_name[f"default@{budget}"], 1).examples
        assert prompt == workshop.bot(by_name[f"probe@{budget}"], 1).examples
        assert len(prompt) == n


def test_verdicts_are_shown_at_the_budget_that_the_pool_names(suite: Path) -> None:
    summary = evaluate(load_suite(suite))
    assert summary.columns == ("default@2", "bare", "probe@2")
    assert summary.scores["probe@2"] == (1.0, 1.0)
    assert len(summary.records) == 2 * 2 * 7


def test_a_stopped_curve_goes_on_and_asks_nothing_twice(suite: Path) -> None:
    seen = []

    def on_record(record: object) -> None:
        seen.append(record)
        if len(seen) == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(load_suite(suite), progress=Progress(on_record=on_record))
    [folder] = run_folders()
    assert len(load_records(folder)) == 17
    resume(folder)
    assert len((folder / "records.jsonl").read_text().splitlines()) == 28


def test_rows_of_the_pool_that_equal_a_sample_are_left_out(suite: Path) -> None:
    write_rows(suite.parent / "pool.jsonl", POOL | {"pin": ["Where is my lost card", "PIN"]})
    loaded = load_suite(suite)
    assert loaded.pool is not None
    assert loaded.pool.n_left_out == 1
    assert "Where is my lost card" not in {row.sample.input for row in loaded.pool.rows}
    assert plan(loaded).n_left_out == 1
    write_rows(suite.parent / "pool.jsonl", TESTED)
    with pytest.raises(DataError, match="every row of the pool equals a sample"):
        plan(load_suite(suite))


def test_a_budget_with_fewer_examples_than_the_prompt_shows_gives_all_of_them(
    suite: Path,
) -> None:
    bot_folder = suite.parent / "sorter"
    own = (bot_folder / "examples.jsonl").read_text()
    (bot_folder / "examples.jsonl").write_text(own * 2)
    (bot_folder / "variants" / "bare.yaml").write_text("examples: {k: 3}\n")
    loaded = load_suite(suite)
    column = next(column for column in loaded.columns if column.name == "bare@1")
    bot = Workshop(loaded).bot(column, 0)
    assert bot.spec.examples is not None
    assert (bot.spec.examples.k, len(bot.examples)) == (2, 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("budgets: [1]", "budgets"),
        ("budgets: [0, 5]", "budgets"),
        ("budgets: [5, every]", "budgets"),
        ("gate: ['accuracy(probe@1) >= 0.5']", "not among the columns"),
    ],
)
def test_what_is_wrong_with_budgets_is_told(suite: Path, line: str, said: str) -> None:
    lines = [old for old in suite.read_text().splitlines() if old[:7] != line[:7]]
    suite.write_text("\n".join([*lines, line]) + "\n")
    with pytest.raises(SpecError, match=said):
        load_suite(suite)


def test_budgets_need_a_pool(suite: Path) -> None:
    lines = [line for line in suite.read_text().splitlines() if not line.startswith("pool")]
    suite.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="no pool to draw examples from"):
        load_suite(suite)
