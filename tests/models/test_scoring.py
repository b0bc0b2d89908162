"""The trie of label options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from promptbot.models.onnx import load_onnx
from promptbot.models.scoring import build_trie, score_options, target_logprobs


def test_shared_beginnings_are_one_node() -> None:
    trie = build_trie([[5, 6], [5, 7], [8], [5]])
    assert trie.ids.tolist() == [5, 6, 7, 8]
    assert trie.depths.tolist() == [0, 1, 1, 0]
    assert trie.paths == ((0, 1), (0, 2), (3,), (0,))
    assert trie.visible.astype(int).tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 1],
    ]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8))
def test_each_path_spells_its_option_and_sees_only_itself(options: list[list[int]]) -> None:
    trie = build_trie(options)
    for option, path in zip(options, trie.paths, strict=True):
        assert trie.ids[list(path)].tolist() == option
        assert trie.depths[list(path)].tolist() == list(range(len(option)))
        assert np.flatnonzero(trie.visible[path[-1]]).tolist() == sorted(path)
    assert len(trie.ids) == len({tuple(o[: n + 1]) for o in options for n in range(len(o))})


def test_log_probabilities_equal_scipys_log_softmax() -> None:
    random = np.random.default_rng(0)
    logits = (20 * random.normal(size=(5, 40))).astype(np.float32)
    rows, targets = random.integers(0, 5, 30), random.integers(0, 40, 30)
    expected = log_softmax(logits.astype(np.float64), axis=-1)[rows, targets]
    assert target_logprobs(logits, rows, targets) == pytest.approx(expected, abs=1e-4)


def test_log_probabilities_survive_large_logits() -> None:
    logits = np.array([[1000.0, 1000.0, -1000.0]], dtype=np.float32)
    result = target_logprobs(logits, np.array([0, 0]), np.array([0, 1]))
    assert np.allclose(result, -np.log(2), atol=1e-6)


def test_options_of_one_token_need_no_pass_of_their_own() -> None:
    passes: list[int] = []

    class Network:
        n_vocabulary = 8
        reads_trees = False

        def logprobs(
            self,
            past: Any,
            ids: Any,
            positions: Any,
            visible: Any,
            rows: Any,
            targets: Any,
            n_kept: int,
        ) -> Any:
            past.n_tokens += n_kept
            passes.append(len(ids))
            return -targets.astype(np.float32)

    class Past:
        n_tokens = 0

    network: Any = Network()
    past: Any = Past()
    found = score_options(network, past, [1, 2, 3], [[4], [5], [6, 7], [7]])
    assert found == [[-4.0], [-5.0], [-6.0, -7.0], [-7.0]]
    assert passes == [3, 1]  # the prompt alone, and the first token of the option of two
    assert past.n_tokens == 3


def test_what_is_scored_leaves_no_room_that_later_passes_would_read(tiny_folder: Path) -> None:
    engine: Any = load_onnx(tiny_folder, "tiny").engine
    run, widths = engine.network._session.run, []

    class Session:
        """Notes how many positions, empty ones included, a pass attends to."""

        def run(self, names: Any, feed: Any) -> Any:
            widths.append(feed["bias"].shape[-1] - len(feed["ids"]))
            return run(names, feed)

    engine.network._session = Session()
    options = [[5 + n % 7, 5 + n, 6, 7] for n in range(60)]
    prompt = list(range(5, 35))
    first = engine.score(prompt, options)
    widths.clear()
    assert engine.score(prompt, options) == [pytest.approx(one, abs=1e-5) for one in first]
    assert widths == [engine.cache.take(prompt).key_values.capacity]
    assert widths[0] < len(prompt) + 3 * len(options)
