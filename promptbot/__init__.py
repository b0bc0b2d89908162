"""promptbot: prompt learning for frozen language models.

The public names are imported when they are first used, so that ``import promptbot`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME_OF = {
    "Bot": "promptbot.bot.folder",
    "Chain": "promptbot.chain",
    "Example": "promptbot.types",
    "Message": "promptbot.types",
    "Note": "promptbot.types",
    "PromptbotError": "promptbot.errors",
    "Reply": "promptbot.types",
    "Session": "promptbot.session",
    "Trace": "promptbot.types",
    "load_bot": "promptbot.bot.folder",
    "load_chain": "promptbot.chain",
    "load_encoder": "promptbot.models.encoder",
    "load_model": "promptbot.models.registry",
}

__all__ = [
    "Bot",
    "Chain",
    "Example",
    "Message",
    "Note",
    "PromptbotError",
    "Reply",
    "Session",
    "Trace",
    "load_bot",
    "load_chain",
    "load_encoder",
    "load_model",
]

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot, load_bot
    from promptbot.chain import Chain, load_chain
    from promptbot.errors import PromptbotError
    from promptbot.models.encoder import load_encoder
    from promptbot.models.registry import load_model
    from promptbot.session import Session
    from promptbot.types import Example, Message, Note, Reply, Trace


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
