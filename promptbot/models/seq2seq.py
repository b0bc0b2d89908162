"""Writes and scores with an encoder-decoder network (T5, BART and the like)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptbot.errors import OutOfMemory
from promptbot.models.answering import write_alone
from promptbot.models.sampling import refuse_nan
from promptbot.models.scoring import MAX_LOGIT_BYTES, tell_smaller
from promptbot.models.torch_network import digest_of, few_threads, short_memory

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from promptbot.models.answering import Answer
    from promptbot.models.chat_format import ChatFormat

_N_ENCODED = 4


class Seq2SeqEngine:
    """An encoder-decoder model with its tokenizer and the prompts that it encoded last.

    The encoder reads the whole prompt, both ways, so a shared beginning saves nothing; the same
    prompt again (more options, another answer) is not encoded twice.

    Args:
        model: Frozen, in evaluation mode, on its device.
        chat_format: How messages become its tokens.
        context_tokens: The longest prompt, and the longest answer; None when unknown.
    """

    answer_shares_context = False

    def __init__(self, model: Any, chat_format: ChatFormat, *, context_tokens: int | None) -> None:
        self.model = model
        self.chat_format = chat_format
        self.context_tokens = context_tokens
        self._lock = threading.Lock()
        self._encoded: list[tuple[list[int], torch.Tensor]] = []

    def start(self, ids: Sequence[int]) -> Seq2SeqWriting:
        """Return a reply to a prompt, before its first token."""
        n_cached, encoded = self._encode(ids)
        return Seq2SeqWriting(self, encoded, n_cached)

    def score(self, ids: Sequence[int], options: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of every token of every option after a prompt, in nats."""
        _, encoded = self._encode(ids)
        longest = len(self.decoder_start) + max(map(len, options))
        n_at_once = max(1, MAX_LOGIT_BYTES // (4 * longest * self.n_vocabulary))
        scores: list[list[float]] = []
        while len(scores) < len(options):
            some = options[len(scores) : len(scores) + n_at_once]
            try:
                scores += self._score_batch(encoded, some)
            except OutOfMemory:
                if len(some) == 1:
                    raise
                n_at_once = len(some) // 2
                tell_smaller(f"{n_at_once:,} options at once in place of {len(some):,}")
        return scores

    def score_many(
        self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Return what `score` gives for each of several prompts, one after another."""
        return [self.score(prompt, options) for prompt in prompts]

    def write_many(self, answers: Sequence[Answer]) -> list[int]:
        """Write several answers one after another; return the known tokens of their prompts."""
        return [write_alone(self, answer) for answer in answers]

    def loglikelihood(self, ids: Sequence[int]) -> list[float]:
        """Return the log-probability of every token of a text, written after an empty prompt."""
        codec = self.chat_format.codec
        nothing = [*codec.prefix_ids, *codec.suffix_ids] or self.decoder_start
        return self.score(nothing, [ids])[0]

    def digest(self) -> str:
        """Return the content hash of parameters and buffers."""
        return digest_of(self.model)

    @property
    def n_vocabulary(self) -> int:
        """Width of the logits."""
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return int(self.model.get_memory_footprint())

    @property
    def n_before_answer(self) -> int:
        """Tokens that the decoder reads before the answer's first token."""
        return len(self.decoder_start)

    @property
    def decoder_start(self) -> list[int]:
        """What the decoder reads before the answer's first token."""
        config, generation = self.model.config, self.model.generation_config
        start = config.decoder_start_token_id
        start = generation.decoder_start_token_id if start is None else start
        forced = getattr(generation, "forced_bos_token_id", None)
        first = [forced] if forced is not None else self.chat_format.codec.prefix_ids
        return [0 if start is None else start, *first]

    def decode(self, encoded: torch.Tensor, ids: torch.Tensor, cache: Any = None) -> torch.Tensor:
        """Return the decoder's logits.  # (n_rows, n_new, n_vocabulary)"""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        work = f"{len(ids):,} answers to {encoded.shape[1]:,} tokens"
        with (
            self._lock,
            short_memory(work, self.model.device),
            torch.inference_mode(),
            few_threads(self.model),
        ):
            rows = encoded.expand(len(ids), -1, -1)
            output = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=rows),
                attention_mask=torch.ones(rows.shape[:2], dtype=torch.long, device=rows.device),
                decoder_input_ids=ids.to(rows.device),
                past_key_values=cache,
                use_cache=cache is not None,
            )
            logits: torch.Tensor = output.logits.float()
            return logits

    def _encode(self, ids: Sequence[int]) -> tuple[int, torch.Tensor]:
        """Return how many tokens were known, and the encoder's output.  # (1, n_prompt, width)"""
        import torch

        with (
            self._lock,
            short_memory(f"{len(ids):,} tokens of a prompt", self.model.device),
            torch.inference_mode(),
            few_threads(self.model),
        ):
            for known, encoded in self._encoded:
                if known == list(ids):
                    return len(known), encoded
            batch = torch.tensor([list(ids)], device=self.model.device)
            encoded = self.model.get_encoder()(
                input_ids=batch, attention_mask=torch.ones_like(batch)
            ).last_hidden_state
            self._encoded = [(list(ids), encoded), *self._encoded[: _N_ENCODED - 1]]
            return 0, encoded

    def _score_batch(
        self, encoded: torch.Tensor, options: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        import torch

        start = self.decoder_start
        width = len(start) + max(map(len, options)) - 1
        ids = torch.zeros((len(options), width), dtype=torch.long)  # a causal decoder never sees
        for row, option in enumerate(options):  # the padding behind an option
            read = [*start, *option[:-1]]
            ids[row, : len(read)] = torch.tensor(read)
        logprobs = self.decode(encoded, ids).log_softmax(-1)[:, len(start) - 1 :]
        refuse_nan(logprobs.max().item())
        return [
            logprobs[row, torch.arange(len(option)), torch.tensor(list(option))].tolist()
            for row, option in enumerate(options)
        ]


class Seq2SeqWriting:
    """An answer that is being written by the decoder."""

    def __init__(self, engine: Seq2SeqEngine, encoded: torch.Tensor, n_cached: int) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        self.n_cached = n_cached
        self._engine = engine
        self._encoded = encoded
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def next_logits(self, token: int | None) -> NDArray[np.float32]:
        """Return the logits after the prompt (None) or after one more token.  # (n_vocabulary,)"""
        import numpy as np
        import torch

        new = self._engine.decoder_start if token is None else [token]
        logits = self._engine.decode(self._encoded, torch.tensor([new]), self._cache)
        return np.asarray(logits[0, -1].cpu().numpy())

    def close(self) -> None:
        """Nothing to give back: a decoder's past belongs to one answer."""
