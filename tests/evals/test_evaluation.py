"""Runs: what is kept, what a break costs, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from promptbot.errors import DataError, InputError, ModelError
from promptbot.evals.columns import Workshop
from promptbot.evals.evaluation import Progress, Throughput, evaluate, plan, resume
from promptbot.evals.gate import judge
from promptbot.evals.metrics.metric import Value
from promptbot.evals.records import (
    RecordFile,
    find_run,
    load_records,
    load_texts,
    run_folders,
)
from promptbot.evals.report import save_reports
from promptbot.evals.stats import Interval
from promptbot.evals.suite import load_suite
from promptbot.evals.summary import Summary, summarise
from promptbot.evals.verdict import Scale
from tests.evals.conftest import ROWS, SuiteMaker


def run(path: Path, progress: Progress | None = None, **options: Any) -> Summary:
    suite = load_suite(path, **options)
    return evaluate(suite, runs=path.parent / "runs", options=options, progress=progress)


def numbers(summary: Summary) -> Any:
    """Return a report's numbers but for the seconds."""
    found = json.loads(json.dumps(summary.to_dict()))
    for column in found["columns"].values():
        for name in list(column["metrics"]):
            if summary.metric_named(name).unit == "seconds":
                column["metrics"].pop(name)
    return found


def stop_after(n: int) -> Progress:
    seen = []

    def on_record(record: object) -> None:
        seen.append(record)
        if len(seen) == n:
            raise KeyboardInterrupt

    return Progress(on_record=on_record)


def test_a_run_measures_what_the_script_answers(make_suite: SuiteMaker) -> None:
    summary = run(make_suite())
    exact = summary.values["default"]["exact"]
    assert exact is not None
    assert exact.estimate == pytest.approx(11 / 12)
    recall = summary.values["default"]["fallback_recall"]
    assert recall is not None
    assert (recall.estimate, recall.n) == (0.5, 2)
    tokens = summary.values["default"]["prompt_tokens"]
    assert tokens is not None
    assert tokens.estimate > 0
    assert summary.kinds["x"]["default"].estimate == 1.0  # type: ignore[union-attr]
    assert [c.outcome for c in summary.comparisons] == ["underpowered"]


def test_a_folder_holds_everything(make_suite: SuiteMaker) -> None:
    folder = run(make_suite()).folder
    assert {file.name for file in folder.iterdir()} == {
        "manifest.json", "samples.jsonl", "records.jsonl", "texts.jsonl", "metrics.json",
        "report.md", "report.html", "junit.xml",
    }  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("data_hash", "bot_hashes", "models", "versions", "hardware", "seeds", "command"):
        assert key in manifest
    assert len(manifest["models"]) == 1


def test_two_runs_give_the_same_numbers(make_suite: SuiteMaker) -> None:
    path = make_suite()
    assert numbers(run(path)) == numbers(run(path))


@pytest.mark.parametrize("n", [1, 7, 13, 23])
def test_a_stopped_run_goes_on_and_ends_alike(make_suite: SuiteMaker, n: int) -> None:
    path = make_suite()
    whole = run(path)
    with pytest.raises(KeyboardInterrupt):
        run(path, stop_after(n))
    folder = next(f for f in run_folders(path.parent / "runs") if f != whole.folder)
    assert len(load_records(folder)) == n
    with pytest.raises(InputError, match="not complete"):
        summarise(folder)
    assert numbers(resume(folder)) == numbers(whole)
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert len(lines) == 24


@pytest.mark.parametrize("cut", [1, 40, 200, 500])
def test_a_torn_last_line_is_dropped_and_asked_again(make_suite: SuiteMaker, cut: int) -> None:
    whole = run(make_suite())
    folder = whole.folder.with_name("torn")
    shutil.copytree(whole.folder, folder)
    file = folder / "records.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert numbers(resume(folder)) == numbers(whole)


