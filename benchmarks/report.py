"""Times a large report: ``python -m benchmarks.report [--columns 10] [--samples 5000]``.

A run of so many variants and samples is written as `promptbot eval` would have written it, its
answers drawn at random. Then: the statistics (`summarise`), the files (`save_reports`), and where
chromium is on the PATH the page, from the start of navigation to the end of its script, when
samples can be searched, and until it is painted.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from promptbot.evals.metrics.registry import metrics_of
from promptbot.evals.records import Record, RecordFile, save_json, save_samples
from promptbot.evals.report import save_reports
from promptbot.evals.samples import EvalSample, hash_samples
from promptbot.evals.summary import summarise
from promptbot.types import Message, Prediction, Sample

PROBE = """
<script>document.title = "TIMES " + JSON.stringify(
  {script: performance.now(), rows: document.querySelectorAll("#samples tr").length - 1});
</script>
"""
"""Writes into the title of a copy of the page when its script had run, from navigation on."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--labels", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, given.columns, given.samples, given.labels)
        started = time.perf_counter()
        summary = summarise(folder)
        summarised = time.perf_counter()
        save_reports(summary)
        saved = time.perf_counter()
        print(f"{given.columns} variants x {given.samples} samples, {given.labels} labels")
        print(f"statistics   {summarised - started:6.2f} s (reading the records is in it)")
        print(f"files        {saved - summarised:6.2f} s")
        page = folder / "report.html"
        print(f"page         {page.stat().st_size / 1e6:6.1f} MB")
        if times := open_page(page):
            print(f"interactive  {times['script']:6.2f} s ({times['rows']:.0f} rows shown)")
            print(f"painted      {times['painted']:6.2f} s longer than an empty page")
        else:
            print("chromium is not on the PATH, or did not answer")


def write_run(folder: Path, n_columns: int, n_samples: int, n_labels: int) -> None:
    """Write a run of a classify bot whose columns are right on 60 to 80% of the samples."""
    chance = random.Random(0)
    labels = [f"label_{i}" for i in range(n_labels)]
    columns = [f"variant_{i}" for i in range(n_columns)]
    samples = [
        EvalSample(
            Sample(f"s{i}", f"What about the order number {i} that I made?", chance.choice(labels)),
            kind="",
            group=f"s{i}",
            line=i + 1,
        )
        for i in range(n_samples)
    ]
    save_samples(folder, samples)
    manifest = {
        "suite": {"name": "large", "description": "", "margin": 0.05, "gate": []},
        "task": "classify",
        "fallback": "",
        "columns": [{"name": name, "model": "none"} for name in columns],
        "metrics": list(metrics_of("classify")),
        "seeds": [0],
        "repeats": 1,
        "leaks": [],
        "data_hash": hash_samples(samples),
        "bot_hashes": {},
        "models": {},
        "path": "none",
        "options": {},
        "versions": {},
        "started": "2000-01-01T00:00:00+0000",
    }
    save_json(folder / "manifest.json", manifest)
    system = "Classify the message with one label. " + ", ".join(labels)
    with RecordFile(folder) as file:
        for number, column in enumerate(columns):
            skill = 0.6 + 0.2 * number / max(n_columns - 1, 1)
            for item in samples:
                right = chance.random() < skill
                label = item.sample.target if right else chance.choice(labels)
                sure = chance.uniform(-0.7, -0.01)
                messages = (Message("system", system), Message("user", item.sample.input))
                prediction = Prediction(
                    text=label,
                    label=label,
                    label_logprobs={x: sure if x == label else -5.0 for x in labels},
                    n_prompt_tokens=chance.randint(80, 120),
                    n_generated_tokens=1,
                    messages=messages,
                )
                record = Record(column, item.sample.id, 0, prediction, None, chance.random())
                file.append(record)


def open_page(page: Path) -> dict[str, float] | None:
    """Return when a page's script had run and it was painted, in seconds; None without a browser.

    What is painted is timed from outside, against an empty page: the best of three of each.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        return None
    copy, empty = page.with_name("timed.html"), page.with_name("empty.html")
    html = page.read_bytes()
    copy.write_bytes(html.replace(b"</body>", PROBE.encode() + b"</body>"))
    empty.write_text("<!doctype html><p>Nothing.</p>")
    _, shown = browse(browser, copy, "--dump-dom")
    found = re.search(r"<title>TIMES (\{.*?\})</title>", shown)
    if not found:
        return None
    told = json.loads(found[1])
    picture = f"--screenshot={page.with_name('page.png')}"
    painted = [min(browse(browser, p, picture)[0] for _ in range(3)) for p in (page, empty)]
    return {
        "script": told["script"] / 1000,
        "rows": told["rows"],
        "painted": painted[0] - painted[1],
    }


def browse(browser: str, page: Path, wanted: str) -> tuple[float, str]:
    """Return the seconds that a browser took for a page, and what it wrote."""
    with tempfile.TemporaryDirectory() as profile:
        started = time.perf_counter()
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900",
             f"--user-data-dir={profile}", wanted, page.as_uri()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=180,
            check=False,
        )  # fmt: skip
        return time.perf_counter() - started, done.stdout


if __name__ == "__main__":
    main()
