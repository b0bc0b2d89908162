"""Accuracy on BANKING77 by selector, k, order and calibration, with Wilson intervals.

Casanueva et al. (2020), arXiv:2003.04807: 77 near-equal intents of a bank's customers. The bot is
``intents`` with these labels; its pool are 10 examples of each, drawn from the training file with
the seed. All cells see the same test samples, the first ones of an order drawn with the seed.

A sample is asked once a cell for its label scores, from which most columns follow: none; pmi, whose
prior belongs to the bot; batch, whose prior is the mean over these samples; and the labels of the 8
nearest examples at weight .5. The dear columns read further prompts for each sample, so that fewer
samples, the first ones, are asked for them: contextual (3 texts), domain (5 texts in place of 20,
each of which costs as much as the sample) and channel (one prompt a label).

Every sample's answers are written as they are made, a few samples of every cell in turn: an
interrupted run goes on where it stopped, and one of more samples goes on from one of fewer.

    python -m benchmarks.banking77 --samples 100 --dear 25
    python -m benchmarks.banking77 --samples 100 --dear 0 --only fixed-8-file nearest-8-nearest_last
    python -m benchmarks.banking77 --samples 100 --dear 25 --table    # what is there, no computing
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
from promptbot.evals.stats import holm, mcnemar_exact, wilson
from promptbot.evals.suite_spec import FieldsSpec, RowsSpec
from promptbot.models.encoder import load_encoder
from promptbot.models.registry import load_model
from promptbot.prompt import calibration
from promptbot.types import Decision, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder, FrozenModel

DATA = Path("../shared/data/banking77")
FIELDS = FieldsSpec(input="text", target="label")
PER_LABEL = 10
CHEAP = ("none", "pmi", "batch", "neighbours")
"""Columns that follow from a sample's label scores."""
DEAR = ("contextual", "domain", "channel")
"""Calibrations that read prompts of their own for every sample."""
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


def scores_of(
    lines: Sequence[Mapping[str, Any]], pmi: Sequence[float]
) -> dict[str, NDArray[np.float64]]:
    """Return the label scores of every sample under each calibration that follows from them.

    Args:
        lines: A cell's answers without calibration.
        pmi: The bot's prior without message and examples.

    Returns:
        By calibration.  # each (n_samples, n_labels)
    """
    labels: list[str] = lines[0]["labels"]
    before = np.array([line["before"] for line in lines], dtype=np.float64)
    near = np.zeros_like(before)
    for row, line in enumerate(lines):
        for label, share in line["neighbours"].items():
            near[row, labels.index(label)] = share
    mean, prior = calibration.mean_distribution(before), np.array(pmi, dtype=np.float64)
    return {
        "none": before,
        "pmi": np.array([calibration.divide(row, prior) for row in before]),
        "batch": np.array([calibration.divide(row, mean) for row in before]),
        "neighbours": calibration.interpolate(before, near, NEIGHBOUR_WEIGHT),
    }


def hits(lines: Sequence[Mapping[str, Any]], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where the likeliest label is the right one.  # (n_samples,)"""
    targets = [line["labels"].index(line["target"]) for line in lines]
    return np.asarray(scores.argmax(1) == targets)


def share(right: NDArray[np.bool_]) -> str:
    """Return how many are right, with the interval."""
    between = wilson(int(right.sum()), len(right))
    return f"{right.mean():.0%} ({between.low:.0%} to {between.high:.0%})"


def table(folder: Path, samples: Sequence[Sample], n_dear: int) -> None:
    """Print the cells that are complete for these samples as a table of Markdown.

    The column p compares a row's `none` with the first row's by McNemar's exact test, Holm over
    all rows.
    """
    prior = json.loads((folder / "pmi.json").read_text(encoding="utf-8"))
    heads = [*CHEAP, *(f"{method} ({n_dear})" for method in DEAR)]
    print("| selector | k | order | label shown | " + " | ".join(heads) + " | p | tokens |")
    print("|---|---|---|---|" + "---|" * (len(heads) + 2))
    rows: list[list[str]] = []
    plain: list[NDArray[np.bool_]] = []
    for cell in cells():
        lines = complete(file_of(folder, cell, "none"), samples)
        if not lines:
            continue
        shown = sum(line["target"] in line["shown"] for line in lines) / len(lines)
        tokens = sum(line["n_prompt_tokens"] for line in lines) / len(lines)
        scores = scores_of(lines, prior)
        plain.append(hits(lines, scores["none"]))
        figures = [share(hits(lines, scores[method])) for method in CHEAP]
        for method in DEAR:
            asked = complete(file_of(folder, cell, method), samples[:n_dear])
            calibrated = np.array([line["calibrated"] for line in asked], dtype=np.float64)
            figures.append(share(hits(asked, calibrated)) if asked else "")
        row = [cell.selector, str(cell.k), cell.order, f"{shown:.0%}", *figures]
        rows.append([*row, f"{tokens:.0f}"])
    p_values = [
        mcnemar_exact(int((plain[0] & ~other).sum()), int((other & ~plain[0]).sum()))
        for other in plain[1:]
    ]
    told = ["", *("<0.001" if p < 0.001 else f"{p:.3f}" for p in holm(p_values))]
    for row, p in zip(rows, told, strict=True):
        print("| " + " | ".join([*row[:-1], p, row[-1]]) + " |")


def complete(file: Path, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return a file's lines about these samples; none where one is missing."""
    ids = {sample.id for sample in samples}
    lines = [line for line in read(file) if line["id"] in ids]
    return lines if len(lines) == len(ids) else []


def file_of(folder: Path, cell: Cell, method: str) -> Path:
    """Return where the answers of a cell under a calibration are kept."""
    return folder / f"{cell.name}.{method}.jsonl"


parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--samples", type=int, default=100)
parser.add_argument("--dear", type=int, default=25, help="samples of the dear columns")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--model", default="embedded")
parser.add_argument("--folder", type=Path, default=Path("runs/banking77"))
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
        chains = {
            (cell, method): make_chain(cell, method, model, encoder, given.seed)
            for cell in cells()
            if given.only is None or cell.name in given.only
            for method in ("none", *DEAR)
        }
        for n_asked in range(BLOCK, len(samples) + BLOCK, BLOCK):
            for (cell, method), chain in chains.items():
                # The dear columns keep pace, so that they end with the others.
                n = n_asked if method == "none" else n_asked * given.dear // given.samples
                measure(chain, samples[:n], file_of(place, cell, method))
            print(f"{min(n_asked, len(samples))} of {len(samples)} samples", flush=True)
    print(f"model {model.revision[:12]}, {len(samples)} test samples, seed {given.seed}")
    table(place, samples, given.dear)


if __name__ == "__main__":
    main()