def test_a_killed_process_loses_nothing(make_suite: SuiteMaker, tmp_path: Path) -> None:
    path = make_suite()
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from promptbot.evals.evaluation import Progress, evaluate\n"
        "from promptbot.evals.suite import load_suite\n"
        "seen = []\n"
        "def on_record(record):\n"
        "    seen.append(record)\n"
        "    if len(seen) == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"evaluate(load_suite({str(path)!r}), runs=Path({str(tmp_path / 'killed')!r}),\n"
        "         progress=Progress(on_record=on_record))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    [folder] = run_folders(tmp_path / "killed")
    assert len(load_records(folder)) == 9
    assert numbers(resume(folder)) == numbers(run(path))


def test_failed_answers_are_kept_count_as_wrong_and_are_asked_again(
    make_suite: SuiteMaker,
) -> None:
    path = make_suite()
    script = path.parent / "script.jsonl"
    whole = script.read_text()
    script.write_text("".join(whole.splitlines(keepends=True)[:6]))
    summary = run(path)
    assert summary.n_failed == {"default": 6, "zero_shot": 6}
    exact = summary.values["default"]["exact"]
    assert exact is not None
    assert (exact.estimate, exact.n) == (0.5, 12)
    assert "6 of 12 answers failed" in summary.warnings[0]
    errors = ElementTree.parse(summary.folder / "junit.xml").findall(".//error")
    assert len(errors) == 12
    script.write_text(whole)  # another script is another model
    with pytest.raises(InputError, match="not the one that the run began with"):
        resume(summary.folder)


def test_columns_that_failed_throughout_get_no_verdict(make_suite: SuiteMaker) -> None:
    path = make_suite()
    (path.parent / "script.jsonl").write_text('{"match": "never asked", "text": "x"}\n')
    summary = run(path)
    assert summary.headline.startswith("No verdict")
    assert not summary.comparisons
    assert "12 of 12 answers failed" in summary.warnings[0]


def test_a_changed_bot_cannot_go_on(make_suite: SuiteMaker) -> None:
    path = make_suite()
    with pytest.raises(KeyboardInterrupt):
        run(path, stop_after(3))
    (path.parent / "shop" / "system.j2").write_text("Other words.")
    [folder] = run_folders(path.parent / "runs")
    with pytest.raises(InputError, match="bot_hashes"):
        resume(folder)


def test_two_processes_cannot_write_to_one_run(make_suite: SuiteMaker) -> None:
    folder = run(make_suite()).folder
    with RecordFile(folder), pytest.raises(InputError, match="another process"):
        RecordFile(folder)


def test_samples_shown_as_examples_are_refused_with_their_lines(make_suite: SuiteMaker) -> None:
    path = make_suite(rows=[*ROWS, {"input": "thank you!", "output": "You are welcome!"}])
    with pytest.raises(DataError, match=r"line 13: 'thank you!' ~ example on line 3: 'Thank you'"):
        run(path)
    assert not (path.parent / "runs").exists()
    summary = evaluate(load_suite(path), allow_leaks=True, runs=path.parent / "runs")
    assert "1 sample is also shown as an example" in summary.warnings[0]
    assert "also shown as an example" in (summary.folder / "report.md").read_text()


def test_samples_that_repeat_others_are_told_unless_they_are_grouped(
    make_suite: SuiteMaker,
) -> None:
    rows = [{**row, "text": row["input"]} for row in [*ROWS, ROWS[0], ROWS[0], ROWS[1]]]
    [warning] = run(make_suite(rows=rows)).warnings
    assert warning.startswith("3 of the samples say what another one says, and each counts")
    path = make_suite(rows=rows)
    fields = "data: {file: data.jsonl, fields: {group: text}}"
    path.write_text(path.read_text().replace("data: {file: data.jsonl}", fields))
    assert not run(path).warnings


def test_seeds_are_asked_apart_and_averaged(make_suite: SuiteMaker) -> None:
    summary = run(make_suite(), seeds=[1, 2])
    assert len(summary.records) == 48
    assert summary.comparisons[0].n == 12


def test_repeats_are_asked_apart_and_averaged(make_suite: SuiteMaker) -> None:
    path = make_suite("repeats: 3\n")
    with pytest.raises(KeyboardInterrupt):
        run(path, stop_after(40), seeds=[1, 2])
    [folder] = run_folders(path.parent / "runs")
    summary = resume(folder)
    assert len(summary.records) == 2 * 2 * 3 * 12
    assert {key.repeat for key in summary.records} == {0, 1, 2}
    assert summary.comparisons[0].n == 12
    exact = summary.values["default"]["exact"]
    assert exact is not None
    assert (exact.n, exact.estimate) == (72, pytest.approx(11 / 12))


def test_repeats_draw_anew_from_the_same_prompt(make_suite: SuiteMaker) -> None:
    workshop = Workshop(load_suite(make_suite()))
    column = workshop.suite.columns[0]
    chains = [workshop.predictor(column, 5, repeat) for repeat in (0, 1, 2)]
    seeds = [chain.sampling_seed for chain in chains]  # type: ignore[attr-defined]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    prompts = {chain.compose("Hi").messages for chain in chains}  # type: ignore[attr-defined]
    assert len(prompts) == 1


def test_what_was_read_is_kept_once_and_given_back(make_suite: SuiteMaker) -> None:
    summary = run(make_suite(), seeds=[1, 2])
    folder = summary.folder
    texts = load_texts(folder)
    assert len(texts) == 24  # two columns, twelve samples; the seeds change nothing here
    assert len((folder / "texts.jsonl").read_text().splitlines()) == 24
    for record in load_records(folder, with_shown=True).values():
        prediction, shown = record.prediction, texts[record.shown or ""]
        assert prediction is not None
        assert (prediction.messages, prediction.notes) == (shown.messages, shown.notes)
        assert prediction.messages[-1].content in {row["input"] for row in ROWS}
        assert prediction.first_token_s is not None


def test_a_torn_prompt_is_cut_off_and_asked_for_again(make_suite: SuiteMaker) -> None:
    path = make_suite()
    whole = run(path)
    with pytest.raises(KeyboardInterrupt):
        run(path, stop_after(5))
    folder = next(f for f in run_folders(path.parent / "runs") if f != whole.folder)
    texts = folder / "texts.jsonl"
    texts.write_bytes(texts.read_bytes()[:-30])
    assert len(load_texts(folder)) == 4
    resume(folder)
    assert len(load_texts(folder)) == 23  # one record's prompt is lost, and shown as none
    unknown = [
        r
        for r in load_records(folder, with_shown=True).values()
        if r.shown not in load_texts(folder)
    ]
    assert [r.prediction.messages for r in unknown if r.prediction] == [()]


def test_runs_made_before_prompts_and_repeats_were_kept_still_load(
    make_suite: SuiteMaker,
) -> None:
    summary = run(make_suite())
    folder = summary.folder
    (folder / "texts.jsonl").unlink()
    records = folder / "records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for row in rows:
        del row["repeat"], row["shown"]
        del row["prediction"]["first_token_s"], row["prediction"]["cost"]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows[:20]))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["repeats"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert numbers(resume(folder)) == numbers(summary)


def test_a_plan_asks_no_model(make_suite: SuiteMaker) -> None:
    path = make_suite()
    (path.parent / "script.jsonl").unlink()
    planned = plan(load_suite(path))
    assert planned.n_answers == 24
    assert planned.detectable is not None


def test_a_classify_suite_draws_examples_and_labels_from_its_pool(
    make_classifier: Any, tmp_path: Path
) -> None:
    make_classifier()
    labels = ["red_one", "blue_two", "green_three"]
    words = ["apple", "boat", "cloud", "drum"]
    for name, extra in (("pool", "early"), ("test", "quite another")):
        rows = [{"text": f"{extra} {w} of {x}", "label": x} for x in labels for w in words]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    script = [{"match": x, "text": x.replace("_", " ")} for x in labels[:2]]
    script.append({"match": labels[2], "text": "red one"})
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(x) + "\n" for x in script))
    suite = tmp_path / "sorting.yaml"
    suite.write_text(
        "name: sorting\nbot: sorter\n"
        "data: {file: test.jsonl, fields: {input: text, target: label}}\n"
        "pool: {file: pool.jsonl, fields: {input: text, target: label}, per_label: 2}\n"
        f"models: ['scripted:{tmp_path / 's.jsonl'}']\n"
    )
    summary = run(suite)
    accuracy = summary.values["default"]["accuracy"]
    assert accuracy is not None
    assert accuracy.estimate == pytest.approx(8 / 12)
    assert summary.confusions["default"] == (("green_three", "red_one", 4),)
    assert summary.values["default"]["brier"] is not None
    assert "Most frequent confusions" in (summary.folder / "report.html").read_text()


