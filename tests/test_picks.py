"""Blind comparisons are kept as runs, judged, and reported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from promptbot.bot.folder import Bot, load_bot
from promptbot.errors import DataError, InputError
from promptbot.evals.report.picks import (
    render_picks_csv,
    render_picks_html,
    render_picks_markdown,
    save_pick_reports,
)
from promptbot.evals.summary import summarise
from promptbot.models.scripted import ScriptedModel
from promptbot.picks import Pick, PickRun, summarise_picks
from tests.conftest import BotMaker

MODEL = ScriptedModel(answers=("Hello.",))


def bots(make_bot: BotMaker, more: str = "") -> tuple[Bot, Bot]:
    files = {"variants/terse.yaml": f"vars: {{tone: short{more}}}\n"}
    folder = make_bot("shop", {"bot.yaml": "name: shop\nvars: {tone: kind}\n", **files})
    return load_bot(folder), load_bot(folder, "terse")


def pick(winner: str | None, *, skipped: bool = False) -> Pick:
    return Pick("Hi <b>", {"terse": "Hi|.", "default": "Hello <i>."}, winner, skipped)


def test_picks_of_all_days_make_one_run(make_bot: BotMaker, tmp_path: Path) -> None:
    pair = bots(make_bot)
    with PickRun(pair, (MODEL, MODEL), tmp_path) as run:
        for winner in ("default", "default", None):
            summary = run.add(pick(winner))
        first = run.folder
        run.add(pick(None, skipped=True))
    with (first / "picks.jsonl").open("ab") as file:
        file.write(b'{"input": "cut sho')
    with PickRun((pair[1], pair[0]), (MODEL, MODEL), tmp_path) as run:
        assert run.folder == first
        summary = run.add(pick("terse"))
    assert summary.standing.names == ("default", "terse")
    assert (summary.standing.n_picked, summary.standing.n_ties) == ((2, 1), 1)
    assert (len(summary.picks), summary.n_skipped) == (5, 1)
    assert summary.to_dict()["n_samples"] == 4


def test_a_changed_variant_begins_a_run_of_its_own(make_bot: BotMaker, tmp_path: Path) -> None:
    with PickRun(bots(make_bot), (MODEL, MODEL), tmp_path) as run:
        run.add(pick("terse"))
        before = run.folder
    with PickRun(bots(make_bot, "er"), (MODEL, MODEL), tmp_path) as run:
        assert run.folder != before
        assert run.add(pick("terse")).standing.n_decided == 1


def test_one_process_at_a_time_adds_picks(make_bot: BotMaker, tmp_path: Path) -> None:
    pair = bots(make_bot)
    with (
        PickRun(pair, (MODEL, MODEL), tmp_path),
        pytest.raises(InputError, match="another process"),
    ):
        PickRun(pair, (MODEL, MODEL), tmp_path)


def test_the_report_shows_verdict_counts_and_pairs(make_bot: BotMaker, tmp_path: Path) -> None:
    with PickRun(bots(make_bot), (MODEL, MODEL), tmp_path) as run:
        for _ in range(8):
            summary = run.add(pick("terse"))
        summary = run.add(pick(None, skipped=True))
    sentence = "terse is preferred to default: picked 8 of 8 times"
    assert summary.standing.sentence.startswith(sentence)
    html = render_picks_html(summary)
    assert f"<h1>{sentence}" in html
    assert "Hello &lt;i&gt;." in html
    assert "<svg" in html
    assert "http" not in html.replace("http-equiv", "").replace("https://arxiv", "")
    markdown = render_picks_markdown(summary)
    assert "| Hi \\<b> | Hello \\<i>. | Hi\\|. | terse |" in markdown
    rows = list(csv.DictReader(io.StringIO(render_picks_csv(summary))))
    assert rows[0]["picked"] == "terse"
    assert rows[0]["shown_first"] == "terse"
    assert rows[-1]["picked"] == "(skipped)"
    save_pick_reports(summary)
    numbers = json.loads((run.folder / "metrics.json").read_text())
    assert numbers["standing"]["decided_after"] == 8
    assert numbers["headline"] == summary.standing.sentence


def test_a_broken_line_is_told_with_its_place(make_bot: BotMaker, tmp_path: Path) -> None:
    with PickRun(bots(make_bot), (MODEL, MODEL), tmp_path) as run:
        run.add(pick("terse"))
    file = run.folder / "picks.jsonl"
    file.write_text('{"no": "pick"}\n' + file.read_text())
    with pytest.raises(DataError, match=r"picks\.jsonl, line 1: this line is not a pick"):
        summarise_picks(run.folder)


def test_picks_are_no_answers_to_samples(make_bot: BotMaker, tmp_path: Path) -> None:
    with PickRun(bots(make_bot), (MODEL, MODEL), tmp_path) as run:
        run.add(pick("terse"))
    with pytest.raises(InputError, match="promptbot report"):
        summarise(run.folder)
