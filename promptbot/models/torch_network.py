"""A causal Transformers model as the arrays-in, arrays-out network of the prefix cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from promptbot.errors import FrozenModelChanged, OutOfMemory
from promptbot.models.sampling import refuse_nan
from promptbot.models.scoring import build_trie

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from promptbot.models.prefix_cache import KeyValues

_SMALL = 100_000_000
_WINDOWS = (
    "sliding_window", "window_size", "attention_window", "attention_chunk_size", "local_attention"
)  # fmt: skip
"""What configurations call the reach of attention that does not see the whole past."""
_AT_ONCE = (256, 4096)
"""New tokens of one pass on a CPU, and on a GPU."""


class TorchKeyValues:
    """Keys and values in a Transformers `DynamicCache`."""

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.cache: Any = DynamicCache()

    @property
    def n_tokens(self) -> int:
        """How many tokens were read."""
        return int(self.cache.get_seq_length())

    @property
    def n_bytes(self) -> int:
        """Memory of the tensors."""
        return sum(
            layer.keys.nbytes + layer.values.nbytes
            for layer in self.cache.layers
            if layer.is_initialized
        )

    def crop(self, n_tokens: int) -> None:
        """Forget everything after the first n tokens."""
        surplus = self.n_tokens - n_tokens
        if surplus:
            self.cache.crop(-surplus)

    def restore(self, n_tokens: int) -> None:
        """Crop every layer by itself, after a pass that broke off somewhere between them."""
        for layer in self.cache.layers:
            if layer.is_initialized and layer.keys.shape[-2] > n_tokens:
                layer.keys = layer.keys[..., :n_tokens, :]
                layer.values = layer.values[..., :n_tokens, :]

    def part(self, start: int, stop: int) -> TorchKeyValues:
        """Return a copy of those of the tokens from start to stop."""
        twin = TorchKeyValues()
        for i, layer in enumerate(self.cache.layers):
            keys, values = layer.keys[..., start:stop, :], layer.values[..., start:stop, :]
            twin.cache.update(keys.clone(), values.clone(), i)
        return twin

    def extend(self, others: Sequence[KeyValues]) -> None:
        """Append copies of what belongs to the tokens that follow these."""
        import torch

        caches = [other.cache for other in others if isinstance(other, TorchKeyValues)]
        for i in range(len(caches[0].layers) if caches else 0):
            keys = torch.cat([cache.layers[i].keys for cache in caches], dim=-2)
            values = torch.cat([cache.layers[i].values for cache in caches], dim=-2)
            self.cache.update(keys, values, i)


class TorchNetwork:
    """A causal language model of Transformers.

    Args:
        model: Frozen, in evaluation mode, on its device.
        accepted: The arguments that its forward pass takes.
    """

    n_ahead = 0  # in half precision a pass of more tokens may choose another one
    takes_threads = False  # several passes at once take the memory of several

    def __init__(self, model: Any, accepted: frozenset[str]) -> None:
        self.model = model
        self._accepted = accepted

    @property
    def n_vocabulary(self) -> int:
        """Width of the logits."""
        return int(self.model.config.get_text_config().vocab_size)

    @cached_property
    def reads_trees(self) -> bool:
        """Whether a mask and explicit positions give the same logits as a plain pass; measured.

        Architectures with other positions (ALiBi) take the arguments and ignore them. Attention
        to a window counts places in the sequence, which shows in long prompts alone.
        """
        import numpy as np

        config = self.model.config.get_text_config()
        windows = any(getattr(config, name, None) for name in _WINDOWS)
        if "position_ids" not in self._accepted or windows:
            return False
        low, high = self.n_vocabulary // 3, self.n_vocabulary // 2
        branches = [[low, low + 1, high], [low, high, low]]
        trie = build_trie(branches)
        past, prompt = self.new_key_values(), np.array([high, low], dtype=np.int64)
        self.forward(past, prompt, np.arange(2), None, np.array([1]))
        everything = np.arange(len(trie.ids))
        found = self.forward(past, trie.ids, 2 + trie.depths, trie.visible, everything)
        for branch, path in zip(branches, trie.paths, strict=True):
            ids = np.array([*prompt, *branch], dtype=np.int64)
            plain = self.forward(self.new_key_values(), ids, np.arange(5), None, np.arange(2, 5))
            bound = 1e-4 if self._is_exact else 2e-2
            if np.abs(plain - found[list(path)]).max() > bound * max(1.0, np.abs(plain).max()):
                return False
        return True

    @property
    def looks_ahead(self) -> bool:
        """Whether what comes later changes the logits before it, as in an encoder; measured."""
        import numpy as np

        low, high = self.n_vocabulary // 3, self.n_vocabulary // 2
        first, second = (
            self.forward(
                self.new_key_values(),
                np.array([low, later], dtype=np.int64),
                np.arange(2, dtype=np.int64),
                None,
                np.array([0]),
            )
            for later in (low, high)
        )
        bound = 1e-4 if self._is_exact else 2e-2
        return bool(np.abs(first - second).max() > bound * max(1.0, np.abs(first).max()))

    @property
    def n_at_once(self) -> int:
        """New tokens of several prompts that are worth one pass: many where they are cheap."""
        return worth_a_pass(self.model.device)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return int(self.model.get_memory_footprint())

    def new_key_values(self) -> TorchKeyValues:
        """Return the memory of an empty sequence."""
        return TorchKeyValues()

    def forward(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        wanted: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Read new tokens and append them to the past; see `CausalNetwork.forward`."""
        return self._read(past, ids, positions, visible, wanted, lambda logits: logits)

    def logprobs(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        n_kept: int,
    ) -> NDArray[np.float32]:
        """Return the log-probability of each target after its row; see `CausalNetwork`."""
        import numpy as np
        import torch

        n_past = past.n_tokens
        wanted, place = np.unique(rows, return_inverse=True)

        def pick(logits: torch.Tensor) -> torch.Tensor:
            at = torch.from_numpy(place).to(logits.device)
            chosen = logits[at, torch.from_numpy(targets).to(logits.device)]
            return chosen - logits.logsumexp(-1)[at]

        picked = self._read(past, ids, positions, visible, wanted, pick)
        past.crop(n_past + n_kept)
        refuse_nan(picked.max())  # the maximum of numbers with a NaN is NaN
        return picked

    def _read(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        wanted: NDArray[np.int64],
        of_logits: Callable[[torch.Tensor], torch.Tensor],
    ) -> NDArray[np.float32]:
        """Read new tokens; return what is made of the wanted logits on their device."""
        import numpy as np
        import torch

        assert isinstance(past, TorchKeyValues)
        device = self.model.device
        rows = torch.from_numpy(wanted).to(device)
        arguments: dict[str, Any] = {}
        if "position_ids" in self._accepted:
            arguments["position_ids"] = torch.from_numpy(positions)[None].to(device)
        if "logits_to_keep" in self._accepted:
            arguments["logits_to_keep"] = rows
        if visible is not None:
            arguments["attention_mask"] = self._mask(visible, past.n_tokens)
        n_past = past.n_tokens
        try:
            with (
                short_memory(f"{len(ids):,} new tokens after {n_past:,}", device),
                torch.inference_mode(),
                few_threads(self.model),
            ):
                output = self.model(
                    input_ids=torch.from_numpy(ids)[None].to(device),
                    past_key_values=past.cache,
                    use_cache=True,
                    **arguments,
                )
                logits = output.logits[0]
                if "logits_to_keep" not in self._accepted:
                    logits = logits[rows]
                return np.asarray(of_logits(logits.float()).cpu().numpy())
        except OutOfMemory:
            past.restore(n_past)
            raise

    def digest(self) -> str:
        """Return the content hash of parameters and buffers."""
        return digest_of(self.model)

    @property
    def _is_exact(self) -> bool:
        import torch

        return bool(self.model.dtype == torch.float32)

    def _mask(self, visible: NDArray[np.bool_], n_past: int) -> torch.Tensor:
        """Return what is added to the attention scores.  # (1, 1, n_new, n_past + n_new)"""
        import torch

        n_new, n_columns = visible.shape
        seen = torch.from_numpy(visible).to(self.model.device)
        mask = torch.zeros(
            (1, 1, n_new, n_past + n_new), dtype=self.model.dtype, device=self.model.device
        )
        hidden = torch.finfo(self.model.dtype).min
        mask[0, 0, :, n_past + n_new - n_columns :].masked_fill_(~seen, hidden)
        return mask


