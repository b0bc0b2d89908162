"""How soon the command line answers, beside what other programs need just to start.

    python -m benchmarks.startup [--rounds 7] [--json]

Two comparisons, each with its rounds interleaved so that both sides meet the same machine:
CPU seconds of ``promptbot --help`` beside ``python -c "import argparse, json"``; and wall-clock
seconds from the start of ``promptbot run customer_service --once hi`` to the first byte of its
answer beside the whole of ``python -c "import torch, transformers"``. One unmeasured round comes
first, so that files are cached and the bot's vectors computed, as from a user's second start on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

PROMPTBOT = [sys.executable, "-m", "promptbot"]
HELP = [*PROMPTBOT, "--help"]
ONCE = [*PROMPTBOT, "run", "customer_service", "--once", "hi"]
PLAIN_PYTHON = [sys.executable, "-c", "import argparse, json"]
TORCH = [sys.executable, "-c", "import torch, transformers"]


@dataclass(frozen=True)
class Seconds:
    """What one command took over all rounds."""

    command: str
    what: str
    median: float
    lowest: float
    highest: float


def cpu_seconds(command: list[str]) -> float:
    """Return the CPU seconds of a command, its children included."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def seconds_to_end(command: list[str]) -> float:
    """Return the wall-clock seconds of a command."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def seconds_to_first_byte(command: list[str]) -> float:
    """Return the wall-clock seconds until a command writes its first byte."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        elapsed = time.perf_counter() - started
        process.stdout.read()
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} failed: there is nothing to measure")
    return elapsed


def compare(
    contenders: Mapping[str, Callable[[], float]], what: str, n_rounds: int
) -> list[Seconds]:
    """Return the seconds of each contender, taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(n_rounds + 1):
        for name, measure in contenders.items():
            elapsed = measure()
            if round_number:
                taken[name].append(elapsed)
    return [
        Seconds(name, what, statistics.median(all_of_it), min(all_of_it), max(all_of_it))
        for name, all_of_it in taken.items()
    ]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds of each command")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    pairs = [
        compare(
            {
                "promptbot --help": lambda: cpu_seconds(HELP),
                'python -c "import argparse, json"': lambda: cpu_seconds(PLAIN_PYTHON),
            },
            "CPU seconds",
            args.rounds,
        ),
        compare(
            {
                "promptbot run customer_service --once hi": lambda: seconds_to_first_byte(ONCE),
                'python -c "import torch, transformers"': lambda: seconds_to_end(TORCH),
            },
            "seconds to the first byte, or to the end",
            args.rounds,
        ),
    ]
    if args.json:
        rows = [
            {"ratio": ours.median / theirs.median, "ours": asdict(ours), "theirs": asdict(theirs)}
            for ours, theirs in pairs
        ]
        print(json.dumps({"rounds": args.rounds, "comparisons": rows}))
        return
    for pair in pairs:
        print(f"{pair[0].what}; median (range) of {args.rounds}")
        for row in pair:
            print(f"  {row.median:6.3f} ({row.lowest:.3f} to {row.highest:.3f})  {row.command}")
        print(f"  ratio {pair[0].median / pair[1].median:.2f}")


if __name__ == "__main__":
    main()
