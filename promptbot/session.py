"""One conversation with a bot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from promptbot.errors import FrozenModelChanged
from promptbot.types import Message, Reply

if TYPE_CHECKING:
    from promptbot.bot.folder import Bot
    from promptbot.chain import Chain
    from promptbot.interfaces import FrozenModel


class Session:
    """One conversation: says messages, keeps the last reply, starts anew.

    Args:
        chain: The bot and its model.
        name: The session's id in the chain's history.
    """

    def __init__(self, chain: Chain, name: str) -> None:
        self.chain = chain
        self.name = name
        self.last: Reply | None = None
        """The newest complete reply, with its trace."""

    @property
    def messages(self) -> list[Message]:
        """Every message said so far, oldest first."""
        return self.chain.history.load(self.name)

    def stream(self, text: str) -> Iterator[Reply]:
        """Yield the reply to a message in pieces that add up; see `Chain.stream`."""
        whole: Reply | None = None
        for piece in self.chain.stream({"input": text, "session": self.name}):
            whole = piece if whole is None else whole + piece
            yield piece
        self.last = whole

    def say(self, text: str) -> Reply:
        """Return the whole reply to a message."""
        for _ in self.stream(text):
            pass
        assert self.last is not None
        return self.last

    def use(
        self,
        *,
        bot: Bot | None = None,
        model: FrozenModel | None = None,
        seed: int | None = None,
    ) -> None:
        """Go on with another bot, variant, model or seed, in the same conversation."""
        self.chain = self.chain.under(bot=bot, model=model, seed=seed)

    def check_frozen(self) -> None:
        """Check that the model's weights are what they were when it was loaded.

        Raises:
            FrozenModelChanged: They are not; replies and traces of this session do not hold.
        """
        check_frozen(self.chain.model)


def check_frozen(model: FrozenModel) -> None:
    """Check that a model's weights are what they were when it was loaded.

    Raises:
        FrozenModelChanged: They are not; replies and traces since then do not hold.
    """
    now = model.digest()
    if now != model.revision:
        raise FrozenModelChanged(
            f"the weights' digest is {now}.",
            place=model.spec,
            expected=f"It was {model.revision} when the model was loaded.",
            hint="Something trained or overwrote the model; load it again.",
        )
