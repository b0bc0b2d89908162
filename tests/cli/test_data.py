"""`promptbot data` on the shipped suites, through its command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli


def test_the_report_names_what_was_found_and_json_holds_all(cli: Cli) -> None:
    shown = cli("data", "customer_service")
    assert shown.status == 0
    assert "126 samples, 43 examples" in shown.out
    told = json.loads(cli("data", "kefu", "--json").out)
    assert told["task"] == "chat"
    assert told["n_rows"]["samples"] == 123
    assert set(told["counts"]["conflict"].values()) == {0}


def test_mistakes_are_told_and_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "clean"
    for arguments, said in (
        (["--augment", "swaps"], "--write"),
        (["--model", "embedded"], "only for paraphrases"),
        (["--augment", "paraphrase", "--write", str(folder)], "embedded model cannot paraphrase"),
        (["--augment", "swaps", "--write", str(tmp_path)], "already something"),
    ):
        result = cli("data", "customer_service", *arguments)
        assert result.status == 2
        assert said in result.err
        assert "Traceback" not in result.err
    assert not folder.exists()


def test_write_says_how_to_use_what_it_wrote(cli: Cli, tmp_path: Path) -> None:
    result = cli("data", "customer_service", "--write", str(tmp_path / "clean"))
    assert result.status == 0
    names = {path.name for path in (tmp_path / "clean").iterdir()}
    assert names == {
        "samples.jsonl", "examples.jsonl", "dropped.jsonl", "doubtful.jsonl", "data.html",
    }  # fmt: skip
    assert "examples.file" in result.out
