"""Accuracy on BANKING77 by selector, k, order and calibration, with Wilson intervals.

Casanueva et al. (2020), arXiv:2003.04807: 77 near-equal intents of a bank's customers. The bot is
``intents`` with these labels; its pool are 10 examples of each, drawn from the training file with
the seed. All cells see the same test samples, spread evenly over the file. One pass over the
samples gives four calibrations of a cell at once, since all of them begin with the same label
scores: none, contextual, batch (the prior is the mean over these samples), and the labels of the 8
nearest examples at weight .5.

Every sample's answers are written as they are made, so an interrupted run goes on where it stopped.

    python -m benchmarks.banking77 --samples 300
    python -m benchmarks.banking77 --samples 300 --table    # what is there, without computing
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, load_chain
from promptbot.data import content_hash
from promptbot.evals.columns import draw_examples
from promptbot.evals.stats import wilson
from promptbot.evals.suite import FieldsSpec, RowsSpec, read_samples
from promptbot.models.encoder import load_encoder
from promptbot.models.registry import load_model
from promptbot.prompt import calibration
from promptbot.types import Decision, Sample

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel

DATA = Path("../shared/data/banking77")
FIELDS = FieldsSpec(input="text", target="label")
PER_LABEL = 10
METHODS = ("none", "contextual", "batch", "neighbours")
NEIGHBOUR_WEIGHT = 0.5


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
    """Return every cell, those that say most first."""
    last = [Cell(s, 8, "nearest_last") for s in ("nearest", "bm25", "diverse", "ngram")]
    last += [Cell(s, 8, "random") for s in ("random", "balanced")]
    sizes = [Cell("nearest", k, "nearest_last") for k in (1, 4, 16)]
    orders = [Cell("nearest", 8, o) for o in ("nearest_first", "random", "label_interleaved")]
    others = [Cell(s, 8, "nearest_last") for s in ("coverage", "nearest_per_label", "votek")]
    crossed = [
        Cell(selector, k, order)
        for selector in ("nearest", "bm25", "diverse")
        for k in (4, 16)
        for order in ("nearest_last", "nearest_first")
    ]
    crossed += [Cell("random", k, "random") for k in (4, 16)]
    return list(dict.fromkeys([*last, *sizes, *orders, *others, *crossed]))


def make_chain(cell: Cell, model: FrozenModel, encoder: Encoder, seed: int) -> Chain:
    """Return the chain of a cell, which also finds prior and neighbours."""
    train = read_samples(RowsSpec(file="train.jsonl", fields=FIELDS), DATA, "label")
    labels = sorted({item.sample.target for item in train})
    bot = load_bot("intents")
    assert bot.spec.examples is not None
    spec = bot.spec.model_copy(
        update={
            "labels": {label: [label.replace("_", " ").strip()] for label in labels},
            "examples": bot.spec.examples.model_copy(
                update={**asdict(cell), "keep": max(cell.k, 385)}
            ),
            "calibration": bot.spec.calibration.model_validate(
                {"method": "contextual", "neighbours": {"k": 8, "weight": NEIGHBOUR_WEIGHT}}
            ),
        }
    )
    bot = replace(bot, spec=spec, examples=draw_examples(train, PER_LABEL, seed))
    return load_chain(bot, model=model, encoder=encoder, seed=seed)


def measure(cell: Cell, chain: Chain, samples: Sequence[Sample], file: Path) -> None:
    """Append what is missing in a cell's file, one line a sample."""
    done = {line["id"] for line in read(file)}
    missing = [sample for sample in samples if sample.id not in done]
    with file.open("a", encoding="utf-8") as out:
        for number, sample in enumerate(missing, start=1):
            reply = chain.invoke(sample.input)
            assert reply.trace is not None
            assert reply.trace.decision is not None
            line = {
                "id": sample.id,
                "target": sample.target,
                "shown": [c.item.label for c in reply.trace.prompt.examples],
                "n_prompt_tokens": reply.trace.prompt.n_tokens,
                **scores_of(reply.trace.decision),
            }
            print(json.dumps(line), file=out, flush=True)
            if number % 50 == 0:
                print(f"{cell.name}: {len(done) + number} of {len(samples)}", flush=True)


def scores_of(decision: Decision) -> dict[str, Any]:
    """Return what every calibration is computed from, in few digits."""
    return {
        "before": [round(value, 4) for value in decision.before.values()],
        "contextual": [round(value, 4) for value in decision.calibrated.values()],
        "neighbours": {label: round(share, 4) for label, share in decision.neighbours.items()},
        "labels": list(decision.before),
    }


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


def right(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many answers are right under each calibration."""
    labels: list[str] = lines[0]["labels"]
    before = np.array([line["before"] for line in lines], dtype=np.float64)  # (n, n_labels)
    near = np.zeros_like(before)
    for row, line in enumerate(lines):
        for label, share in line["neighbours"].items():
            near[row, labels.index(label)] = share
    prior = calibration.mean_distribution(before)
    scores = {
        "none": before,
        "contextual": np.array([line["contextual"] for line in lines], dtype=np.float64),
        "batch": np.array([calibration.divide(row, prior) for row in before]),
        "neighbours": np.array(
            [
                calibration.interpolate(row, own, NEIGHBOUR_WEIGHT)
                for row, own in zip(before, near, strict=True)
            ]
        ),
    }
    targets = np.array([labels.index(line["target"]) for line in lines])
    return {method: int((scores[method].argmax(1) == targets).sum()) for method in METHODS}


def table(folder: Path, n_samples: int) -> None:
    """Print the cells that are complete as a table of Markdown."""
    print("| selector | k | order | label shown | " + " | ".join(METHODS) + " | tokens |")
    print("|---|---|---|---|" + "---|" * (len(METHODS) + 1))
    for cell in sorted(cells(), key=lambda c: (c.k != 8, c.k, cells().index(c))):
        lines = list(read(folder / f"{cell.name}.jsonl"))
        if len(lines) < n_samples:
            continue
        shown = sum(line["target"] in line["shown"] for line in lines) / len(lines)
        tokens = sum(line["n_prompt_tokens"] for line in lines) / len(lines)
        figures = []
        for n_right in right(lines).values():
            between = wilson(n_right, len(lines))
            share = n_right / len(lines)
            figures.append(f"{share:.1%} ({between.low:.1%} to {between.high:.1%})")
        row = [cell.selector, cell.k, cell.order, f"{shown:.0%}", *figures, f"{tokens:.0f}"]
        print("| " + " | ".join(map(str, row)) + " |")


parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--samples", type=int, default=300)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--model", default="embedded")
parser.add_argument("--folder", type=Path, default=Path("runs/banking77"))
parser.add_argument("--table", action="store_true", help="print what is there; compute nothing")


def main() -> None:
    """Measure what is missing, and print the table."""
    given = parser.parse_args()
    model, encoder = load_model(given.model, seed=given.seed), load_encoder("embedded")
    chosen = read_samples(
        RowsSpec(file="test.jsonl", fields=FIELDS), DATA, "label", limit=given.samples
    )
    samples = [item.sample for item in chosen]
    settings = [model.revision, encoder.revision, [asdict(s) for s in samples], given.seed]
    place = given.folder / content_hash(settings)
    place.mkdir(parents=True, exist_ok=True)
    if not given.table:
        for cell in cells():
            chain = make_chain(cell, model, encoder, given.seed)
            measure(cell, chain, samples, place / f"{cell.name}.jsonl")
    print(f"model {model.revision[:12]}, {len(samples)} test samples, seed {given.seed}")
    table(place, len(samples))


if __name__ == "__main__":
    main()
