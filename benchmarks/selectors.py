"""Milliseconds to choose examples from a large pool, beside LangChain's own, and the pool's memory.

Both sides choose from the same pool with the same vectors: promptbot's nearest and diverse
selectors, LangChain's SemanticSimilarityExampleSelector and MaxMarginalRelevanceExampleSelector on
InMemoryVectorStore. The vectors are random unit vectors, made before the clock starts; a
question's vector is a noisy copy of an example's. The two sides take turns on each question, and
the run fails when they choose different examples. What the pool adds to the resident memory is
measured in a process of its own, before LangChain is imported. Vectors that are mapped from the
cache file do not count as resident everywhere, so their whole size is added: an upper bound.

    python -m benchmarks.selectors
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptbot.prompt.selectors import CANDIDATES_PER_EXAMPLE, Pool, make_selector
from promptbot.types import Example

if TYPE_CHECKING:
    from promptbot.interfaces import Selector

DIMENSION = 384
MAX_MS, MIN_TIMES, MAX_MIB = 15.0, 20.0, 400.0


class GivenVectors:
    """An encoder that knows its vectors beforehand: texts are ``pool 12`` and ``question 3``."""

    dimension = DIMENSION

    def __init__(self, n_pool: int, n_questions: int) -> None:
        self.revision = f"given {n_pool}"
        random = np.random.default_rng(0)
        pool = random.standard_normal((n_pool, DIMENSION), dtype=np.float32)
        pool /= np.linalg.norm(pool, axis=1, keepdims=True)
        noise = random.standard_normal((n_questions, DIMENSION), dtype=np.float32)
        questions = pool[:: max(1, n_pool // n_questions)][:n_questions] + 0.05 * noise
        questions /= np.linalg.norm(questions, axis=1, keepdims=True)
        self._vectors = {"pool": pool, "question": questions}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        kinds = [text.split() for text in texts]
        return np.stack([self._vectors[kind][int(number)] for kind, number in kinds])


def make_pool(n: int) -> list[Example]:
    return [Example(f"pool {number}", f"answer {number}", line=number) for number in range(n)]


def resident_mib() -> float:
    """Return the resident memory of this process in MiB (Linux)."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def measure_memory(n_pool: int, cache: Path) -> None:
    """Print what examples, vectors and one search add to a process at most, in MiB."""

    class OnlyQuestions(GivenVectors):
        def __init__(self) -> None:
            self.revision = f"given {n_pool}"
            self._vectors = {"question": np.eye(1, DIMENSION, dtype=np.float32)}

    make_selector("nearest", Pool(make_pool(1), OnlyQuestions()))  # the imports
    before = resident_mib()
    pool = make_pool(n_pool)
    make_selector("diverse", Pool(pool, OnlyQuestions(), cache_dir=cache)).select("question 0", 8)
    print(resident_mib() - before + sum(f.stat().st_size for f in cache.iterdir()) / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", type=int, default=100_000, help="examples to choose from")
    parser.add_argument("--k", type=int, default=8, help="examples to choose")
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        measure_memory(args.pool, args.memory)
        return

    encoder = GivenVectors(args.pool, args.questions)
    pool = make_pool(args.pool)
    questions = [f"question {number}" for number in range(args.questions)]
    with TemporaryDirectory() as folder:
        ours: dict[str, Selector] = {
            kind: make_selector(kind, Pool(pool, encoder, cache_dir=Path(folder)))
            for kind in ("nearest", "diverse")
        }
        for selector in ours.values():
            selector.select(questions[0], args.k)  # reads the pool's vectors
        command = [sys.executable, "-m", "benchmarks.selectors", "--memory", folder]
        command += ["--pool", str(args.pool)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mib = float(said)

    theirs = langchains(encoder, pool, args.k)
    print(f"{args.k} of {args.pool} examples, {len(questions)} questions, without the encoder")
    failed = []
    for kind in ("nearest", "diverse"):
        seconds: dict[str, list[float]] = {"promptbot": [], "langchain": []}
        for question in questions:
            started = time.perf_counter()
            found = [c.item.input for c in ours[kind].select(question, args.k)]
            seconds["promptbot"].append(time.perf_counter() - started)
            started = time.perf_counter()
            expected = theirs[kind](question)
            seconds["langchain"].append(time.perf_counter() - started)
            if found != expected:
                raise SystemExit(f"{kind}: other examples for {question!r}: nothing to compare")
        median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
        times = median["langchain"] / median["promptbot"]
        print(
            f"{kind:8} promptbot {median['promptbot']:8.2f} ms, langchain "
            f"{median['langchain']:8.0f} ms a question (medians): {times:.0f} times as fast"
        )
        if args.pool == 100_000 and (median["promptbot"] > MAX_MS or times < MIN_TIMES):
            failed.append(kind)
    print(f"memory   the pool adds at most {mib:.0f} MiB to a process, its texts included")
    if failed or mib > MAX_MIB:
        raise SystemExit(f"not within {MAX_MS:.0f} ms, {MIN_TIMES:.0f} times, {MAX_MIB:.0f} MiB")


def langchains(
    encoder: GivenVectors, pool: Sequence[Example], k: int
) -> dict[str, Callable[[str], list[str]]]:
    """Return LangChain's two selectors over the pool, as functions from question to inputs."""
    from langchain_core.embeddings import Embeddings
    from langchain_core.example_selectors import (
        MaxMarginalRelevanceExampleSelector,
        SemanticSimilarityExampleSelector,
    )
    from langchain_core.vectorstores import InMemoryVectorStore

    class Given(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = encoder.encode(texts).tolist()
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    store = InMemoryVectorStore(Given())
    store.add_texts(
        [example.input for example in pool],
        metadatas=[{"input": example.input, "output": example.output} for example in pool],
    )
    near = SemanticSimilarityExampleSelector(vectorstore=store, k=k, input_keys=["input"])
    diverse = MaxMarginalRelevanceExampleSelector(
        vectorstore=store, k=k, fetch_k=CANDIDATES_PER_EXAMPLE * k, input_keys=["input"]
    )
    return {
        "nearest": lambda text: [e["input"] for e in near.select_examples({"input": text})],
        "diverse": lambda text: [e["input"] for e in diverse.select_examples({"input": text})],
    }


if __name__ == "__main__":
    main()
