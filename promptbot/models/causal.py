"""Writes and scores with a causal network, through the prefix cache."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from promptbot.errors import OutOfMemory
from promptbot.models.prefix_cache import CachedSequence, CausalNetwork, PrefixCache
from promptbot.models.scoring import (
    MAX_LOGIT_BYTES,
    log_softmax,
    score_options,
    tell_smaller,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.chat_format import ChatFormat

CHUNK = 512
"""Tokens of a prompt that are read at once; bounds the memory of attention."""


class DigestedNetwork(CausalNetwork, Protocol):
    """A causal network that can hash its weights."""

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        ...


class CausalEngine:
    """A causal network with its tokenizer and the prefixes that it has read.

    One lock is held around each forward pass and each change of the cache, never between two
    pieces of a stream; so several replies can be written in turns, also by one thread.

    Args:
        network: What computes.
        chat_format: How messages become its tokens.
        context_tokens: The longest sequence; None when unknown.
    """

    answer_shares_context = True
    n_before_answer = 0

    def __init__(
        self, network: DigestedNetwork, chat_format: ChatFormat, *, context_tokens: int | None
    ) -> None:
        self.network = network
        self.chat_format = chat_format
        self.context_tokens = context_tokens
        self.cache = PrefixCache(network)
        self.lock = threading.Lock()

    def start(self, ids: Sequence[int]) -> CausalWriting:
        """Return a reply to a prompt, before its first token."""
        return CausalWriting(self, ids)

    def score(self, ids: Sequence[int], options: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of every token of every option after a prompt, in nats."""
        with self.lock:
            sequence = self.cache.take(ids)
            intact = False
            try:
                rest = list(ids[len(sequence.ids) :])
                if len(rest) > CHUNK:
                    self.read(sequence, rest[:-CHUNK])
                    rest = rest[-CHUNK:]
                scores = score_options(self.network, sequence.key_values, rest, options)
                sequence.ids = list(ids)
                intact = True
            finally:
                self.cache.give_back(sequence, intact=intact)
        return scores

    def loglikelihood(self, ids: Sequence[int]) -> list[float]:
        """Return the log-probability of every token of a text that stands alone, in nats.

        The text follows the model's BOS, or the token that ends a text; where there is neither,
        nothing predicts its first token, and the result begins with the second.
        """
        import numpy as np

        sequence = [*self.chat_format.start_ids[-1:], *ids]
        past = self.network.new_key_values()  # such a text is no prompt's beginning: not cached
        size = max(1, min(CHUNK, MAX_LOGIT_BYTES // (4 * self.network.n_vocabulary)))
        logprobs: list[float] = []
        while (start := len(logprobs)) < len(sequence) - 1:
            read = np.array(sequence[start : min(start + size, len(sequence) - 1)])
            rows = np.arange(len(read), dtype=np.int64)
            try:
                with self.lock:
                    logits = self.network.forward(past, read, start + rows, None, rows)
            except OutOfMemory:
                if len(read) == 1:
                    raise
                size = len(read) // 2
                tell_smaller(f"{size:,} tokens of a text at once in place of {len(read):,}")
                continue
            following = sequence[start + 1 : start + 1 + len(read)]
            logprobs += log_softmax(logits)[rows, following].tolist()
        return logprobs

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        return self.network.digest()

    def read(self, sequence: CachedSequence, new: Sequence[int]) -> NDArray[np.float32]:
        """Read tokens (at least one) and return the logits after the last.  # (n_vocabulary,)"""
        import numpy as np

        start, size = 0, CHUNK
        while start < len(new):
            chunk = np.array(new[start : start + size], dtype=np.int64)
            positions = len(sequence.ids) + np.arange(len(chunk), dtype=np.int64)
            wanted = np.array([len(chunk) - 1], dtype=np.int64)
            try:
                logits = self.network.forward(sequence.key_values, chunk, positions, None, wanted)
            except OutOfMemory:
                if len(chunk) == 1:
                    raise
                size = len(chunk) // 2
                tell_smaller(f"{size:,} tokens of the prompt at once in place of {len(chunk):,}")
                continue
            sequence.ids += chunk.tolist()
            start += len(chunk)
        return np.asarray(logits[0])


class CausalWriting:
    """A reply that is being written; it owns its sequence until it is closed."""

    def __init__(self, engine: CausalEngine, ids: Sequence[int]) -> None:
        self._engine = engine
        self._intact = True
        with engine.lock:
            self._sequence = engine.cache.take(ids)
        self.n_cached = len(self._sequence.ids)
        self._unread = list(ids[self.n_cached :])

    def next_logits(self, token: int | None) -> NDArray[np.float32]:
        """Return the logits after the prompt (None) or after one more token.  # (n_vocabulary,)"""
        new = self._unread if token is None else [token]
        with self._engine.lock:
            self._intact = False  # until the pass has ended: keys and values may be half written
            logits = self._engine.read(self._sequence, new)
            self._intact = True
        return logits

    def close(self) -> None:
        """Give the sequence back to the cache."""
        with self._engine.lock:
            self._engine.cache.give_back(self._sequence, intact=self._intact)
