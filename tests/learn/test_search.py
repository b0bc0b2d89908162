"""A search for settings: what it tries, what it keeps, and by which examples it judges."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from promptbot.learn.search import RANKS, RATE_FACTOR, Trial, held_out, search
from promptbot.learn.tuned import Recipe

pytest.importorskip("optuna")

OWN = Recipe(1e-3, 1e-2, 16, 10, 5, rank=16)


def far_from(rate: float, asked: list[Recipe] | None = None) -> object:
    """Return a loss that is lowest at a learning rate."""

    def loss(recipe: Recipe) -> float:
        if asked is not None:
            asked.append(recipe)
        return abs(math.log(recipe.learning_rate / rate))

    return loss


def run(loss: object, kept: Path, n_trials: int = 12, seed: int = 0) -> tuple[object, list[Trial]]:
    trials: list[Trial] = []
    found = search(
        OWN, loss, n_trials=n_trials, n_held_out=7, seed=seed, kept=kept, on_trial=trials.append
    )  # type: ignore[arg-type]
    return found, trials


def test_the_methods_own_settings_come_first_and_are_never_beaten_by_worse(tmp_path: Path) -> None:
    found, trials = run(far_from(OWN.learning_rate), tmp_path / "a.json", n_trials=6)
    assert trials[0].recipe == OWN
    assert found.recipe == OWN
    assert (found.loss, found.loss_before, found.n_trials) == (0, 0, 6)


def test_it_moves_towards_the_lowest_loss(tmp_path: Path) -> None:
    found, trials = run(far_from(3e-3), tmp_path / "a.json")
    assert found.loss < found.loss_before / 2
    assert abs(math.log(found.recipe.learning_rate / 3e-3)) == pytest.approx(found.loss)
    for trial in trials:
        assert 1 / RATE_FACTOR <= trial.recipe.learning_rate / OWN.learning_rate <= RATE_FACTOR
        assert trial.recipe.rank in RANKS
        assert trial.recipe.batch_size == OWN.batch_size  # memory stays what was printed
    assert [t.lowest for t in trials] == sorted((t.lowest for t in trials), reverse=True)


def test_the_same_seed_tries_the_same_settings(tmp_path: Path) -> None:
    same = [run(far_from(3e-3), tmp_path / f"{n}.json", seed=s)[1] for n, s in ((1, 0), (2, 0))]
    other = run(far_from(3e-3), tmp_path / "3.json", seed=1)[1]
    assert same[0] == same[1]
    assert same[0] != other


def test_a_search_that_was_stopped_tries_nothing_twice_and_ends_alike(tmp_path: Path) -> None:
    whole, _ = run(far_from(3e-3), tmp_path / "whole.json")
    asked: list[Recipe] = []
    near = far_from(3e-3, asked)

    def stopping(recipe: Recipe) -> float:
        if len(asked) == 5:
            raise KeyboardInterrupt
        return near(recipe)  # type: ignore[operator, no-any-return]

    with pytest.raises(KeyboardInterrupt):
        run(stopping, tmp_path / "broken.json")
    assert len(json.loads((tmp_path / "broken.json").read_text())) == 5
    found, trials = run(near, tmp_path / "broken.json")
    assert found == whole
    assert len(asked) == len({json.dumps(asdict(r)) for r in asked}) == len(trials)


def test_settings_that_do_not_learn_lose(tmp_path: Path) -> None:
    def loss(recipe: Recipe) -> float:
        return 1.0 if recipe == OWN else math.nan

    for _ in range(2):  # the second time from what was kept
        found, trials = run(loss, tmp_path / "a.json", n_trials=5)
        assert found.recipe == OWN
        assert [t.loss for t in trials[1:]] == [math.inf] * 4


def test_a_damaged_file_of_losses_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    assert run(far_from(3e-3), tmp_path / "a.json", n_trials=3)[0].n_trials == 3
    assert len(json.loads((tmp_path / "a.json").read_text())) == 3


def test_every_label_with_two_examples_is_on_both_sides() -> None:
    labels = ["a"] * 10 + ["b"] * 2 + ["c"]
    found = held_out(labels, len(labels), 0)
    assert found is not None
    tried, judged = found
    assert sorted([*tried, *judged]) == list(range(13))
    assert {labels[i] for i in tried} == {"a", "b", "c"}
    assert {labels[i] for i in judged} == {"a", "b"}
    assert held_out(labels, len(labels), 1) != found


@pytest.mark.parametrize("labels", [["a", "b", "c", "d"] * 1, list("abcdefghi"), ["a", "a", "b"]])
def test_too_few_examples_leave_none_to_judge_by(labels: list[str]) -> None:
    assert held_out(labels, len(labels), 0) is None


def test_texts_without_labels_are_divided_too() -> None:
    found = held_out(None, 20, 0)
    assert found is not None
    assert (len(found[0]), len(found[1])) == (16, 4)
