"""From a model's spec to the model."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promptbot.errors import ModelError, did_you_mean
from promptbot.models.providers import PROVIDERS, parse_remote
from promptbot.models.weights import GRAPH, graph_in

if TYPE_CHECKING:
    from promptbot.interfaces import FrozenModel

EMBEDDED = Path(__file__).parent / "embedded"
"""The folder of the model that is shipped with the package."""

FORMS = (
    "Expected one of: embedded; a folder; hf:OWNER/NAME; openai:NAME or another provider's; "
    "openai:NAME@http://HOST:PORT/v1; scripted:FILE."
)


def load_model(spec: str, *, seed: int = 0) -> FrozenModel:
    """Return the frozen model that a spec names.

    ========================  =============================================================
    ``embedded``              the model shipped with the package: no download, no key
    a folder                  an exported model (``model.onnx``), or a Transformers checkpoint
    ``hf:OWNER/NAME``         a Transformers checkpoint of the hub
    ``openai:NAME``           a remote model, of any provider in `providers.PROVIDERS`
    ``openai:NAME@BASE_URL``  a model of any OpenAI-compatible server
    ``scripted:FILE``         answers from a file
    ========================  =============================================================

    Args:
        spec: One of the forms above.
        seed: Of a remote model's sampling, where a call brings none.

    Raises:
        ModelError: The spec has none of these forms, or what it names cannot be loaded.
        MissingExtra: The engine's packages are not installed.
        MissingKey: A provider's key is not in the environment.
    """
    spec = spec.strip()
    if spec == "embedded":
        return _load_embedded()
    # A scheme of one letter is a drive of Windows.
    scheme, colon, rest = spec.partition(":")
    if colon and len(scheme) > 1 and re.fullmatch(r"[\w-]+", scheme):
        return _load_scheme(scheme.replace("-", "_").lower(), rest, spec, seed)
    folder = Path(spec).expanduser()
    if spec and folder.is_dir():
        return _load_folder(folder, spec)
    raise _unknown(spec, folder)


def hub_name(spec: str) -> str | None:
    """Return the id on the Hugging Face hub that a spec names; None where it names none.

    Raises:
        ModelError: What follows ``hf:`` cannot be an id.
    """
    scheme, _, name = spec.partition(":")
    if scheme.lower() != "hf":
        return None
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise ModelError(
            f'"{name}" is not the name of a model on the hub.',
            place=spec,
            expected="Expected hf:OWNER/NAME.",
            hint="For a folder, write its path without hf:.",
        )
    return name


def refuse_foreign_server(spec: str, place: str) -> None:
    """Raise ModelError where a spec names a server by address that is not on this machine.

    Raises:
        ModelError: It does; whoever wrote the spec would get every message, and the API key.
    """
    provider = spec.strip().partition(":")[0].replace("-", "_").lower()
    if provider not in PROVIDERS:
        return
    address = parse_remote(spec.strip()).base_url
    host = urlsplit(address).hostname if address else None
    if host and host != "localhost" and not _is_loopback(host):
        raise ModelError(
            f"the bot sends every message, and your API key, to {host}.",
            place=place,
            expected="Expected a server of the provider's own, or one on this machine.",
            hint=f"If you trust it, say so: --model {spec.strip()}",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _load_embedded() -> FrozenModel:
    if not graph_in(EMBEDDED):
        raise ModelError(
            "the embedded model is not in this installation.",
            place=str(EMBEDDED),
            expected=f"Expected {GRAPH} there.",
            hint="Install promptbot again, or choose another model with --model.",
        )
    from promptbot.models.onnx import load_onnx

    return load_onnx(EMBEDDED, "embedded")


def _load_folder(folder: Path, spec: str) -> FrozenModel:
    if graph_in(folder):
        from promptbot.models.onnx import load_onnx

        return load_onnx(folder, spec)
    from promptbot.models.transformers import load_transformers

    return load_transformers(str(folder), spec)


def _load_scheme(scheme: str, rest: str, spec: str, seed: int) -> FrozenModel:
    if (name := hub_name(spec)) is not None:
        from promptbot.models.transformers import load_transformers

        return load_transformers(name, spec)
    if scheme == "scripted":
        from promptbot.models.scripted import load_scripted

        return load_scripted(Path(rest).expanduser(), spec)
    if scheme in PROVIDERS:
        from promptbot.models.remote import load_remote

        return load_remote(f"{scheme}:{rest}", seed)
    if scheme == "huggingface":
        raise ModelError(
            "this provider may run code that a checkpoint brings.",
            place=spec,
            expected="Expected hf:OWNER/NAME, which reads safetensors only.",
            hint=f"Did you mean: hf:{rest}",
        )
    known = ["hf", "scripted", *PROVIDERS]
    raise ModelError(
        f'unknown kind of model "{scheme}".',
        place=spec,
        expected=f"{FORMS}\nKnown before the colon: {', '.join(known)}.",
        hint=did_you_mean(scheme, known) or "Choose one of these.",
    )


def _unknown(spec: str, path: Path) -> ModelError:
    """Return the error for a spec that is neither a word we know nor a folder."""
    if spec and path.is_file():
        return ModelError(
            "this is a file.",
            place=spec,
            expected="Expected the folder of a model: weights, tokenizer and config.json.",
            hint=f"Did you mean: {path.parent}",
        )
    looks_like_path = bool(re.search(r"[/\\]", spec)) or spec.startswith((".", "~"))
    if looks_like_path:
        siblings = [p.name for p in _folders(path.parent)]
        hint = did_you_mean(path.name, siblings) or "Check the path."
        if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", spec):
            hint += f" For a model of the hub: hf:{spec}"
        return ModelError("no such folder.", place=spec, expected=FORMS, hint=hint)
    words = ["embedded", *(p.name for p in _folders(Path()))]
    hint = did_you_mean(spec, words) or "Choose one of these."
    return ModelError(f'unknown model "{spec}".', expected=FORMS, hint=hint)


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []
