"""Compares evaluations: ``python -m benchmarks.eval_throughput labels|remote|memory|batch|suites``.

- ``labels``: one suite of samples whose labels are scored, against lm-evaluation-harness on the
  same checkpoint, prompts, labels and threads; log-likelihoods are compared with each other and
  with those in float64 (`benchmarks.float64`), all of them. Needs ``lm_eval`` and
  ``datasets`` in the environment, and BANKING77 as ``test.jsonl`` and ``train.jsonl``.
- ``remote``: one suite against a local server of OpenAI's protocol that answers after a fixed time:
  samples per second as a share of concurrency / latency, and the memory while it runs; beside
  Inspect (``inspect_ai``) and promptfoo (on the PATH) where they are installed.
- ``memory``: a suite of few and one of many samples against such a server that answers at once, in
  a process of its own each: resident memory at the last sample, and its peak with the report.
- ``batch``: one suite one by one and with ``--batch N``: the same answers, and the ratio of speeds.
- ``suites``: the suites over our own data whole, one after the other, as somebody types them:
  seconds by the clock and of processors, start and report included.

Loading models is not counted on any side; promptfoo, a command, is counted with its start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.float64 import ExactModel
from promptbot.evals.columns import Workshop
from promptbot.evals.evaluation import Progress, Throughput, evaluate
from promptbot.evals.suite import Suite, load_suite
from promptbot.evals.summary import Summary

EMBEDDED = Path(__file__).parent.parent / "promptbot" / "models" / "embedded"
OUR_SUITES = ("customer_service", "tutor", "clinic", "character", "kefu", "intents")
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "banking77"


@dataclass
class Clock:
    """When a run asked, and how much memory it held meanwhile."""

    started: float = 0.0
    """When the first sample was asked."""
    ended: float = 0.0
    """When the last one was answered."""
    n: int = 0
    """Samples answered."""
    rss_mib: list[float] | None = None
    """Resident memory every 500 samples."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    def progress(self) -> Progress:
        """Return what sets this clock."""

        def on_start(folder: Path, done: object, n_answers: int) -> None:
            self.started = time.perf_counter()

        def on_record(record: object) -> None:
            self.n += 1
            self.ended = time.perf_counter()
            if self.rss_mib is not None and self.n % 500 == 0:
                self.rss_mib.append(resident_mib())

        return Progress(on_start=on_start, on_record=on_record)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    labels = parts.add_parser("labels", help="against lm-evaluation-harness")
    labels.add_argument("--samples", type=int, default=500)
    labels.add_argument("--labels", type=int, default=20)
    labels.add_argument("--examples", type=int, default=5)
    labels.add_argument("--selector", choices=("fixed", "nearest"), default="fixed")
    labels.add_argument("--harness-samples", type=int, help="fewer of them for the harness")
    labels.add_argument("--json", action="store_true", help="print one JSON object at last")
    labels.add_argument("--data", type=Path, default=DATA)
    remote = parts.add_parser("remote", help="against a server that answers after a fixed time")
    remote.add_argument("--samples", type=int, default=2000)
    remote.add_argument("--jobs", type=int, default=8)
    remote.add_argument("--latency", type=float, default=0.1, help="seconds")
    memory = parts.add_parser("memory", help="of few and of many samples")
    memory.add_argument("--few", type=int, default=2_000)
    memory.add_argument("--many", type=int, default=20_000)
    memory.add_argument("--jobs", type=int, default=8)
    batch = parts.add_parser("batch", help="samples one by one and together")
    batch.add_argument("--suite", default="intents")
    batch.add_argument("--model", default="embedded")
    batch.add_argument("--samples", type=int, default=120)
    batch.add_argument("--together", type=int, default=16)
    suites = parts.add_parser("suites", help="those over our own data, whole")
    suites.add_argument("names", nargs="*", default=OUR_SUITES)
    suites.add_argument("--jobs", type=int, default=2, help="answers at once, each on a core")
    given = parser.parse_args()
    if given.part == "suites":
        measure_suites(given.names, given.jobs)
        return
    if given.part == "batch":
        measure_batch(given.suite, given.model, given.samples, given.together)
        return
    if given.part == "memory":
        measure_memory(given.few, given.many, given.jobs)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.part == "labels":
            work = LabelWork(given.samples, given.labels, given.examples, given.selector)
            found = measure_labels(Path(folder), given.data, work, given.harness_samples)
            if given.json:
                print(json.dumps(found))
        else:
            measure_remote(Path(folder), given.samples, given.jobs, given.latency)


