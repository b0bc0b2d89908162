"""Compares the local engines with plain Transformers: ``python -m benchmarks.engines [FOLDER]``.

Ways to run the same checkpoint, one thread each, measured in turns, medians:

- ``onnx``: our ONNX engine in float32, and ``int8``: with matrices in 8 bits;
- ``transformers``: our Transformers engine (same prefix cache, same option trie);
- ``plain``: Transformers' `generate` (for many prompts: one batch, padded on the left), and one
  forward pass over prompt and option for each option, as evaluation harnesses do;
- ``llama.cpp``: with ``--llama PYTHON``, an interpreter that has it (see `benchmarks.llama_side`).

The first tokens are measured in fresh processes, imports included. The share of padding is that of
the batch that ``plain`` reads; ours has none. Encoders: ``python -m benchmarks.encoder --speed``.
"""

from __future__ import annotations

import argparse
import atexit
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import llama_side
from promptbot.models.export import export_onnx
from promptbot.models.local import LocalChatModel
from promptbot.models.messages import to_langchain
from promptbot.models.onnx import load_onnx
from promptbot.models.transformers import load_transformers
from promptbot.types import Message

EMBEDDED = Path(__file__).parent.parent / "promptbot" / "models" / "embedded"
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "banking77"
ENGINES = ("onnx", "int8", "transformers", "plain", "llama.cpp")
ROWS = ("first", "read", "write", "score", "banking77", "many")
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
    n_many: int
    """Prompts that are answered together."""
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
    parser.add_argument("--many", type=int, default=24, help="prompts that are answered together")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, help="rows to measure")
    parser.add_argument("--data", type=Path, default=DATA, help="BANKING77, for its row")
    parser.add_argument("--llama", type=Path, help="a Python that has llama-cpp-python and gguf")
    given = parser.parse_args()
    sizes = Sizes(given.prompt, given.written, given.options, given.many, given.repeats)
    print(f"{given.folder.name}: {sizes}")
    print(
        f"{'':28}"
        + "".join(f"{engine:>16}" for engine in ENGINES)
        + f"{'onnx/plain':>12}{'int8/plain':>12}"
    )
    if "first" in given.only:
        print_row("process to first token, s", first_tokens(given.folder, sizes), smaller_wins=True)
    for row, work in works(given.folder, sizes, given.data, given.llama):
        if row not in given.only:
            continue
        seconds = measured(work.ways, sizes.n_repeats)
        rates = {engine: work.amount / one for engine, one in seconds.items()}
        print_row(f"{work.name}, {work.unit}/s", rates, smaller_wins=False)


def works(folder: Path, sizes: Sizes, data: Path, llama: Path | None) -> Iterator[tuple[str, Work]]:
    """Yield what is measured with models already loaded, with the row that it belongs to."""
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

    def score_one_by_one(prompt: list[int], options: list[list[int]]) -> None:
        with torch.inference_mode():
            for option in options:
                plain(torch.tensor([prompt + option])).logits.log_softmax(-1)

    def read() -> None:
        with torch.inference_mode():
            plain(ids, logits_to_keep=1)

    def each(run: Callable[[LocalChatModel], object]) -> dict[str, Callable[[], object]]:
        return {name: lambda model=model: run(model) for name, model in models.items()}  # type: ignore[misc]

    other: dict[str, Callable[[], object]] = {}
    if llama is not None:
        ask = start_llama(llama, folder)
        written = ask(prompt, sizes.n_written)
        model = models["onnx"]
        print(
            f"llama.cpp writes what onnx writes: {written == greedy(model, prompt, len(written))}"
        )
        other = {"llama.cpp": lambda: ask(prompt, sizes.n_written)}
    yield (
        "read",
        Work(
            "reading a prompt",
            len(prompt),
            "tokens",
            {**each(lambda m: greedy(m, prompt, 1)), "plain": read},
        ),
    )
    yield (
        "write",
        Work(
            "reading and writing",
            sizes.n_written,
            "tokens",
            {
                **each(lambda m: greedy(m, prompt, sizes.n_written)),
                "plain": lambda: generate(sizes.n_written),
                **other,
            },
        ),
    )
    yield (
        "score",
        Work(
            f"scoring {sizes.n_options} options",
            1,
            "prompts",
            {
                **each(lambda m: score(m, messages, options)),
                "plain": lambda: score_one_by_one(prompt, encoded),
            },
        ),
    )
    if data.is_dir():
        asked, labels = banking_prompt(data)
        asked_ids = chat_format.encode(asked).ids
        label_ids = [chat_format.encode_answer(label, end_of_turn=True) for label in labels]
        yield (
            "banking77",
            Work(
                f"{len(labels)} labels, 8 retrieved",
                1,
                "prompts",
                {
                    **each(lambda m: score(m, asked, labels)),
                    "plain": lambda: score_one_by_one(asked_ids, label_ids),
                },
            ),
        )
    many = many_prompts(sizes.n_many)
    many_ids = [chat_format.encode(one).ids for one in many]
    n_each = 32
    padded, mask = padded_on_the_left(many_ids)

    def generate_padded() -> None:
        with torch.inference_mode():
            plain.generate(
                torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                do_sample=False,
                max_new_tokens=n_each,
                pad_token_id=0,
                eos_token_id=list(chat_format.stop_ids),
            )

    share = 1 - sum(map(sum, mask)) / (len(mask) * len(mask[0]))
    yield (
        "many",
        Work(
            "many prompts one by one",
            len(many),
            "prompts",
            each(lambda m: ask_each(m, many, n_each)),
        ),
    )
    yield (
        "many",
        Work(
            f"together ({share:.0%} padding)",
            len(many),
            "prompts",
            {**each(lambda m: ask_many(m, many, n_each)), "plain": generate_padded},
        ),
    )


