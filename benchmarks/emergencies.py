"""How often the clinic's rules speak where they should: ``python -m benchmarks.emergencies``.

The messages (tests/guard/messages.jsonl) are emergencies and everyday questions in the words of
people who are short, frightened, old, young or polite. `dev` and `test` were written before the
rules took their present form, which was then tuned on `dev` alone; `fresh` was written afterwards,
and nothing was changed for it. One author wrote these and the rules; `blind` is by somebody who had
not read the rules, which missed one of its emergencies and answered one of its everyday questions
before they were mended for these two.
``--show dev`` prints what is judged wrongly.

With ``--everyday FILE`` (JSONL with an ``input`` or ``text``) it counts the messages of any other
collection that meet a rule, and shows them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from promptbot.bot.folder import load_bot
from promptbot.evals.stats import wilson
from promptbot.guard.rules import first_match

MESSAGES = Path(__file__).parent.parent / "tests" / "guard" / "messages.jsonl"
HALVES = ("dev", "test", "fresh", "blind")


def main() -> None:
    """Print the share of each kind and half that meets a rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", choices=HALVES)
    parser.add_argument("--everyday", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    rules = load_bot("clinic").spec.guard.emergency
    rows = [json.loads(line) for line in MESSAGES.read_text(encoding="utf-8").splitlines()]
    print("| half | emergencies that a rule answers | everyday questions that a rule answers |")
    print("|---|---|---|")
    for half in HALVES:
        cells = []
        for kind in ("emergency", "everyday"):
            texts = [row["text"] for row in rows if row["half"] == half and row["kind"] == kind]
            met = {text: first_match(text, rules) for text in texts}
            cells.append(_share(sum(one is not None for one in met.values()), len(texts)))
            if arguments.show == half:
                for text, one in met.items():
                    if (one is None) == (kind == "emergency"):
                        print(f"{kind}: {text!r} {one[1] if one else ''}")
        print(f"| {half} | {' | '.join(cells)} |")
    for file in arguments.everyday:
        values = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        texts = [str(value.get("input") or value.get("text")) for value in values]
        hits = [(text, met[1]) for text in texts if (met := first_match(text, rules))]
        for text, pattern in hits:
            print(f"{text!r} meets {pattern!r}")
        print(f"{file.parent.name}/{file.name}: {_share(len(hits), len(texts))}")


def _share(n: int, of: int) -> str:
    between = wilson(n, of)
    return f"{n / of:.1%} ({between.low:.1%} to {between.high:.1%}), {n} of {of}"


if __name__ == "__main__":
    main()
