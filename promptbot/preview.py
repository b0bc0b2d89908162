"""The prompt that a message would make, for reading it: the model's weights stay on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from promptbot.guard.guard import Guard
from promptbot.prompt.compose import Composer

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot
    from promptbot.interfaces import Encoder
    from promptbot.types import Prompt


def preview(bot: Bot, text: str, *, model: str | None = None, seed: int = 0) -> Prompt:
    """Return the prompt that a message would make as the first of a conversation.

    See `previewer` for the arguments and errors.
    """
    return previewer(bot, model=model, seed=seed)(text)


def previewer(bot: Bot, *, model: str | None = None, seed: int = 0) -> Callable[[str], Prompt]:
    """Return what makes the prompt of a message as `Chain.compose` does, for several messages.

    Args:
        bot: Whose prompts.
        model: Whose tokens are counted, as a spec; what the bot names when None.
        seed: Of everything random.

    Raises:
        UserError: The bot or the model's tokenizer cannot be used; the message says why.
    """
    from promptbot.models.counting import load_counter
    from promptbot.models.registry import refuse_foreign_server

    if model is None:
        refuse_foreign_server(bot.spec.model, place=str(bot.folder / "bot.yaml"))
    counter = load_counter(bot.spec.model if model is None else model)

    def load_encoder() -> Encoder:
        from promptbot.models.encoder import load_encoder

        return load_encoder(bot.spec.encoder)

    composer = Composer(
        bot,
        count_tokens=counter.count_tokens,
        context_tokens=counter.context_tokens,
        load_encoder=load_encoder,
        selector=None,
        seed=seed,
    )
    guard = Guard(bot.spec)
    return lambda text: composer.compose(guard.hear(text).text)