def test_reports_need_nothing_outside_the_folder(make_suite: SuiteMaker, tmp_path: Path) -> None:
    summary = run(make_suite())
    moved = tmp_path / "elsewhere"
    shutil.move(summary.folder, moved)
    shutil.rmtree(tmp_path / "shop")
    again = summarise(moved)
    save_reports(again)
    assert again.to_dict() == summary.to_dict()


def test_html_asks_nothing_of_a_network_and_cannot_be_injected(make_suite: SuiteMaker) -> None:
    nasty = {
        "input": "</script><img src=x onerror=alert(1)>",
        "output": "<b>bold</b>",
        "kind": "<i>",
    }
    summary = run(make_suite(rows=[*ROWS, nasty]))
    html = (summary.folder / "report.html").read_text()
    assert "<img" not in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "http" not in html.replace("http-equiv", "").replace("https:\\", "")
    assert summary.headline in html
    rows = html.split('id="rows">')[1].split("</script>")[0]
    assert json.loads(rows)[-1]["i"] == nasty["input"]


def test_markdown_begins_with_the_verdict(make_suite: SuiteMaker) -> None:
    summary = run(make_suite())
    first = (summary.folder / "report.md").read_text().splitlines()[0]
    assert first.startswith("# small: By exact")


def test_junit_fails_only_where_the_gate_does(make_suite: SuiteMaker) -> None:
    path = make_suite("gate: ['exact(default) >= 0.5', 'exact(default) >= 0.95']\n")
    suite = ElementTree.parse(run(path).folder / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")


VALUES = {"a": {"exact": Value(0.85, Interval(0.78, 0.9, 0.95), 100)}}


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("exact(a) >= 0.75", True),
        ("exact(a) >= 0.8", False),  # the mean would do, the lower bound does not
        ("exact(a) <= 0.95", True),
        ("exact(a) <= 0.88", False),
        ("b not worse than a by 0.02", False),
        ("b not worse than a by .2", True),
        ("a not worse than b by 0.02", True),
    ],
)
def test_a_gate_is_judged_on_the_bound(condition: str, met: bool) -> None:
    scores = {"a": [1.0] * 90 + [0.0] * 10, "b": [1.0] * 80 + [0.0] * 20}
    [result] = judge(
        [condition],
        values=VALUES,
        scores=scores,
        groups=[str(i) for i in range(100)],
        scale=Scale(),
    )
    assert result.met is met
    assert result.reason.startswith("met" if met else "not met")


