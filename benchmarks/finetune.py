"""Times training beside plain scripts, side by side in one run, and the linear probe.

    OMP_NUM_THREADS=1 python -m benchmarks.finetune [--examples 640] [--epochs 4] [--rounds 3]
      [--probe 10000]

`sequence_classification` from all-MiniLM-L6-v2 on BANKING77's training messages, some epochs with
the rates that it takes by itself, from reading the checkpoint to writing the result. Beside it, by
turns: a plain `Trainer` script of the same settings, whose head starts from the same regression,
and one that differs in what many scripts do, padding every text to the longest and taking them in
any order. Then a linear probe on as many messages, which are encoded for it, with the embedded
encoder and with all-MiniLM-L6-v2.

Processor seconds are what counts on a machine that others use too; wall-clock time is shown.

    python -m benchmarks.finetune --rounds 0 --probe 0 --held-out 10 [--method lora] [--epochs 8]
      [--rate 1e-4]

instead trains with 10 messages a label and judges by 1,000 others of the training file: how a
method's settings were chosen, without a look at the test set.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptbot.learn import head, probe, tuned
from promptbot.models.encoder import checkpoint_folder, load_encoder
from promptbot.models.transformers import quiet
from promptbot.types import Example, Sample

DATA = Path("../shared/data/banking77/train.jsonl")


def read_examples(n: int) -> list[Example]:
    """Return n training messages, drawn with a fixed seed; some twice where there are fewer."""
    lines = DATA.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)
    chosen = [rows[i % len(rows)] for i in range(n)]
    return [Example(row["text"], row["label"], row["label"]) for row in chosen]


def ours(examples: list[Example], base: Path, settings: tuned.Recipe, folder: Path) -> None:
    """Train as `promptbot finetune` does."""
    tuned.fit_classifier(
        examples,
        base,
        folder / "out",
        folder / "work",
        method="sequence_classification",
        seed=0,
        place="benchmark",
        settings=settings,
    )


def plain(
    examples: list[Example],
    base: Path,
    settings: tuned.Recipe,
    folder: Path,
    *,
    padded: bool = False,
) -> None:
    """Train as a script of one's own would: the same settings, or all texts padded alike."""
    from transformers import (
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(0)
    labels = sorted({str(example.label) for example in examples})
    model, tokenizer = head.load_with_head(base, labels, "benchmark")
    texts = tokenizer(
        [example.input for example in examples],
        truncation=True,
        max_length=tuned.MAX_TOKENS,
        padding="longest" if padded else False,
    )
    rows = [
        {name: values[i] for name, values in texts.items()}
        | {"labels": labels.index(str(example.label))}
        for i, example in enumerate(examples)
    ]
    tokens = [{name: row[name] for name in row if name != "labels"} for row in rows]
    head.start_from_regression(model, tokenizer, tokens, [row["labels"] for row in rows])
    arguments: dict[str, Any] = {} if padded else {"train_sampling_strategy": "group_by_length"}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder / "work"),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            weight_decay=tuned.WEIGHT_DECAY,
            warmup_steps=settings.warmup_steps,
            save_strategy="epoch",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **arguments,
        ),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=rows,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(folder / "out"))


