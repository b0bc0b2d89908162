"""Data sets that the `datasets` library reads, from local folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from promptbot.errors import DataError, MissingExtra
from promptbot.evals.hub import scan_hub
from promptbot.evals.suite import load_suite


def write_parquet(folder: Path) -> None:
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["lost", "found"])}
    )
    folder.mkdir(parents=True)
    for split, labels in {"train": [0, 1, 0, 1], "test": [1, 0, -1]}.items():
        rows = {"text": [f"{split} {n}" for n in range(len(labels))], "label": labels}
        data = datasets.Dataset.from_dict(rows, features=features)
        data.to_parquet(str(folder / f"{split}.parquet"))


def test_labels_are_told_by_name_and_missing_ones_are_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set")
    rows = list(scan_hub(str(tmp_path / "set"), "test"))
    assert [(row.line, row.values["text"], row.values["label"]) for row in rows] == [
        (1, "test 0", "found"),
        (2, "test 1", "lost"),
        (3, "test 2", None),
    ]
    assert len(list(scan_hub(str(tmp_path / "set"), "train[:2]"))) == 2


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "set")
    with pytest.raises(DataError, match=r'split: dev.*Unknown split "dev"'):
        list(scan_hub(str(tmp_path / "set"), "dev"))
    with pytest.raises(DataError, match="there is no such folder"):
        list(scan_hub(str(tmp_path / "sett"), "test"))


def test_a_data_set_that_is_a_program_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    witness = tmp_path / "ran"
    (folder / "program.py").write_text(f"open({str(witness)!r}, 'w')\n")
    with pytest.raises(DataError):
        list(scan_hub(str(folder), "test"))
    assert not witness.exists()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"promptbot\[data\]"):
        list(scan_hub("a/b", "test"))


def test_a_suite_takes_samples_and_pool_from_splits(
    tmp_path: Path, make_classifier: object
) -> None:
    make_classifier()  # type: ignore[operator]
    write_parquet(tmp_path / "set")
    (tmp_path / "s.jsonl").write_text(json.dumps({"match": "", "text": "found"}))
    path = tmp_path / "sorting.yaml"
    text = (
        "name: sorting\nbot: sorter\n"
        "data: {hub: ./set, split: 'test[:2]', fields: {input: text, target: label}}\n"
        "pool: {hub: ./set, split: train, fields: {input: text, target: label}, per_label: 1}\n"
        f"models: ['scripted:{tmp_path / 's.jsonl'}']\n"
    )
    path.write_text(text)
    from promptbot.evals.evaluation import evaluate

    summary = evaluate(load_suite(path), runs=tmp_path / "runs", allow_leaks=True)
    accuracy = summary.values["default"]["accuracy"]
    assert accuracy is not None
    assert (accuracy.estimate, accuracy.n) == (0.5, 2)
    assert [item.sample.id for item in summary.samples] == ["set/test[:2]:1", "set/test[:2]:2"]
    path.write_text(text.replace("test[:2]", "test"))
    with pytest.raises(DataError, match=r'line 3: field "label" is null'):
        load_suite(path)
