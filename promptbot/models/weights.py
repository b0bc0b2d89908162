"""Frozen weights from a folder: only safetensors, with their checksums, as float32 arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import MissingExtra, ModelError, UnsafeWeights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CARD = "card.json"
GRAPH, INT8_GRAPH = "model.onnx", "model.int8.onnx"
"""ONNX graphs beside the weights; one of them makes a folder one for ONNX Runtime."""
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.h5", "*.msgpack")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold a folder's model, in the order of their names.

    Raises:
        UnsafeWeights: The folder has weights, but only in formats that can run code.
        ModelError: It has none, or a shard that its index names is missing.
    """
    index = folder / _INDEX
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{len(missing)} of {len(names)} weight files are missing: {', '.join(missing)}.",
                place=str(folder),
                expected=f"{_INDEX} names them.",
                hint="Copy the model's folder again, with every file.",
            )
        return [folder / name for name in names]
    files = sorted(
        path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_")
    )
    if files:
        return files
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise UnsafeWeights(
            f"the weights are only in {', '.join(pickles[:3])}, which can run code when read.",
            place=str(folder),
            expected="promptbot reads safetensors only.",
            hint='If you trust their source, convert them once: python -c "from transformers '
            "import AutoModelForCausalLM as M; M.from_pretrained('FOLDER')"
            ".save_pretrained('NEW')\"",
        )
    raise ModelError(
        "there are no weights.",
        place=str(folder),
        expected="A model folder holds config.json, tokenizer.json and *.safetensors.",
        hint="Save the model there with: model.save_pretrained(folder)",
    )


def graph_in(folder: Path) -> str | None:
    """Return the name of the graph to compute with, that in 8 bits first; None without one."""
    return next((name for name in (INT8_GRAPH, GRAPH) if (folder / name).is_file()), None)


def hub_folder(name: str, *, what: str, place: str, hint: str) -> Path:
    """Return the local folder of a hub checkpoint, fetched without any code or pickles.

    Args:
        name: OWNER/NAME.
        what: What needs it, for errors.
        place: What asks for it, for errors.
        hint: What to do where the hub gives none.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        ModelError: The hub gives none.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtra(what, "huggingface_hub", "hf") from error
    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises many kinds, none of them ours
        raise ModelError(
            f'the hub gave no checkpoint "{name}" ({type(error).__name__}).',
            place=place,
            expected='Expected "hf:owner/name" of a public repository, and a network.',
            hint=hint,
        ) from error


def file_checksum(data: bytes) -> dict[str, Any]:
    """Return how ``card.json`` describes a file: its size in bytes and its SHA-256."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def checksums(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the ``files`` entry of ``card.json`` for these files of a folder."""
    return {name: file_checksum((folder / name).read_bytes()) for name in sorted(names)}


def read_verified(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of files, checked against the folder's ``card.json`` where it has one.

    Raises:
        ModelError: A file is missing, or is not what the card describes.
    """
    card = folder / CARD
    known: dict[str, Any] = read_json(card).get("files", {}) if card.is_file() else {}
    contents = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            raise ModelError(
                f"{name} is missing.",
                place=str(folder),
                hint="Install promptbot again, or copy the model's folder again.",
            )
        contents[name] = path.read_bytes()
        expected = known.get(name)
        if expected is not None and file_checksum(contents[name]) != expected:
            raise ModelError(
                f"{name} is damaged: {len(contents[name]):,} bytes with another checksum.",
                place=str(folder),
                expected=f"{CARD} describes {expected.get('bytes', 0):,} bytes.",
                hint="Install promptbot again, or copy the model's folder again.",
            )
    return contents


def verify_small_files(folder: Path) -> None:
    """Check every file that ``card.json`` describes but weights and graph, which loading checks.

    Raises:
        ModelError: A file is missing, or is not what the card describes.
    """
    card = folder / CARD
    described = read_json(card).get("files", {}) if card.is_file() else {}
    read_verified(folder, [n for n in described if not n.endswith((".safetensors", ".onnx"))])


def load_tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return every tensor of a folder's safetensors files by name, as float32.

    Raises:
        ModelError: A file is missing, damaged, or holds a number format that is not a float.
    """
    from safetensors import SafetensorError, deserialize

    tensors: dict[str, NDArray[np.float32]] = {}
    names = [path.name for path in weight_files(folder)]
    for name, data in read_verified(folder, names).items():
        try:
            entries: Any = deserialize(data)  # type: ignore[no-untyped-call]
        except SafetensorError as error:
            raise ModelError(
                f"{name} cannot be read ({error}).",
                place=str(folder),
                hint="Copy the model's folder again, with every file.",
            ) from error
        for key, entry in entries:
            tensors[key] = _as_float32(entry, f"{folder / name}: {key}")
    return tensors


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the content hash of named arrays; the order of the names does not count."""
    import numpy as np

    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a model's folder.

    Raises:
        ModelError: The file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.name} is missing.",
            place=str(path.parent),
            expected="A model folder holds config.json, tokenizer.json and *.safetensors.",
            hint="Save the model there with: model.save_pretrained(folder)",
        ) from error
    except ValueError as error:
        value = error
    if not isinstance(value, dict):
        raise ModelError(
            f"{path.name} is not a JSON object.",
            place=str(path),
            hint="Copy the model's folder again, with every file.",
        )
    return value


def _as_float32(entry: Mapping[str, Any], place: str) -> NDArray[np.float32]:
    import numpy as np

    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, dtype="<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32).reshape(shape)
    formats = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
    if kind not in formats:
        raise ModelError(
            f"the number format {kind} is not supported here.",
            place=place,
            expected=f"Supported: BF16, {', '.join(formats)}.",
            hint="Save the model in bfloat16 or float32, or load it with the Transformers engine.",
        )
    return np.frombuffer(data, dtype=formats[kind]).astype(np.float32).reshape(shape)