@dataclass(frozen=True)
class LabelWork:
    """What is scored."""

    n_samples: int
    n_labels: int
    n_examples: int
    """Shown before each sample."""
    selector: str
    """``fixed``: the same examples always; ``nearest``: of ten a label, those nearest to it."""


def measure_labels(
    folder: Path, data: Path, work: LabelWork, n_for_harness: int | None
) -> dict[str, float]:
    """Print both speeds, their ratio, and differences of log-likelihoods; return them.

    Args:
        folder: For files.
        data: BANKING77.
        work: What is scored.
        n_for_harness: How many of the samples, spread evenly, the harness is asked; None for all.
    """
    suite = write_labels_suite(folder, data, work)
    clock = Clock()
    summary = evaluate(
        suite,
        runs=folder / "runs",
        progress=clock.progress(),
        throughput=Throughput(use_cache=False, n_parallel=1),  # one core, as the harness
        allow_leaks=True,  # BANKING77's splits share texts, and only the speed counts here
    )
    chain = cast(Any, Workshop(suite).predictor(suite.columns[0], 0))
    labels = [words[0] for words in chain.bot.spec.labels.values()]
    step = max(1, len(suite.samples) // (n_for_harness or len(suite.samples)))
    prompts = [chain.compose(item.sample.input).messages for item in suite.samples[::step]]
    theirs, seconds = ask_harness(folder, prompts, labels)
    ours_rate, their_rate = len(suite.samples) / clock.seconds, len(prompts) / seconds
    print(
        f"{len(suite.samples)} samples ({len(prompts)} for the harness), {len(labels)} labels, "
        f"{work.n_examples} {work.selector} examples shown"
    )
    print(f"promptbot eval         {ours_rate:8.2f} samples/s")
    print(f"lm-evaluation-harness  {their_rate:8.2f} samples/s")
    print(f"ratio                  {ours_rate / their_rate:8.1f}")
    options = chain.model._encode_options(labels, end_of_turn=True)
    model = ExactModel(EMBEDDED)
    scores = {
        "promptbot": [[one.logprob for one in chain.model.score(p, labels)] for p in prompts],
        "lm-evaluation-harness": theirs,
        "float64": [
            model.score(chain.model.engine.chat_format.encode(p).ids, options) for p in prompts
        ],
    }
    largest, median = 0.0, 0.0
    for one, other in combinations(scores, 2):
        found = np.abs(np.array(scores[one]) - np.array(scores[other]))
        if other == "lm-evaluation-harness":
            largest, median = float(found.max()), float(np.median(found))
        print(
            f"{one} and {other}: {found.size:,} log-likelihoods differ by {found.max():.2e} at "
            f"most, median {np.median(found):.1e}, {int((found > 1e-4).sum())} by more than 1e-4"
        )
    said = list(answers(summary, list(chain.bot.spec.labels)))[::step]
    same = sum(
        one == max(range(len(labels)), key=theirs[number].__getitem__)
        for number, one in enumerate(said)
    )
    print(f"same answer on {same} of {len(prompts)} samples")
    return {
        "ours": ours_rate,
        "theirs": their_rate,
        "largest_difference": largest,
        "median_difference": median,
    }


def write_labels_suite(folder: Path, data: Path, work: LabelWork) -> Suite:
    """Return a suite that asks for one of the first labels."""
    train, test = (
        [json.loads(line) for line in (data / f"{split}.jsonl").read_text().splitlines()]
        for split in ("train", "test")
    )
    labels = sorted({row["label"] for row in train})[: work.n_labels]
    if work.selector == "fixed":
        chosen = labels[: work.n_examples]
        pool = [next(row for row in train if row["label"] == label) for label in chosen]
    else:
        pool = [
            row for label in labels for row in [row for row in train if row["label"] == label][:10]
        ]
    bot = folder / "bot"
    bot.mkdir()
    write_rows(
        bot / "examples.jsonl", [{"input": row["text"], "label": row["label"]} for row in pool]
    )
    (bot / "system.j2").write_text("Classify the message with one label.")
    wordings = {label: [label.replace("_", " ").strip("? ")] for label in labels}
    order = "file" if work.selector == "fixed" else "nearest_last"
    (bot / "bot.yaml").write_text(
        "name: bench\ntask: classify\nmodel: embedded\n"
        f"examples: {{selector: {work.selector}, k: {work.n_examples}, order: {order}}}\n"
        f"labels: {json.dumps(wordings)}\n"
    )
    rows = [row for row in test if row["label"] in wordings]
    write_rows(folder / "data.jsonl", [{"input": r["text"], "label": r["label"]} for r in rows])
    (folder / "suite.yaml").write_text(
        "name: labels\nbot: bot\nmetrics: [accuracy]\n"
        f"data: {{file: data.jsonl, limit: {work.n_samples}}}\n"
    )
    return load_suite(folder / "suite.yaml")


def ask_harness(
    folder: Path, prompts: list[Any], labels: list[str]
) -> tuple[list[list[float]], float]:
    """Return the harness's log-likelihood of each label after each prompt, and its seconds.

    Only the seconds of its scoring count, not those of its data and tables.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    end = "<|end|>"
    rows = [
        {
            "number": number,
            "prompt": tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                tokenize=False,
                add_generation_prompt=True,
            ),
            "answer": 0,
        }
        for number, messages in enumerate(prompts)
    ]
    write_rows(folder / "harness.jsonl", rows)
    task = {
        "task": "labels",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / "harness.jsonl")},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": [f"{label}{end}" for label in labels],
        "doc_to_target": "answer",
        "target_delimiter": " ",
        "metric_list": [{"metric": "acc"}],
    }
    model = HFLM(pretrained=str(EMBEDDED), device="cpu", dtype="float32", batch_size=1)
    score, seconds = model.loglikelihood, 0.0

    def timed(*arguments: Any, **named: Any) -> Any:
        nonlocal seconds
        started = time.perf_counter()
        scores = score(*arguments, **named)
        seconds += time.perf_counter() - started
        return scores

    model.loglikelihood = timed
    found = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0, log_samples=True)
    assert found is not None
    samples = sorted(found["samples"]["labels"], key=lambda row: row["doc"]["number"])
    return [[float(pair[0]) for pair in row["filtered_resps"]] for row in samples], seconds


def answers(summary: Summary, labels: list[str]) -> Iterator[int]:
    """Yield the place of each answered label, in the samples' order."""
    for item in summary.samples:
        [record] = [r for r in summary.records.values() if r.sample == item.sample.id]
        assert record.prediction is not None
        yield labels.index(str(record.prediction.label))


def measure_remote(folder: Path, n: int, jobs: int, latency_s: float) -> None:
    """Print the speed as a share of what the latency allows, beside other tools."""
    rows = write_remote_suite(folder, n)
    most = jobs / latency_s
    with serving(latency_s) as url:
        suite = load_suite(folder / "suite.yaml", models=[f"openai:m@{url}"])
        Workshop(suite).predictor(suite.columns[0], 0)  # imports the provider's package
        clock = Clock(rss_mib=[])
        summary = evaluate(
            suite,
            runs=folder / "runs",
            progress=clock.progress(),
            throughput=Throughput(n_parallel=jobs, use_cache=False),
        )
        assert not any(summary.n_failed.values())
        print(f"{n} samples, {jobs} at once, {latency_s * 1000:.0f} ms each: at most {most:.1f}/s")
        tell("promptbot eval", n / clock.seconds, most)
        memory = clock.rss_mib or [math.nan]
        print(f"memory while it ran: {memory[0]:.0f} MiB at 500 samples, {memory[-1]:.0f} at {n}")
        if rate := inspect_rate(url, rows, jobs, folder):
            tell("Inspect", rate, most)
        if rate := promptfoo_rate(url, rows, jobs, folder):
            tell("promptfoo", rate, most)


def write_remote_suite(folder: Path, n: int) -> list[dict[str, str]]:
    """Write a suite of questions that any server can answer, and return its rows."""
    rows = [{"input": f"What is question {i}?", "output": "Hello there."} for i in range(n)]
    write_rows(folder / "data.jsonl", rows)
    bot = folder / "bot"
    bot.mkdir()
    (bot / "system.j2").write_text("Answer the question.")
    (bot / "bot.yaml").write_text("name: bench\n")
    (folder / "suite.yaml").write_text(
        "name: remote\nbot: bot\ndata: {file: data.jsonl}\nmetrics: [exact]\n"
    )
    return rows


def measure_memory(few: int, many: int, jobs: int) -> None:
    """Print the memory of both runs, and the ratios."""
    context = multiprocessing.get_context("spawn")
    found = []
    for n in (few, many):
        ours, theirs = context.Pipe()
        process = context.Process(target=memory_of, args=(n, jobs, theirs))
        process.start()
        asked, peak = ours.recv()
        process.join()
        found.append((asked, peak))
        print(f"{n:7,} samples: {asked:6.0f} MiB at the last of them, at most {peak:6.0f} MiB")
    asked, peak = ((many_mib / few_mib) for few_mib, many_mib in zip(*found, strict=True))
    print(f"ratio while asking {asked:.2f}, with the report {peak:.2f}")


def measure_batch(name: str, model: str, n: int, together: int) -> None:
    """Print both speeds, their ratio, and how many answers differ."""
    suite = load_suite(name, variants=["default"], models=[model], limit=n)
    Workshop(suite).predictor(suite.columns[0], 0)  # reads the weights once
    rates, answered = [], []
    for size in (1, together):
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            summary = evaluate(
                suite,
                runs=Path(folder),
                progress=clock.progress(),
                throughput=Throughput(n_together=size, use_cache=False),
            )
        rates.append(clock.n / clock.seconds)
        said = {key: record.prediction for key, record in summary.records.items()}
        answered.append({key: one.text if one else None for key, one in said.items()})
        print(f"{name}, {size:3} at once: {rates[-1]:8.1f} samples/s")
    differ = sum(answered[0][key] != text for key, text in answered[1].items())
    print(f"ratio {rates[1] / rates[0]:.2f}; {differ} of {len(answered[0])} answers differ")


def measure_suites(names: Sequence[str], jobs: int) -> None:
    """Print the seconds of each suite and of all, by the clock and of processors."""
    totals = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            suite = load_suite(name)
            n = len(suite.columns) * len(suite.samples)
            before, started = processor_s(), time.perf_counter()
            command = ["eval", str(suite.path.resolve()), "--no-cache", "--jobs", str(jobs)]
            subprocess.run(
                [sys.executable, "-m", "promptbot", *command],
                check=True,
                cwd=folder,
                capture_output=True,
            )
            seconds = time.perf_counter() - started, processor_s() - before
            totals = [total + one for total, one in zip(totals, seconds, strict=True)]
            print(
                f"{name:17} {len(suite.columns)} columns x {len(suite.samples)} samples "
                f"{seconds[0]:6.1f} s, {seconds[1]:6.1f} s of processors, "
                f"{seconds[1] / n * 1000:4.0f} ms of them an answer",
                flush=True,
            )
    print(f"all               {totals[0]:6.1f} s, {totals[1]:6.1f} s of processors")


def processor_s() -> float:
    """Return the processor seconds of the commands that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_of(n: int, jobs: int, pipe: Any) -> None:
    """Send the memory when the last of so many samples is answered, and the most there was."""
    with tempfile.TemporaryDirectory() as name, serving(0.0) as url:
        folder = Path(name)
        write_remote_suite(folder, n)
        suite = load_suite(folder / "suite.yaml", models=[f"openai:m@{url}"])
        clock = Clock(rss_mib=[])
        evaluate(
            suite,
            runs=folder / "runs",
            progress=clock.progress(),
            throughput=Throughput(n_parallel=jobs, use_cache=False),
        )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(((clock.rss_mib or [math.nan])[-1], peak_mib))


def tell(name: str, rate: float, most: float) -> None:
    """Print one line of the comparison."""
    print(f"{name:16} {rate:8.1f} samples/s  {rate / most:6.1%}")


def inspect_rate(url: str, rows: list[dict[str, str]], jobs: int, folder: Path) -> float | None:
    """Return the samples per second of Inspect; None where it is not installed."""
    try:
        import inspect_ai
        from inspect_ai.dataset import Sample
        from inspect_ai.scorer import exact
        from inspect_ai.solver import generate, system_message
    except ImportError:
        print("Inspect is not installed here")
        return None
    os.environ |= {"STUB_API_KEY": "none", "STUB_BASE_URL": url, "NO_PROXY": "127.0.0.1"}
    task = inspect_ai.Task(
        dataset=[Sample(input=row["input"], target=row["output"]) for row in rows],
        solver=[system_message("Answer the question."), generate()],
        scorer=exact(),
    )
    started = time.perf_counter()
    [log] = inspect_ai.eval(
        task,
        model="openai-api/stub/m",
        max_connections=jobs,
        max_samples=jobs,
        display="none",
        log_dir=str(folder / "inspect"),
    )
    assert log.status == "success", log.error
    return len(rows) / (time.perf_counter() - started)


def promptfoo_rate(url: str, rows: list[dict[str, str]], jobs: int, folder: Path) -> float | None:
    """Return the samples per second of promptfoo; None where it is not installed."""
    command = shutil.which("promptfoo")
    if command is None:
        print("promptfoo is not installed here")
        return None
    config = {
        "prompts": ["{{question}}"],
        "providers": [{"id": "openai:chat:m", "config": {"apiBaseUrl": url, "apiKey": "none"}}],
        "tests": [
            {
                "vars": {"question": row["input"]},
                "assert": [{"type": "equals", "value": row["output"]}],
            }
            for row in rows
        ],
    }
    (folder / "promptfoo.json").write_text(json.dumps(config))
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
    quiet["PROMPTFOO_CONFIG_DIR"] = str(folder / "promptfoo")
    out = folder / "promptfoo_out.json"
    started = time.perf_counter()
    done = subprocess.run(
        [command, "eval", "-c", str(folder / "promptfoo.json"), "-j", str(jobs), "--no-cache",
         "--no-table", "--no-progress-bar", "-o", str(out)],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if not out.exists():
        print(f"promptfoo failed: {done.stderr[-300:]}")
        return None
    return len(rows) / seconds


@contextmanager
def serving(latency_s: float) -> Iterator[str]:
    """Yield the address of a server, in a process of its own, that answers after a time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(latency_s, theirs), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        server.terminate()
        server.join()


def serve(latency_s: float, pipe: Any) -> None:
    """Answer requests until the process ends; the port is sent through the pipe."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
                asked = json.loads(await reader.readexactly(int(fields[b"content-length"])))
                await asyncio.sleep(latency_s)
                writer.write(reply(streams=bool(asked.get("stream"))))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def reply(*, streams: bool) -> bytes:
    """Return a whole HTTP answer that says "Hello there."."""
    text, usage = "Hello there.", {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    body = {"id": "1", "created": 1, "model": "m"}
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if streams:
        body["object"] = "chat.completion.chunk"
        delta = {"role": "assistant", "content": text}
        events = [
            {**body, "choices": [{"index": 0, "finish_reason": None, "delta": delta}]},
            {**body, "choices": [{**choice, "delta": {}}]},
            {**body, "choices": [], "usage": usage},
        ]
        content = "".join(f"data: {json.dumps(e)}\n\n" for e in events) + "data: [DONE]\n\n"
    else:
        body["object"] = "chat.completion"
        choice["message"] = {"role": "assistant", "content": text}
        content = json.dumps({**body, "choices": [choice], "usage": usage})
    kind = "text/event-stream" if streams else "application/json"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    return (head + content).encode()


def resident_mib() -> float:
    """Return the memory of this process that is in RAM; not a number off Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    [line] = [x for x in status.read_text().splitlines() if x.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
