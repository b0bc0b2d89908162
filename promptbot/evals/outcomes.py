"""A run's records as the outcomes that metrics read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptbot.evals.manifest import draws_of
from promptbot.evals.metrics.metric import Outcome
from promptbot.evals.records import Key, Record
from promptbot.evals.samples import EvalSample

Kept = Mapping[Key, Mapping[str, float | None]]
"""Scores that were made when a run ended, by what they are of, and by metric."""


def outcomes_of(
    column: str,
    samples: Sequence[EvalSample],
    records: Mapping[Key, Record],
    manifest: Mapping[str, Any],
    kept: Kept | None = None,
) -> list[Outcome]:
    """Return a column's outcomes, all samples of the first seed first.

    Raises:
        KeyError: A record is missing.
    """
    fallback, for_all = str(manifest["fallback"]), manifest.get("facts", {})
    found = []
    for seed, repeat in draws_of(manifest):
        for item in samples:
            record = records[key := Key(column, item.sample.id, seed, repeat)]
            found.append(
                Outcome(
                    item.sample,
                    item.group,
                    fallback,
                    record.prediction,
                    record.seconds,
                    seed=seed,
                    repeat=repeat,
                    facts={**for_all, **item.facts} if item.facts else for_all,
                    kept=kept.get(key, {}) if kept else {},
                )
            )
    return found
