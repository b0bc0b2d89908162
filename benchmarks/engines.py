"""Compares the local engines with plain Transformers: ``python -m benchmarks.engines [FOLDER]``.

Four ways to run the same checkpoint, one thread each, measured in turns in one process, medians:

- ``onnx``: our ONNX engine in float32, and ``int8``: with matrices in 8 bits;
- ``transformers``: our Transformers engine (same prefix cache, same option trie);
- ``plain``: `generate`, and one forward pass over prompt and option for each option.

The first tokens are measured in fresh processes, imports included.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptbot.models.export import export_onnx
from promptbot.models.local import LocalChatModel
from promptbot.models.onnx import load_onnx
from promptbot.models.transformers import load_transformers
from promptbot.types import Message

EMBEDDED = Path(__file__).parent.parent / "promptbot" / "models" / "embedded"
ENGINES = ("onnx", "int8", "transformers", "plain")
WORDS = ("where", "order", "card", "parcel", "refund", "limit")
WORDS += ("branch", "address", "transfer", "balance", "PIN", "fee")
FIRST_TOKEN = {
    "onnx": "from promptbot.models.onnx import load_onnx as load",
    "transformers": "from promptbot.models.transformers import load_transformers as load",
}


@dataclass(frozen=True)
class Sizes:
    """How much work is measured."""

    n_prompt: int
    """Words of the prompt; each is at least one token."""
    n_written: int
    """Tokens to write; their speed includes reading the prompt."""
    n_options: int
    """Label options to score."""
    n_repeats: int
    """Measurements, of which the median counts."""


@dataclass(frozen=True)
class Work:
    """One measured piece of work, with a function for each way to do it."""

    name: str
    """What is done."""
    amount: float
    """How much, in units."""
    unit: str
    """Of the amount; printed per second."""
    ways: dict[str, Callable[[], object]]
    """By engine."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=EMBEDDED)
    parser.add_argument("--prompt", type=int, default=250, help="words of the prompt")
    parser.add_argument("--written", type=int, default=64, help="tokens to write")
    parser.add_argument("--options", type=int, default=20, help="label options")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    sizes = Sizes(given.prompt, given.written, given.options, given.repeats)
    print(f"{given.folder.name}: {sizes}")
    print(
        f"{'':28}"
        + "".join(f"{engine:>16}" for engine in ENGINES)
        + f"{'onnx/plain':>12}{'int8/plain':>12}"
    )
    print_row("process to first token, s", first_tokens(given.folder, sizes), smaller_wins=True)
    for work in works(given.folder, sizes):
        seconds = measured(work.ways, sizes.n_repeats)
        rates = {engine: work.amount / one for engine, one in seconds.items()}
        print_row(f"{work.name}, {work.unit}/s", rates, smaller_wins=False)


def works(folder: Path, sizes: Sizes) -> list[Work]:
    """Return what is measured inside this process."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    models = {
        "onnx": load_onnx(folder, "onnx"),
        "int8": load_int8(folder),
        "transformers": load_transformers(str(folder), "transformers"),
    }
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.eval().requires_grad_(False)
    messages = prompt_of(sizes.n_prompt)
    chat_format = models["onnx"].engine.chat_format
    prompt = chat_format.encode(messages).ids
    options = [
        f"{WORDS[i % 12]} {WORDS[i // 12 % 12]} {WORDS[i * 7 % 12]}" for i in range(sizes.n_options)
    ]
    encoded = [chat_format.encode_answer(option, end_of_turn=True) for option in options]
    ids = torch.tensor([prompt])

    def generate(n: int) -> None:
        with torch.inference_mode():
            plain.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=n,
                max_new_tokens=n,
                pad_token_id=0,
            )

    def score_one_by_one() -> None:
        with torch.inference_mode():
            for option in encoded:
                plain(torch.tensor([prompt + option])).logits.log_softmax(-1)

    def read() -> None:
        with torch.inference_mode():
            plain(ids, logits_to_keep=1)

    def each(run: Callable[[LocalChatModel], object]) -> dict[str, Callable[[], object]]:
        return {name: lambda model=model: run(model) for name, model in models.items()}  # type: ignore[misc]

    return [
        Work(
            "reading a prompt",
            len(prompt),
            "tokens",
            {**each(lambda m: write(m, prompt, 1)), "plain": read},
        ),
        Work(
            "reading and writing",
            sizes.n_written,
            "tokens",
            {
                **each(lambda m: write(m, prompt, sizes.n_written)),
                "plain": lambda: generate(sizes.n_written),
            },
        ),
        Work(
            f"scoring {sizes.n_options} options",
            1,
            "prompts",
            {**each(lambda m: score(m, messages, options)), "plain": score_one_by_one},
        ),
    ]


def load_int8(folder: Path) -> LocalChatModel:
    """Return the same checkpoint with matrices in 8 bits."""
    with tempfile.TemporaryDirectory() as made:
        copied = Path(shutil.copytree(folder, made, dirs_exist_ok=True))
        export_onnx(copied, with_int8=True)
        return load_onnx(copied, "int8")


def write(model: LocalChatModel, prompt: list[int], n: int) -> None:
    """Write n tokens greedily after a prompt that no cache knows."""
    forget(model)
    writing = model.engine.start(prompt)
    token: int | None = None
    for _ in range(n):
        token = int(writing.next_logits(token).argmax())
    writing.close()


def score(model: LocalChatModel, messages: list[Message], options: list[str]) -> None:
    """Score options after a prompt that no cache knows."""
    forget(model)
    model.score(messages, options)


def forget(model: LocalChatModel) -> None:
    """Empty the prefix cache."""
    model.engine.cache = type(model.engine.cache)(model.engine.network)


def prompt_of(n_words: int) -> list[Message]:
    """Return a prompt of instructions and a question."""
    text = " ".join(WORDS[i * i % 12] for i in range(n_words))
    return [Message("system", text), Message("user", "Where is my order?")]


def measured(ways: dict[str, Callable[[], object]], n_repeats: int) -> dict[str, float]:
    """Return the median seconds of each way; they take turns, so that load hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()  # the first call compiles and allocates
    for _ in range(n_repeats):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(one) for name, one in seconds.items()}


def first_tokens(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Return the seconds from the start of a process to its first token, by engine."""

    def start(engine: str) -> None:
        code = (
            f"{FIRST_TOKEN[engine]}; from pathlib import Path; "
            f"model = load(Path({str(folder)!r}) if {engine == 'onnx'} else {str(folder)!r}, 'x'); "
            "model.invoke('Where is my order?', max_new_tokens=1)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    ways: dict[str, Any] = {name: lambda name=name: start(name) for name in FIRST_TOKEN}
    return measured(ways, sizes.n_repeats)


def print_row(name: str, values: dict[str, float], *, smaller_wins: bool) -> None:
    """Print one line of the table, with how many times better ONNX is than the last column."""
    other = values.get("plain", values["transformers"])
    cells = "".join(
        f"{values[engine]:>16,.2f}" if engine in values else f"{'-':>16}" for engine in ENGINES
    )
    for engine in ("onnx", "int8"):
        if engine in values:
            better = other / values[engine] if smaller_wins else values[engine] / other
            cells += f"{better:>11.1f}x"
    print(f"{name:28}{cells}")


if __name__ == "__main__":
    main()
