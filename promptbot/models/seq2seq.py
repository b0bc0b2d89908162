"""Writes and scores with an encoder-decoder network (T5, BART and the like)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from promptbot.errors import OutOfMemory
from promptbot.models.answering import write_alone
from promptbot.models.packed import halves
from promptbot.models.sampling import refuse_nan
from promptbot.models.scoring import MAX_LOGIT_BYTES, tell_smaller
from promptbot.models.torch_network import digest_of, few_threads, short_memory, worth_a_pass

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from promptbot.models.answering import Answer
    from promptbot.models.chat_format import ChatFormat

_N_ENCODED = 4
_WRITTEN_AT_ONCE = 16
"""Tokens of prompts whose answers are written together, for each token that is worth a pass."""
_MOST_PADDING = 0.1
"""Of a batch's tokens."""


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
    takes_threads = False

    def __init__(self, model: Any, chat_format: ChatFormat, *, context_tokens: int | None) -> None:
        self.model = model
        self.chat_format = chat_format
        self.context_tokens = context_tokens
        self._lock = threading.Lock()
        self._encoded: list[tuple[list[int], torch.Tensor]] = []

    def start(self, ids: Sequence[int]) -> Seq2SeqWriting:
        """Return a reply to a prompt, before its first token."""
        n_cached, encoded = self._encode_one(ids)
        return Seq2SeqWriting(self, encoded, n_cached)

    def score(self, ids: Sequence[int], options: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the log-probability of every token of every option after a prompt, in nats."""
        _, encoded = self._encode_one(ids)
        return self._score(encoded, self._all_of(encoded), options)[0]

    def score_many(
        self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Return what `score` gives for each of several prompts, similarly long ones at once."""
        found: list[list[list[float]]] = [[] for _ in prompts]

        def score(batch: list[int]) -> None:
            if len(batch) == 1:
                scores = [self.score(prompts[batch[0]], options)]
            else:
                scores = self._score(*self._encode([prompts[i] for i in batch]), options)
            for i, one in zip(batch, scores, strict=True):
                found[i] = one

        longest = len(self.decoder_start) + max(map(len, options))
        most = MAX_LOGIT_BYTES // (4 * longest * self.n_vocabulary)
        self._in_batches(prompts, self.n_at_once, most, score)
        return found

    def write_many(self, answers: Sequence[Answer]) -> list[int]:
        """Write several answers, a token of each in a pass where their prompts are similarly long.

        Returns:
            Tokens of each prompt that were not computed again.
        """
        n_cached = [0] * len(answers)

        def write(batch: list[int]) -> None:
            chosen = [answers[i] for i in batch]
            for answer in chosen:
                answer.restart()  # what did not fit into memory begins anew
            if len(batch) == 1:
                n_cached[batch[0]] = write_alone(self, chosen[0])
            else:
                self._write_batch(chosen)

        prompts = [answer.prompt.ids for answer in answers]
        most = MAX_LOGIT_BYTES // (4 * self.n_vocabulary)
        self._in_batches(prompts, _WRITTEN_AT_ONCE * self.n_at_once, most, write)
        return n_cached

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

    @property
    def n_at_once(self) -> int:
        """Tokens of several prompts that are worth one pass."""
        return worth_a_pass(self.model.device)

    def decode(
        self,
        encoded: torch.Tensor,
        ids: torch.Tensor,
        cache: Any = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the decoder's logits.  # (n_rows, n_new, n_vocabulary)

        Args:
            encoded: What the encoder made of each row's prompt.  # (n_rows, n_prompt, width)
            ids: What the decoder reads.  # (n_rows, n_new)
            cache: What it has read before.
            mask: 0 where a prompt is padding; None without any.  # (n_rows, n_prompt)
        """
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        work = f"{len(ids):,} answers to {encoded.shape[1]:,} tokens"
        with (
            self._lock,
            short_memory(work, self.model.device),
            torch.inference_mode(),
            few_threads(self.model),
        ):
            output = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
                attention_mask=self._all_of(encoded) if mask is None else mask,
                decoder_input_ids=ids.to(encoded.device),
                past_key_values=cache,
                use_cache=cache is not None,
            )
            logits: torch.Tensor = output.logits.float()
            return logits

    def _all_of(self, encoded: torch.Tensor) -> torch.Tensor:
        """Return the mask of prompts without padding."""
        import torch

        return torch.ones(encoded.shape[:2], dtype=torch.long, device=encoded.device)

    def _encode_one(self, ids: Sequence[int]) -> tuple[int, torch.Tensor]:
        """Return how many tokens were known, and the encoder's output.  # (1, n_prompt, width)"""
        with self._lock:
            for known, encoded in self._encoded:
                if known == list(ids):
                    return len(known), encoded
        encoded, _ = self._encode([ids])
        with self._lock:
            self._encoded = [(list(ids), encoded), *self._encoded[: _N_ENCODED - 1]]
        return 0, encoded

    def _encode(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the encoder makes of prompts, and where they are no padding.

        # (n_prompts, n_longest, width), (n_prompts, n_longest)
        """
        import torch

        longest = max(map(len, prompts))
        device = self.model.device
        work = f"{sum(map(len, prompts)):,} tokens of {len(prompts):,} prompts"
        with (
            self._lock,
            short_memory(work, device),
            torch.inference_mode(),
            few_threads(self.model),
        ):
            ids = torch.zeros((len(prompts), longest), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, prompt in enumerate(prompts):
                ids[row, : len(prompt)] = torch.tensor(list(prompt))
                mask[row, : len(prompt)] = 1
            mask = mask.to(device)
            encoder = self.model.get_encoder()
            output = encoder(input_ids=ids.to(device), attention_mask=mask)
            return output.last_hidden_state, mask

    def _in_batches(
        self,
        prompts: Sequence[Sequence[int]],
        most_tokens: int,
        most_prompts: int,
        work: Callable[[list[int]], None],
    ) -> None:
        """Do some work for batches of prompts, given by their indices; for halves on short memory.

        Raises:
            OutOfMemory: One prompt alone does not fit.
        """
        batches = deque(_similar(list(map(len, prompts)), most_tokens, most_prompts))
        while batches:
            batch = batches.popleft()
            try:
                work(batch)
            except OutOfMemory:
                if len(batch) == 1:
                    raise
                batches.extendleft(halves(batch))

    def _score(
        self, encoded: torch.Tensor, mask: torch.Tensor, options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        """Return the log-probability of every token of every option after each prompt."""
        found: list[list[list[float]]] = [[[] for _ in options] for _ in encoded]
        lengths = [len(self.decoder_start) + len(option) - 1 for option in options]
        most_tokens = MAX_LOGIT_BYTES // (4 * self.n_vocabulary * len(encoded))
        groups = deque(_similar(lengths, most_tokens, len(options)))
        while groups:
            group = groups.popleft()
            try:
                scores = self._score_batch(encoded, mask, [options[i] for i in group])
            except OutOfMemory:
                if len(group) == 1:
                    raise
                half = len(group) // 2
                tell_smaller(f"{half:,} options at once in place of {len(group):,}")
                groups.extendleft([group[half:], group[:half]])
                continue
            for prompt, some in zip(found, scores, strict=True):
                for i, one in zip(group, some, strict=True):
                    prompt[i] = one
        return found

    def _score_batch(
        self, encoded: torch.Tensor, mask: torch.Tensor, options: Sequence[Sequence[int]]
    ) -> list[list[list[float]]]:
        import torch

        start = self.decoder_start
        width = len(start) + max(map(len, options)) - 1
        ids = torch.zeros((len(options), width), dtype=torch.long)  # a causal decoder never sees
        for row, option in enumerate(options):  # the padding behind an option
            read = [*start, *option[:-1]]
            ids[row, : len(read)] = torch.tensor(read)
        n = len(options)
        with short_memory(f"{len(encoded) * n:,} answers", encoded.device):
            rows, seen = encoded.repeat_interleave(n, 0), mask.repeat_interleave(n, 0)
        logits = self.decode(rows, ids.repeat(len(encoded), 1), mask=seen)
        logprobs = logits[:, len(start) - 1 :].log_softmax(-1)
        refuse_nan(logprobs.max().item())
        return [
            [
                logprobs[at + row, torch.arange(len(option)), torch.tensor(list(option))].tolist()
                for row, option in enumerate(options)
            ]
            for at in range(0, len(rows), n)
        ]

    def _write_batch(self, answers: Sequence[Answer]) -> None:
        """Write answers to their ends, one token of each in a pass."""
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        encoded, mask = self._encode([answer.prompt.ids for answer in answers])
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        ids = torch.tensor([self.decoder_start] * len(answers))
        live = list(answers)
        while True:
            logits = self.decode(encoded, ids, cache, mask)[:, -1].cpu().numpy()
            for row, answer in enumerate(live):
                answer.take(logits[row])
            kept = [row for row, answer in enumerate(live) if not answer.ended]
            if not kept:
                break
            if len(kept) < len(live):
                rows = torch.tensor(kept, device=encoded.device)
                encoded, mask = encoded[rows], mask[rows]
                cache.batch_select_indices(rows)
                live = [live[row] for row in kept]
            ids = torch.tensor([[answer.last] for answer in live])
        for answer in answers:
            answer.finish()


def _similar(lengths: Sequence[int], most_tokens: int, most: int) -> Iterator[list[int]]:
    """Yield the indices of texts that make a batch, the longest first, with little padding."""
    batch: list[int] = []
    n_tokens = width = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        n_padded = (len(batch) + 1) * width
        padding = n_padded - n_tokens - lengths[i]
        fits = n_padded <= most_tokens and len(batch) < most
        if batch and not (fits and padding <= _MOST_PADDING * n_padded):
            yield batch
            batch, n_tokens = [], 0
        if not batch:
            width = lengths[i]
        batch.append(i)
        n_tokens += lengths[i]
    if batch:
        yield batch


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
