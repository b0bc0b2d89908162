"""A conversation at a terminal with a model that takes its time; run by the terminal's tests."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.outputs import ChatGenerationChunk

from promptbot.bot.folder import load_bot
from promptbot.chain import Chain
from promptbot.cli.terminal import Talk
from promptbot.errors import ProviderError, StoreError
from promptbot.models.scripted import ScriptedModel
from promptbot.session import Session
from promptbot.store import SafeHistory, Store
from promptbot.turn_file import TurnFile


class SlowModel(ScriptedModel):
    """A scripted model with a pause before each word, which fails or breaks when it is asked to."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if messages[-1].content == "fail":
            raise ProviderError("the server is down.", place="slow", hint="Try again later.")
        if messages[-1].content == "break":
            raise ZeroDivisionError("nobody foresaw this")
        for chunk in super()._stream(messages, *args, **kwargs):
            time.sleep(0.05 if messages[-1].content == "count" else 0)
            yield chunk


def main(folder: str, transcript: str | None = None) -> int:
    """Hold the conversation."""
    bot = load_bot(folder)
    failures: list[StoreError] = []
    history = SafeHistory(Store(bot=bot.name), failures.append)
    counted = " ".join(f"number{n}" for n in range(400))
    answers = [{"match": "count", "text": counted}, {"match": "", "text": "All right."}]
    model = SlowModel(answers=answers, context_tokens=500)
    return Talk(
        bot,
        history=history,
        open_session=lambda: Session(Chain(bot, model, history=history), "slow-fox-10"),
        model="slow",
        place=folder,
        again="promptbot run shop",
        failures=failures,
        transcript=TurnFile(Path(transcript)) if transcript else None,
    ).hold()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:  # between two prompts; the command line does the same
        sys.exit(130)