def test_a_gate_tells_no_difference_as_minus_nothing() -> None:
    """A lower bound of exactly 0 was told as "worse by at most -0.0 points"."""
    scores = {"a": [1.0] * 8 + [0.0] * 292, "b": [0.0] * 8 + [1.0] * 18 + [0.0] * 274}
    [result] = judge(
        ["b not worse than a by 0.1"],
        values=VALUES,
        scores=scores,
        groups=[str(i) for i in range(300)],
        scale=Scale(),
    )
    assert result.met
    assert "at most 0.0 points" in result.reason


def test_the_runner_imports_neither_torch_nor_langchain() -> None:
    program = (
        "import sys, promptbot.evals.runner\n"
        "print([m for m in ('torch', 'langchain', 'langchain_core') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='there is no run "nope"'):
        find_run("nope", tmp_path)


def unpacked(html: str) -> dict[str, dict[str, list[Any]]]:
    import base64
    import gzip

    packed = html.split('id="prompts">')[1].split("</script>")[0]
    found: dict[str, dict[str, list[Any]]] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return found


def test_html_holds_the_whole_prompt_behind_every_answer(make_suite: SuiteMaker) -> None:
    summary = evaluate(load_suite(make_suite()))
    html = (summary.folder / "report.html").read_text()
    prompts = unpacked(html)
    rows = json.loads(html.split('id="rows">')[1].split("</script>")[0])
    for row in rows:
        for answer in row["a"]:
            [name] = answer["p"]
            role, text = prompts[name]["m"][-1]
            assert (role, text) == ("user", row["i"])
    systems = {tuple(prompts[a["p"][0]]["m"][0]) for row in rows for a in row["a"]}
    assert all(role == "system" for role, _ in systems)


def test_charts_of_cost_are_drawn_where_columns_cost_something(make_suite: SuiteMaker) -> None:
    summary = evaluate(load_suite(make_suite()))
    html = (summary.folder / "report.html").read_text()
    assert "exact against seconds per answer, median" in html
    assert "Calibration" not in html  # a chat bot gives no probabilities


@pytest.mark.parametrize("suite", ["customer_service", "intents"])
def test_answers_of_the_embedded_model_are_the_same_on_one_core_and_on_several(
    suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptbot.evals.evaluation.usable_cores", lambda: 3)
    found = []
    for n in (1, 3):
        summary = evaluate(
            load_suite(suite, variants=["default", "zero_shot"], limit=9),
            runs=tmp_path / str(n),
            throughput=Throughput(n_parallel=n, use_cache=False),
        )
        found.append(
            {
                key: (r.prediction.text, r.prediction.label, r.prediction.messages)
                for key, r in sorted(summary.records.items())
                if r.prediction
            }
        )
    assert found[0] == found[1]
    assert len(found[0]) == 18


@pytest.mark.parametrize(
    "given", [{"models": ["nonsense"]}, {"models": ["embedded", "nonsense"]}, {"judge": "nonsense"}]
)
def test_a_misspelt_model_leaves_no_run_behind(make_suite: SuiteMaker, given: Any) -> None:
    judges = "judges: {good: {model: embedded, criterion: Is it right, scale: [1, 5]}}\n"
    path = make_suite(judges if "judge" in given else "")
    with pytest.raises(ModelError, match='unknown model "nonsense"'):
        run(path, **given)
    assert not (path.parent / "runs").exists()


def test_labels_of_samples_that_no_column_can_answer_are_told(tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    bot.mkdir()
    (bot / "bot.yaml").write_text(
        "name: labels\ntask: classify\ntemplate: system.j2\n"
        "labels: {card: [card], payment: [payment]}\n"
    )
    (bot / "system.j2").write_text("Answer.")
    (tmp_path / "script.jsonl").write_text('{"match": "", "text": "card"}\n')
    labels = ["card", "paymnt", "elsewhere", "paymnt", "payment"]
    rows = [{"input": f"message {word}", "label": word} for word in labels]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = tmp_path / "suite.yaml"
    text = (
        "name: s\nbot: bot\ndata: {file: data.jsonl}\n"
        f"models: ['scripted:{tmp_path / 'script.jsonl'}']\n"
    )
    suite.write_text(text)
    told = (
        "3 of the samples have labels that no column can answer, and count as wrong: "
        '"paymnt" (2, first on line 2) Did you mean "payment"?, "elsewhere" (1, first on line 3)'
    )
    assert plan(load_suite(suite)).unknown_targets == told
    assert told in evaluate(load_suite(suite), runs=tmp_path / "runs").warnings
    suite.write_text(text + "out_of_scope: elsewhere\n")
    assert plan(load_suite(suite)).unknown_targets == told.replace("3 of", "2 of").split(', "e')[0]
