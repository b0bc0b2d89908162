"""The Transformers engine: any causal or seq2seq checkpoint, folder or hub id, CPU or GPU."""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promptbot.errors import MissingExtra, ModelError, UnsafeWeights
from promptbot.models.causal import CausalEngine
from promptbot.models.chat_format import ChatFormat
from promptbot.models.codec import Codec
from promptbot.models.local import LocalChatModel
from promptbot.models.seq2seq import Seq2SeqEngine
from promptbot.models.torch_network import TorchNetwork, short_memory
from promptbot.models.weights import read_json, weight_files
from promptbot.types import Message

_ADAPTER_WEIGHTS = "adapter_model.safetensors"
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
        OutOfMemory: The weights do not fit into the memory of the device.
        ModelError: Weights, tokenizer or configuration are missing, do not belong together, or are
            of an architecture that writes no text.
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
    _place(model, "cuda" if on_gpu else "cpu", spec)
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
            with warnings.catch_warnings():  # of missing weights, which are an error below
                warnings.simplefilter("ignore")
                adapted = PeftModel.from_pretrained(model, self.folder)
            stray = self._stray_weights(adapted)
            if not stray:
                return adapted.merge_and_unload()
            problem = f"{len(stray)} weights belong to no layer or are missing, such as {stray[0]}"
        except Exception as error:  # peft lets through whatever its parsers raise
            problem = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the adapter does not fit its base {self.base} ({problem}).",
            place=self.spec,
            hint="Train it again on this base, or correct base_model_name_or_path.",
        )

    def _stray_weights(self, adapted: Any) -> list[str]:
        """Return the weights that only the file or only the model has; peft passes over them."""
        from peft import get_peft_model_state_dict
        from safetensors import safe_open

        with safe_open(self.folder / _ADAPTER_WEIGHTS, "pt") as file:
            saved = set(file.keys())
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        return sorted(name for name in saved.symmetric_difference(wanted) if "lora_" in name)


def _adapter(name: str, spec: str) -> _Adapter | None:
    """Return the adapter in a folder; None where it holds none.

    Raises:
        UnsafeWeights: Its weights are not in safetensors.
        ModelError: It is no LoRA adapter, or its base is not named.
    """
    folder = Path(name)
    if not (folder / "adapter_config.json").is_file():
        return None
    settings = read_json(folder / "adapter_config.json")
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelError(
            f"this is an adapter of the kind {kind}.",
            place=spec,
            expected="LoRA adapters alone become part of a model's weights.",
            hint="Train a LoRA adapter, or serve base and adapter and use them as openai:NAME@URL.",
        )
    if not (folder / _ADAPTER_WEIGHTS).is_file():
        raise UnsafeWeights(
            f"there is no {_ADAPTER_WEIGHTS}.",
            place=spec,
            expected="promptbot reads safetensors only; other formats can run code.",
            hint="Save the adapter again with model.save_pretrained(folder).",
        )
    base = settings.get("base_model_name_or_path")
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
        if method := self._quantisation():
            return ModelError(
                f"the weights are quantised with {method}, which cannot be read here ({first}).",
                place=self.spec,
                expected="Weights in bfloat16, float16 or float32.",
                hint="Choose the checkpoint that it was made from; or serve this one, for example "
                "with vLLM, and use it as openai:NAME@URL.",
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

    def _quantisation(self) -> str | None:
        """Return the method by which a folder's weights are quantised, where it names one."""
        if not self.is_folder:
            return None
        quantised = read_json(Path(self.name) / "config.json").get("quantization_config")
        return str(quantised.get("quant_method")) if isinstance(quantised, dict) else None


def _place(model: Any, device: str, spec: str) -> None:
    """Move a model to its device."""
    try:
        with short_memory("the weights of the model", device):
            model.to(device)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"the model cannot be moved to {device} ({' '.join(str(error).split())[:300]}).",
            place=spec,
            hint="To compute on the CPU, set CUDA_VISIBLE_DEVICES to nothing.",
        ) from error


def _refuse_foreign_tokenizer(chat_format: ChatFormat, n_vocabulary: int, spec: str) -> None:
    """Refuse a tokenizer whose tokens the model has no numbers for.

    Tokens that were added to it, as for padding, do no harm where no prompt contains them.
    """
    codec = chat_format.codec
    n_own = codec.n_vocabulary - sum(1 for i in codec.added_ids if i >= n_vocabulary)
    used = [*chat_format.encode([Message("user", "a")]).ids, *chat_format.end_ids]
    if n_own > n_vocabulary or max(used) >= n_vocabulary:
        raise ModelError(
            f"the tokenizer has {codec.n_vocabulary:,} tokens.",
            place=spec,
            expected=f"The model knows {n_vocabulary:,}.",
            hint="Tokenizer and weights belong to different models; copy the folder again.",
        )


def _engine(model: Any, tokenizer: Any, spec: str) -> CausalEngine | Seq2SeqEngine:
    """Return the engine for a loaded model."""
    config = model.config
    chat_format = _chat_format(config, model.generation_config, tokenizer, spec)
    _refuse_foreign_tokenizer(chat_format, config.get_text_config().vocab_size, spec)
    context = _context(config, tokenizer)
    if config.is_encoder_decoder:
        return Seq2SeqEngine(model, chat_format, context_tokens=context)
    network = TorchNetwork(model, _accepted(model))
    if network.looks_ahead:
        raise ModelError(
            f"a {config.model_type} model reads texts in both directions and cannot write.",
            place=spec,
            expected="The checkpoint of a causal or seq2seq language model.",
            hint="Choose a checkpoint that was trained to write text.",
        )
    return CausalEngine(network, chat_format, context_tokens=context)


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