def start_llama(python: Path, folder: Path) -> Callable[[list[int], int], list[int]]:
    """Return what lets llama.cpp write n tokens after a prompt, in a process of its own."""
    made = Path(tempfile.mkdtemp())
    llama_side.write_folder(folder, made)
    process = subprocess.Popen(
        [python, "-P", llama_side.__file__, made],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def end() -> None:
        stdin.close()
        process.wait()
        shutil.rmtree(made)

    atexit.register(end)
    if stdout.readline() != "ready\n":
        raise SystemExit(f"{python} cannot run llama.cpp")

    def ask(prompt: list[int], n_tokens: int) -> list[int]:
        stdin.write(json.dumps({"prompt": prompt, "n_tokens": n_tokens}) + "\n")
        stdin.flush()
        return list(json.loads(stdout.readline())["ids"])

    return ask


def banking_prompt(data: Path) -> tuple[list[Message], list[str]]:
    """Return a question after the 8 examples nearest to it, of 10 a label, and all labels."""
    from promptbot.models.encoder import load_encoder

    train, test = (
        [json.loads(line) for line in (data / f"{split}.jsonl").read_text("utf-8").splitlines()]
        for split in ("train", "test")
    )
    by_label: dict[str, list[str]] = {}
    for row in train:
        by_label.setdefault(row["label"], []).append(row["text"])
    pool = [(text, label) for label, texts in sorted(by_label.items()) for text in texts[:10]]
    encoder = load_encoder("embedded")
    question = test[0]["text"]
    nearness = encoder.encode([text for text, _ in pool]) @ encoder.encode([question])[0]
    messages = [Message("system", "Name the intent of the customer's last message.")]
    for i in nearness.argsort()[-8:]:
        text, label = pool[i]
        messages += [Message("user", text), Message("assistant", wording(label))]
    return [*messages, Message("user", question)], [wording(label) for label in sorted(by_label)]


def wording(label: str) -> str:
    """Return a label as words."""
    return label.replace("_", " ").strip()


def many_prompts(n: int) -> list[list[Message]]:
    """Return prompts that share 150 words of instructions, with questions of 3 to 30 words."""
    system = prompt_of(150)[0]
    return [
        [
            system,
            Message("user", " ".join(WORDS[i * (j + 3) % 12] for j in range(3 + 7 * i % 28))),
        ]
        for i in range(n)
    ]


def padded_on_the_left(prompts: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return a batch and its mask, as Transformers reads prompts of unequal length."""
    width = max(map(len, prompts))
    ids = [[0] * (width - len(one)) + one for one in prompts]
    return ids, [[0] * (width - len(one)) + [1] * len(one) for one in prompts]


def ask_each(model: LocalChatModel, prompts: list[list[Message]], n: int) -> None:
    """Answer prompts one after another; the cache knows what they share from the second on."""
    forget(model)
    for messages in prompts:
        model.invoke(to_langchain(messages), max_new_tokens=n)


def ask_many(model: LocalChatModel, prompts: list[list[Message]], n: int) -> None:
    """Answer prompts together, none of which a cache knows."""
    forget(model)
    model.generate_many(prompts, max_new_tokens=n)


def load_int8(folder: Path) -> LocalChatModel:
    """Return the same checkpoint with matrices in 8 bits."""
    with tempfile.TemporaryDirectory() as made:
        copied = Path(shutil.copytree(folder, made, dirs_exist_ok=True))
        export_onnx(copied, with_int8=True)
        return load_onnx(copied, "int8")


def greedy(model: LocalChatModel, prompt: list[int], n: int) -> list[int]:
    """Write n tokens greedily after a prompt that no cache knows; return them."""
    forget(model)
    writing = model.engine.start(prompt)
    ids: list[int] = []
    while len(ids) < n:
        ids.append(int(writing.next_logits(ids[-1] if ids else None).argmax()))
    writing.close()
    return ids


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
    other = values.get("plain", values["transformers"])  # what ONNX is compared with
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
