"""The learning curve of a run: its sentence, and every form in which it is told."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from promptbot.cli.main import app
from promptbot.evals.curve import Tally, recommend, say_crossover, say_size
from promptbot.evals.evaluation import Progress, evaluate, resume
from promptbot.evals.manifest import load_manifest
from promptbot.evals.records import run_folders
from promptbot.evals.report.answers import render_csv
from promptbot.evals.report.html import render_html
from promptbot.evals.report.markdown import render_markdown
from promptbot.evals.report.terminal import render_terminal
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary, summarise
from promptbot.evals.worth import Crossover, Estimate, Pair
from promptbot.models.encoder import checkpoint_revision, load_encoder
from tests.conftest import BotMaker
from tests.models import checkpoints

WORDS = {
    "card_lost": ["card", "lost", "stolen", "gone", "purse", "missing", "thief", "plastic"],
    "balance": ["balance", "money", "account", "saldo", "funds", "amount", "cash", "left"],
}

MADE: list[Summary] = []


def write_rows(path: Path, n: int, seed: int) -> None:
    """Write messages of which each knows two words of its label, so that examples help."""
    rng = random.Random(seed)
    rows = [
        {"input": f"{' '.join(rng.sample(words, 2))} {rng.randrange(10**6)} please", "label": label}
        for label, words in WORDS.items()
        for _ in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def suite(make_classifier: BotMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite whose prompt always says balance, and whose probe learns."""
    monkeypatch.chdir(tmp_path)
    make_classifier()
    (tmp_path / "sorter" / "variants" / "bare.yaml").write_text("examples: null\n")
    write_rows(tmp_path / "pool.jsonl", 30, 0)
    write_rows(tmp_path / "data.jsonl", 30, 1)
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "balance"}\n')
    path = tmp_path / "curve.yaml"
    path.write_text(
        "name: curve\nbot: sorter\ndata: {file: data.jsonl}\nbudgets: [1, 4, 16, all]\n"
        "seeds: [0, 1, 2]\npool: {file: pool.jsonl, per_label: 16}\n"
        "models: ['scripted:script.jsonl']\nvariants: [default, bare]\n"
        "baseline: {probe: {method: linear_probe, model: embedded}}\n"
    )
    return path


@pytest.fixture
def summary(suite: Path) -> Summary:
    """The suite's result, made once: no test changes it."""
    if not MADE:
        MADE.append(evaluate(load_suite(suite), runs=suite.parent / "runs"))
    return MADE[0]


def test_a_prompt_that_knows_nothing_loses_to_a_probe_that_learns(summary: Summary) -> None:
    curve = summary.curve
    assert curve is not None
    assert summary.headline == curve.sentence
    assert curve.sentence.startswith("Fine-tune. At 16 examples a label probe is ")
    assert "better than default" in curve.sentence
    assert curve.budgets == ("1", "4", "16", "all")
    assert curve.sizes == (1.0, 4.0, 16.0, 30.0)
    assert (curve.n_samples, curve.n_seeds, curve.n_labels) == (60, 3, 2)
    assert [p.accuracy.value for p in curve.curve("default").points] == [0.5] * 4
    probe = [p.accuracy.value for p in curve.curve("probe").points]
    assert probe[-1] > probe[0]
    assert probe[-1] > 0.8


def test_points_are_the_mean_over_seeds_and_baselines_tell_their_training(
    summary: Summary,
) -> None:
    assert summary.curve is not None
    for point in summary.curve.curve("probe").points:
        assert point.accuracy.value == pytest.approx(sum(point.by_seed) / 3)
        assert point.accuracy.low <= point.accuracy.value <= point.accuracy.high
        assert point.train_s is not None
        assert point.train_s > 0
        assert point.n_tokens is None
        # The encoder's weights are in either.
        weights = load_encoder("embedded").n_bytes  # type: ignore[attr-defined]
        assert point.train_bytes is not None
        assert point.train_bytes >= weights
        assert point.answer_bytes is not None
        assert point.answer_bytes >= weights
    for point in summary.curve.curve("default").points:
        assert (point.train_s, point.train_bytes) == (None, None)
        assert point.n_tokens is not None


