"""How much each part of a prompt speaks for the answer: leave-one-out influence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from promptbot.errors import CannotScore, InputError
from promptbot.models.scoring import score_each
from promptbot.prompt.leave_out import LeftOutKind
from promptbot.types import Message, Reply

if TYPE_CHECKING:
    from promptbot.chain import Chain


@dataclass(frozen=True, slots=True)
class PartInfluence:
    """What one part of the prompt does to the answer's probability."""

    kind: LeftOutKind
    """What it is."""
    text: str
    """Its text."""
    logprob: float
    """Log-probability of the answer without it, in nats."""
    influence: float
    """What it adds to the log-probability, in nats: above 0 it makes the answer likelier."""


@dataclass(frozen=True, slots=True)
class Influence:
    """What each part of a prompt does to the answer's probability."""

    answer: str
    """The reply's text, or the label."""
    logprob: float
    """Its log-probability after the whole prompt, in nats."""
    n_tokens: int | None
    """Tokens of the reply, its end included; None for a label."""
    parts: tuple[PartInfluence, ...]
    """Sentences of the system prompt, notes, examples and turns, in reading order."""
    seconds: float
    """Wall-clock seconds that it took."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON-ready values."""
        return asdict(self)


def influence(chain: Chain, reply: Reply) -> Influence:
    """Return how the answer's log-probability changes without each part of its prompt.

    For a reply in words that is the log-probability of exactly this text; in a classify bot it is
    that of its label, all wordings together and before any calibration. Influences do not add up:
    of two notes that say the same, either can go without loss.

    The prompts are one batch where the model computes several together, as local ones do: what they
    begin with alike is then read once.

    Args:
        chain: What gave the reply; its bot's templates render the smaller prompts.
        reply: With its trace.

    Raises:
        CannotScore: The model only writes.
        InputError: The reply is empty, or has no trace.

    Source:
        Leave-one-out over the parts of a prompt: Cohen-Wang et al. (2024), arXiv:2409.00729,
        "ContextCite", section 2; over words, Li et al. (2016), arXiv:1612.08220.
    """
    if not chain.model.can_score:
        raise CannotScore(
            "influence needs log-probabilities, and this model only writes.",
            place=chain.model.spec,
            hint="Ask for it with a model on this machine, as --model embedded.",
        )
    if reply.trace is None or not reply.text.strip():
        raise InputError(
            "there is no answer whose parts could be compared.", hint="Ask something first."
        )
    started = time.perf_counter()
    prompt = reply.trace.prompt
    smaller = chain.leave_out_each(prompt)
    prompts = [prompt.messages, *(left.messages for left in smaller)]
    answer, scores = _score(chain, reply, prompts)
    whole, n_tokens = scores[0]
    return Influence(
        answer=answer,
        logprob=whole,
        n_tokens=n_tokens,
        parts=tuple(
            PartInfluence(left.kind, left.text, logprob, whole - logprob)
            for left, (logprob, _) in zip(smaller, scores[1:], strict=True)
        ),
        seconds=time.perf_counter() - started,
    )


def _score(
    chain: Chain, reply: Reply, prompts: Sequence[Sequence[Message]]
) -> tuple[str, list[tuple[float, int | None]]]:
    """Return the answer, and its log-probability and tokens after each prompt."""
    assert reply.trace is not None
    completion = reply.trace.completion
    # A label that was written, not scored, is explained as the text that it was.
    if completion.stop_reason == "scored" and reply.label is not None:
        labels = chain.label_logprobs(prompts)
        if labels is not None and reply.label in labels[0]:
            return reply.label, [(found[reply.label], None) for found in labels]
    complete = completion.stop_reason not in ("length", "interrupted")
    text = completion.text or reply.text
    scored = score_each(chain.model, prompts, [text], end_of_turn=complete)
    return reply.label or reply.text, [
        (score.logprob, len(score.token_logprobs)) for (score,) in scored
    ]
