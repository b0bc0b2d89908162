"""A small deterministic encoder for tests."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class HashingEncoder:
    """Texts as bags of character trigrams, hashed to 64 dimensions; it records what it encoded."""

    dimension = 64

    def __init__(self, revision: str = "hashing-1") -> None:
        self.revision = revision
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text.  # (n_texts, 64)"""
        self.batches.append(list(texts))
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            padded = f"  {text.lower()} ".encode("utf-8", "backslashreplace")
            for i in range(len(padded) - 2):
                vectors[row, zlib.crc32(padded[i : i + 3]) % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    @property
    def n_encoded(self) -> int:
        """How many texts were encoded so far."""
        return sum(map(len, self.batches))
