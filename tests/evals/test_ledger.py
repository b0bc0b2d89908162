"""Variance components: by hand, and found again in simulated runs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from promptbot.evals.evaluation import evaluate
from promptbot.evals.ledger import make_ledger
from promptbot.evals.report.ledger import HEAD
from promptbot.evals.report.terminal import render_terminal
from promptbot.evals.suite import load_suite
from tests.evals.conftest import SuiteMaker, make_suite

__all__ = ["make_suite"]


def test_a_table_worked_by_hand() -> None:
    # Rows are seeds, columns samples; means 2, 4 by seed and 2, 4 by sample, nothing left over.
    ledger = make_ledger(np.array([[[1.0, 3.0]], [[3.0, 5.0]]]), [7, 8])
    assert ledger.mean == 3.0
    assert ledger.of_pairs == 0.0
    assert ledger.of_seeds == ledger.of_samples == 2.0  # the variance of 2 and 4
    assert dict(ledger.uncertainty) == {"samples": 0.5, "seeds": 0.5}
    assert ledger.lowest == (2.0, 7)
    assert ledger.highest == (4.0, 8)
    assert ledger.of_repeats is None


def test_the_components_of_simulated_runs_are_found_again() -> None:
    rng = np.random.default_rng(1)
    wanted = {"samples": 4.0, "seeds": 1.0, "pairs": 0.5, "repeats": 0.25}
    found = []
    for _ in range(200):
        n_seeds, n_repeats, n_samples = 6, 3, 40
        scores = (
            rng.normal(0, 2.0, (1, 1, n_samples))
            + rng.normal(0, 1.0, (n_seeds, 1, 1))
            + rng.normal(0, 0.5**0.5, (n_seeds, 1, n_samples))
            + rng.normal(0, 0.5, (n_seeds, n_repeats, n_samples))
        )
        ledger = make_ledger(scores, range(n_seeds))
        found.append([ledger.of_samples, ledger.of_seeds, ledger.of_pairs, ledger.of_repeats])
    means = np.array(found, np.float64).mean(axis=0)
    assert means == pytest.approx(list(wanted.values()), rel=0.12)


def test_one_seed_with_repeats_tells_samples_from_repeats() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 2.0, (1, 1, 400)) + rng.normal(0, 1.0, (1, 4, 400))
    ledger = make_ledger(scores, [0])
    assert ledger.of_seeds is None
    assert ledger.of_repeats == pytest.approx(1.0, rel=0.15)
    assert ledger.of_samples == pytest.approx(4.0, rel=0.2)


def test_what_never_varies_has_no_uncertainty() -> None:
    ledger = make_ledger(np.ones((2, 2, 5)), [0, 1])
    assert ledger.uncertainty == ()
    assert ledger.advice == "Nothing varies here."


def test_a_single_draw_has_no_ledger() -> None:
    with pytest.raises(ValueError, match="several seeds"):
        make_ledger(np.ones((1, 1, 5)), [0])


def test_a_run_with_seeds_shows_the_ledger_in_each_form(make_suite: SuiteMaker) -> None:
    one = evaluate(load_suite(make_suite()))
    assert one.ledgers == {}
    assert "Where the spread" not in (one.folder / "report.html").read_text()
    several = evaluate(load_suite(make_suite("seeds: [3, 4]\nrepeats: 2\n")))
    ledger = several.ledgers["default"]
    assert ledger.mean == pytest.approx(several.values["default"]["exact"].estimate)  # type: ignore[union-attr]
    assert ledger.uncertainty == (("samples", 1.0),)  # the scripted model never varies
    for name in ("report.html", "report.md"):
        text = (several.folder / name).read_text()
        assert "Where the spread comes from" in text
        assert "samples 100%" in text
    assert several.to_dict()["ledger"]["default"]["lowest"][1] == 3


def test_the_ledger_breaks_no_word_in_80_columns(make_suite: SuiteMaker) -> None:
    summary = evaluate(load_suite(make_suite("seeds: [3, 4]\n")))
    out = io.StringIO()
    Console(file=out, width=80).print(render_terminal(summary))
    text = out.getvalue()
    words = [word for head in HEAD if head != "between repeats" for word in head.split()]
    assert all(word in text.split() for word in words)
    assert "default: More samples would make it surer." in text
    assert "repeats" not in text.split("mean", 1)[1].split("Where")[0]  # there is one
