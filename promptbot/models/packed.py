"""Several prompts in one forward pass: side by side in one sequence, each of which sees its own.

What the prompts begin with alike is read once. What follows stands behind it, prompt after prompt,
kept apart by the mask and by explicit positions, so that no token is padding and every row of a
matrix product is somebody's (packing: Krell et al. 2021, arXiv:2107.02027). The price is attention
to masked positions; it grows with the sequence, so a pack is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptbot.models.prefix_cache import common_length
from promptbot.models.scoring import tell_smaller

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.answering import Answer
    from promptbot.models.causal import CausalEngine

_EVERYBODY = -1


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with alike; of none of them its last token."""
    # In the order of tokens, all others lie between the first and the last.
    low, high = min(prompts, key=list), max(prompts, key=list)
    return min(common_length(low, high), min(map(len, prompts)) - 1)


def together(
    prompts: Sequence[Sequence[int]], n_more: Sequence[int], *, most: int, most_prompts: int
) -> list[list[int]]:
    """Return the indices of the prompts that one pack takes, for every pack.

    Neighbours in the order of their tokens share the most.

    Args:
        prompts: Token ids, at least one each.
        n_more: Tokens that will follow each prompt.
        most: Of a pack's tokens, without those that all its prompts share.
        most_prompts: Of a pack.
    """
    packs: list[list[int]] = []
    pack: list[int] = []
    n_shared = n_tokens = 0
    for i in sorted(range(len(prompts)), key=lambda i: list(prompts[i])):
        length = len(prompts[i])
        if pack:
            n_common = min(n_shared, common_length(prompts[pack[0]], prompts[i]), length - 1)
            total = n_tokens + length + n_more[i]
            if total - n_common * (len(pack) + 1) <= most and len(pack) < most_prompts:
                pack.append(i)
                n_shared, n_tokens = n_common, total
                continue
            packs.append(pack)
        pack, n_shared, n_tokens = [i], length - 1, length + n_more[i]
    return [*packs, pack] if pack else packs


def halves(pack: list[int]) -> list[list[int]]:
    """Return the halves of a pack that did not fit into memory, the second one first."""
    half = len(pack) // 2
    tell_smaller(f"{half:,} prompts at once in place of {len(pack):,}")
    return [pack[half:], pack[:half]]


class PackedWriting:
    """Several answers that are written in one sequence; it owns the sequence until it is closed.

    Args:
        engine: Whose network reads masks, and whose cache may know the shared beginning.
        prompts: Token ids, two prompts or more.
    """

    def __init__(self, engine: CausalEngine, prompts: Sequence[Sequence[int]]) -> None:
        self._engine = engine
        self._prompts = prompts
        self._n_shared = shared_length(prompts)
        self._intact = True
        with engine.lock:
            self._sequence = engine.cache.take(prompts[0][: self._n_shared + 1])
        n_known = len(self._sequence.ids)
        self.n_cached = [n_known] + [self._n_shared] * (len(prompts) - 1)
        """Tokens of each prompt that were not computed for it; the first one pays for all."""

    def write(self, answers: Sequence[Answer]) -> None:
        """Write the answers to their ends, one token of each in a pass.

        Raises:
            OutOfMemory: They do not fit; some of them are begun.
        """
        import numpy as np

        logits = self._read_prompts()
        lengths = np.array([len(prompt) for prompt in self._prompts], dtype=np.int64)
        live = np.arange(len(answers))
        while len(live):
            for row, i in enumerate(live.tolist()):
                answers[i].take(logits[row])
            live = live[[not answers[i].ended for i in live.tolist()]]
            if len(live):
                ids = np.array([answers[i].last for i in live.tolist()], dtype=np.int64)
                logits = self._forward(ids, live, lengths[live], np.arange(len(live)))
                lengths[live] += 1
        for answer in answers:
            answer.finish()

    def close(self) -> None:
        """Give what the prompts share back to the cache."""
        with self._engine.lock:
            self._sequence.key_values.crop(len(self._sequence.ids))
            self._engine.cache.give_back(self._sequence, intact=self._intact)

    def _read_prompts(self) -> NDArray[np.float32]:
        """Return the logits after each prompt.  # (n_prompts, n_vocabulary)"""
        import numpy as np

        n_shared, n_known = self._n_shared, len(self._sequence.ids)
        if n_known < n_shared:
            self._intact = False
            self._engine.read(self._sequence, self._prompts[0][n_known:n_shared])
            self._intact = True
        self._owners = np.full(n_shared, _EVERYBODY)
        rests = [prompt[n_shared:] for prompt in self._prompts]
        ids = np.concatenate([np.array(rest, dtype=np.int64) for rest in rests])
        owners = np.repeat(np.arange(len(rests)), [len(rest) for rest in rests])
        positions = np.concatenate([n_shared + np.arange(len(rest)) for rest in rests])
        is_last = np.append(owners[1:] != owners[:-1], True)
        logits = []
        size = self._engine.network.n_at_once
        for start in range(0, len(ids), size):
            part = slice(start, start + size)
            wanted = np.flatnonzero(is_last[part])
            logits.append(self._forward(ids[part], owners[part], positions[part], wanted))
        return np.concatenate(logits)

    def _forward(
        self,
        ids: NDArray[np.int64],
        owners: NDArray[np.int64],
        positions: NDArray[np.int64],
        wanted: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Read new tokens, each for its owner; return the wanted logits."""
        import numpy as np

        n_past = len(self._owners)
        self._owners = np.concatenate([self._owners, owners])
        visible = (self._owners == _EVERYBODY) | (self._owners == owners[:, None])
        visible[:, n_past:] &= np.tri(len(ids), dtype=np.bool_)
        self._intact = False  # until the pass has ended: keys and values may be half written
        past = self._sequence.key_values
        with self._engine.passing:
            logits = self._engine.network.forward(past, ids, positions, visible, wanted)
        self._intact = True
        return logits
