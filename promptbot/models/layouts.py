"""Published checkpoint layouts: their settings, and which tensors make each weight of our graph.

Llama, Qwen2 and Qwen3 differ in biases and in a norm of queries and keys; GPT-2 has learned
positions, LayerNorm and a plain feed-forward part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptbot.errors import ModelError, known_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUPPORTED = ("llama", "qwen2", "qwen3", "gpt2")


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a causal language model that the ONNX engine runs."""

    family: str
    """One of `SUPPORTED`."""
    n_layers: int
    width: int
    """Of the residual stream."""
    n_heads: int
    n_kv_heads: int
    """Key/value heads; divides `n_heads`."""
    head_dim: int
    inner: int
    """Width inside the feed-forward part."""
    n_vocabulary: int
    context: int
    """The most positions."""
    norm_eps: float
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    tied: bool
    """Whether the output matrix is the embedding matrix."""
    rope_theta: float | None
    """Base of the rotary positions; None for learned positions."""
    rope_scaling: Mapping[str, Any] | None
    """Llama 3's frequency scaling, or None."""

    @property
    def is_gpt2(self) -> bool:
        """Whether it has LayerNorm, learned positions and a plain feed-forward part."""
        return self.family == "gpt2"

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised per head."""
        return self.family == "qwen3"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight of the graph, by name."""
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        up = self.inner if self.is_gpt2 else 2 * self.inner
        shapes: dict[str, tuple[int, ...]] = {"embed": (self.n_vocabulary, self.width)}
        if not self.tied:
            shapes["head"] = (self.n_vocabulary, self.width)
        if self.rope_theta is None:
            shapes["positions_table"] = (self.context, self.width)
        else:
            shapes["cos"] = shapes["sin"] = (self.context, self.head_dim // 2)
        norms = ["norm"]
        for i in range(self.n_layers):
            shapes[f"{i}.qkv"] = (q + 2 * kv, self.width)
            shapes[f"{i}.out"] = (self.width, q)
            shapes[f"{i}.up"] = (up, self.width)
            shapes[f"{i}.down"] = (self.width, self.inner)
            if self.qkv_bias:
                shapes[f"{i}.qkv_bias"] = (q + 2 * kv,)
            if self.out_bias:
                shapes[f"{i}.out_bias"] = (self.width,)
            if self.mlp_bias:
                shapes[f"{i}.up_bias"], shapes[f"{i}.down_bias"] = (up,), (self.width,)
            if self.qk_norm:
                shapes[f"{i}.q_norm"] = shapes[f"{i}.k_norm"] = (self.head_dim,)
            norms += [f"{i}.norm1", f"{i}.norm2"]
        for name in norms:
            shapes[name] = (self.width,)
            if self.is_gpt2:
                shapes[f"{name}_bias"] = (self.width,)
        return shapes


def read_layout(config: Mapping[str, Any], place: str) -> Layout:
    """Return the layout that a checkpoint's config.json describes.

    Raises:
        ModelError: The architecture, or one of its options, is not supported.
    """
    family = str(config.get("model_type"))
    if family not in SUPPORTED:
        raise ModelError(
            f'the ONNX engine does not run the architecture "{family}".',
            place=place,
            expected=known_words("Supported", family, SUPPORTED),
            hint='Use the Transformers engine: pip install "promptbot[hf]"',
        )
    try:
        return _gpt2(config, place) if family == "gpt2" else _llama(config, family, place)
    except KeyError as error:
        raise ModelError(
            f"config.json lacks {error}.", place=place, hint="Save the model's configuration again."
        ) from error


def _llama(config: Mapping[str, Any], family: str, place: str) -> Layout:
    _require(config, place, hidden_act="silu")
    if config.get("use_sliding_window"):
        _refuse(place, "use_sliding_window is true")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        _refuse(place, f'rotary positions of type "{kind}"')
    n_heads, width = config["num_attention_heads"], config["hidden_size"]
    attention_bias = bool(config.get("attention_bias", False))
    return Layout(
        family=family,
        n_layers=config["num_hidden_layers"],
        width=width,
        n_heads=n_heads,
        n_kv_heads=config.get("num_key_value_heads") or n_heads,
        head_dim=config.get("head_dim") or width // n_heads,
        inner=config["intermediate_size"],
        n_vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        norm_eps=config.get("rms_norm_eps", 1e-6),
        qkv_bias=attention_bias or family == "qwen2",
        out_bias=attention_bias,
        mlp_bias=bool(config.get("mlp_bias", False)),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        rope_scaling=rope if kind == "llama3" else None,
    )


def _gpt2(config: Mapping[str, Any], place: str) -> Layout:
    _require(
        config,
        place,
        activation_function="gelu_new",
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
    )
    width, n_heads = config["n_embd"], config["n_head"]
    return Layout(
        family="gpt2",
        n_layers=config["n_layer"],
        width=width,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=width // n_heads,
        inner=config.get("n_inner") or 4 * width,
        n_vocabulary=config["vocab_size"],
        context=config["n_positions"],
        norm_eps=config.get("layer_norm_epsilon", 1e-5),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=bool(config.get("tie_word_embeddings", True)),
        rope_theta=None,
        rope_scaling=None,
    )


def graph_weights(
    layout: Layout, tensors: Mapping[str, NDArray[np.float32]], place: str
) -> dict[str, NDArray[np.float32]]:
    """Return the graph's weights, made from a checkpoint's tensors.

    Raises:
        ModelError: A tensor is missing or has another shape than config.json says.
    """
    try:
        made = _gpt2_weights(layout, tensors) if layout.is_gpt2 else _llama_weights(layout, tensors)
    except KeyError as error:
        raise ModelError(
            f"the weights lack the tensor {error}.",
            place=place,
            hint="config.json and weights belong to different models; copy the folder again.",
        ) from error
    shapes = layout.shapes()
    for name, array in made.items():
        if array.shape != shapes[name]:
            raise ModelError(
                f"the weights for {name} have the shape {array.shape}.",
                place=place,
                expected=f"config.json describes {shapes[name]}.",
                hint="config.json and weights belong to different models; copy the folder again.",
            )
    return made


def rotary_tables(layout: Layout) -> dict[str, NDArray[np.float32]]:
    """Return cosine and sine of every position's rotation.  # each (context, head_dim / 2)"""
    import numpy as np

    steps = np.arange(0, layout.head_dim, 2, dtype=np.float64) / layout.head_dim
    frequencies = (layout.rope_theta or 10000.0) ** -steps
    if layout.rope_scaling is not None:
        frequencies = _llama3_frequencies(frequencies, layout.rope_scaling)
    # Transformers multiplies in float32, which shows at far positions.
    angles = np.outer(np.arange(layout.context, dtype=np.float32), frequencies.astype(np.float32))
    return {"cos": np.cos(angles), "sin": np.sin(angles)}


def _llama3_frequencies(
    frequencies: NDArray[np.float64], scaling: Mapping[str, Any]
) -> NDArray[np.float64]:
    """Stretch slow rotations and keep fast ones (Llama 3, arXiv:2407.21783)."""
    import numpy as np

    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(frequencies * (share + (1.0 - share) / factor))


def _llama_weights(
    layout: Layout, tensors: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    made = {
        "embed": tensors["model.embed_tokens.weight"],
        "norm": tensors["model.norm.weight"],
        **rotary_tables(layout),
    }
    if not layout.tied:
        made["head"] = tensors["lm_head.weight"]
    for i in range(layout.n_layers):
        layer = f"model.layers.{i}."
        attention, mlp = layer + "self_attn.", layer + "mlp."
        for kind, wanted in (("weight", True), ("bias", layout.qkv_bias)):
            if wanted:
                parts = [tensors[f"{attention}{one}_proj.{kind}"] for one in "qkv"]
                made[f"{i}.qkv" if kind == "weight" else f"{i}.qkv_bias"] = np.concatenate(parts)
        for kind, wanted in (("weight", True), ("bias", layout.mlp_bias)):
            if wanted:
                end = "" if kind == "weight" else "_bias"
                parts = [tensors[f"{mlp}{one}_proj.{kind}"] for one in ("gate", "up")]
                made[f"{i}.up{end}"] = np.concatenate(parts)
                made[f"{i}.down{end}"] = tensors[f"{mlp}down_proj.{kind}"]
        made[f"{i}.out"] = tensors[f"{attention}o_proj.weight"]
        if layout.out_bias:
            made[f"{i}.out_bias"] = tensors[f"{attention}o_proj.bias"]
        if layout.qk_norm:
            made[f"{i}.q_norm"] = tensors[f"{attention}q_norm.weight"]
            made[f"{i}.k_norm"] = tensors[f"{attention}k_norm.weight"]
        made[f"{i}.norm1"] = tensors[f"{layer}input_layernorm.weight"]
        made[f"{i}.norm2"] = tensors[f"{layer}post_attention_layernorm.weight"]
    return made


def _gpt2_weights(
    layout: Layout, tensors: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    # Files of the first release lack the "transformer." before each name.
    start = "transformer." if "transformer.wte.weight" in tensors else ""
    made = {
        "embed": tensors[f"{start}wte.weight"],
        "positions_table": tensors[f"{start}wpe.weight"],
        "norm": tensors[f"{start}ln_f.weight"],
        "norm_bias": tensors[f"{start}ln_f.bias"],
    }
    if not layout.tied:
        made["head"] = tensors["lm_head.weight"]
    parts = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "qkv": "attn.c_attn",
        "out": "attn.c_proj",
        "up": "mlp.c_fc",
        "down": "mlp.c_proj",
    }
    for i in range(layout.n_layers):
        for ours, theirs in parts.items():
            weight = tensors[f"{start}h.{i}.{theirs}.weight"]
            # GPT-2 stores its matrices as (inputs, outputs).
            made[f"{i}.{ours}"] = np.ascontiguousarray(weight.T)
            made[f"{i}.{ours}_bias"] = tensors[f"{start}h.{i}.{theirs}.bias"]
    return made


def _require(config: Mapping[str, Any], place: str, **expected: Any) -> None:
    for name, value in expected.items():
        if config.get(name, value) != value:
            _refuse(place, f"{name} is {config[name]!r}")


def _refuse(place: str, what: str) -> None:
    raise ModelError(
        f"the ONNX engine does not support this setting of config.json: {what}.",
        place=place,
        hint='Use the Transformers engine: pip install "promptbot[hf]"',
    )
