"""Writes the ONNX graph of a checkpoint, and checks it against Transformers.

``model.onnx`` holds the computation alone, a few kilobytes. The weights stay in the folder's
safetensors, which the ONNX engine puts into the graph when it loads; so both engines run the very
same numbers and nothing is shipped twice. ``model.int8.onnx`` computes with matrices in 8 bits,
which the engine makes of those weights when it loads.

The graph reads one sequence. Its attention takes the keys and values of the past from buffers
whose unused end is masked by the bias, and returns those of the new tokens alone, so no step
copies the past. The last layer computes only the rows whose logits are wanted.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError, MissingExtra, ModelError
from promptbot.models import int8
from promptbot.models.layouts import Layout, read_layout
from promptbot.models.weights import GRAPH, INT8_GRAPH, hub_folder, read_json, weight_files

if TYPE_CHECKING:
    from onnx import ModelProto

    from promptbot.interfaces import FrozenModel

MAX_LOGIT_DIFFERENCE = 1e-3
"""Of a float32 graph's logits to Transformers', relative to their size."""
MAX_NATS = {False: 1e-3, True: 0.1}
"""Mean difference of a token's log-probability to Transformers', in float32 and in 8 bits."""
PROMPTS = (
    "Hello! Who are you?",
    "Where is my order? I have been waiting for two weeks.",
    "Write one sentence about the sea.",
    "What is the capital of France, and how do you know?",
)
"""What the check asks."""
N_CHECKED = 24
"""Tokens of the answers that the check compares."""
_COPIED = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "model.safetensors.index.json",
)  # fmt: skip
_MICROSOFT = "com.microsoft"  # operators that every ONNX Runtime build has


@dataclass(frozen=True, slots=True)
class Equality:
    """How an exported model compares with the checkpoint in Transformers, in float32."""

    n_answers: int
    """Greedy answers that were compared."""
    n_equal: int
    """Of them, those equal to the last character."""
    nats: float
    """Mean absolute difference of the log-probability of a token."""
    worst_nats: float
    """The largest."""


def export_model(model: str, folder: Path, *, with_int8: bool = False) -> Equality:
    """Write a folder that the ONNX engine runs without torch, and compare it with the original.

    Args:
        model: ``embedded``, a folder, or ``hf:OWNER/NAME``, of a supported architecture.
        folder: Where to write; must not exist, or be empty.
        with_int8: Compute with matrices in 8 bits.

    Raises:
        InputError: Something stands in the folder, or it cannot be written.
        ModelError: The architecture is not supported, or the folder computes something else.
        MissingExtra: onnx or torch is not installed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "something is there already.",
            place=str(folder),
            expected="Expected the path of a folder to be made.",
            hint="Choose another path, or delete what stands there.",
        )
    source = _source(model)
    read_layout(read_json(source / "config.json"), model)  # refused before anything is copied
    weights = weight_files(source)
    with _made_beside(folder) as part:
        for name in (*_COPIED, *(path.name for path in weights)):
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        if not (part / "tokenizer.json").is_file():
            _save_tokenizer(source, part)
        export_onnx(part, with_int8=with_int8)
        equality = compare(part, source)
        if equality.nats > MAX_NATS[with_int8]:
            raise ModelError(
                f"the exported model's log-probabilities differ by {equality.nats:.2g} nats.",
                place=model,
                expected=f"At most {MAX_NATS[with_int8]} for a token on average.",
                hint="Export it without --int8."
                if with_int8
                else "Please report this checkpoint's config.json.",
            )
    return equality


@contextlib.contextmanager
def _made_beside(folder: Path) -> Iterator[Path]:
    """Yield a new folder that becomes `folder` at the end; on any failure nothing stays there.

    Raises:
        InputError: Nothing can be written there, or no longer.
    """
    work = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        part = work / folder.name
        part.mkdir()
        yield part
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError as error:
        raise InputError(
            f"it cannot be written ({error}).",
            place=str(folder),
            expected="Expected a place with room for the model's weights.",
            hint="Choose another path, or make room.",
        ) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _source(model: str) -> Path:
    """Return the folder of a checkpoint, fetched from the hub where it is there."""
    from promptbot.models.registry import EMBEDDED

    if model == "embedded":
        return EMBEDDED
    if not model.startswith("hf:"):
        folder = Path(model).expanduser()
        if folder.is_dir():
            return folder
        raise ModelError(
            "no such folder.",
            place=model,
            expected="Expected embedded, the folder of a checkpoint, or hf:OWNER/NAME.",
            hint="Check the path.",
        )
    return hub_folder(
        model.removeprefix("hf:"),
        what=f'Exporting "{model}"',
        place=model,
        hint="Check the name and the network; a gated model needs HF_TOKEN.",
    )