def test_the_manifest_tells_the_encoder_of_prompts_and_the_precision_of_both(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.on_processor(monkeypatch, has_bfloat16=True)
    base = str(checkpoints.bert_like(suite.parent / "bert"))
    variant = suite.parent / "sorter" / "variants" / "bare.yaml"
    variant.write_text(f"encoder: {base}\nexamples: {{selector: nearest, k: 1}}\n")
    suite.write_text(
        suite.read_text()
        .replace("model: embedded", f"model: {base}")
        .replace("[1, 4, 16, all]", "[2, 4]")
    )
    models = load_manifest(evaluate(load_suite(suite), runs=suite.parent / "runs").folder)["models"]
    revision = checkpoint_revision(Path(base))
    assert models[f"encoder {base}"] == f"bfloat16:{revision}"
    assert {one for name, one in models.items() if name.startswith("baseline ")} == {revision}


def test_a_prompt_without_examples_is_one_result_for_all_budgets(summary: Summary) -> None:
    assert summary.curve is not None
    bare = summary.curve.curve("bare")
    assert bare.flat
    assert not summary.curve.curve("default").flat
    assert {point.accuracy for point in bare.points} == {bare.points[0].accuracy}


def test_every_form_of_the_report_tells_the_curve(summary: Summary) -> None:
    folder = summary.folder
    html = (folder / "report.html").read_text()
    assert "labelled examples of each label" in html
    assert "<polyline" in html
    markdown = render_markdown(summary)
    assert markdown.startswith("# curve: Fine-tune. At 16")
    assert "![Accuracy by labelled examples of each label](learning_curve.svg)" in markdown
    assert "| accuracy by examples a label | 1 | 4 | 16 | all |" in markdown
    assert (
        "| cost at 16 a label | training | training memory | an answer | tokens an answer | "
        "answering memory |"
    ) in markdown
    assert re.search(r"\| probe \| [\d.]+ s \| \d+ MB \| [\d.]+ ms \| none \| \d+ MB \|", markdown)
    assert "answering memory" in html
    picture = ElementTree.fromstring((folder / "learning_curve.svg").read_text())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["headline"] == metrics["curve"]["sentence"]
    assert [p["budget"] for p in metrics["curve"]["curves"][0]["points"]] == ["1", "4", "16", "all"]
    console = Console(width=100, record=True, file=(folder / "screen").open("w"))
    console.print(render_terminal(summary))
    screen = console.export_text()
    assert "A default" in screen
    assert "C probe (trained)" in screen
    assert "examples a label" in screen


def test_the_csv_and_the_prompts_are_of_the_columns_that_are_shown(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(summary))))
    assert list(dict.fromkeys(row["column"] for row in rows)) == list(summary.columns)
    assert len(rows) == len(summary.columns) * len(summary.samples) * 3
    shown = {r.shown for c in summary.columns for _, _, r in summary.answers(c) if r.shown}
    packed = render_html(summary).split('id="prompts">')[1].split("</script>")[0]
    assert set(json.loads(gzip.decompress(base64.b64decode(packed)))) == shown
    assert shown < {record.shown for record in summary.records.values()}


def test_a_stopped_curve_shows_the_seeds_that_it_has(suite: Path) -> None:
    seen = []

    def on_record(record: object) -> None:
        seen.append(record)
        if len(seen) == 700:  # the first seed has 9 columns of 60 answers
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(load_suite(suite), progress=Progress(on_record=on_record))
    [folder] = run_folders()
    partial = summarise(folder)
    assert partial.curve is not None
    assert partial.curve.n_seeds == 1
    [warning] = partial.warnings
    assert "what has seed 1 or 2 is left out" in warning
    whole = resume(folder)
    assert whole.curve is not None
    assert (whole.curve.n_seeds, whole.warnings) == (3, ())


def test_budgets_that_no_label_has_are_one_with_all(suite: Path) -> None:
    suite.write_text(suite.read_text().replace("[1, 4, 16, all]", "[1, 40, 50, all]"))
    curve = evaluate(load_suite(suite, seeds=[0])).curve
    assert curve is not None
    assert (curve.budgets, curve.sizes) == (("1", "40"), (1.0, 30.0))


