"""What a model is, in lines for a person: size, numbers, device with the reason, template."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from promptbot.models.causal import CausalEngine
from promptbot.models.local import LocalChatModel

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel
    from promptbot.models.onnx import OnnxNetwork

_ONE_TOKEN = 1


def describe(model: FrozenModel) -> dict[str, str]:
    """Return what is known of a loaded model, by name, in the order in which to show it."""
    context = model.context_tokens
    common = {
        "context": "unknown" if context is None else f"{context:,} tokens",
        "scores labels": "yes" if model.can_score else "no, it writes them",
        "revision": model.revision,
    }
    if not isinstance(model, LocalChatModel):
        return {"model": model.spec, **common}
    return {"model": model.spec, **_network(model), **common, "chat template": _template(model)}


def describe_encoder(encoder: Encoder, spec: str) -> dict[str, str]:
    """Return what is known of a loaded encoder, by name, in the order in which to show it."""
    from promptbot.models.encoder import StudentEncoder, TransformersEncoder

    facts = {"encoder": spec}
    if isinstance(encoder, StudentEncoder):
        sizes = encoder.config
        facts |= {
            "engine": "numpy",
            "architecture": f"promptbot's own, {sizes.layers} layers",
            "numbers": "float32: numpy computes in it",
            "device": "cpu: numpy knows no other",
            "weights in memory": _mebibytes(encoder.n_bytes),
            "reads": f"the first {sizes.max_tokens:,} tokens of a text",
        }
    elif isinstance(encoder, TransformersEncoder):
        network = encoder.network
        facts |= {
            "engine": "Transformers",
            "architecture": f"{type(network).__name__} ({network.config.model_type})",
            "parameters": f"{network.num_parameters():,}",
            "numbers": _numbers_of_encoder(is_bfloat16=encoder.is_bfloat16),
            "device": "cpu: promptbot computes encoders on no other",
            "weights in memory": _mebibytes(encoder.n_bytes),
            "reads": f"the first {encoder.max_tokens:,} tokens of a text",
        }
    return {**facts, "vectors": f"{encoder.dimension} numbers", "revision": encoder.revision}


def _numbers_of_encoder(*, is_bfloat16: bool) -> str:
    if is_bfloat16:
        return (
            "bfloat16 for products of matrices, for which this processor has instructions, "
            "float32 for the rest"
        )
    return "float32: this processor has no instructions for bfloat16, or float32 was asked for"


def _network(model: LocalChatModel) -> dict[str, str]:
    """Return engine, architecture, size, numbers, device and memory of a local model."""
    from promptbot.models.onnx import OnnxNetwork

    engine = model.engine
    if isinstance(engine, CausalEngine) and isinstance(engine.network, OnnxNetwork):
        return _onnx(engine.network, engine.context_tokens)
    network: Any = getattr(engine, "network", engine)
    network = network.model
    config, device = network.config, network.device.type
    reason = "torch finds a GPU" if device == "cuda" else "torch finds no GPU that it can use"
    number = str(network.dtype).removeprefix("torch.")
    where = "on a GPU" if device == "cuda" else "without a GPU"
    facts = {
        "engine": "Transformers",
        "architecture": f"{type(network).__name__} ({config.model_type})",
        "parameters": f"{network.num_parameters():,}",
        "numbers": f"{number}: what promptbot computes in {where}",
        "device": f"{device}: {reason}",
        "weights in memory": _mebibytes(model.n_bytes),
    }
    if isinstance(engine, CausalEngine):
        import numpy as np

        past = engine.network.new_key_values()
        one = np.zeros(_ONE_TOKEN, dtype=np.int64)
        engine.network.forward(past, one, one, None, one)
        facts["cache"] = _cache(past.n_bytes, engine.context_tokens)
    return facts


def _onnx(network: OnnxNetwork, context: int | None) -> dict[str, str]:
    from promptbot.models.onnx import ArrayKeyValues

    shapes = network.layout.shapes()
    tables = ("cos", "sin")  # computed from the settings, not trained
    n_parameters = sum(math.prod(shape) for name, shape in shapes.items() if name not in tables)
    numbers = "float32: the graph computes in it"
    if network.is_int8:
        numbers = "8 bits in blocks of 32 for matrices, float32 for the rest: model.int8.onnx"
    return {
        "engine": "ONNX Runtime",
        "architecture": f"{network.layout.family}, {network.layout.n_layers} layers",
        "parameters": f"{n_parameters:,}",
        "numbers": numbers,
        "device": "cpu: the ONNX engine uses no other",
        "weights in memory": _mebibytes(network.n_bytes),
        "cache": _cache(ArrayKeyValues(network.layout, _ONE_TOKEN).n_bytes, context),
    }


def _template(model: LocalChatModel) -> str:
    if model.engine.chat_format.is_plain:
        return 'none; the plain layout "User: ...", "Chatbot: ..." is used'
    return "the model's own"


def _cache(bytes_per_token: int, context: int | None) -> str:
    text = f"{bytes_per_token:,} bytes a token"
    return text if context is None else f"{text}, {_mebibytes(bytes_per_token * context)} at most"


def _mebibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"
