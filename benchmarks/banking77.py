"""Accuracy on BANKING77 by selector, k, order and calibration, with Wilson intervals.

Casanueva et al. (2020), arXiv:2003.04807: 77 near-equal intents of a bank's customers. The bot is
``intents`` with these labels; its pool are 10 examples of each, drawn from the training file with
the seed. All cells see the same test samples, the first ones of an order drawn with the seed.

A sample is asked once a cell for the label scores and for each of the calibrations that read
prompts of their own: contextual (3 texts), domain (5 texts in place of 20, each of which costs as
much as the sample) and channel (one prompt a label). The others follow from the label scores: none;
batch, whose prior is the mean over these samples; pmi, whose prior belongs to the bot; and the
labels of the 8 nearest examples at weight .5.

Every sample's answers are written as they are made, a few samples of every cell in turn: an
interrupted run goes on where it stopped, and one of more samples goes on from one of fewer.

    python -m benchmarks.banking77 --samples 100
    python -m benchmarks.banking77 --samples 100 --skip domain
    python -m benchmarks.banking77 --samples 100 --only fixed-8-file nearest-8-nearest_last
    python -m benchmarks.banking77 --samples 100 --table    # what is there, without computing
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, load_chain
from promptbot.data import content_hash
from promptbot.evals.columns import draw_examples
from promptbot.evals.samples import EvalSample, read_samples
from promptbot.evals.stats import wilson
from promptbot.evals.suite_spec import FieldsSpec, RowsSpec
from promptbot.models.encoder import load_encoder
from promptbot.models.registry import load_model
from promptbot.prompt import calibration
from promptbot.types import Decision, Sample

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel

DATA = Path("../shared/data/banking77")
FIELDS = FieldsSpec(input="text", target="label")
PER_LABEL = 10
ASKED = ("contextual", "channel", "domain")
"""Calibrations that read prompts for every sample."""
METHODS = ("none", "contextual", "domain", "pmi", "batch", "channel", "neighbours")
NEIGHBOUR_WEIGHT = 0.5
DOMAIN_TEXTS = 5
BLOCK = 5
"""Samples that all cells are asked before the next ones."""
SHOWN_TOKENS = 200
"""Tokens of message and examples together, of the selector length."""


@dataclass(frozen=True)
class Cell:
    """One way to show examples."""

    selector: str
    k: int
    order: str

    @property
    def name(self) -> str:
        """As it stands in file names."""
        return f"{self.selector}-{self.k}-{self.order}"


def cells() -> list[Cell]:
    """Return every cell: each selector at k = 8, and each k and order with the nearest examples."""
    by_meaning = ("nearest", "diverse", "nearest_per_label", "coverage", "votek")
    selectors = [Cell(s, 8, "nearest_last") for s in (*by_meaning, "bm25", "ngram")]
    selectors += [Cell(s, 8, "random") for s in ("random", "balanced")]
    selectors += [Cell("fixed", 8, "file"), Cell("length", 16, "file")]
    orders = [Cell("nearest", 8, o) for o in ("nearest_first", "random", "label_interleaved")]
    sizes = [Cell("nearest", 1, "nearest_last")]
    sizes += [Cell("nearest", k, o) for k in (4, 16) for o in ("nearest_last", "nearest_first")]
    return [*selectors, *orders, *sizes]


@cache
def training() -> tuple[EvalSample, ...]:
    """Return the rows that the pool is drawn from."""
    return read_samples(RowsSpec(file="train.jsonl", fields=FIELDS), DATA, "label")


def make_chain(cell: Cell, method: str, model: FrozenModel, encoder: Encoder, seed: int) -> Chain:
    """Return the chain of a cell and calibration, which also finds the neighbours."""
    labels = sorted({item.sample.target for item in training()})
    bot = load_bot("intents")
    assert bot.spec.examples is not None
    spec = bot.spec.model_copy(
        update={
            "labels": {label: [label.replace("_", " ").strip()] for label in labels},
            "examples": bot.spec.examples.model_copy(
                update={**asdict(cell), "keep": max(cell.k, 385), "max_tokens": SHOWN_TOKENS}
            ),
            "calibration": bot.spec.calibration.model_validate(
                {
                    "method": method,
                    "n_inputs": DOMAIN_TEXTS,
                    "neighbours": {"k": 8, "weight": NEIGHBOUR_WEIGHT},
                }
            ),
        }
    )
    bot = replace(bot, spec=spec, examples=draw_examples(training(), PER_LABEL, seed))
    return load_chain(bot, model=model, encoder=encoder, seed=seed)


def remember_scores(model: Any) -> None:
    """Make a local model keep its last scores: all calibrations begin with the same ones."""
    compute = model.engine.score

    @lru_cache(maxsize=16 * BLOCK)
    def score(ids: tuple[int, ...], options: tuple[tuple[int, ...], ...]) -> Any:
        return compute(list(ids), [list(option) for option in options])

    model.engine.score = lambda ids, options: score(tuple(ids), tuple(map(tuple, options)))


def decide(chain: Chain, sample: Sample) -> tuple[Decision, dict[str, Any]]:
    """Return how a sample's label was found, and what it was found with."""
    trace = chain.invoke(sample.input).trace
    assert trace is not None
    assert trace.decision is not None
    return trace.decision, {
        "id": sample.id,
        "target": sample.target,
        "shown": [c.item.label for c in trace.prompt.examples],
        "n_prompt_tokens": trace.prompt.n_tokens,
    }