def _save_tokenizer(source: Path, folder: Path) -> None:
    """Write a tokenizer in the one form that needs no Transformers, from an older form."""
    try:
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
    except Exception as error:  # whatever a broken tokenizer raises
        raise ModelError(
            f"the tokenizer cannot be read ({error}).",
            place=str(source),
            expected="Expected tokenizer.json, or files that Transformers converts to it.",
            hint="Copy the model's folder again, with every file.",
        ) from error


def compare(folder: Path, source: Path) -> Equality:
    """Return how an exported folder's answers and scores compare with Transformers' float32.

    Raises:
        MissingExtra: torch is not installed.
    """
    from promptbot.models.onnx import load_onnx
    from promptbot.models.transformers import load_transformers
    from promptbot.types import Message

    exported = load_onnx(folder, str(folder))
    original = load_transformers(str(source), str(source), float32=True)
    n_equal, differences = 0, []
    for text in PROMPTS:
        prompt = [Message("user", text)]
        wanted = _answer(original, text)
        n_equal += _answer(exported, text) == wanted
        options = [wanted or "yes", "I do not know."]
        for found, expected in zip(
            exported.score(prompt, options), original.score(prompt, options), strict=True
        ):
            pairs = zip(found.token_logprobs, expected.token_logprobs, strict=True)
            differences += [abs(a - b) for a, b in pairs]
    return Equality(len(PROMPTS), n_equal, sum(differences) / len(differences), max(differences))


def _answer(model: FrozenModel, text: str) -> str:
    return str(model.invoke(text, max_new_tokens=N_CHECKED).text)


def export_onnx(folder: Path, *, check: bool = True, with_int8: bool = False) -> Path:
    """Write the graph beside a checkpoint's weights and return its path.

    Args:
        folder: With config.json and safetensors.
        check: Compare the logits with Transformers, where torch is installed; not in 8 bits.
        with_int8: Write ``model.int8.onnx`` in place of ``model.onnx``.

    Raises:
        ModelError: The architecture is not supported, or the graph computes something else.
        MissingExtra: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Exporting a model", "onnx", "export") from error
    layout = read_layout(read_json(folder / "config.json"), str(folder))
    path = folder / (INT8_GRAPH if with_int8 else GRAPH)
    path.write_bytes(build_graph(layout, with_int8=with_int8).SerializeToString())
    if check and not with_int8:
        difference = largest_difference(folder)
        if difference is not None and difference > MAX_LOGIT_DIFFERENCE:
            path.unlink()
            raise ModelError(
                f"the graph's logits differ from Transformers' by {difference:.2g}.",
                place=str(folder),
                expected=f"At most {MAX_LOGIT_DIFFERENCE}.",
                hint="Please report this checkpoint's config.json.",
            )
    return path


def largest_difference(folder: Path, n_tokens: int = 24) -> float | None:
    """Return the largest difference of logits to Transformers in float32, relative to their size.

    None where torch is not installed.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        return None
    import numpy as np

    from promptbot.models.onnx import OnnxNetwork
    from promptbot.models.transformers import quiet

    network = OnnxNetwork.load(folder)
    with quiet():
        reference: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = np.random.default_rng(0).integers(0, network.n_vocabulary, n_tokens)
    with torch.inference_mode():
        expected = reference(torch.from_numpy(ids)[None]).logits[0].numpy()
    past = network.new_key_values()
    halves = np.array_split(np.arange(n_tokens), 2)  # the second half also reads the past
    found = np.concatenate(
        [network.forward(past, ids[h], h, None, np.arange(len(h))) for h in halves]
    )
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def build_graph(layout: Layout, *, with_int8: bool = False) -> ModelProto:
    """Return the graph of a layout, with weights by name only.

    Inputs: ``ids`` (n), ``positions`` (1, n), ``bias`` (1, 1, n, past + n) added to the attention
    scores, ``wanted`` (m), and for each layer ``past_keys`` (kv_heads, 1, head_dim, past) and
    ``past_values`` (kv_heads, 1, past, head_dim). Outputs: ``logits`` (m, n_vocabulary), and the
    new ``keys`` and ``values`` of each layer, shaped like the past ones.
    """
    graph = _Graph(layout, with_int8)
    hidden = graph.add("Gather", "embed", "ids")
    if layout.rope_theta is None:
        rows = graph.add("Squeeze", "positions", graph.ints(0))
        hidden = graph.add("Add", hidden, graph.add("Gather", "positions_table", rows))
    bias = "bias"
    for i in range(layout.n_layers):
        last = i == layout.n_layers - 1
        query, keys, values = graph.queries_keys_values(i, graph.norm(f"{i}.norm1", hidden))
        if last:
            query = graph.add("Gather", query, "wanted", axis=2)
            bias = graph.add("Gather", bias, "wanted", axis=2)
            hidden = graph.add("Gather", hidden, "wanted", axis=0)
        mixed = graph.attention(i, query, keys, values, bias)
        hidden = graph.add("Add", hidden, graph.linear(f"{i}.out", mixed, layout.out_bias))
        hidden = graph.add("Add", hidden, graph.feed_forward(i, graph.norm(f"{i}.norm2", hidden)))
    last_hidden = graph.norm("norm", hidden)
    if with_int8:
        graph.int8_product("head", last_hidden, output="logits")
    else:
        head = "embed" if layout.tied else "head"
        graph.add("Gemm", last_hidden, head, output="logits", transB=1)
    return graph.model()


