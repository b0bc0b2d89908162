"""Which way fits a task, its data and this machine: rules with reasons, then what was measured.

A rule adds or takes points and says why; the way with the most points is the advice. What runs of
the same suite measured stands above every rule.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptbot.bot.folder import load_bot
from promptbot.bot.spec import CalibrationSpec
from promptbot.evals.curve import say_size
from promptbot.evals.measures import run_metric
from promptbot.evals.records import RUNS, run_folders
from promptbot.evals.suite import Suite
from promptbot.learn.spec import Method
from promptbot.models.footprint import usable_cores
from promptbot.models.registry import EMBEDDED

PROMPTS = ("prompt", "calibrated prompt")
WAYS = (*PROMPTS, "linear probe", "LoRA", "full fine-tuning")

FULL_WEIGHT = 10
"""Points of the way that did best in a run of the same suite: more than all rules give."""

FEW_FOR_HEAD = 20
"""Examples a label below which `contrastive` is better than a classification head; see
docs/baseline.md."""

WAY_OF: Mapping[Method, str] = {
    "linear_probe": "linear probe",
    "lora": "LoRA",
    "causal_lora": "LoRA",
    "contrastive": "full fine-tuning",
    "sequence_classification": "full fine-tuning",
    "causal_lm": "full fine-tuning",
}
"""The way of each method of `promptbot finetune`."""

GIB = 2**30

FULL_BYTES = 16
"""Bytes for each parameter when all are trained in float32: weights, gradients, and Adam's two."""

TEACHER_PARAMETERS = 22_700_000
"""Of all-MiniLM-L6-v2, the default base of training."""

CHAT_MODELS = (
    (2.5, "hf:Qwen/Qwen2.5-0.5B-Instruct"),
    (7.0, "hf:Qwen/Qwen2.5-1.5B-Instruct"),
    (20.0, "hf:Qwen/Qwen2.5-7B-Instruct"),
)
"""Open chat models by the GiB that must be free: of memory in float32, of a GPU in half that."""

MULTILINGUAL = "hf:intfloat/multilingual-e5-small"
"""An encoder for languages other than English (118M parameters)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute with."""

    n_cores: int
    """Processors that this process may use."""
    free_gib: float
    """Memory that is free."""
    gpu: str | None
    """The GPU's name; None where there is none."""
    gpu_gib: float
    """Its memory; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be solved, and with which data."""

    kind: str
    """``chat`` or ``classify``."""
    language: str
    """The bot's."""
    model: str
    """The model that the bot names."""
    n_examples: int
    """Labelled examples, or answers of a chat bot."""
    n_labels: int
    """Labels; 0 in chat bots."""
    per_label: float
    """Examples of a label, the median; 0 where there are none."""
    fewest: int
    """Examples of the rarest label."""
    most: int
    """Examples of the commonest label."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a way fits, or does not."""

    points: int
    """For or against; a way that cannot be gone has `IMPOSSIBLE`."""
    text: str
    """In one sentence."""


