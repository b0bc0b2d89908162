"""Data with planted faults: each is found, named, and dropped or kept as the docs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptbot.errors import InputError, StoreError
from promptbot.evals.cleaned import augment, save_clean, whole_folder
from promptbot.evals.data_care import DataReport, drop, examine
from promptbot.evals.leaks import find_leaks
from promptbot.evals.suite import load_suite
from promptbot.models.registry import load_model
from tests.conftest import BotMaker
from tests.encoders import HashingEncoder

SAMPLES = [
    ("I lost my card in the park", "card_lost"),
    ("What is on my account", "balance"),
    ("what is on my account?", "balance"),
    ("Show me the money", "balance"),
    ("Show me the money!", "card_lost"),
]
POOL = [
    ("My card is gone", "card_lost"),
    ("my card is gone!", "card_lost"),
    ("I have lost my card somewhere in the big city", "card_lost"),
    ("I have lost my cards somewhere in the big city", "card_lost"),
    ("i lost my card in the park", "card_lost"),
    ("I lost my cards in the park", "card_lost"),
    ("How much is left", "balance"),
    ("how much is left", "card_lost"),
    ("He wants to know his balance", "balance"),
    ("Her balance, please", "balance"),
]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("".join(json.dumps({"text": t, "label": y, "n": 1}) + "\n" for t, y in rows))


@pytest.fixture
def suite(tmp_path: Path, make_classifier: BotMaker) -> Path:
    make_classifier()
    write(tmp_path / "test.jsonl", SAMPLES)
    write(tmp_path / "train.jsonl", POOL)
    path = tmp_path / "planted.yaml"
    fields = "fields: {input: text, target: label}"
    path.write_text(
        f"name: planted\nbot: sorter\ndata: {{file: test.jsonl, limit: 2, {fields}}}\n"
        f"pool: {{file: train.jsonl, per_label: 1, {fields}}}\n"
    )
    return path


def found(report: DataReport, kind: str) -> list[str]:
    return sorted(report.rows[one.row].id for one in report.of_kind(kind))


def test_every_planted_fault_is_found_and_no_other(suite: Path) -> None:
    report = examine(load_suite(suite), encoder=HashingEncoder())
    assert [row.id for row in report.rows][:5] == [f"test:{i}" for i in range(1, 6)]
    assert found(report, "duplicate") == ["test:3", "train:2"]
    assert found(report, "near_duplicate") == ["train:4"]
    assert found(report, "conflict") == ["test:4", "test:5", "train:7", "train:8"]
    assert found(report, "near_conflict") == []
    assert found(report, "leak") == ["train:5"]
    assert found(report, "near_leak") == ["train:6"]
    leaks = find_leaks([text for text, _ in POOL], [text for text, _ in SAMPLES])
    assert [leak.sample + 1 for leak in leaks] == [5, 6]


def test_what_is_dropped_says_why_and_the_first_of_equal_rows_stays(suite: Path) -> None:
    kept, dropped = drop(examine(load_suite(suite), encoder=HashingEncoder()))
    assert [row.id for row in kept["samples"]] == ["test:1", "test:2"]
    assert [row.id for row in kept["pool"]] == ["train:1", "train:3", "train:9", "train:10"]
    assert {row.id: why.kind for row, why in dropped} == {
        "test:3": "duplicate",
        "test:4": "conflict",
        "test:5": "conflict",
        "train:2": "duplicate",
        "train:4": "near_duplicate",
        "train:5": "leak",
        "train:6": "near_leak",
        "train:7": "conflict",
        "train:8": "conflict",
    }


def test_cleaned_files_hold_the_rows_as_they_were_and_can_be_evaluated(
    suite: Path, tmp_path: Path
) -> None:
    before = (tmp_path / "train.jsonl").read_bytes()
    loaded = load_suite(suite)
    report = examine(loaded, encoder=HashingEncoder())
    with whole_folder(tmp_path / "clean") as folder:
        written = save_clean(report, folder, augment(loaded, report, "swaps"))
    assert (tmp_path / "train.jsonl").read_bytes() == before
    assert written.n_rows["pool.jsonl"] == 4
    lines = (tmp_path / "clean" / "pool.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"text": "My card is gone", "label": "card_lost", "n": 1}
    added = (tmp_path / "clean" / "augmented.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in added] == [
        {
            "text": "She wants to know her balance",
            "label": "balance",
            "n": 1,
            "augmented_by": "swaps",
            "augmented_from": "train:9",
        },
        {
            "text": "His balance, please",
            "label": "balance",
            "n": 1,
            "augmented_by": "swaps",
            "augmented_from": "train:10",
        },
    ]
    page = (tmp_path / "clean" / "data.html").read_text()
    assert "<script" not in page
    assert "train:8" in page
    suite.write_text(
        suite.read_text()
        .replace("file: test.jsonl", "file: clean/samples.jsonl")
        .replace("file: train.jsonl", "files: [clean/pool.jsonl, clean/augmented.jsonl]")
    )
    again = load_suite(suite)
    assert again.pool is not None
    assert again.pool.n_left_out == 0
    assert len(again.pool.rows) == 6


def test_what_is_made_never_gives_a_sample_away(suite: Path, tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", [*SAMPLES, ("She wants to know her balance", "balance")])
    loaded = load_suite(suite)
    report = examine(loaded, encoder=HashingEncoder())
    added = augment(loaded, report, "swaps")
    assert [row["text"] for row in added.rows] == ["His balance, please"]
    assert added.refused == {"equal to a sample, or nearly": 1}


def test_paraphrases_come_from_the_kept_rows_with_their_labels(suite: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    told = [{"match": "Message: My card is gone", "text": "My card is gone, I fear"}]
    script.write_text("".join(json.dumps(x) + "\n" for x in [*told, {"match": "", "text": "?"}]))
    loaded = load_suite(suite)
    report = examine(loaded, encoder=HashingEncoder())
    model = load_model(f"scripted:{script}")
    added = augment(loaded, report, "paraphrase", model=model, encoder=HashingEncoder())
    assert [(row["text"], row["label"], row["augmented_from"]) for row in added.rows] == [
        ("My card is gone, I fear", "card_lost", "train:1")
    ]


def test_swaps_in_another_language_are_refused(make_classifier: BotMaker, suite: Path) -> None:
    bot = suite.parent / "sorter" / "bot.yaml"
    bot.write_text(bot.read_text() + "language: zh\n")
    loaded = load_suite(suite)
    report = examine(loaded, encoder=HashingEncoder())
    with pytest.raises(InputError, match="English"):
        augment(loaded, report, "swaps")


def test_an_own_example_pool_of_a_chat_bot_is_looked_at(tmp_path: Path, make_bot: BotMaker) -> None:
    make_bot(files={"examples.jsonl": '{"input": "Hi", "output": "Hi!"}\n' * 2})
    rows = [{"input": "Where?", "output": "Here."}, {"input": "where", "output": "There."}]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "chat.yaml").write_text("name: chat\nbot: shop\ndata: {file: data.jsonl}\n")
    report = examine(load_suite(tmp_path / "chat.yaml"))
    assert found(report, "duplicate") == ["examples:2"]
    assert found(report, "conflict") == ["data:1", "data:2"]
    assert report.labels == {}
    assert report.sizes("samples", "characters") is not None


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def stopped() -> None:
        with whole_folder(tmp_path / "new") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="already something"), whole_folder(tmp_path / "there"):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"), whole_folder(tmp_path / "file/new"):
        pass


def test_half_a_surrogate_pair_is_read_and_what_is_written_can_be_read_again(
    suite: Path, tmp_path: Path
) -> None:
    write(tmp_path / "train.jsonl", [*POOL, ("half \ud83d a face", "balance")])
    report = examine(load_suite(suite))
    assert not [said for said in report.not_done if "not judged" not in said]
    with whole_folder(tmp_path / "clean") as folder:
        save_clean(report, folder)
    suite.write_text(suite.read_text().replace("file: train.jsonl", "file: clean/pool.jsonl"))
    pool = load_suite(suite).pool
    assert pool is not None
    assert "half \ud83d a face" in [row.sample.input for row in pool.rows]
