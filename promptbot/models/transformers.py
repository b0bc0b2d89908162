"""The Transformers engine: any causal or seq2seq checkpoint, folder or hub id, CPU or GPU."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from promptbot.errors import MissingExtra, ModelError, UnsafeWeights
from promptbot.models.causal import CausalEngine
from promptbot.models.chat_format import ChatFormat
from promptbot.models.codec import Codec
from promptbot.models.local import LocalChatModel
from promptbot.models.weights import read_json, weight_files

if TYPE_CHECKING:
    from promptbot.models.engine import Engine

_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention", "attention"}


def load_transformers(name_or_folder: str, spec: str, *, float32: bool = False) -> LocalChatModel:
    """Return the chat model of a checkpoint.

    On a GPU it computes in bfloat16, otherwise in float32. Only safetensors are read and code
    that a checkpoint brings is never run. A folder of a LoRA adapter (Hu et al. 2021,
    arXiv:2106.09685; ``adapter_config.json``, as peft saves it) is loaded with the base that it
    names, into whose weights in memory it is merged.

    Args:
        name_or_folder: A folder, or an id on the Hugging Face hub.
        spec: The text that the model is known by.
        float32: Compute in float32 on the CPU, whatever there is: what other engines are
            compared with.

    Raises:
        MissingExtra: torch is not installed.
        UnsafeWeights: There are only weights that could run code when they are read.
        ModelError: Weights, tokenizer or configuration are missing, or of an unknown architecture.
    """
    _refuse_missing()
    import torch

    adapter = _adapter(name_or_folder, spec)
    source = _source(adapter.base if adapter else name_or_folder, spec)
    if source.is_folder:
        weight_files(Path(source.name))
    with quiet():
        config = source.load("AutoConfig", "configuration")
        tokenizer = source.load("AutoTokenizer", "tokenizer")
        on_gpu = torch.cuda.is_available() and not float32
        model = source.load_model(config, torch.bfloat16 if on_gpu else torch.float32)
        if adapter:
            model = adapter.merged(model)
    _refuse_running_state(model, spec)
    model.eval().requires_grad_(False)
    model.to("cuda" if on_gpu else "cpu")
    return LocalChatModel(engine=_engine(model, tokenizer, spec), spec=spec)


def load_chat_format_of(name_or_folder: str, spec: str) -> tuple[ChatFormat, int | None]:
    """Return how messages become a checkpoint's tokens, and its context; no weights are read.

    The end tokens are those of configuration and tokenizer.

    Raises:
        MissingExtra: torch is not installed.
        ModelError: Tokenizer or configuration are missing, or of an unknown architecture.
    """
    _refuse_missing()
    adapter = _adapter(name_or_folder, spec)
    source = _source(adapter.base if adapter else name_or_folder, spec)
    with quiet():
        config = source.load("AutoConfig", "configuration")
        tokenizer = source.load("AutoTokenizer", "tokenizer")
    return _chat_format(config, None, tokenizer, spec), _context(config, tokenizer)


def _refuse_missing() -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        missing = str(error.name or "torch").partition(".")[0]
        raise MissingExtra("The Transformers engine", missing, "hf") from error


def _source(name: str, spec: str) -> _Source:
    """Return where a checkpoint comes from; a folder without configuration is refused."""
    is_folder = Path(name).is_dir()
    if is_folder:
        read_json(Path(name) / "config.json")
    return _Source(name, spec, offline=is_folder or not _hub_is_reachable())


@dataclass(frozen=True)
class _Adapter:
    """A LoRA adapter's folder and the base that it changes."""

    folder: Path
    base: str
    """A folder, or an id on the hub."""
    spec: str

    def merged(self, model: Any) -> Any:
        """Return the base with the adapter's changes added to its weights."""
        try:
            from peft import PeftModel
        except ImportError as error:
            raise MissingExtra("LoRA adapters", "peft", "finetune") from error
        try:
            return PeftModel.from_pretrained(model, self.folder).merge_and_unload()
        except Exception as error:  # peft lets through whatever its parsers raise
            raise ModelError(
                f"the adapter does not fit its base {self.base} ({error}).",
                place=self.spec,
                hint="Train it again on this base, or correct base_model_name_or_path.",
            ) from error


def _adapter(name: str, spec: str) -> _Adapter | None:
    """Return the adapter in a folder; None where it holds none.

    Raises:
        UnsafeWeights: Its weights are not in safetensors.
        ModelError: Its base is not named.
    """
    folder = Path(name)
    if not (folder / "adapter_config.json").is_file():
        return None
    if not (folder / "adapter_model.safetensors").is_file():
        raise UnsafeWeights(
            "there is no adapter_model.safetensors.",
            place=spec,
            expected="promptbot reads safetensors only; other formats can run code.",
            hint="Save the adapter again with model.save_pretrained(folder).",
        )
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise ModelError(
            "adapter_config.json does not name the model that the adapter changes.",
            place=spec,
            hint='Write its folder or hub id there: "base_model_name_or_path": "...".',
        )
    beside = folder / str(base)
    return _Adapter(folder, str(beside) if beside.is_dir() else str(base), spec)


