"""The ONNX engine: a frozen model on ONNX Runtime, numpy and tokenizers alone, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import ModelError
from promptbot.models.causal import CausalEngine
from promptbot.models.chat_format import load_chat_format
from promptbot.models.codec import Codec
from promptbot.models.int8 import int8_weights
from promptbot.models.layouts import graph_weights, read_layout
from promptbot.models.local import LocalChatModel
from promptbot.models.scoring import target_logprobs
from promptbot.models.weights import (
    GRAPH,
    INT8_GRAPH,
    digest,
    graph_in,
    load_tensors,
    read_json,
    read_verified,
    verify_small_files,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from promptbot.models.layouts import Layout
    from promptbot.models.prefix_cache import KeyValues

_BLOCK = 128


def load_onnx(folder: Path, spec: str, *, threads: int = 1) -> LocalChatModel:
    """Return the chat model in a folder that holds an ONNX graph beside its checkpoint.

    Args:
        folder: With config.json, tokenizer.json, safetensors, and model.int8.onnx or model.onnx.
        spec: The text that the model is known by.
        threads: Cores for one matrix product; more than one slows small models down.

    Raises:
        ModelError: A file is missing or damaged, or the architecture is not supported.
    """
    verify_small_files(folder)
    codec = Codec.load(folder)
    network = OnnxNetwork.load(folder, threads=threads)
    chat_format = load_chat_format(codec, folder, eos_ids=_eos_ids(folder), place=spec)
    if codec.n_vocabulary > network.n_vocabulary:
        raise ModelError(
            f"the tokenizer has {codec.n_vocabulary:,} tokens.",
            place=str(folder),
            expected=f"The model knows {network.n_vocabulary:,}.",
            hint="Tokenizer and weights belong to different models; copy the folder again.",
        )
    engine = CausalEngine(network, chat_format, context_tokens=network.layout.context)
    return LocalChatModel(engine=engine, spec=spec)


class ArrayKeyValues:
    """Keys and values in buffers that grow by blocks, so that appending copies the new part alone.

    Keys are kept transposed, as the product with the queries reads them.
    """

    def __init__(self, layout: Layout, capacity: int = 0) -> None:
        import numpy as np

        self._layout = layout
        kv, dim = layout.n_kv_heads, layout.head_dim
        # One unused (masked) position stands for an empty past: graphs dislike empty arrays.
        size = max(capacity, 1)
        self.keys = np.zeros((layout.n_layers, kv, 1, dim, size), dtype=np.float32)
        self.values = np.zeros((layout.n_layers, kv, 1, size, dim), dtype=np.float32)
        self.n_tokens = 0

    @property
    def capacity(self) -> int:
        """How many tokens fit without growing."""
        return int(self.keys.shape[-1])

    @property
    def n_bytes(self) -> int:
        """Memory of the buffers."""
        return int(self.keys.nbytes + self.values.nbytes)

    def crop(self, n_tokens: int) -> None:
        """Forget everything after the first n tokens."""
        self.n_tokens = n_tokens

    def part(self, start: int, stop: int) -> ArrayKeyValues:
        """Return a copy of those of the tokens from start to stop."""
        twin = ArrayKeyValues(self._layout, stop - start)
        twin._put(self, start, stop)
        return twin

    def extend(self, others: Sequence[KeyValues]) -> None:
        """Append copies of what belongs to the tokens that follow these."""
        end = self.n_tokens + sum(other.n_tokens for other in others)
        if end > self.capacity:
            self._grow(_in_blocks(end))
        for other in others:
            assert isinstance(other, ArrayKeyValues)
            self._put(other, 0, other.n_tokens)

    def append(self, new: list[NDArray[np.float32]], n_new: int) -> None:
        """Take the first of the graph's new keys and values, alternating by layer."""
        if not n_new:
            return
        end = self.n_tokens + n_new
        if end > self.capacity:
            self._grow(_in_blocks(end + self.n_tokens // 4))
        for i in range(self._layout.n_layers):
            self.keys[i][..., self.n_tokens : end] = new[2 * i][..., :n_new]
            self.values[i][..., self.n_tokens : end, :] = new[2 * i + 1][..., :n_new, :]
        self.n_tokens = end

    def _grow(self, capacity: int) -> None:
        grown = ArrayKeyValues(self._layout, capacity)
        grown._put(self, 0, self.n_tokens)
        self.keys, self.values = grown.keys, grown.values

    def _put(self, other: ArrayKeyValues, start: int, stop: int) -> None:
        """Append a copy of another's from start to stop, for which there is room."""
        end = self.n_tokens + stop - start
        self.keys[..., self.n_tokens : end] = other.keys[..., start:stop]
        self.values[..., self.n_tokens : end, :] = other.values[..., start:stop, :]
        self.n_tokens = end


class OnnxNetwork:
    """A causal language model as an ONNX graph with its weights."""

    reads_trees = True
    n_at_once = 128
    # One more token costs a fifteenth of a pass, in which weights are what is waited for.
    n_ahead = 16
    takes_threads = True

    def __init__(
        self,
        session: InferenceSession,
        layout: Layout,
        weights: Mapping[str, NDArray[np.float32] | NDArray[np.uint8]],
        is_int8: bool,
    ) -> None:
        self.layout = layout
        self.is_int8 = is_int8
        self._session = session
        self._weights = weights
        self._input_names = [(f"past_keys.{i}", f"past_values.{i}") for i in range(layout.n_layers)]
        self._output_names = ["logits"]
        for i in range(layout.n_layers):
            self._output_names += [f"keys.{i}", f"values.{i}"]

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> OnnxNetwork:
        """Return the network in a folder; see `load_onnx`."""
        import onnxruntime

        place = str(folder)
        layout = read_layout(read_json(folder / "config.json"), place)
        name = graph_in(folder)
        if name is None:
            raise ModelError(
                f"{GRAPH} is missing.",
                place=place,
                expected="The ONNX engine needs the graph beside the weights.",
                hint=f"Make a folder that has it: promptbot models export {folder} NEW_FOLDER",
            )
        graph = read_verified(folder, [name])[name]
        weights: Mapping[str, NDArray[np.float32] | NDArray[np.uint8]]
        weights = plain = graph_weights(layout, load_tensors(folder), place)
        is_int8 = name == INT8_GRAPH
        if is_int8:
            weights = int8_weights(layout, plain)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in weights.values()]
        try:
            options.add_external_initializers(list(weights), values)
            session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelError(
                f"ONNX Runtime cannot load the graph ({error}).",
                place=f"{folder / name}",
                hint="Make the folder again: promptbot models export MODEL FOLDER",
            ) from error
        return cls(session, layout, weights, is_int8)

    @property
    def n_vocabulary(self) -> int:
        """Width of the logits."""
        return self.layout.n_vocabulary

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return sum(int(array.nbytes) for array in self._weights.values())

    def new_key_values(self) -> ArrayKeyValues:
        """Return the memory of an empty sequence."""
        return ArrayKeyValues(self.layout)

    def digest(self) -> str:
        """Return the content hash of the weights, which the session reads in place."""
        return digest(self._weights)

    def forward(
        self,
        past: KeyValues,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        visible: NDArray[np.bool_] | None,
        wanted: NDArray[np.int64],
        n_kept: int | None = None,
    ) -> NDArray[np.float32]:
        """Read new tokens and append them, or the first few, to the past; see `CausalNetwork`."""
        import numpy as np

        assert isinstance(past, ArrayKeyValues)
        n_new, capacity = len(ids), past.capacity
        hidden = np.finfo(np.float32).min
        bias = np.zeros((1, 1, n_new, capacity + n_new), dtype=np.float32)
        bias[..., past.n_tokens : capacity] = hidden
        if visible is not None:
            n_seen = visible.shape[1] - n_new  # positions of the past that the mask speaks of
            bias[0, 0, :, capacity:][~visible[:, n_seen:]] = hidden
            bias[0, 0, :, :n_seen][~visible[:, :n_seen]] = hidden
        elif n_new > 1:
            bias[0, 0, :, capacity:][np.triu_indices(n_new, 1)] = hidden
        feed: dict[str, Any] = {
            "ids": ids,
            "positions": positions[None],
            "bias": bias,
            "wanted": wanted,
        }
        for (keys, values), layer_keys, layer_values in zip(
            self._input_names, past.keys, past.values, strict=True
        ):
            feed[keys], feed[values] = layer_keys, layer_values
        logits, *new = self._session.run(self._output_names, feed)
        # What is not kept must not make the buffers grow: later passes would read the empty room.
        past.append(new, n_new if n_kept is None else n_kept)
        return np.asarray(logits)

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

        wanted, place = np.unique(rows, return_inverse=True)
        logits = self.forward(past, ids, positions, visible, wanted, n_kept)
        return target_logprobs(logits, place, targets)


def _in_blocks(n_tokens: int) -> int:
    """Round up, so that buffers rarely grow and little of them is empty."""
    return -(-n_tokens // _BLOCK) * _BLOCK


def _eos_ids(folder: Path) -> list[int]:
    """Return the end tokens that the folder's configuration names."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            value = read_json(folder / name).get("eos_token_id")
            found += value if isinstance(value, list) else [value] if value is not None else []
    return list(dict.fromkeys(found))
