"""Exact cosine search over a pool of texts, with its vectors kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from promptbot.prompt.ranking import best

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder

Entry = str | tuple[str, ...]
"""One text, or several that stand for one thing and are compared by their mean vector."""

BATCH_TEXTS = 256
"""Texts given to the encoder at once."""
MIN_CACHED_ENTRIES = 200
"""Pools up to this size are encoded anew: quicker than the file, and no litter on the disk."""
DECIMALS = 6
"""Similarities are rounded to what float32 can tell apart, so that equal texts tie exactly."""

Vectors = NDArray[np.float32]


class SimilarityIndex:
    """The entries of a pool that lie nearest to a query, by exact search.

    Nothing is encoded before the first search. Then every distinct text is encoded once, short
    ones together, and the vectors of a larger pool are kept on disk under a hash of the encoder's
    revision and of all texts, so that a change of either is another file. A cache that cannot be
    read or written only costs time.

    Args:
        entries: The pool. An entry of several texts counts as the mean of their unit vectors.
        encoder: Frozen sentence encoder.
        cache_dir: Folder of the cached vectors; see `cache_folder`.
    """

    def __init__(
        self, entries: Sequence[Entry], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        self._entries = [(e,) if isinstance(e, str) else tuple(e) for e in entries]
        self._encoder = encoder
        self._cache_dir = cache_dir
        self._vectors: Vectors | None = None
        self._lock = Lock()  # a chain's batch searches from several threads

    def __len__(self) -> int:
        return len(self._entries)

    def search(self, query: str, k: int, exclude: Collection[int] = ()) -> list[tuple[int, float]]:
        """Return the indices and cosine similarities of the k entries nearest to the query.

        Args:
            query: The user's text, unembedded.
            k: How many; a pool with fewer entries is returned whole.
            exclude: Indices that must not be returned.

        Returns:
            Nearest first, ties by index; similarities in [-1, 1], rounded to 6 decimals.
        """
        n_left = len(self) - len(set(exclude))
        k = min(k, n_left)
        if k <= 0:
            return []
        similarities = self.similarities(query)
        if exclude:
            similarities[list(exclude)] = -np.inf
        return [(i, round(float(similarities[i]), DECIMALS)) for i in best(similarities, k)]

    def similarities(self, query: str) -> Vectors:
        """Return the cosine similarity of every entry with the query, rounded.  # (n_entries,)"""
        if not self._entries:
            return np.zeros(0, dtype=np.float32)
        similarities: Vectors = self.vectors() @ self._encoder.encode([query])[0]  # (n_entries,)
        return np.clip(similarities, -1, 1).round(DECIMALS)

    def vectors(self) -> Vectors:
        """Return the pool's unit vectors, not to be written to.  # (n_entries, dimension)"""
        with self._lock:
            if self._vectors is None:
                self._vectors = self._read_or_encode()
            return self._vectors

    def _read_or_encode(self) -> Vectors:
        if len(self) <= MIN_CACHED_ENTRIES:
            return self._encode()
        path = (self._cache_dir or cache_folder("vectors")) / f"{self._key()}.npy"
        vectors = _read(path, (len(self), self._encoder.dimension))
        if vectors is None:
            vectors = self._encode()
            _write(path, vectors)
        return vectors

    def _encode(self) -> Vectors:
        members: dict[str, list[int]] = {}
        for index, texts in enumerate(self._entries):
            for text in texts:
                members.setdefault(text, []).append(index)
        by_length = sorted(members, key=len)
        vectors = np.zeros((len(self), self._encoder.dimension), dtype=np.float32)
        for start in range(0, len(by_length), BATCH_TEXTS):
            batch = by_length[start : start + BATCH_TEXTS]
            rows = [i for i, text in enumerate(batch) for _ in members[text]]
            targets = [index for text in batch for index in members[text]]
            np.add.at(vectors, targets, self._encoder.encode(batch)[rows])
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))  # (n_entries,)
        vectors /= np.maximum(lengths, 1e-12)[:, None]
        return vectors

    def _key(self) -> str:
        """Return a hash of everything that decides the vectors."""
        digest = hashlib.sha256(json.dumps(["vectors 1", self._encoder.revision]).encode())
        for texts in self._entries:
            digest.update(json.dumps(texts).encode())  # ASCII, so lone surrogates are no error
        return digest.hexdigest()


def cache_folder(kind: str) -> Path:
    """Return where one kind of thing is cached: in $PROMPTBOT_CACHE, else in the user's cache.

    Everything in it can be deleted at any time.
    """
    from platformdirs import user_cache_dir

    return Path(os.environ.get("PROMPTBOT_CACHE") or user_cache_dir("promptbot")) / kind


def _read(path: Path, shape: tuple[int, int]) -> Vectors | None:
    """Return cached vectors, or None when there is no sound file."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # whatever a damaged header makes numpy raise
        return None
    if not isinstance(vectors, np.ndarray):  # a zip archive
        return None
    if vectors.shape != shape or vectors.dtype != np.float32:
        return None
    lengths = np.einsum("ij,ij->i", vectors, vectors)  # (n_entries,)
    # A damaged row has another length (or none: NaN); a zero row is what an empty text may give.
    if not np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0)):
        return None
    return np.asarray(vectors)


def _write(path: Path, vectors: Vectors) -> None:
    """Write vectors so that the file is there whole or not at all; failing is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            part = Path(file.name)
            try:
                np.save(file, vectors, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
