"""The trie of label options."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promptbot.models.scoring import build_trie, log_softmax, score_options


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


def test_log_softmax_survives_large_logits() -> None:
    result = log_softmax(np.array([[1000.0, 1000.0, -1000.0]], dtype=np.float32))
    assert np.allclose(result[0, :2], -np.log(2), atol=1e-6)


def test_options_of_one_token_need_no_pass_of_their_own() -> None:
    passes: list[int] = []

    class Network:
        n_vocabulary = 8
        reads_trees = False

        def logprobs(
            self, past: Any, ids: Any, positions: Any, visible: Any, rows: Any, targets: Any
        ) -> Any:
            passes.append(len(ids))
            return -targets.astype(np.float32)

    class Past:
        n_tokens = 0

        def crop(self, n_tokens: int) -> None:
            self.n_tokens = n_tokens

    network: Any = Network()
    past: Any = Past()
    found = score_options(network, past, [1, 2, 3], [[4], [5], [6, 7], [7]])
    assert found == [[-4.0], [-5.0], [-6.0, -7.0], [-7.0]]
    assert passes == [3, 1]  # the prompt alone, and the first token of the option of two
