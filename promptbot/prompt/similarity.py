"""Cosine search over a pool of texts, with its vectors kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptbot.prompt.progress import tracked
from promptbot.prompt.ranking import best

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder

Entry = str | tuple[str, ...]
"""One text, or several that stand for one thing and are compared by their mean vector."""

BATCH_TEXTS = 256
"""Texts given to the encoder at once."""
EXACT_UP_TO = 1_000_000
"""Entries of a pool up to which every one is compared with the query."""
CANDIDATES = 4
"""How many entries for each one wanted an approximate index is asked for; the nearest are kept."""
LINKS, BREADTH = 32, 128
"""Links of an entry in the graph, and how many entries a search keeps in view."""
MIN_CACHED_ENTRIES = 200
"""Pools up to this size are encoded anew: quicker than the file, and no litter on the disk."""
DECIMALS = 6
"""Similarities are rounded to what float32 can tell apart, so that equal texts tie exactly."""

Vectors = NDArray[np.float32]


class SimilarityIndex:
    """The entries of a pool that lie nearest to a query.

    The search is exact up to `exact_up_to` entries. Beyond, it is approximate where faiss (the
    extra ``ann``) is installed: a graph (HNSW) is built once and kept beside the vectors, a search
    takes less than a millisecond and may miss a neighbour; the similarities are exact all the same.

    Nothing is encoded before the first search. Then every distinct text is encoded once, short
    ones together, and the vectors of a larger pool are kept on disk under a hash of the encoder's
    revision and of all texts, so that a change of either is another file. A cache that cannot be
    read or written only costs time.

    Args:
        entries: The pool. An entry of several texts counts as the mean of their unit vectors.
        encoder: Frozen sentence encoder.
        cache_dir: Folder of the cached vectors; see `cache_folder`.
        exact_up_to: Entries up to which every one is compared with the query.

    Source:
        The graph: Malkov & Yashunin (2016), arXiv:1603.09320.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        encoder: Encoder,
        cache_dir: Path | None = None,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        self._entries = [(e,) if isinstance(e, str) else tuple(e) for e in entries]
        self._encoder = encoder
        self._cache_dir = cache_dir
        self._vectors: Vectors | None = None
        self._exact_up_to = exact_up_to
        self._graph: Any = None
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
        if len(self) > self._exact_up_to and not exclude and (graph := self._load_graph()):
            return self._search_graph(graph, query, k)
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

    def _search_graph(self, graph: Any, query: str, k: int) -> list[tuple[int, float]]:
        vector = self._encoder.encode([query])[0]  # (dimension,)
        _, found = graph.search(vector[None, :], min(k * CANDIDATES, len(self)))
        near = np.sort(found[0][found[0] >= 0])
        similarities = np.clip(self.vectors()[near] @ vector, -1, 1).round(DECIMALS)
        return [
            (int(near[i]), round(float(similarities[i]), DECIMALS)) for i in best(similarities, k)
        ]

    def _load_graph(self) -> Any:
        """Return the graph over the vectors, read or built; None without faiss."""
        vectors = self.vectors()
        with self._lock:
            if self._graph is None:
                try:
                    import faiss
                except ImportError:
                    return None
                path = self._vectors_file().with_suffix(".faiss")
                self._graph = _read_graph(path, vectors.shape)
                if self._graph is None:
                    by_cosine = faiss.METRIC_INNER_PRODUCT  # of unit vectors
                    self._graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, by_cosine)
                    step = len(vectors) // 100 + 1
                    for start in tracked(range(0, len(vectors), step), "Building the index"):
                        self._graph.add(np.ascontiguousarray(vectors[start : start + step]))
                    _write_graph(path, self._graph)
                self._graph.hnsw.efSearch = BREADTH
            return self._graph

    def vectors(self) -> Vectors:
        """Return the pool's unit vectors, not to be written to.  # (n_entries, dimension)"""
        with self._lock:
            if self._vectors is None:
                self._vectors = self._read_or_encode()
            return self._vectors

    def _read_or_encode(self) -> Vectors:
        if len(self) <= MIN_CACHED_ENTRIES:
            return self._encode()
        path = self._vectors_file()
        vectors = _read(path, (len(self), self._encoder.dimension))
        if vectors is None:
            vectors = self._encode()
            _write(path, vectors)
        return vectors

    def _vectors_file(self) -> Path:
        return (self._cache_dir or cache_folder("vectors")) / f"{self._key()}.npy"

    def _encode(self) -> Vectors:
        members: dict[str, list[int]] = {}
        for index, texts in enumerate(self._entries):
            for text in texts:
                members.setdefault(text, []).append(index)
        by_length = sorted(members, key=len)
        vectors = np.zeros((len(self), self._encoder.dimension), dtype=np.float32)
        for start in tracked(range(0, len(by_length), BATCH_TEXTS), "Encoding the pool"):
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


def _read_graph(path: Path, shape: tuple[int, ...]) -> Any:
    """Return a graph that was kept, or None when there is no sound file of this shape."""
    import faiss

    if not path.is_file():
        return None
    with suppress(Exception):  # whatever a damaged file makes the library raise
        graph = faiss.read_index(str(path))
        if (graph.ntotal, graph.d) == shape:
            return graph
    return None


def _write_graph(path: Path, graph: Any) -> None:
    """Keep a graph so that the file is there whole or not at all; failing is no error."""
    import faiss

    part = path.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError, RuntimeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            faiss.write_index(graph, str(part))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


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
