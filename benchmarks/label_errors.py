"""How many planted wrong labels `promptbot data` names, and how many that it names were planted.

    OMP_NUM_THREADS=1 python -m benchmarks.label_errors [clinc150] [--planted 500] [--seed 0]

Training messages of a public set, of which some get another of its labels, drawn at random; then
the same steps as in the command: near duplicates, vectors of the embedded encoder, confident
learning. Rows that are wrong in the data set itself count against the precision.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from benchmarks.encoder import wilson
from promptbot.evals.data_care import DataRow, find_twins
from promptbot.learn.label_errors import find_label_errors
from promptbot.models.encoder import load_encoder

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def main() -> None:
    """Plant, look for it, and print the shares with Wilson intervals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?", default="banking77", choices=("banking77", "clinc150"))
    parser.add_argument("--planted", type=int, default=500, help="rows that get a wrong label")
    parser.add_argument("--rows", type=int, help="rows of the file, at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    lines = (DATA / given.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    values = [json.loads(line) for line in lines]
    values = rng.sample(values, min(given.rows or len(values), len(values)))
    names = sorted({value["label"] for value in values})
    planted = set(rng.sample(range(len(values)), given.planted))
    labels = [
        rng.choice([name for name in names if name != value["label"]])
        if place in planted
        else value["label"]
        for place, value in enumerate(values)
    ]
    started = time.process_time()
    texts = [value["text"] for value in values]
    rows = [
        DataRow("pool", str(place), place, text, label, {})
        for place, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    _, groups = find_twins(rows)
    check = find_label_errors(load_encoder("embedded").encode(texts), labels, groups)
    named = {error.row for error in check.errors}
    right = sum(error.suggested == values[error.row]["label"] for error in check.errors
                if error.row in planted)  # fmt: skip
    found = len(named & planted)
    print(
        f"{len(values):,} messages, {len(planted)} of them with a wrong label; {len(named)} named"
    )
    for what, of in (("recall", len(planted)), ("precision", len(named))):
        low, high = wilson(found / of, of)
        print(f"{what}: {found} of {of}, {found / of:.1%} [{low:.1%}, {high:.1%}]")
    print(f"of the {found}, the label that was there before is suggested for {right}")
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
