"""How well personal data is found, on texts that we wrote: ``python -m benchmarks.redaction``.

The texts (tests/guard/texts.jsonl) name which kinds of data they hold. Half of them hold none but
look as if: order numbers, prices, dates, codes with a wrong check digit. Precision is the share of
what was found that is right, recall the share of what there is that was found; both with Wilson
intervals. The texts were written beside the code, so other texts will do worse.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from promptbot.evals.stats import wilson
from promptbot.guard.numbers import regions_of
from promptbot.guard.personal import KINDS, find

TEXTS = Path(__file__).parent.parent / "tests" / "guard" / "texts.jsonl"


def main() -> None:
    """Print the table, and every text that was judged wrongly."""
    right: Counter[str] = Counter()
    extra: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        found = Counter(one.kind for one in find(row["text"], KINDS, regions_of(row["language"])))
        wanted = Counter(row["kinds"])
        right += found & wanted
        extra += found - wanted
        missed += wanted - found
        if found != wanted:
            print(f"{row['text']!r}: found {sorted(found.elements())}, {row['kinds']} are there")
    print(f"{len(rows)} texts, {sum(not row['kinds'] for row in rows)} of them without any")
    print("| kind | precision | recall |\n|---|---|---|")
    for kind in (*KINDS, "all"):
        hits, wrong, lost = (
            sum(one.values()) if kind == "all" else one[kind] for one in (right, extra, missed)
        )
        print(f"| {kind} | {_share(hits, hits + wrong)} | {_share(hits, hits + lost)} |")


def _share(n: int, of: int) -> str:
    between = wilson(n, of)
    return f"{n / of:.1%} ({between.low:.1%} to {between.high:.1%}), {n} of {of}"


if __name__ == "__main__":
    main()
