"""Choosing the next token from the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError, ModelError, known_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a model writes; the keyword arguments of `invoke` and `stream`."""

    temperature: float = 0.0
    """0 writes the likeliest token; above, logits are divided by it."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together reach this probability, in (0, 1]."""
    top_k: int = 0
    """Draw from this many likeliest tokens; 0 for all."""
    min_p: float = 0.0
    """Draw from tokens at least this fraction as likely as the likeliest, in [0, 1]."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens already read or written (arXiv:1909.05858); 1 for none."""
    max_new_tokens: int = 256
    """The longest answer."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        wrong = [
            (self.temperature >= 0, "temperature", "0 or more"),
            (0 < self.top_p <= 1, "top_p", "above 0 and at most 1"),
            (self.top_k >= 0, "top_k", "0 or more"),
            (0 <= self.min_p <= 1, "min_p", "between 0 and 1"),
            (self.repetition_penalty > 0, "repetition_penalty", "above 0"),
            (self.max_new_tokens >= 1, "max_new_tokens", "1 or more"),
        ]
        for right, name, expected in wrong:
            if not right:
                raise InputError(
                    f"{name} is {getattr(self, name)}.",
                    place="decoding",
                    hint=f"It must be {expected}.",
                )

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Decoding:
        """Return the decoding that keyword arguments describe; None stands for the default.

        LangChain's name ``max_tokens`` is understood as ``max_new_tokens``.
        """
        if settings.get("max_new_tokens") is None:
            settings = {**settings, "max_new_tokens": settings.get("max_tokens")}
        settings = {name: value for name, value in settings.items() if name != "max_tokens"}
        known = [one.name for one in fields(cls)]
        for name in settings:
            if name not in known:
                raise InputError(
                    f'a local model knows no setting "{name}".',
                    place="decoding",
                    hint=known_words("Known", name, [*known, "stop"]),
                )
        return cls(**{name: value for name, value in settings.items() if value is not None})


class Sampler:
    """Picks one token after another.

    Args:
        decoding: How to pick.
        prompt_ids: What was read, for the repetition penalty.
    """

    def __init__(self, decoding: Decoding, prompt_ids: Sequence[int]) -> None:
        import numpy as np

        self._decoding = decoding
        self._seen = set(prompt_ids) if decoding.repetition_penalty != 1.0 else None
        self._random = np.random.default_rng(decoding.seed)

    def pick(self, logits: NDArray[np.float32]) -> int:
        """Return the next token's id.

        Args:
            logits: Of the next token; not changed.  # (n_vocabulary,)

        Raises:
            ModelError: The logits hold a NaN.
        """
        import numpy as np

        best = int(np.argmax(logits))  # argmax finds a NaN first
        refuse_nan(logits[best])
        if self._seen is not None:
            logits = self._penalised(logits)
            best = int(np.argmax(logits))
        if self._decoding.temperature > 0:
            best = self._draw(logits)
        if self._seen is not None:
            self._seen.add(best)
        return best

    def _penalised(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        seen = np.fromiter(self._seen or (), dtype=np.int64)
        values = logits[seen]
        penalty = self._decoding.repetition_penalty
        result = logits.copy()
        result[seen] = np.where(values > 0, values / penalty, values * penalty)
        return result

    def _draw(self, logits: NDArray[np.float32]) -> int:
        """Draw from the softmax, after temperature, top-k, top-p and min-p, in this order."""
        import numpy as np

        order = np.argsort(-logits, kind="stable")
        if self._decoding.top_k:
            order = order[: self._decoding.top_k]
        scaled = logits[order].astype(np.float64) / self._decoding.temperature
        likely = np.exp(scaled - scaled[0])
        likely /= likely.sum()
        before = np.cumsum(likely) - likely
        keep = (before < self._decoding.top_p) & (likely >= self._decoding.min_p * likely[0])
        n = int(keep.sum())  # both bounds hold for a prefix of the sorted tokens
        cumulative = np.cumsum(likely[:n])
        drawn = np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right")
        return int(order[min(int(drawn), n - 1)])


def refuse_nan(best: float | np.float32) -> None:
    """Raise where the largest logit is no number, which it is as soon as one of them is none.

    Raises:
        ModelError: It is NaN.
    """
    if best != best:
        raise ModelError(
            "the model computed NaN instead of log-probabilities.",
            hint="Its weights are damaged, or too large for this number format.",
        )
