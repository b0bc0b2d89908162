"""Writes and scores with a causal network, through the prefix cache."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from promptbot.errors import OutOfMemory
from promptbot.models.answering import write_alone
from promptbot.models.packed import PackedWriting, halves, shared_length, together
from promptbot.models.prefix_cache import CachedSequence, CausalNetwork, PrefixCache
from promptbot.models.prompt_lookup import PromptLookup
from promptbot.models.scoring import MAX_LOGIT_BYTES, score_options, score_prompts, tell_smaller

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.answering import Answer
    from promptbot.models.chat_format import ChatFormat

WRITTEN_AT_ONCE = 16
"""Tokens of prompts and answers that are written together, for each token that is worth a pass."""
CHUNK = 512
"""Tokens of a prompt that are read at once; bounds the memory of attention."""


class DigestedNetwork(CausalNetwork, Protocol):
    """A causal network that can hash its weights."""

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        ...

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        ...


class CausalEngine:
    """A causal network with its tokenizer and the prefixes that it has read.

    One lock is held around each change of the cache, and one around each forward pass of a network
    that takes one at a time; never between two pieces of a stream, so several replies can be
    written in turns, also by one thread.

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
        """Held around each change of the cache."""
        self.passing: AbstractContextManager[object] = (
            nullcontext() if network.takes_threads else threading.Lock()
        )
        """Held around each forward pass."""

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return self.network.n_bytes

    @property
    def takes_threads(self) -> bool:
        """Whether several threads compute at the same time."""
        return self.network.takes_threads

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
            with self.passing:
                scores = score_options(self.network, sequence.key_values, rest, options)
            sequence.ids = list(ids)
            intact = True
        finally:
            with self.lock:
                self.cache.give_back(sequence, intact=intact)
        return scores

    def score_many(
        self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Return what `score` gives for each of several prompts, many in a pass."""
        found: list[list[list[float]]] = [[] for _ in prompts]
        n_nodes = sum(map(len, options))  # at most, and as many rows of logits
        packs = self._packs(
            prompts,
            [n_nodes] * len(prompts),
            most=self.network.n_at_once,
            most_prompts=MAX_LOGIT_BYTES // (4 * self.network.n_vocabulary * n_nodes),
        )
        while packs:
            pack = packs.popleft()
            try:
                scores = self._score_pack([prompts[i] for i in pack], options)
            except OutOfMemory:
                if len(pack) == 1:
                    raise
                packs.extendleft(halves(pack))
                continue
            for i, one in zip(pack, scores, strict=True):
                found[i] = one
        return found

    def write_many(self, answers: Sequence[Answer]) -> list[int]:
        """Write several answers, a token of many in a pass.

        Returns:
            Tokens of each prompt that were not computed again.
        """
        n_cached = [0] * len(answers)
        packs = self._packs(
            [answer.prompt.ids for answer in answers],
            [answer.max_new for answer in answers],
            most=WRITTEN_AT_ONCE * self.network.n_at_once,
            most_prompts=MAX_LOGIT_BYTES // (4 * self.network.n_vocabulary),
        )
        while packs:
            pack = packs.popleft()
            chosen = [answers[i] for i in pack]
            try:
                known = self._write_pack(chosen)
            except OutOfMemory:
                if len(pack) == 1:
                    raise
                packs.extendleft(halves(pack))
                for answer in chosen:
                    answer.restart()
                continue
            for i, n in zip(pack, known, strict=True):
                n_cached[i] = n
        return n_cached

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
                with self.passing:
                    logprobs += self.network.logprobs(
                        past,
                        read,
                        start + rows,
                        None,
                        rows,
                        np.array(sequence[start + 1 : start + 1 + len(read)], dtype=np.int64),
                        n_kept=len(read),
                    ).tolist()
            except OutOfMemory:
                if len(read) == 1:
                    raise
                size = len(read) // 2
                tell_smaller(f"{size:,} tokens of a text at once in place of {len(read):,}")
        return logprobs

    def digest(self) -> str:
        """Return the content hash of the weights as they are in memory now."""
        return self.network.digest()

    def _packs(
        self,
        prompts: Sequence[Sequence[int]],
        n_more: Sequence[int],
        *,
        most: int,
        most_prompts: int,
    ) -> deque[list[int]]:
        """Return the indices of the prompts that are read together."""
        if not self.network.reads_trees:
            return deque([i] for i in range(len(prompts)))
        return deque(together(prompts, n_more, most=most, most_prompts=most_prompts))

    def _score_pack(
        self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        if len(prompts) == 1:
            return [self.score(prompts[0], options)]
        n_shared = shared_length(prompts)
        with self.lock:
            sequence = self.cache.take(prompts[0][: n_shared + 1])
        intact = False
        try:
            n_known = len(sequence.ids)
            if n_known < n_shared:
                self.read(sequence, prompts[0][n_known:n_shared])
            rests = [prompt[n_shared:] for prompt in prompts]
            with self.passing:
                scores = score_prompts(self.network, sequence.key_values, rests, options)
            intact = True
        finally:
            with self.lock:
                self.cache.give_back(sequence, intact=intact)
        return scores

    def _write_pack(self, answers: Sequence[Answer]) -> list[int]:
        if len(answers) == 1:
            return [write_alone(self, answers[0])]
        writing = PackedWriting(self, [answer.prompt.ids for answer in answers])
        try:
            writing.write(answers)
        finally:
            writing.close()
        return writing.n_cached

    def read(self, sequence: CachedSequence, new: Sequence[int]) -> NDArray[np.float32]:
        """Read tokens (at least one) and return the logits after the last.  # (n_vocabulary,)"""
        import numpy as np

        start, size = 0, CHUNK
        while start < len(new):
            chunk = np.array(new[start : start + size], dtype=np.int64)
            positions = len(sequence.ids) + np.arange(len(chunk), dtype=np.int64)
            wanted = np.array([len(chunk) - 1], dtype=np.int64)
            try:
                with self.passing:
                    logits = self.network.forward(
                        sequence.key_values, chunk, positions, None, wanted
                    )
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
    """A reply that is being written; it owns its sequence until it is closed.

    Tokens that it is likely to take from its prompt are read ahead, where the network says that
    this pays; what it then does not take is forgotten.
    """

    def __init__(self, engine: CausalEngine, ids: Sequence[int]) -> None:
        self._engine = engine
        self._intact = True
        with engine.lock:
            self._sequence = engine.cache.take(ids)
        self.n_cached = len(self._sequence.ids)
        self._unread = list(ids[self.n_cached :])
        self._lookup: PromptLookup | None = None
        # Tokens that were read ahead, with the logits after each.
        self._ahead: deque[tuple[int, NDArray[np.float32]]] = deque()

    def next_logits(self, token: int | None) -> NDArray[np.float32]:
        """Return the logits after the prompt (None) or after one more token.  # (n_vocabulary,)"""
        if token is None:
            self._intact = False  # until the pass has ended: keys and values may be half written
            logits = self._engine.read(self._sequence, self._unread)
            self._intact = True
            return logits
        if self._lookup is not None:
            self._lookup.add(token)
        if self._ahead and self._ahead[0][0] == token:
            self._sequence.ids.append(token)
            return self._ahead.popleft()[1]
        return self._read(token)

    def close(self) -> None:
        """Give the sequence back to the cache."""
        if self._ahead:
            self._sequence.key_values.crop(len(self._sequence.ids))
        with self._engine.lock:
            self._engine.cache.give_back(self._sequence, intact=self._intact)

    def _read(self, token: int) -> NDArray[np.float32]:
        """Read a token, and some that may follow it; return the logits after it."""
        import numpy as np

        engine, sequence = self._engine, self._sequence
        n_read, n = len(sequence.ids), engine.network.n_ahead
        sequence.key_values.crop(n_read)  # what was read ahead in vain
        self._ahead.clear()
        if engine.context_tokens is not None:
            n = min(n, engine.context_tokens - n_read - 1)
        if n > 0 and self._lookup is None:
            self._lookup = PromptLookup([*sequence.ids, token])
        guesses = self._lookup.guess(n) if n > 0 and self._lookup is not None else []
        self._intact = False
        if not guesses:
            logits = engine.read(sequence, [token])
            self._intact = True
            return logits
        ids = np.array([token, *guesses], dtype=np.int64)
        rows = np.arange(len(ids), dtype=np.int64)
        with engine.passing:
            logits = engine.network.forward(sequence.key_values, ids, n_read + rows, None, rows)
        self._intact = True
        sequence.ids.append(token)
        self._ahead.extend(zip(guesses, logits[1:], strict=True))
        return np.asarray(logits[0])