IMPOSSIBLE = -100
"""Points of what rules a way out."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way with everything that speaks for and against it."""

    name: str
    """One of `WAYS`."""
    model: str
    """The pretrained model that it would start from."""
    reasons: tuple[Reason, ...]
    """What was considered."""
    method: Method | None = None
    """With which `promptbot finetune` goes it; None for prompts."""

    @property
    def points(self) -> int:
        """The sum over its reasons."""
        return sum(reason.points for reason in self.reasons)

    @property
    def possible(self) -> bool:
        """Whether nothing rules it out."""
        return all(reason.points > IMPOSSIBLE for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Measured:
    """What an earlier run found."""

    run: str
    """The run's folder."""
    same_suite: bool
    """Whether it is of the suite that is asked about."""
    text: str
    """What it found, in a sentence."""
    winner: str | None
    """``prompt`` or ``training`` with the examples that there are; None where it is open."""
    metric: str
    """What was measured."""
    by_way: Mapping[str, tuple[float, str]]
    """The best that each way came to, with the examples that there are, and the column that did; of
    the same suite alone."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do, and why."""

    task: Task
    """What is to be solved."""
    machine: Machine
    """With what."""
    ways: tuple[Way, ...]
    """The best first."""
    measured: tuple[Measured, ...]
    """Runs that say something about it, those of the same suite first, newest first."""
    sentence: str
    """The advice."""


def advise(suite: Suite, machine: Machine | None = None, runs: Path = RUNS) -> Advice:
    """Return which model and which way fit a suite, by rules and by what runs measured here."""
    machine = machine or this_machine()
    task = describe_task(suite)
    measured = tuple(what_was_measured(suite, task, runs))
    ways = tuple(
        sorted(
            (_way(name, task, machine, measured) for name in WAYS),
            key=lambda way: (not way.possible, -way.points),
        )
    )
    best = ways[0]
    why = max(best.reasons, key=lambda reason: reason.points)
    sentence = f"{best.name[0].upper()}{best.name[1:]}, with {best.model}: {why.text}"
    return Advice(task, machine, ways, measured, sentence)


def describe_task(suite: Suite) -> Task:
    """Return what a suite's bot is to solve, and which examples there are."""
    bot = load_bot(suite.bot)
    if suite.pool is not None:
        counts = Counter(row.sample.target for row in suite.pool.rows)
    else:
        counts = Counter(str(example.label) for example in bot.examples if example.label)
        counts.update(dict.fromkeys(bot.spec.labels or (), 0))
    return Task(
        kind=suite.task,
        language=bot.spec.language,
        model=bot.spec.model,
        n_examples=counts.total() if suite.task == "classify" else len(bot.examples),
        n_labels=len(counts),
        per_label=statistics.median(counts.values()) if counts else 0,
        fewest=min(counts.values(), default=0),
        most=max(counts.values(), default=0),
    )


def this_machine() -> Machine:
    """Return what this machine has; nothing heavy is imported for it."""
    name, gib = _gpu()
    return Machine(usable_cores(), _free_bytes() / GIB, name, gib)


def _free_bytes() -> int:
    try:
        with Path("/proc/meminfo").open() as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 4 * GIB


def _gpu() -> tuple[str | None, float]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None, 0.0
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        name, _, mebibytes = said.splitlines()[0].rpartition(", ")
        return name, int(mebibytes) / 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None, 0.0


def what_was_measured(suite: Suite, task: Task, runs: Path = RUNS) -> Iterator[Measured]:
    """Yield what earlier runs found: this suite's own first, and learning curves of others."""
    found = []
    for folder in run_folders(runs):
        try:
            numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            if numbers["suite"] == suite.spec.name:
                manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
                found.append(_measured_itself(folder, suite, numbers, manifest, task))
            elif (curve := numbers.get("curve")) and curve["pairs"]:
                text, winner = _of_curve(numbers["suite"], curve, task)
                found.append(Measured(str(folder), False, text, winner, "accuracy", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue  # a run that is not complete, or of another version
    yield from sorted(found, key=lambda one: not one.same_suite)


def _measured_itself(
    folder: Path, suite: Suite, numbers: dict[str, Any], manifest: dict[str, Any], task: Task
) -> Measured:
    """Return what a run of the same suite says of each way that it measured."""
    curve = numbers.get("curve")
    if curve:
        place = _nearest_size(curve["sizes"], task)
        values = {
            one["name"]: float(one["points"][place]["accuracy"]["value"]) for one in curve["curves"]
        }
        metric = f"accuracy with {_of_label(curve['sizes'][place])}"
        text, winner = f"{suite.spec.name}: {metric}", None
        if curve["pairs"]:
            text, winner = _of_curve(suite.spec.name, curve, task)
    else:
        metric = str(manifest["metrics"][0])
        values = {
            name: float(column["metrics"][metric]["estimate"])
            for name, column in numbers["columns"].items()
            if column["metrics"][metric]
        }
        text, winner = f"{suite.spec.name}: {numbers['headline']}", None
    by_way: dict[str, tuple[float, str]] = {}
    for column in manifest["columns"]:
        name = column["curve"] or column["name"]
        if name in values:
            way = _way_of(name, column, suite, manifest)
            by_way[way] = max((values[name], name), by_way.get(way, (0.0, "")))
    if not run_metric(manifest, manifest["metrics"][0]).higher_is_better and not curve:
        by_way = {}
    return Measured(str(folder), True, text, winner, metric, by_way)


def _way_of(name: str, column: dict[str, Any], suite: Suite, manifest: dict[str, Any]) -> str:
    if column["baseline"]:
        return WAY_OF[manifest["baselines"][name]["method"]]
    calibration = load_bot(suite.bot, column["variant"]).spec.calibration
    return "prompt" if calibration == CalibrationSpec() else "calibrated prompt"


def _nearest_size(sizes: Sequence[float], task: Task) -> int:
    """Return the place of the budget that is nearest to the examples that there are."""
    per_label = max(task.per_label, 1)
    return min(range(len(sizes)), key=lambda i: abs(math.log(sizes[i] / per_label)))


def _of_curve(suite: str, curve: dict[str, Any], task: Task) -> tuple[str, str | None]:
    """Return what a curve says of its first pair, in a sentence, and which side won."""
    pair, sizes = curve["pairs"][0], curve["sizes"]
    place = _nearest_size(sizes, task)
    d = pair["differences"][place]
    winner = "prompt" if d["low"] > 0 else "training" if d["high"] < 0 else None
    text = (
        f"{suite}: with {_of_label(sizes[place])} {pair['prompt']} against "
        f"{pair['baseline']} is {d['value'] * 100:+.1f} points "
        f"[{d['low'] * 100:+.1f}, {d['high'] * 100:+.1f}]"
    )
    return text, winner


def _way(name: str, task: Task, machine: Machine, measured: Sequence[Measured]) -> Way:
    method: Method | None = None
    if name in PROMPTS:
        model = _prompt_model(task, machine)
        rules = _prompt_rules(task, machine, model, calibrated=name != "prompt")
    elif task.kind == "chat":
        model = task.model
        method = "causal_lora" if name == "LoRA" else "causal_lm"
        rules = _chat_training_rules(name, task, machine)
    else:
        model = _base(task)
        method = _method(name, task)
        rules = _training_rules(name, task, machine)
    reasons = [*rules, *_corrections(name, measured)]
    return Way(name, model, tuple(reasons), method)


def _method(name: str, task: Task) -> Method:
    """Return how a classify bot's way is trained; with few examples pairs of them teach more."""
    if name == "full fine-tuning":
        return "contrastive" if task.per_label < FEW_FOR_HEAD else "sequence_classification"
    return "lora" if name == "LoRA" else "linear_probe"


def _prompt_model(task: Task, machine: Machine) -> str:
    """Return the model that the bot names, or a larger one that fits where it is the smallest."""
    if task.model != "embedded":
        return task.model
    usable = max(machine.free_gib if machine.n_cores >= 4 else 0.0, 2 * machine.gpu_gib)
    fitting = [spec for needed, spec in CHAT_MODELS if needed <= usable]
    return fitting[-1] if fitting else "embedded"


def _prompt_rules(
    task: Task, machine: Machine, model: str, *, calibrated: bool
) -> Iterator[Reason]:
    if task.kind == "chat":
        yield Reason(3, "answers are free text, and a prompt can be changed in a minute.")
        if calibrated:
            yield Reason(IMPOSSIBLE, "there are no label scores to calibrate in a chat bot.")
        return
    if task.per_label < 5:
        yield Reason(4, f"{_per_label(task)}: too few to train on.")
    elif task.per_label < 20:
        yield Reason(1, f"{_per_label(task)}: a prompt can show the nearest of them.")
    else:
        yield Reason(-1, f"{_per_label(task)}: a prompt shows only a few of them.")
    if model == "embedded" and task.per_label >= 5:
        yield Reason(-2, "the embedded model is small: what it adds to its encoder is little.")
    elif model != "embedded":
        yield Reason(2, f"{model} knows more than the examples say.")
    if model != task.model and machine.gpu is None:
        yield Reason(-1, f"without a GPU {model} takes seconds for an answer.")
    if not calibrated:
        return
    if ":" in task.model and not task.model.startswith("hf:"):
        yield Reason(IMPOSSIBLE, f"{task.model} gives no scores of labels to calibrate.")
    elif task.most >= 3 * max(task.fewest, 1):
        yield Reason(2, f"labels have from {task.fewest} to {task.most} examples: prompts lean.")
    else:
        yield Reason(1, "it corrects what the prompt favours, at a few more prompts in all.")


def _base(task: Task) -> str:
    return "teacher" if task.language.startswith("en") else MULTILINGUAL


def _training_rules(name: str, task: Task, machine: Machine) -> Iterator[Reason]:
    if task.n_labels < 2 or task.n_examples < 2:
        yield Reason(IMPOSSIBLE, f"{task.n_examples} examples of {task.n_labels} labels.")
        return
    if task.fewest == 0:
        yield Reason(-3, "a label without examples can never be answered after training.")
    if name == "linear probe":
        if task.per_label < 2:
            yield Reason(-1, f"{_per_label(task)}: a probe guesses the rest of each label.")
        elif task.per_label < 5:
            yield Reason(2, f"{_per_label(task)}: enough for a start.")
        else:
            yield Reason(5, f"{_per_label(task)}, and it trains in seconds on one core.")
        if not task.language.startswith("en"):
            yield Reason(0, f"teacher and embedded know English alone: start from {MULTILINGUAL}.")
        return
    full = name == "full fine-tuning"
    needed = TEACHER_PARAMETERS * (FULL_BYTES if full else FULL_BYTES // 4) / GIB
    if needed > max(machine.free_gib, machine.gpu_gib):
        yield Reason(IMPOSSIBLE, f"needs {needed:.1f} GiB, {machine.free_gib:.1f} are free.")
    if task.n_examples < (1_000 if full else 500):
        yield Reason(-2, f"{task.n_examples} examples: a probe on the same encoder is as good.")
    else:
        points = 5 + (task.per_label >= 50) if full else 5
        yield Reason(points, f"{task.n_examples:,} examples: the encoder itself can learn.")
    if machine.gpu is None and machine.n_cores <= 4:
        yield Reason(-2, f"{machine.n_cores} cores and no GPU: minutes to hours of training.")


def _chat_training_rules(name: str, task: Task, machine: Machine) -> Iterator[Reason]:
    """Yield what speaks for and against training a chat bot's own model on its answers."""
    if name == "linear probe":
        yield Reason(IMPOSSIBLE, "there are no labels to learn in a chat bot.")
        return
    folder = EMBEDDED if task.model == "embedded" else Path(task.model).expanduser()
    if not folder.is_dir() and not task.model.startswith("hf:"):
        yield Reason(IMPOSSIBLE, f"the weights of {task.model} are not here to be trained.")
        return
    if task.n_examples < 2:
        yield Reason(IMPOSSIBLE, f"{task.n_examples} examples.")
        return
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    # Float32 weights of 4 bytes; with an adapter those are nearly all.
    needed = size * (FULL_BYTES / 4 if name == "full fine-tuning" else 1.25) / GIB
    if needed > max(machine.free_gib, machine.gpu_gib):
        yield Reason(IMPOSSIBLE, f"needs {needed:.1f} GiB, {machine.free_gib:.1f} are free.")
    if task.n_examples < 300:
        yield Reason(-2, f"{task.n_examples} examples: few to learn answers from; a prompt can show"
                     " the nearest of them.")  # fmt: skip
    else:
        points = 1 if task.n_examples < 1_000 else 4
        yield Reason(points, f"{task.n_examples:,} examples: answers can be learned.")
    yield Reason(-1, "an answer that changes means training again.")
    if name == "LoRA":
        yield Reason(1, "an adapter leaves what the model knows as it is.")
    if machine.gpu is None and task.model != "embedded":
        yield Reason(-2, "no GPU: hours of training.")


def _corrections(name: str, measured: Sequence[Measured]) -> Iterator[Reason]:
    """Yield what runs say: the newest of the same suite outweighs all rules, others add little.

    A run of the same suite speaks of each way that it measured: the best has `FULL_WEIGHT`, each
    point that another is behind takes one from it.
    """
    own = [one for one in measured if one.same_suite and len(one.by_way) > 1]
    if own:
        if name in own[0].by_way:
            value, column = own[0].by_way[name]
            best = max(own[0].by_way.values())[0]
            points = max(-FULL_WEIGHT, FULL_WEIGHT - round(100 * (best - value)))
            text = f"measured here: {column}, {own[0].metric} {value:.1%}"
            yield Reason(points, f"{text}." if value == best else f"{text}, best {best:.1%}.")
        return
    others = [one for one in measured if not one.same_suite]
    for one in others[:1]:
        if one.winner is not None:
            wins = (one.winner == "training") == (name not in PROMPTS)
            yield Reason(1 if wins else -1, f"measured on another suite: {one.text}.")


def _per_label(task: Task) -> str:
    return _of_label(task.per_label)


def _of_label(n: float) -> str:
    return f"{say_size(n)} {'example' if n == 1 else 'examples'} a label"