SIZES = (1.0, 5.0, 10.0, 50.0)


def pair(d: Estimate, crossover: Crossover) -> Pair:
    return Pair("nearest", "probe", (d,) * 4, crossover, (), None)


@pytest.mark.parametrize(
    ("d", "crossover", "said"),
    [
        (
            Estimate(0.041, 0.022, 0.06),
            Crossover("crosses", 45.2, 30.4, None),
            "Prompt. At 10 examples a label nearest is 4.1 points better than probe [2.2, 6.0]; "
            "probe is ahead from about 45 [30, more than measured] examples a label on.",
        ),
        (
            Estimate(0.041, 0.022, 0.06),
            Crossover("never", None, 22.0, None),
            "Prompt. At 10 examples a label nearest is 4.1 points better than probe [2.2, 6.0]; "
            "probe does not pass it within the 50 examples a label measured here (at the earliest "
            "at 22).",
        ),
        (
            Estimate(-0.3, -0.35, -0.25),
            Crossover("always", None, None, None),
            "Fine-tune. At 10 examples a label probe is 30.0 points better than nearest "
            "[25.0, 35.0]; probe is ahead from the fewest examples measured here, though not for "
            "certain.",
        ),
        (
            Estimate(0.01, -0.02, 0.04),
            Crossover("crosses", 12.0, None, 40.0),
            "Prompt, for it needs no training. At 10 examples a label nearest and probe differ by "
            "less than 5 points (+1.0 [-2.0, +4.0]); probe is ahead from about 12 [fewer than "
            "measured, 40] examples a label on.",
        ),
        (
            Estimate(0.05, -0.02, 0.12),
            Crossover("crosses", 12.0, 5.0, 40.0),
            "Not decided. At 10 examples a label nearest and probe are 5.0 points apart, which may "
            "be chance (+5.0 [-2.0, +12.0]); probe is ahead from about 12 [5, 40] examples a label "
            "on. More samples or seeds would tell.",
        ),
    ],
)
def test_the_advice_in_words(d: Estimate, crossover: Crossover, said: str) -> None:
    assert recommend(pair(d, crossover), SIZES, 2, 0.05) == said


def test_one_example_is_no_plural_and_sizes_have_two_digits() -> None:
    found = pair(Estimate(0.1, 0.05, 0.15), Crossover("never", None, None, None))
    assert recommend(found, SIZES, 0, 0.05).startswith("Prompt. At 1 example a label ")
    assert [say_size(n) for n in (1.0, 1.54, 9.96, 45.4, 127.3, 1530)] == [
        "1", "1.5", "10", "45", "130", "1500",
    ]  # fmt: skip
    certain = Crossover("always", None, None, 3.0)
    assert "for certain from 3 a label on" in say_crossover(certain, "probe", 50)


def test_results_are_told_as_they_come(suite: Path) -> None:
    lines: list[str] = []
    tallies: list[Tally] = []
    loaded = load_suite(suite, seeds=[0, 1])

    def on_start(folder: Path, done: object, n_answers: int) -> None:
        tallies.append(Tally(load_manifest(folder), loaded.samples, {}))

    progress = Progress(
        on_start=on_start, on_record=lambda record: lines.extend(tallies[0].add(record))
    )
    curve = evaluate(loaded, progress=progress).curve
    assert curve is not None
    assert len(lines) == 2 * 9 + 2
    assert lines[0] == f"probe@1, seed 0: {curve.curve('probe').points[0].by_seed[0]:.1%}"
    assert lines[9] == "The curve with seed 0 is complete."


def test_the_command_tells_and_ends_in_the_advice(suite: Path) -> None:
    result = CliRunner().invoke(app, ["eval", suite.name, "--seed", "0"])
    assert result.exit_code == 0, result.output
    assert "probe@all, seed 0: " in result.stderr
    assert " ".join(result.stdout.split()).startswith("Fine-tune. At 16 examples a label probe is")
