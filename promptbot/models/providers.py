"""Which remote providers there are, what each needs, and how a spec names one of their models."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from promptbot.errors import ModelError
from promptbot.types import Message


@dataclass(frozen=True, slots=True)
class Provider:
    """What LangChain's `init_chat_model` needs for one provider."""

    module: str
    """The module that holds its chat model."""
    keys: tuple[str, ...] = ()
    """Environment variables of its key, any of which will do; empty where it has other ways."""
    extra: str | None = None
    """promptbot's extra that installs it; None where its package is installed by name."""
    requirement: str | None = None
    """What pip installs, where that is more than the module's own package."""

    @property
    def package(self) -> str:
        """What pip installs."""
        return self.requirement or self.module.split(".")[0].replace("_", "-")


def _partner(name: str, *keys: str) -> Provider:
    return Provider(f"langchain_{name}", keys)


PROVIDERS: dict[str, Provider] = {
    "openai": Provider("langchain_openai", ("OPENAI_API_KEY",), extra="openai"),
    "ollama": Provider("langchain_ollama", extra="ollama"),
    "anthropic": _partner("anthropic", "ANTHROPIC_API_KEY"),
    "anthropic_bedrock": _partner("aws"),
    "azure_ai": Provider("langchain_azure_ai.chat_models"),
    "azure_openai": Provider(
        "langchain_openai",
        ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "OPENAI_API_KEY"),
        extra="openai",
    ),
    "baseten": _partner("baseten", "BASETEN_API_KEY"),
    "bedrock": _partner("aws"),
    "bedrock_converse": _partner("aws"),
    "bedrock_mantle_anthropic": Provider("langchain_aws", requirement="langchain-aws[anthropic]"),
    "bedrock_mantle_openai": Provider("langchain_aws", requirement="langchain-aws[openai]"),
    "cohere": _partner("cohere", "COHERE_API_KEY", "CO_API_KEY"),
    "deepseek": _partner("deepseek", "DEEPSEEK_API_KEY"),
    "fireworks": _partner("fireworks", "FIREWORKS_API_KEY"),
    "google_anthropic_vertex": Provider("langchain_google_vertexai.model_garden"),
    "google_genai": _partner("google_genai", "GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "google_vertexai": _partner("google_vertexai"),
    "groq": _partner("groq", "GROQ_API_KEY"),
    "ibm": _partner("ibm"),
    "langsmith": Provider(
        "langchain_openai", ("LANGSMITH_GATEWAY_API_KEY", "LANGSMITH_API_KEY"), extra="openai"
    ),
    "litellm": _partner("litellm"),
    "meta": _partner("meta"),
    "mistralai": _partner("mistralai", "MISTRAL_API_KEY"),
    "nvidia": _partner("nvidia_ai_endpoints", "NVIDIA_API_KEY"),
    "openrouter": _partner("openrouter", "OPENROUTER_API_KEY"),
    "perplexity": _partner("perplexity", "PPLX_API_KEY", "PERPLEXITY_API_KEY"),
    "together": _partner("together", "TOGETHER_API_KEY"),
    "upstage": _partner("upstage", "UPSTAGE_API_KEY"),
    "xai": _partner("xai", "XAI_API_KEY"),
}
"""LangChain's providers, kept here so that a spec is understood without importing LangChain.

``huggingface`` is absent: it loads pickled weights and remote code, which ``hf:`` never does.
"""


_OWN_SERVERS = ("openai", "ollama")
"""Providers whose models often stand on a server of the user's own."""


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """A spec such as ``openai:NAME@http://localhost:8000/v1``, taken apart."""

    provider: str
    """A key of `PROVIDERS`."""
    name: str
    """The model's name at the provider."""
    base_url: str | None
    """Where the server is; None for the provider's own."""


def is_remote_model(spec: str) -> bool:
    """Return whether a model runs elsewhere, so that asking it is mostly waiting."""
    return spec.strip().partition(":")[0].replace("-", "_").lower() in PROVIDERS


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Return about how many tokens a remote model makes of messages, rather too many.

    A quarter of the ASCII bytes, half of the other UTF-8 bytes, and 4 per message for its role.
    The packages' own counters download a vocabulary or ask the provider, so they are not used: a
    count must neither wait nor cost.
    """
    return sum(4 + estimated_text_tokens(message.content) for message in messages)


def estimated_text_tokens(text: str) -> int:
    """Return about how many tokens a text is, as `estimated_tokens` counts, without its role."""
    n_bytes = len(text.encode(errors="replace"))
    n_ascii = sum(map(str.isascii, text))
    return math.ceil(n_ascii / 4 + (n_bytes - n_ascii) / 2)


def parse_remote(spec: str) -> RemoteSpec:
    """Return the parts of a spec whose provider is known.

    Raises:
        ModelError: It has no model name, or an address that cannot be one or holds a password.
    """
    provider, _, rest = spec.partition(":")
    # A name may hold an @ itself, as Vertex's dated ones do; an address has its scheme.
    found = re.search(r"@(?=https?://)", rest)
    name = (rest[: found.start()] if found else rest).strip()
    base_url = rest[found.end() :].strip().rstrip("/") if found else None
    form = f"Expected {provider}:NAME or {provider}:NAME@http://HOST:PORT/v1."
    if not name:
        raise ModelError(
            "no model is named.", place=spec, expected=form, hint="Put its name after the colon."
        )
    # Names at these providers hold no @, so what follows one is an address that lacks its scheme.
    pattern = r"@" if provider in _OWN_SERVERS else r"@(localhost|\[|[\w.-]+:\d+|\d+\.\d+\.)"
    if base_url is None and (bare := re.search(pattern, name)):
        raise ModelError(
            f'"{name.rpartition("@")[2]}" is not an address.',
            place=f"{provider}:{name[: bare.start()]}",
            expected=form,
            hint="Put http:// or https:// before the host.",
        )
    if base_url is not None:
        _check_address(base_url, f"{provider}:{name}", form)
    return RemoteSpec(provider.replace("-", "_"), name, base_url)


def _check_address(base_url: str, place: str, form: str) -> None:
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        shown = re.sub(r"//.*@", "//***@", base_url)
        raise ModelError(
            f'"{shown}" is not an address.',
            place=place,
            expected=form,
            hint="Check host and port.",
        )
    if parts.username or parts.password or parts.query:
        # The spec is written into traces and manifests.
        raise ModelError(
            "the address holds a user name, a password or a query.",
            place=place,
            expected="Expected secrets in the environment only.",
            hint="Take it out of the address and set the provider's key variable.",
        )