class _Source:
    """Where a checkpoint comes from; turns every failure into a message that helps."""

    def __init__(self, name: str, spec: str, *, offline: bool) -> None:
        self.name = name
        self.spec = spec
        self.is_folder = Path(name).is_dir()
        self.offline = offline

    def load(self, auto_class: str, what: str, **options: Any) -> Any:
        """Return what one of Transformers' Auto classes loads."""
        import transformers

        try:
            return getattr(transformers, auto_class).from_pretrained(
                self.name, trust_remote_code=False, local_files_only=self.offline, **options
            )
        except Exception as error:  # Transformers lets through whatever its parsers raise
            raise self._explained(error, what) from error

    def load_model(self, config: Any, dtype: Any) -> Any:
        """Return the model with every weight in place, in a torch number format."""
        auto_class = (
            "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
        )
        model, report = self.load(
            auto_class,
            "model",
            use_safetensors=True,
            output_loading_info=True,
            dtype=dtype,
        )
        missing = sorted(report["missing_keys"])
        if missing:  # Transformers would go on with random numbers
            raise ModelError(
                f"{len(missing)} weights of a {config.model_type} model that writes text are "
                f"missing, such as {missing[0]}.",
                place=self.spec,
                expected="The checkpoint of a causal or seq2seq language model.",
                hint="Choose a checkpoint that was trained to write text.",
            )
        return model

    def _explained(self, error: Exception, what: str) -> ModelError:
        text = " ".join(str(error).split())
        first = text.split(". ")[0][:300].rstrip(".")
        if "trust_remote_code" in text:
            return ModelError(
                f"the {what} needs code that the checkpoint brings, which promptbot never runs.",
                place=self.spec,
                hint="Choose a checkpoint whose architecture Transformers itself has.",
            )
        if "safetensors" in text and isinstance(error, OSError):
            return UnsafeWeights(
                "there are no weights in safetensors.",
                place=self.spec,
                expected="promptbot reads safetensors only; other formats can run code.",
                hint="Choose a revision with safetensors, or convert it into a folder with "
                "model.save_pretrained(folder).",
            )
        if "model type" in text or "Unrecognized configuration class" in text:
            return ModelError(
                f"the architecture is not one that writes text ({first}).",
                place=self.spec,
                expected="Any causal or seq2seq model of the installed Transformers.",
                hint="Choose another checkpoint, or a newer Transformers.",
            )
        if self.is_folder:
            return ModelError(
                f"the {what} cannot be loaded ({first}).",
                place=self.spec,
                expected="config.json, tokenizer files and *.safetensors of one checkpoint.",
                hint="Save all of it again with model.save_pretrained(folder) and "
                "tokenizer.save_pretrained(folder).",
            )
        tried = (
            "the local cache only, because the hub cannot be reached"
            if self.offline
            else ("the local cache and the hub")
        )
        return ModelError(
            f"the {what} of {self.name} cannot be loaded ({first}).",
            place=self.spec,
            expected=f"Tried {tried}.",
            hint="Check the name and the network; or give a local folder as the model; or set "
            "HF_HOME to a cache that holds it.",
        )


def _engine(model: Any, tokenizer: Any, spec: str) -> Engine:
    """Return the engine for a loaded model."""
    config = model.config
    chat_format = _chat_format(config, model.generation_config, tokenizer, spec)
    if config.is_encoder_decoder:
        from promptbot.models.seq2seq import Seq2SeqEngine

        return Seq2SeqEngine(model, chat_format, context_tokens=_context(config, tokenizer))
    from promptbot.models.torch_network import TorchNetwork

    return CausalEngine(
        TorchNetwork(model, _accepted(model)),
        chat_format,
        context_tokens=_context(config, tokenizer),
    )


def _chat_format(config: Any, generation_config: Any, tokenizer: Any, spec: str) -> ChatFormat:
    """Return how messages become tokens; `generation_config` may be None."""
    ends = [
        getattr(generation_config, "eos_token_id", None),
        getattr(config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ]
    eos_ids = [
        i for one in ends if one is not None for i in (one if isinstance(one, list) else [one])
    ]
    return ChatFormat(
        _codec(tokenizer),
        template=_template(tokenizer),
        special={name: str(value) for name, value in tokenizer.special_tokens_map.items()},
        eos_ids=list(dict.fromkeys(eos_ids)),
        place=spec,
        encoder_input=bool(config.is_encoder_decoder),
    )


def _codec(tokenizer: Any) -> Codec:
    """Return the codec of a Transformers tokenizer, with or without a Rust backend."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return Codec.of(fast)
    return Codec(
        marked=lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
        plain=lambda text: list(
            tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        ),
        full=lambda text: list(tokenizer.encode(text)),
        decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
        added=tokenizer.added_tokens_decoder,
        unknown_id=tokenizer.unk_token_id,
        n_vocabulary=len(tokenizer),
    )


def _template(tokenizer: Any) -> str | None:
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def _context(config: Any, tokenizer: Any) -> int | None:
    """Return how many tokens the model reads; None where neither file says so."""
    text_config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(text_config, name, None)
        # T5 names n_positions but has relative positions; its tokenizer knows the trained length.
        if isinstance(value, int) and not (name == "n_positions" and config.is_encoder_decoder):
            return value
    limit = tokenizer.model_max_length
    return int(limit) if limit < 10**7 else None


def _accepted(model: Any) -> frozenset[str]:
    """Return the arguments that the model's forward pass takes."""
    return frozenset(inspect.signature(model.forward).parameters)


def _refuse_running_state(model: Any, spec: str) -> None:
    """Refuse models without keys and values for each token: their past cannot be cropped."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if model._is_stateful or kinds - _ATTENTION_LAYERS:
        raise ModelError(
            f"a {model.config.model_type} model keeps a running state instead of keys and values.",
            place=spec,
            expected="A model whose layers are all attention.",
            hint="Serve it, for example with vLLM, and use it as openai:NAME@URL.",
        )


def _hub_is_reachable() -> bool:
    """Return whether asking the hub makes sense; without it, Transformers waits half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    proxy = next((value for name in names if (value := os.environ.get(name))), None)
    # Behind a proxy that is there, only the hub's own answer tells more.
    target = proxy or os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    address = urlsplit(target if "://" in target else f"http://{target}")
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' progress bars and advice off the terminal; errors are raised anyway."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