def measure(chain: Chain, samples: Sequence[Sample], file: Path) -> None:
    """Append what is missing in a cell's file of one calibration, one line a sample."""
    done = {line["id"] for line in read(file)}
    with file.open("a", encoding="utf-8") as out:
        for sample in samples:
            if sample.id in done:
                continue
            decision, line = decide(chain, sample)
            line |= {
                "before": rounded(decision.before.values()),
                "calibrated": rounded(decision.calibrated.values()),
                "neighbours": {label: round(p, 4) for label, p in decision.neighbours.items()},
                "labels": list(decision.before),
            }
            print(json.dumps(line), file=out, flush=True)


def rounded(values: Any) -> list[float]:
    """Return numbers in few digits."""
    return [round(value, 4) for value in values]


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file; one that was cut off is left out, and cut away."""
    if not file.exists():
        return
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        yield json.loads(line)


def right(
    asked: Mapping[str, Sequence[Mapping[str, Any]]], pmi: Sequence[float] | None
) -> dict[str, int]:
    """Return how many answers are right under each calibration that was measured.

    Args:
        asked: The lines of each calibration that reads prompts of its own; all begin with the
            same label scores.
        pmi: The bot's prior without message and examples; None where it is unknown.
    """
    lines = next(iter(asked.values()))
    labels: list[str] = lines[0]["labels"]
    before = np.array([line["before"] for line in lines], dtype=np.float64)  # (n, n_labels)
    near = np.zeros_like(before)
    for row, line in enumerate(lines):
        for label, share in line["neighbours"].items():
            near[row, labels.index(label)] = share
    mean = calibration.mean_distribution(before)
    scores = {
        "none": before,
        "batch": np.array([calibration.divide(row, mean) for row in before]),
        "neighbours": np.array(
            [
                calibration.interpolate(row, own, NEIGHBOUR_WEIGHT)
                for row, own in zip(before, near, strict=True)
            ]
        ),
    }
    for method, found in asked.items():
        scores[method] = np.array([line["calibrated"] for line in found], dtype=np.float64)
    if pmi is not None:
        prior = np.array(pmi, dtype=np.float64)
        scores["pmi"] = np.array([calibration.divide(row, prior) for row in before])
    targets = np.array([labels.index(line["target"]) for line in lines])
    return {method: int((values.argmax(1) == targets).sum()) for method, values in scores.items()}


def table(folder: Path, samples: Sequence[Sample]) -> None:
    """Print the cells that are complete for these samples as a table of Markdown."""
    ids = {sample.id for sample in samples}
    pmi = folder / "pmi.json"
    prior = json.loads(pmi.read_text(encoding="utf-8")) if pmi.exists() else None
    print("| selector | k | order | label shown | " + " | ".join(METHODS) + " | tokens |")
    print("|---|---|---|---|" + "---|" * (len(METHODS) + 1))
    for cell in sorted(cells(), key=lambda c: (c.k != 8, c.k, cells().index(c))):
        asked = {
            method: [line for line in read(file_of(folder, cell, method)) if line["id"] in ids]
            for method in ASKED
        }
        asked = {method: found for method, found in asked.items() if len(found) == len(ids)}
        if not asked:
            continue
        lines = next(iter(asked.values()))
        shown = sum(line["target"] in line["shown"] for line in lines) / len(lines)
        tokens = sum(line["n_prompt_tokens"] for line in lines) / len(lines)
        counts = right(asked, prior)
        figures = []
        for method in METHODS:
            if method not in counts:
                figures.append("")
                continue
            between = wilson(counts[method], len(lines))
            share = counts[method] / len(lines)
            figures.append(f"{share:.1%} ({between.low:.1%} to {between.high:.1%})")
        row = [cell.selector, cell.k, cell.order, f"{shown:.0%}", *figures, f"{tokens:.0f}"]
        print("| " + " | ".join(map(str, row)) + " |")


def file_of(folder: Path, cell: Cell, method: str) -> Path:
    """Return where the answers of a cell under a calibration are kept."""
    return folder / f"{cell.name}.{method}.jsonl"


parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--samples", type=int, default=100)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--model", default="embedded")
parser.add_argument("--folder", type=Path, default=Path("runs/banking77"))
parser.add_argument("--skip", choices=ASKED, nargs="*", default=[], help="leave these columns out")
parser.add_argument("--only", choices=[cell.name for cell in cells()], nargs="*", help="rows")
parser.add_argument("--table", action="store_true", help="print what is there; compute nothing")


def main() -> None:
    """Measure what is missing, and print the table."""
    given = parser.parse_args()
    model, encoder = load_model(given.model, seed=given.seed), load_encoder("embedded")
    remember_scores(model)
    everything = [
        item.sample
        for item in read_samples(RowsSpec(file="test.jsonl", fields=FIELDS), DATA, "label")
    ]
    random.Random(given.seed).shuffle(everything)
    samples = everything[: given.samples]
    settings = [model.revision, encoder.revision, [asdict(s) for s in everything], DOMAIN_TEXTS]
    place = given.folder / content_hash(settings)
    place.mkdir(parents=True, exist_ok=True)
    if not given.table:
        chain = make_chain(cells()[0], "pmi", model, encoder, given.seed)
        decision, _ = decide(chain, samples[0])
        prior = rounded(decision.prior.values())
        (place / "pmi.json").write_text(json.dumps(prior), encoding="utf-8")
        methods = [method for method in ASKED if method not in given.skip]
        chains = {
            (cell, method): make_chain(cell, method, model, encoder, given.seed)
            for cell in cells()
            if given.only is None or cell.name in given.only
            for method in methods
        }
        for start in range(0, len(samples), BLOCK):
            for (cell, method), chain in chains.items():
                some = samples[start : start + BLOCK]
                measure(chain, some, file_of(place, cell, method))
            print(f"{min(start + BLOCK, len(samples))} of {len(samples)} samples", flush=True)
    print(f"model {model.revision[:12]}, {len(samples)} test samples, seed {given.seed}")
    table(place, samples)


if __name__ == "__main__":
    main()
