"""An encoder that encodes no text twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from promptbot.interfaces import HoldsWeights
from promptbot.models.call_cache import note_saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder


@dataclass
class RememberingEncoder:
    """Gives the vectors of an encoder, and computes each once.

    The columns of a run ask for the same pool and the same samples. What the memory saves is
    counted into the seconds of a record, which are those of an answer from scratch.
    """

    load: Callable[[], Encoder]
    """Gives what computes what is new; called when something is."""
    _known: dict[str, tuple[NDArray[np.float32], float]] = field(default_factory=dict, repr=False)

    @cached_property
    def encoder(self) -> Encoder:
        """Computes what is new."""
        return self.load()

    @property
    def revision(self) -> str:
        """Content hash of the encoder."""
        return self.encoder.revision

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.encoder.dimension

    @property
    def n_bytes(self) -> int:
        """Memory of the encoder's weights; 0 while it was not needed."""
        loaded = self.__dict__.get("encoder")
        return loaded.n_bytes if isinstance(loaded, HoldsWeights) else 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text.  # (n_texts, dimension)"""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        note_saved(sum(self._known[text][1] for text in texts if text in self._known))
        if new:
            started = time.perf_counter()
            vectors = self.encoder.encode(new)
            seconds = (time.perf_counter() - started) / len(new)
            self._known.update(
                (text, (vector, seconds)) for text, vector in zip(new, vectors, strict=True)
            )
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.stack([self._known[text][0] for text in texts])
