"""Matrices in 8 bits: a quarter of the memory to read for each token that is written.

Every row is cut into blocks of 32 numbers that share one float32 scale, so that an outlier costs
precision in its own block only (as `Q8_0` of GGUF; cf. Dettmers et al. 2022, arXiv:2208.07339).
Embeddings, norms and biases stay float32. ONNX Runtime multiplies in int8 and sums in int32, for
which it also rounds each row of the input to 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.layouts import Layout

BLOCK = 32
"""Numbers that share a scale."""
_ZERO = 128  # the code of 0.0: codes are unsigned


def matrices(layout: Layout) -> dict[str, tuple[int, int]]:
    """Return name and shape (outputs, inputs) of every matrix that is kept in 8 bits."""
    shapes = layout.shapes()
    found = {"head": (layout.n_vocabulary, layout.width)}
    for i in range(layout.n_layers):
        for name in (f"{i}.qkv", f"{i}.out", f"{i}.up", f"{i}.down"):
            rows, columns = shapes[name]
            found[name] = (rows, columns)
    return found


def shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of the 8-bit graph, by name."""
    plain = dict(layout.shapes())
    coded: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in matrices(layout).items():
        plain.pop(name, None)
        n_blocks = -(-columns // BLOCK)
        coded[codes_of(name)] = (rows, n_blocks, BLOCK)
        coded[scales_of(name)] = (rows * n_blocks,)
    return {**plain, **coded}


def codes_of(name: str) -> str:
    """Return the name of a matrix' codes."""
    return f"{name}.codes"


def scales_of(name: str) -> str:
    """Return the name of a matrix' scales."""
    return f"{name}.scales"


def quantise(
    matrix: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return codes (rows, blocks, 32) and scales (rows * blocks) of a matrix (rows, columns).

    A number is about ``(code - 128) * scale``, half a scale off at most. A last block that is not
    full ends in zeros.
    """
    import numpy as np

    rows, columns = matrix.shape
    n_blocks = -(-columns // BLOCK)
    padded = np.zeros((rows, n_blocks * BLOCK), dtype=np.float32)
    padded[:, :columns] = matrix
    blocks = padded.reshape(rows, n_blocks, BLOCK)
    scales = np.abs(blocks).max(axis=-1) / 127.0  # (rows, n_blocks)
    divisors = np.where(scales > 0.0, scales, 1.0)[..., None]
    codes = (np.rint(blocks / divisors) + _ZERO).astype(np.uint8)
    return codes, scales.astype(np.float32).reshape(-1)


def int8_weights(
    layout: Layout, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32] | NDArray[np.uint8]]:
    """Return the weights of the 8-bit graph, made from those of the float32 graph."""
    chosen = matrices(layout)
    made: dict[str, NDArray[np.float32] | NDArray[np.uint8]] = {
        name: array for name, array in weights.items() if name not in chosen
    }
    for name in chosen:
        source = weights["embed" if name == "head" and layout.tied else name]
        made[codes_of(name)], made[scales_of(name)] = quantise(source)
    return made