def worth_a_pass(device: Any) -> int:
    """Return how many new tokens of several prompts are worth one pass on a device."""
    return _AT_ONCE[device.type != "cpu"]


def digest_of(model: Any) -> str:
    """Return the content hash of a Transformers model's parameters and buffers.

    Raises:
        FrozenModelChanged: A parameter would receive a gradient.
    """
    import torch

    total = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            raise FrozenModelChanged(
                f"the parameter {name} would receive a gradient.",
                hint="Load the model again; something unfroze it in this process.",
            )
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


@contextlib.contextmanager
def short_memory(work: str, device: Any) -> Iterator[None]:
    """Turn torch's errors for missing memory into ours; afterwards smaller work may fit."""
    import torch

    try:
        yield
    except RuntimeError as error:  # the GPU's OutOfMemoryError is one, too
        if not _is_memory(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(
            f"{work} do not fit into the memory of {device}.",
            place="the Transformers engine",
            hint="Choose a smaller model, a shorter memory, or fewer examples and notes.",
        ) from error


def _is_memory(error: Exception) -> bool:
    """Return whether an error says that memory was missing; the CPU's has no class of its own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextlib.contextmanager
def few_threads(model: Any) -> Iterator[None]:
    """Compute small models on one CPU thread: handing work over costs more than it saves."""
    import torch

    n_threads = torch.get_num_threads()
    if model.device.type != "cpu" or model.num_parameters() > _SMALL or n_threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
