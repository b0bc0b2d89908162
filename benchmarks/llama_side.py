"""The llama.cpp side of `benchmarks.engines`: an interpreter of its own, spoken to by lines.

    PYTHON_WITH_LLAMA_CPP -P benchmarks/llama_side.py FOLDER

PYTHON_WITH_LLAMA_CPP has ``llama-cpp-python``, ``gguf`` and numpy, and none of promptbot: the
package is built from source, which takes many minutes, so nothing of promptbot depends on it.
FOLDER holds what `write_folder` puts there. Each line on standard input is a JSON object with
``prompt`` (token ids) and ``n_tokens``; each line on standard output has the ``seconds`` that
reading and writing greedily took, and the ``ids`` that were written. One thread, float32.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""GGUF's name of each weight of a Llama layer, by Transformers'."""


def write_folder(checkpoint: Path, folder: Path) -> None:
    """Write a Llama checkpoint's float32 weights and settings where the other side reads them."""
    from promptbot.models.weights import load_tensors

    np.savez(folder / "weights.npz", **load_tensors(checkpoint))  # type: ignore[arg-type]
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())


def write_gguf(folder: Path) -> Path:
    """Return the GGUF file made of a folder."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    path = folder / "model.gguf"
    writer: Any = gguf.GGUFWriter(path, "llama")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    tokens = [f"[{i}]" for i in range(config["vocab_size"])]
    for token, i in tokenizer["vocab"].items():
        tokens[i] = token
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    merges = tokenizer["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    for name, tensor in np.load(folder / "weights.npz").items():
        writer.add_tensor(_gguf_name(name), _gguf_order(name, tensor, heads, kv_heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_name(name: str) -> str:
    parts = name.removesuffix(".weight").split(".", 3)
    if parts[1] == "layers":
        return f"blk.{parts[2]}.{NAMES[parts[3]]}.weight"
    return {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}.get(
        name.removesuffix(".weight"), "output"
    ) + ".weight"


def _gguf_order(
    name: str, tensor: NDArray[np.float32], heads: int, kv_heads: int
) -> NDArray[np.float32]:
    """Return a weight with rotary pairs side by side, as llama.cpp reads them."""
    n = heads if "q_proj" in name else kv_heads if "k_proj" in name else 0
    if not n:
        return tensor
    rows = tensor.reshape(n, 2, -1, tensor.shape[1]).swapaxes(1, 2)
    return np.ascontiguousarray(rows.reshape(tensor.shape))


def serve(folder: Path) -> None:
    """Answer lines until there are none."""
    from llama_cpp import Llama

    model = Llama(
        str(write_gguf(folder)), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False
    )
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        model.reset()
        model.eval(asked["prompt"])
        ids = [model.sample(temp=0.0)]
        while len(ids) < asked["n_tokens"]:
            model.eval(ids[-1:])
            ids.append(model.sample(temp=0.0))
        print(json.dumps({"seconds": time.perf_counter() - start, "ids": ids}), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