def held_out_accuracy(
    per_label: int, base: Path, method: str, rate: float | None, epochs: int | None
) -> float:
    """Return the share of 1,000 training messages that a training on others gets right.

    `rate` and `epochs` stand in place of the method's own.
    """
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(0)
    rng.shuffle(rows)
    by_label: dict[str, list[str]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row["text"])
    pairs = [(label, text) for label in sorted(by_label) for text in by_label[label][per_label:]]
    rng.shuffle(pairs)
    asked = [Sample(str(i), text, label) for i, (label, text) in enumerate(pairs[:1_000])]
    examples = [
        Example(text, label, label)
        for label in sorted(by_label)
        for text in by_label[label][:per_label]
    ]
    own = tuned.recipe(method, len(examples))
    n_epochs = epochs or own.epochs
    settings = replace(
        own,
        learning_rate=rate or own.learning_rate,
        epochs=n_epochs,
        warmup_steps=max(1, own.warmup_steps * n_epochs // own.epochs),
    )
    with tempfile.TemporaryDirectory() as name, quiet():
        found = tuned.fit_classifier(
            examples,
            base,
            Path(name) / "out",
            Path(name) / "work",
            method=method,
            seed=0,
            place="benchmark",
            settings=settings,
        ).predict(asked)
    return statistics.fmean(p.label == s.target for p, s in zip(found, asked, strict=True))


def timed(run: Callable[[Path], None]) -> tuple[float, float]:
    """Return the processor's and the wall clock's seconds of a run in a folder of its own."""
    with tempfile.TemporaryDirectory() as name, quiet():
        cpu, wall = time.process_time(), time.perf_counter()
        run(Path(name))
        return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=640, help="messages to train on")
    parser.add_argument("--epochs", type=int, help="4; with --held-out the method's own")
    parser.add_argument("--rounds", type=int, default=3, help="of each side, by turns")
    parser.add_argument("--probe", type=int, default=10_000, help="messages of the probe; 0: none")
    parser.add_argument("--held-out", type=int, metavar="N", help="accuracy with N a label")
    parser.add_argument("--method", default="sequence_classification", help="of --held-out")
    parser.add_argument("--rate", type=float, help="of --held-out; the method's own by itself")
    given = parser.parse_args()
    examples = read_examples(given.examples)
    base = checkpoint_folder("teacher", place="benchmark")
    own = tuned.recipe("sequence_classification", len(examples))
    epochs = given.epochs or 4
    warmup = max(1, own.warmup_steps * epochs // own.epochs)
    settings = replace(own, epochs=epochs, warmup_steps=warmup)
    sides: dict[str, Callable[[Path], None]] = {
        "promptbot": lambda folder: ours(examples, base, settings, folder),
        "plain, same settings": lambda folder: plain(examples, base, settings, folder),
        "plain, padded": lambda folder: plain(examples, base, settings, folder, padded=True),
    }
    if given.rounds:
        few = examples[: 2 * settings.batch_size]  # imports and first calls belong to no side
        timed(lambda folder: ours(few, base, settings, folder))
        timed(lambda folder: plain(few, base, settings, folder))
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for number in range(given.rounds):
            for name, run in sides.items():
                seconds[name].append(timed(run))
                cpu, wall = seconds[name][-1]
                print(f"  round {number + 1}, {name}: {cpu:.1f} s, {wall:.1f} s", file=sys.stderr)
        print(f"{len(examples):,} messages, {epochs} epochs, the median of rounds:")
        for name, found in seconds.items():
            cpu, wall = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"  {name}: {cpu:.1f} s of processor time, {wall:.1f} s")
        for name in list(sides)[1:]:
            # Round by round, since the machine's load changes from one to the next.
            ratios = [
                (them[0] / us[0], them[1] / us[1])
                for us, them in zip(seconds["promptbot"], seconds[name], strict=True)
            ]
            cpu, wall = (statistics.median(column) for column in zip(*ratios, strict=True))
            print(f"  {name} / promptbot: {cpu:.2f} (wall clock {wall:.2f})")
    if given.held_out:
        accuracy = held_out_accuracy(given.held_out, base, given.method, given.rate, given.epochs)
        print(
            f"{given.method}, {given.held_out} messages a label: {accuracy:.1%} of 1,000 others "
            "are right"
        )
    for spec in ("embedded", "teacher") if given.probe else ():
        encoder, messages = load_encoder(spec), read_examples(given.probe)
        encoder.encode(["a first message"])
        cpu, wall = time.process_time(), time.perf_counter()
        probe.fit_probe(messages, encoder)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"probe of {given.probe:,} messages on {spec}: {cpu:.1f} s of processor time, "
              f"{wall:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
