"""Every bar of speed in one table and one picture: ``python -m benchmarks.speed``.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --llama PYTHON --harness PYTHON

PYTHON after ``--llama`` has ``llama-cpp-python``, ``gguf`` and numpy; that after ``--harness`` has
``lm_eval`` beside everything of promptbot. Without them their rows are left out. The table is
Markdown, on standard output; the picture shows how far each ratio is beyond its bar. One thread
on each side. The machine must be idle: about ten minutes, two of them for each of the last rows.

- ``first``: from the start of ``promptbot run customer_service --once hi`` to the first byte of its
  answer, beside the same checkpoint in the Transformers engine;
- ``write``: writing 128 tokens after a short prompt, beside Transformers' `generate` and llama.cpp;
- ``turns``: seconds to the first token at turn 20 beside turn 2 (`benchmarks.chat`);
- ``banking77``: 77 labels after 8 retrieved examples, beside one plain pass per label;
- ``memory``: the most memory of such a chat; ``install``: the core in a fresh environment;
- ``labels``, ``retrieved``: 500 samples of 20 labels after 5 examples beside lm-evaluation-harness,
  which is asked 40 of them (`benchmarks.eval_throughput`);
- ``encoder``: 10,000 short texts beside sentence-transformers (`benchmarks.encoder`);
- ``gpu``: 500 samples of 77 labels on a random Qwen2 of half a billion parameters in bfloat16,
  beside padded batches of plain Transformers; only where there is a GPU.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import chat, encoder, engines, startup
from benchmarks.bars import HEADER, Bar

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "pictures" / "speed.svg"
MIB = 2**20


def first() -> Iterator[Bar]:
    """Start a conversation with each engine, in turns."""
    with tempfile.TemporaryDirectory() as made:
        plain = Path(made) / "plain"
        skipped = shutil.ignore_patterns("*.onnx", "card.json")
        shutil.copytree(engines.EMBEDDED, plain, ignore=skipped)
        with_torch = [*startup.ONCE, "--model", str(plain)]
        ours, theirs = startup.compare(
            {
                "embedded": lambda: startup.seconds_to_first_byte(startup.ONCE),
                "transformers": lambda: startup.seconds_to_first_byte(with_torch),
            },
            "seconds",
            n_rounds=5,
        )
    work, took = "process start to first token", f"{ours.median:.2f} s"
    yield Bar(work, took, "-", ours.median, 1.5, at_most=True, unit="s")
    beside = f"Transformers engine {theirs.median:.2f} s"
    yield Bar(work, took, beside, ours.median / theirs.median, 0.35, at_most=True)


def engine_works(
    wanted: str, llama: Path | None
) -> Iterator[tuple[engines.Work, dict[str, float]]]:
    """Yield the works of `benchmarks.engines` of one row, with the rate of each way."""
    sizes = engines.Sizes(n_prompt=20, n_written=128, n_options=20, n_many=24, n_repeats=5)
    for row, work in engines.works(engines.EMBEDDED, sizes, engines.DATA, llama):
        if row == wanted:
            seconds = engines.measured(work.ways, sizes.n_repeats)
            yield work, {name: work.amount / one for name, one in seconds.items()}


def write(llama: Path | None) -> Iterator[Bar]:
    """Write 128 tokens after a short prompt."""
    [(_, rates)] = engine_works("write", llama)
    says = {name: f"{rate:,.0f} tokens/s" for name, rate in rates.items()}
    work = "writing 128 tokens after 20 words"
    ours, plain = f"int8 {says['int8']}", f"Transformers `generate` {says['plain']}"
    yield Bar(work, ours, plain, rates["int8"] / rates["plain"], 3.5)
    if "llama.cpp" in rates:
        beside = f"llama.cpp f32 {says['llama.cpp']}, ours in f32 {says['onnx']}"
        yield Bar(work, ours, beside, rates["int8"] / rates["llama.cpp"], 1.0)


def turns() -> Iterator[Bar]:
    """Talk for 20 turns."""
    early, late = chat.first_tokens(7)
    ours, beside = f"{1000 * late:.0f} ms", f"turn 2 {1000 * early:.0f} ms"
    yield Bar("first token at turn 20", ours, beside, late / early, 1.5, at_most=True)


def banking77() -> Iterator[Bar]:
    """Score 77 labels."""
    for work, rates in engine_works("banking77", None):
        ours, plain = f"{rates['onnx']:.2f} prompts/s", f"{rates['plain']:.3f} prompts/s"
        beside = f"one pass per label {plain}"
        yield Bar(work.name, ours, beside, rates["onnx"] / rates["plain"], 25)


def memory() -> Iterator[Bar]:
    """Say one thing in a process, and look at its memory."""
    # A child starts with its parent's memory in its books, so the parent has to be small.
    small_parent = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", small_parent, *startup.ONCE]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    megabytes = int(done.stdout) * (1 if platform.system() == "Darwin" else 1024) / 1e6
    name = "peak memory of a chat"
    yield Bar(name, f"{megabytes:.0f} MB", "-", megabytes, 400, at_most=True, unit="MB")


def install() -> Iterator[Bar]:
    """Install the core into a fresh environment, as `make run` does."""
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        python = Path(made) / "bin" / "python"
        packages = next(Path(made).glob("lib/python*/site-packages"))
        before = size_of(packages)
        began = time.perf_counter()
        command = [python, "-m", "pip", "install", "-q", "--no-compile", "-c", "constraints.txt"]
        subprocess.run([*command, "."], cwd=ROOT, check=True)
        seconds = time.perf_counter() - began
        subprocess.run(
            [python, "-m", "promptbot", "run", "customer_service", "--once", "hi"],
            cwd=made,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        megabytes = (size_of(packages) - before) / 1e6
    name = "core install"
    yield Bar(name, f"{seconds:.0f} s", "-", seconds, 60, at_most=True, unit="s")
    size = f"{megabytes:.0f} MB after a first chat"
    yield Bar(name, size, "-", megabytes, 400, at_most=True, unit="MB")


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def labels(harness: Path, selector: str) -> Iterator[Bar]:
    """Score 20 labels for 500 samples."""
    command = [harness, "-m", "benchmarks.eval_throughput", "labels", "--json"]
    done = subprocess.run(
        [*command, "--selector", selector, "--harness-samples", "40"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    how = "fixed" if selector == "fixed" else "retrieved"
    work = f"20 labels, 500 samples, 5 {how} examples"
    ours, theirs = found["ours"], found["theirs"]
    beside = f"lm-evaluation-harness {theirs:.2f} samples/s"
    bar = 20 if selector == "fixed" else 10
    yield Bar(work, f"{ours:.1f} samples/s", beside, ours / theirs, bar)
    worst, name = found["largest_difference"], "largest difference of these log-likelihoods"
    beside = f"median {found['median_difference']:.1e} nats"
    yield Bar(name, f"{worst:.1e} nats", beside, worst, 1e-4, at_most=True, unit="nats")


def encoders() -> Iterator[Bar]:
    """Encode 10,000 short texts."""
    rates = encoder.compare_speed(engines.DATA.parent, 10_000, n_rounds=2)
    plain = rates["sentence-transformers"]
    beside = f"sentence-transformers {plain:,.0f} texts/s"
    for name, bar in (("embedded", 5.0), ("teacher", 1.5)):
        ours = f"{name} {rates[name]:,.0f} texts/s"
        yield Bar("encoding 10,000 short texts", ours, beside, rates[name] / plain, bar)


def gpu(n_samples: int = 500, **smaller: int) -> Iterator[Bar]:
    """Score 77 labels for many samples on a GPU; `smaller` are sizes of a test."""
    import torch

    if not torch.cuda.is_available() and not smaller:
        print("no GPU here: its row is left out", file=sys.stderr)
        return
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from promptbot.models.causal import CausalEngine
    from promptbot.models.chat_format import load_chat_format
    from promptbot.models.codec import Codec
    from promptbot.models.local import LocalChatModel
    from promptbot.models.torch_network import TorchNetwork
    from promptbot.types import Message

    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    }
    torch.manual_seed(0)
    with torch.device(device):
        network: Any = Qwen2ForCausalLM(Qwen2Config(**{**sizes, **smaller})).to(torch.bfloat16)
    network.eval().requires_grad_(False)
    codec = Codec.load(engines.EMBEDDED)
    chat_format = load_chat_format(codec, engines.EMBEDDED, eos_ids=[], place="gpu")
    engine = CausalEngine(
        TorchNetwork(network, frozenset(inspect.signature(network.forward).parameters)),
        chat_format,
        context_tokens=None,
    )
    model = LocalChatModel(engine=engine, spec="gpu")
    asked, options = engines.banking_prompt(engines.DATA)
    lines = (engines.DATA / "test.jsonl").read_text("utf-8").splitlines()[:n_samples]
    prompts = [[*asked[:-1], Message("user", json.loads(line)["text"])] for line in lines]
    rows = [
        [*chat_format.encode(prompt).ids, *chat_format.encode_answer(option, end_of_turn=True)]
        for prompt in prompts
        for option in options
    ]
    n_read = 0
    compute = network.forward

    def counting(*, input_ids: Any, **others: Any) -> Any:
        nonlocal n_read
        n_read += input_ids.numel()
        return compute(input_ids=input_ids, **others)

    def plain(rows: list[list[int]]) -> None:
        with torch.inference_mode():
            for start in range(0, len(rows), 32):
                some = rows[start : start + 32]
                width = max(map(len, some))
                ids = torch.zeros((len(some), width), dtype=torch.long, device=device)
                mask = torch.zeros_like(ids)
                for at, row in enumerate(some):
                    ids[at, : len(row)] = torch.tensor(row, device=device)
                    mask[at, : len(row)] = 1
                logits = compute(input_ids=ids, attention_mask=mask).logits
                logits.float().log_softmax(-1).max().item()

    def seconds(run: Callable[[], object]) -> float:
        began = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    model.score_many(prompts[:4], options)  # the first call allocates
    network.forward = counting
    engines.forget(model)
    ours = seconds(lambda: model.score_many(prompts, options))
    network.forward = compute
    tenth = rows[: max(1, len(rows) // 10)]  # enough to know its speed
    plain(tenth[:32])
    theirs = seconds(lambda: plain(tenth)) * len(rows) / len(tenth)
    width = 8192 if device == "cuda" else 256
    square = torch.randn((width, width), device=device, dtype=torch.bfloat16)
    peak = 2 * width**3 / min(seconds(lambda: square @ square) for _ in range(5))
    share = 2 * network.num_parameters() * n_read / ours / peak
    work = f"77 labels, {len(prompts)} samples, Qwen2 of 0.5B in bf16 on a GPU"
    beside = f"padded batches {len(prompts) / theirs:.1f} samples/s"
    took = f"{len(prompts) / ours:.1f} samples/s, {share:.0%} of a matrix product's speed"
    yield Bar(work, took, beside, theirs / ours, 5)


def picture(bars: list[Bar], path: Path) -> None:
    """Draw how many times better than its bar each figure is."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    mpl.rcParams["svg.hashsalt"] = "promptbot"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(9.5, 0.9 + 0.42 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(bars))
    colours = ["#2f6fb0" if bar.is_met else "#c0362c" for bar in bars]
    axes.barh(places, [bar.beyond - 1 for bar in bars], left=1, color=colours, height=0.6)
    axes.set_yticks(places, [f"{bar.work}\n{bar.ours}" for bar in bars], fontsize=7)
    most = max(bar.beyond for bar in bars)
    for place, bar in zip(places, bars, strict=True):
        limit = f"(bar: {'at most' if bar.at_most else 'at least'} {bar.bar:g})"
        said = f" {bar.value:.3g} {bar.unit} {limit}"
        axes.text(max(bar.beyond, 1), place, said, va="center", fontsize=7)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *(0.9 * bar.beyond for bar in bars)), 4 * max(most, 1))
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("times better than the bar, which is the line at 1")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--llama", type=Path, help="a Python that has llama-cpp-python and gguf")
    parser.add_argument("--harness", type=Path, help="a Python that has promptbot and lm_eval")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to draw")
    parser.add_argument("--only", nargs="+", help="rows to measure")
    given = parser.parse_args()
    ways: dict[str, Callable[[], Iterator[Bar]]] = {
        "first": first,
        "write": functools.partial(write, given.llama),
        "turns": turns,
        "banking77": banking77,
        "memory": memory,
        "install": install,
        "encoder": encoders,
        "gpu": gpu,
    }
    if given.harness:
        ways["labels"] = functools.partial(labels, given.harness, "fixed")
        ways["retrieved"] = functools.partial(labels, given.harness, "nearest")
    if unknown := set(given.only or ()) - set(ways):
        parser.error(f"unknown rows {sorted(unknown)}; known: {sorted(ways)}")
    bars, failed = [], []
    print(HEADER, flush=True)
    for name, measure in ways.items():
        if not given.only or name in given.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                for bar in measure():  # a row is said as soon as it is known
                    bars.append(bar)
                    print(bar.row(), flush=True)
            except subprocess.CalledProcessError as error:
                failed.append(name)
                print(f"{name} failed: {error}\n{error.stderr or ''}", file=sys.stderr, flush=True)
    if bars:
        picture(bars, given.picture)
    if failed:
        sys.exit(f"rows that failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