class _Graph:
    """Adds nodes one by one; each method returns the name of what it computes."""

    def __init__(self, layout: Layout, with_int8: bool) -> None:
        self.layout = layout
        self.with_int8 = with_int8
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def add(
        self, op: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output."""
        return self.split(op, *inputs, outputs=(output,), domain=domain, **attributes)[0]

    def split(
        self, op: str, *inputs: str, outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs; an empty name gets a fresh one."""
        from onnx import helper

        names = [name or f"{op.lower()}_{len(self.nodes)}_{at}" for at, name in enumerate(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names

    def ints(self, *values: int) -> str:
        """Return a constant vector of integers."""
        from onnx import TensorProto, helper

        name = "ints_" + "_".join(map(str, values))
        self.constants[name] = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        return name

    def norm(self, name: str, hidden: str) -> str:
        """Normalise each row."""
        eps = self.layout.norm_eps
        if self.layout.is_gpt2:
            return self.add(
                "LayerNormalization", hidden, name, f"{name}_bias", axis=-1, epsilon=eps
            )
        return self.add("SimplifiedLayerNormalization", hidden, name, axis=-1, epsilon=eps)

    def linear(self, name: str, hidden: str, bias: bool) -> str:
        """Multiply by a matrix that is stored as (outputs, inputs)."""
        if self.with_int8:
            product = self.int8_product(name, hidden)
            return self.add("Add", product, f"{name}_bias") if bias else product
        inputs = (hidden, name, f"{name}_bias") if bias else (hidden, name)
        return self.add("Gemm", *inputs, transB=1)

    def int8_product(self, name: str, hidden: str, output: str = "") -> str:
        """Multiply by a matrix in 8 bits; see `promptbot.models.int8`."""
        rows, columns = int8.matrices(self.layout)[name]
        return self.add(
            "MatMulNBits",
            hidden,
            int8.codes_of(name),
            int8.scales_of(name),
            output=output,
            domain=_MICROSOFT,
            N=rows,
            K=columns,
            bits=8,
            block_size=int8.BLOCK,
            accuracy_level=4,  # the input is rounded to 8 bits, too
        )

    def queries_keys_values(self, i: int, hidden: str) -> list[str]:
        """Return queries (kv, group, n, dim), keys (kv, 1, dim, n) and values (kv, 1, n, dim)."""
        shape = self.layout
        kv, group, dim = shape.n_kv_heads, shape.n_heads // shape.n_kv_heads, shape.head_dim
        q_size, kv_size = shape.n_heads * dim, kv * dim
        both = self.linear(f"{i}.qkv", hidden, shape.qkv_bias)
        if shape.rope_theta is None:
            sizes = self.ints(q_size, kv_size, kv_size)
            query, key, value = self.split("Split", both, sizes, outputs=("", "", ""), axis=1)
        else:
            sizes = self.ints(q_size + kv_size, kv_size)
            turned, value = self.split("Split", both, sizes, outputs=("", ""), axis=1)
            if shape.qk_norm:
                turned = self._normalised_heads(i, turned)
            turned = self.add("Unsqueeze", turned, self.ints(0))
            turned = self.add(
                "RotaryEmbedding", turned, "positions", "cos", "sin", domain=_MICROSOFT
            )
            turned = self.add("Squeeze", turned, self.ints(0))
            sizes = self.ints(q_size, kv_size)
            query, key = self.split("Split", turned, sizes, outputs=("", ""), axis=1)
        query = self.add("Reshape", query, self.ints(-1, kv, group, dim))
        key = self.add("Reshape", key, self.ints(-1, kv, 1, dim))
        value = self.add("Reshape", value, self.ints(-1, kv, 1, dim))
        return [
            self.add("Transpose", query, perm=[1, 2, 0, 3]),
            self.add("Transpose", key, output=f"keys.{i}", perm=[1, 2, 3, 0]),
            self.add("Transpose", value, output=f"values.{i}", perm=[1, 2, 0, 3]),
        ]

    def _normalised_heads(self, i: int, turned: str) -> str:
        """Normalise each head of queries and keys, which stand side by side."""
        shape = self.layout
        sizes = self.ints(shape.n_heads, shape.n_kv_heads)
        heads = self.add("Reshape", turned, self.ints(0, -1, shape.head_dim))
        query, key = self.split("Split", heads, sizes, outputs=("", ""), axis=1)
        op, eps = "SimplifiedLayerNormalization", shape.norm_eps
        query = self.add(op, query, f"{i}.q_norm", axis=-1, epsilon=eps)
        key = self.add(op, key, f"{i}.k_norm", axis=-1, epsilon=eps)
        heads = self.add("Concat", query, key, axis=1)
        width = (shape.n_heads + shape.n_kv_heads) * shape.head_dim
        return self.add("Reshape", heads, self.ints(-1, width))

    def attention(self, i: int, query: str, keys: str, values: str, bias: str) -> str:
        """Return each row's mixture of values, over past and new tokens at once."""
        past_keys, past_values = f"past_keys.{i}", f"past_values.{i}"
        scale = self.scalar("scale", self.layout.head_dim**-0.5)
        query = self.add("Mul", query, scale)
        scores = [self.add("MatMul", query, past_keys), self.add("MatMul", query, keys)]
        weights = self.add(
            "Softmax", self.add("Add", self.add("Concat", *scores, axis=3), bias), axis=-1
        )
        lengths = self.add(
            "Concat",
            self.add("Shape", past_keys, start=3, end=4),
            self.add("Shape", keys, start=3, end=4),
            axis=0,
        )
        old, new = self.split("Split", weights, lengths, outputs=("", ""), axis=3)
        mixed = self.add(
            "Add", self.add("MatMul", old, past_values), self.add("MatMul", new, values)
        )
        mixed = self.add("Transpose", mixed, perm=[2, 0, 1, 3])
        return self.add("Reshape", mixed, self.ints(-1, self.layout.n_heads * self.layout.head_dim))

    def feed_forward(self, i: int, hidden: str) -> str:
        """Return the feed-forward part's contribution."""
        shape = self.layout
        up = self.linear(f"{i}.up", hidden, shape.mlp_bias)
        if shape.is_gpt2:
            inside = self.add("FastGelu", up, domain=_MICROSOFT)
        else:
            sizes = self.ints(shape.inner, shape.inner)
            gate, up = self.split("Split", up, sizes, outputs=("", ""), axis=1)
            gate = self.add("QuickGelu", gate, domain=_MICROSOFT, alpha=1.0)
            inside = self.add("Mul", gate, up)
        return self.linear(f"{i}.down", inside, shape.mlp_bias)

    def scalar(self, name: str, value: float) -> str:
        """Return a constant number."""
        from onnx import TensorProto, helper

        self.constants[name] = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        return name

    def model(self) -> ModelProto:
        """Return the finished model."""
        from onnx import TensorProto, helper

        shape, info = self.layout, helper.make_tensor_value_info
        kv, dim = shape.n_kv_heads, shape.head_dim
        inputs = [
            info("ids", TensorProto.INT64, ["n"]),
            info("positions", TensorProto.INT64, [1, "n"]),
            info("bias", TensorProto.FLOAT, [1, 1, "n", "all"]),
            info("wanted", TensorProto.INT64, ["m"]),
        ]
        outputs = [info("logits", TensorProto.FLOAT, ["m", shape.n_vocabulary])]
        for i in range(shape.n_layers):
            inputs += [
                info(f"past_keys.{i}", TensorProto.FLOAT, [kv, 1, dim, "past"]),
                info(f"past_values.{i}", TensorProto.FLOAT, [kv, 1, "past", dim]),
            ]
            outputs += [
                info(f"keys.{i}", TensorProto.FLOAT, [kv, 1, dim, "n"]),
                info(f"values.{i}", TensorProto.FLOAT, [kv, 1, "n", dim]),
            ]
        sizes = int8.shapes(shape) if self.with_int8 else shape.shapes()
        weights = [_external(name, size) for name, size in sizes.items()]
        graph = helper.make_graph(
            self.nodes, "frozen", inputs, outputs, [*self.constants.values(), *weights]
        )
        return helper.make_model(
            graph,
            producer_name="promptbot",
            ir_version=8,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(_MICROSOFT, 1)],
        )


def _external(name: str, shape: Sequence[int]) -> Any:
    """Return a weight without its numbers; the engine supplies them when it loads."""
    from onnx import TensorProto

    kind = TensorProto.UINT8 if name == int8.codes_of(name[:-6]) else TensorProto.FLOAT
    tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "given-when-loaded"
    return tensor
