"""The embedded model in float64: what log-probabilities would be without rounding.

Written down once more in plain numpy, from the weights alone, so that it shares no arithmetic with
the engines whose rounding it measures. The rotation of positions is the one table that is taken
over: engines round its angles to float32, and that is part of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptbot.models.layouts import graph_weights, read_layout
from promptbot.models.scoring import build_trie
from promptbot.models.weights import load_tensors, read_json

Doubles = NDArray[np.float64]


class ExactModel:
    """A Llama checkpoint without biases, whose output matrix is its embedding.

    Args:
        folder: With config.json and safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.layout = read_layout(read_json(folder / "config.json"), str(folder))
        plain = graph_weights(self.layout, load_tensors(folder), str(folder))
        self._weights = {name: array.astype(np.float64) for name, array in plain.items()}

    def score(self, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """Return the log-probability of each option after a prompt, in nats."""
        trie = build_trie([option[:-1] for option in options])
        n = len(prompt)
        visible = np.tri(n + len(trie.ids), dtype=np.bool_)
        visible[n:, n:] = trie.visible
        hidden = self._hidden(
            np.concatenate([np.array(prompt), trie.ids]),
            np.concatenate([np.arange(n), n + trie.depths]),
            visible,
        )[n - 1 :]
        logits = hidden @ self._weights["embed"].T  # (1 + n_nodes, n_vocabulary)
        logits -= logits.max(axis=-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return [
            float(sum(logits[row, token] for row, token in zip(rows, option, strict=True)))
            for path, option in zip(trie.paths, options, strict=True)
            for rows in [[0, *(1 + node for node in path)]]
        ]

    def _hidden(
        self, ids: NDArray[np.int64], positions: NDArray[np.int64], visible: NDArray[np.bool_]
    ) -> Doubles:
        """Return what the output matrix reads.  # (n_tokens, width)"""
        shape, weights, n = self.layout, self._weights, len(ids)
        x = weights["embed"][ids]
        for i in range(shape.n_layers):
            both = self._norm(x, f"{i}.norm1") @ weights[f"{i}.qkv"].T
            heads = both.reshape(n, 3, shape.n_heads, shape.head_dim).transpose(1, 2, 0, 3)
            queries, keys = self._turn(heads[0], positions), self._turn(heads[1], positions)
            scores = queries @ keys.swapaxes(1, 2) / np.sqrt(shape.head_dim)
            scores = np.where(visible, scores, -np.inf)  # (n_heads, n, n)
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed = (scores @ heads[2]).transpose(1, 0, 2).reshape(n, -1)
            x = x + mixed @ weights[f"{i}.out"].T
            up = self._norm(x, f"{i}.norm2") @ weights[f"{i}.up"].T
            gate, up = np.split(up, 2, axis=1)
            x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{i}.down"].T
        return self._norm(x, "norm")

    def _norm(self, x: Doubles, name: str) -> Doubles:
        size = (x * x).mean(axis=-1, keepdims=True) + self.layout.norm_eps
        return np.asarray(x / np.sqrt(size) * self._weights[name])

    def _turn(self, heads: Doubles, positions: NDArray[np.int64]) -> Doubles:
        """Rotate by the positions.  # (n_heads, n_tokens, head_dim)"""
        cos, sin = self._weights["cos"][positions], self._weights["sin"][positions]
        first, second = np.split(heads, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
