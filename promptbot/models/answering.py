"""One answer while it is written: which token comes next, what can be shown, why it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from promptbot.errors import InputError
from promptbot.models.sampling import Sampler
from promptbot.models.text_stream import TextStream
from promptbot.types import Completion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.models.chat_format import ChatFormat, EncodedPrompt
    from promptbot.models.engine import Engine
    from promptbot.models.json_form import JsonForm
    from promptbot.models.sampling import Decoding


class Answer:
    """The state of one answer; what computes the logits is somebody else's matter.

    Args:
        prompt: What is answered.
        chat_format: Of the model that answers.
        decoding: How tokens are chosen.
        max_new: The most tokens, at least one.
        stops: Texts at which it ends, beside those of the chat format.
        make_form: Makes what keeps it to a JSON schema; None for free text.
    """

    def __init__(
        self,
        prompt: EncodedPrompt,
        chat_format: ChatFormat,
        *,
        decoding: Decoding,
        max_new: int,
        stops: Sequence[str],
        make_form: Callable[[], JsonForm] | None,
    ) -> None:
        self.prompt = prompt
        self.max_new = max_new
        self._chat_format = chat_format
        self._decoding = decoding
        self._stops = [*stops, *chat_format.stop_texts]
        self._make_form = make_form
        self.restart()

    def restart(self) -> None:
        """Forget what was written; the same logits will give the same answer."""
        self._written: list[int] = []
        self._shown = ""
        self._reason: Literal["end", "length", "stop"] = "length"
        self._sampler = Sampler(self._decoding, self.prompt.ids)
        self._form = self._make_form() if self._make_form else None
        self._text = TextStream(self._chat_format.codec.decode, self._stops)
        self.ended = False
        """Whether no more logits are wanted."""

    @property
    def last(self) -> int | None:
        """The token that was written last; None before the first."""
        return self._written[-1] if self._written else None

    def take(self, logits: NDArray[np.float32]) -> str:
        """Choose the next token; return the text that is now certain, often empty.

        Args:
            logits: Of the next token.  # (n_vocabulary,)

        Raises:
            ModelError: The logits hold a NaN.
        """
        form = self._form
        token = self._sampler.pick(logits if form is None else form.allowed(logits))
        if form is not None:
            form.take(token)
        if token in self._chat_format.stop_ids:
            self._reason, self.ended = "end", True
            return ""
        self._written.append(token)
        piece = self._text.push(token)
        self._shown += piece
        if self._text.stopped:
            self._reason, self.ended = "stop", True
        elif form is not None and form.is_complete:
            self._reason, self.ended = "end", True
        elif len(self._written) == self.max_new:
            self.ended = True
        return piece

    def finish(self) -> str:
        """Return the rest of the text, when no more tokens come."""
        piece = self._text.finish()
        self._shown += piece
        if self._text.stopped:
            self._reason = "stop"
        return piece

    def remember(self) -> None:
        """Let the next turn of this conversation recognise the tokens of this one."""
        self._chat_format.remember(self.prompt, self._written, self._shown)

    def completion(self, n_cached: int, place: str) -> Completion:
        """Return the whole answer.

        Args:
            n_cached: Tokens of the prompt that were not computed again.
            place: The model's name, for errors.

        Raises:
            InputError: It ended before its JSON was complete.
        """
        if self._form is not None and self._reason != "end":
            raise InputError(
                f"the answer ended after {len(self._written):,} tokens, before its JSON was "
                "complete.",
                place=place,
                hint="Raise max_new_tokens, or bound the texts in the schema with maxLength.",
            )
        return Completion(
            text=self._shown,
            n_prompt_tokens=len(self.prompt.ids),
            n_cached_tokens=n_cached,
            n_generated_tokens=len(self._written),
            stop_reason=self._reason,
        )


def write_alone(engine: Engine, answer: Answer) -> int:
    """Write one answer to its end; return the tokens of its prompt that were not computed again."""
    writing = engine.start(answer.prompt.ids)
    try:
        while not answer.ended:
            answer.take(writing.next_logits(answer.last))
        answer.finish()
    finally:
        writing.close()
    return writing.n_cached
