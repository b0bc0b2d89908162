"""A bot and a frozen model, composed into a LangChain Runnable.

Select, fit, render, generate or score, parse: one message goes in, a `Reply` with its `Trace`
comes out.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import patch_config

from promptbot.answer import Answer, Answerer
from promptbot.bot.folder import Bot, load_bot
from promptbot.errors import InputError
from promptbot.guard.guard import Guard, Screen
from promptbot.interfaces import ChoosesOptions, HoldsWeights, TakesThreads
from promptbot.models.messages import completion_of, to_langchain
from promptbot.models.providers import estimated_text_tokens
from promptbot.models.scoring import score_each
from promptbot.prompt.compose import Composer
from promptbot.prompt.condense import Condensed
from promptbot.types import (
    Completion,
    GuardEvent,
    Message,
    OutputCheck,
    Prediction,
    Prompt,
    Reply,
    Sample,
    Trace,
)

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForChainRun
    from langchain_core.messages import AIMessageChunk

    from promptbot.classify import Classified, Classifier
    from promptbot.interfaces import Encoder, FrozenModel, History, Selector
    from promptbot.prompt.leave_out import LeftOut

N_CONDENSED = 256
"""Sessions whose summary or facts are kept; those of others are made again from their turns."""

ChatInput = str | Mapping[str, Any]
"""A message, or ``{"input": message, "session": id}``."""


@dataclass(frozen=True, slots=True)
class _Request:
    text: str
    session: str
    remembered: bool
    events: tuple[GuardEvent, ...] = ()


class InMemoryHistory:
    """Keeps the messages of sessions until the process ends."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Message]] = {}

    def load(self, session: str) -> list[Message]:
        """Return the messages of a session, oldest first."""
        return list(self._messages.get(session, ()))

    def append(self, session: str, messages: Sequence[Message], *, stopped: bool = False) -> None:
        """Add messages to a session; that a reply was `stopped` changes no later prompt."""
        self._messages.setdefault(session, []).extend(messages)


class Chain(Runnable[ChatInput, Reply]):
    """A bot that answers with a frozen model.

    It is a LangChain Runnable: `invoke`, `stream`, `batch` and their async twins work, callbacks
    and configuration reach the model. Its input is a message, or ``{"input": message, "session":
    id}``. A session's turns are remembered and enter its next prompts; a message without a session
    stands alone.

    Args:
        bot: Templates, examples, notes and settings.
        model: Answers, and in classify bots scores the labels.
        encoder: Measures similarity; the one that the bot names when None.
        selector: Chooses the examples; the one that the bot names when None. LangChain's selectors
            and vector stores become selectors by `promptbot.langchain_compat`.
        history: Keeps the sessions; in memory when None.
        seed: Of everything random.
        sampling_seed: Of what the model draws, where that is another one: the same prompt is then
            answered anew.

    Example:
        >>> chain = load_chain("customer_service")
        >>> chain.invoke("How long does delivery take?").text
        'Delivery takes 2 to 4 working days.'
    """

    def __init__(
        self,
        bot: Bot,
        model: FrozenModel,
        *,
        encoder: Encoder | None = None,
        selector: Selector | None = None,
        history: History | None = None,
        seed: int = 0,
        sampling_seed: int | None = None,
    ) -> None:
        self.bot = bot
        self.model = model
        self.history: History = history if history is not None else InMemoryHistory()
        self.seed = seed
        self.sampling_seed = seed if sampling_seed is None else sampling_seed
        self._encoder = encoder
        self._selector = selector
        self._condensed: dict[str, Condensed] = {}
        self._composer = Composer(
            bot,
            count_tokens=model.count_tokens,
            context_tokens=model.context_tokens,
            load_encoder=self._load_encoder,
            selector=selector,
            seed=seed,
        )

    def under(
        self,
        *,
        bot: Bot | None = None,
        model: FrozenModel | None = None,
        history: History | None = None,
        seed: int | None = None,
    ) -> Chain:
        """Return a chain with another bot, variant, model, history or seed; else as this one.

        Another `seed` is also that of what the model draws.
        """
        bot = bot or self.bot
        same_encoder = bot.spec.encoder == self.bot.spec.encoder
        chain = Chain(
            bot,
            model or self.model,
            encoder=self._encoder if same_encoder else None,
            selector=self._selector,
            history=self.history if history is None else history,
            seed=self.seed if seed is None else seed,
            sampling_seed=self.sampling_seed if seed is None else seed,
        )
        if bot is self.bot and history is None:
            chain._condensed = self._condensed
        return chain

    @property
    def n_bytes(self) -> int:
        """Memory of the weights of model and encoder; 0 of what runs elsewhere or is not loaded."""
        parts: list[object] = [self.model, self._encoder]
        return sum(part.n_bytes for part in parts if isinstance(part, HoldsWeights))

    @property
    def takes_threads(self) -> bool:
        """Whether messages of several threads are answered at the same time, each on a core."""
        return isinstance(self.model, TakesThreads) and self.model.takes_threads

    def compose(self, text: str, session: str | None = None) -> Prompt:
        """Return the prompt that a message would make, without asking the model."""
        earlier: Sequence[Message] = self.history.load(session) if session else ()
        earlier = self._guard.shown(earlier)
        return self._composer.compose(self.hear(text), earlier, self._condensed.get(session or ""))

    def hear(self, text: str) -> str:
        """Return what the bot takes of a message: without secrets and, if so set, personal data."""
        return self._guard.hear(text).text

    def leave_out_each(self, prompt: Prompt) -> list[LeftOut]:
        """Return a prompt of this bot without each of its parts in turn; see `influence`."""
        return self._composer.leave_out_each(prompt)

    def label_logprobs(
        self, prompts: Sequence[Sequence[Message]]
    ) -> list[Mapping[str, float]] | None:
        """Return each label's log-probability after each prompt, raw; None in chat bots."""
        if self._classifier is None:
            return None
        verbalizer = self._classifier.verbalizer
        scored = score_each(self.model, prompts, verbalizer.options)
        return [verbalizer.label_logprobs(scores) for scores in scored]

    def invoke(
        self, input: ChatInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Reply:
        """Return the reply to a message.

        Raises:
            InputError: The input is not a message, or an empty one.
            ContextOverflow: The message is longer than the model's context.
            ProviderError: A remote model failed.
        """
        return self._call_with_config(self._reply, input, config, run_type="chain")

    def stream(
        self, input: ChatInput, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Iterator[Reply]:
        """Yield the reply in pieces that add up with ``+``; the last one brings the trace.

        Where the caller stops early, what was said so far is remembered as the session's reply.
        """
        yield from self._transform_stream_with_config(
            iter([input]), self._stream_first, config, run_type="chain"
        )

    async def astream(
        self, input: ChatInput, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Reply]:
        """Yield the reply in pieces, as `stream` does, without blocking the event loop."""
        pieces = self.stream(input, config)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            close = cast(Any, pieces).close
            await asyncio.to_thread(close)

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one prediction per sample; each is answered without memory of the others."""
        replies = self.batch([sample.input for sample in samples])
        if self._classifier and self.bot.spec.calibration.method == "batch":
            replies = self._classifier.with_batch_prior(replies)
        return [_prediction(reply) for reply in replies]

    def _reply(
        self,
        input: ChatInput,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> Reply:
        pieces = list(self._pieces(input, run_manager, config))
        return sum(pieces[1:], start=pieces[0])

    def _stream_first(
        self,
        inputs: Iterator[ChatInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> Iterator[Reply]:
        for message in inputs:
            yield from self._pieces(message, run_manager, config)

    def _pieces(
        self,
        input: ChatInput,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> Iterator[Reply]:
        request = _parse_input(input)
        started = time.perf_counter()
        heard = self._guard.hear(request.text)
        request = replace(request, text=heard.text, events=heard.events)
        earlier: Sequence[Message] = (
            self.history.load(request.session) if request.remembered else ()
        )
        if by_rule := self._guard.answer(heard.text, earlier):
            yield self._by_rule(request, *by_rule)
            return
        earlier = self._guard.shown(earlier)
        child = patch_config(config, callbacks=run_manager.get_child())
        condensed = self._condense(request.session, earlier, child)
        remembered = time.perf_counter()
        prompt = self._composer.compose(request.text, earlier, condensed)
        composed = time.perf_counter()
        seconds = {
            "memory": remembered - started,
            "compose": composed - remembered,
            **prompt.seconds,
        }
        if self._classifier and self._classifier.scores:
            yield self._classify(request, prompt, seconds, earlier)
            return
        if self._chooser:
            yield self._choose(request, prompt, seconds, child)
            return
        if self._answerer.holds_back:
            yield self._answer(request, prompt, seconds, child)
            return
        said, chunk_sum = "", cast("AIMessageChunk | None", None)
        screen = self._guard.screen(prompt.messages)
        try:
            for chunk in self.model.stream(to_langchain(prompt.messages), child, **self._decoding):
                seconds.setdefault("first_token", time.perf_counter() - composed)
                chunk_sum = chunk if chunk_sum is None else chunk_sum + chunk
                if piece := screen.push(str(chunk.text)):
                    said += piece
                    # A classify bot's words are shown once they are known to be a label.
                    if not self._classifier:
                        yield Reply(text=piece, session=request.session)
            if piece := screen.finish():
                said += piece
                if not self._classifier:
                    yield Reply(text=piece, session=request.session)
        except (GeneratorExit, KeyboardInterrupt):
            self._remember(request, said, stopped=True)
            raise
        seconds["model"] = time.perf_counter() - composed
        written = self._classifier.written(said, prompt) if self._classifier else None
        self._remember(request, said)
        yield Reply(
            text=written.text if written else "",
            session=request.session,
            label=written.label if written else None,
            trace=self._trace(
                prompt,
                completion_of(said, chunk_sum),
                seconds,
                written,
                self._answerer.look_at(said),
                events=(*request.events, *screen.events),
            ),
        )

    def _by_rule(self, request: _Request, said: str, event: GuardEvent) -> Reply:
        """Return what the guard says; no prompt is made, and no model is asked."""
        self._remember(request, said)
        return Reply(
            text=said,
            session=request.session,
            trace=self._trace(
                Prompt(parts=(), n_tokens=0, max_tokens=None),
                Completion(said, stop_reason="rule"),
                {},
                events=(*request.events, event),
            ),
        )

    def _choose(
        self,
        request: _Request,
        prompt: Prompt,
        seconds: dict[str, float],
        config: RunnableConfig,
    ) -> Reply:
        """Return the label that a model chose which gives no log-probabilities of options."""
        assert self._classifier is not None
        assert self._chooser is not None
        started = time.perf_counter()
        options = self._classifier.verbalizer.options
        choice = self._chooser.choose(prompt.messages, options, config, **self._decoding)
        seconds["model"] = time.perf_counter() - started
        found = self._classifier.chosen(request.text, choice, prompt)
        return self._labelled(request, prompt, seconds, found)

    def _answer(
        self,
        request: _Request,
        prompt: Prompt,
        seconds: dict[str, float],
        config: RunnableConfig,
    ) -> Reply:
        """Return a reply whose form was looked at, or that was voted on, before it is shown."""
        started = time.perf_counter()
        choice = self._classifier.verbalizer.parse if self._classifier else None
        screen = self._guard.screen(prompt.messages)
        answer = _screened(self._answerer.write(prompt, config, choice), screen)
        seconds["model"] = time.perf_counter() - started
        written = None
        if self._classifier:
            written = self._classifier.written(answer.text, prompt)
            n_read, n_prompts = answer.completion.n_prompt_tokens, len(answer.check.attempts)
            decision = replace(
                written.decision,
                n_prompts=n_prompts,
                n_prompt_tokens=n_read or n_prompts * prompt.n_tokens,
            )
            written = replace(written, decision=decision)
        self._remember(request, answer.text)
        return Reply(
            text=answer.text,
            session=request.session,
            label=written.label if written else None,
            data=answer.data,
            trace=self._trace(
                prompt,
                answer.completion,
                seconds,
                written,
                answer.check,
                events=(*request.events, *screen.events),
            ),
        )

    def _classify(
        self,
        request: _Request,
        prompt: Prompt,
        seconds: dict[str, float],
        earlier: Sequence[Message],
    ) -> Reply:
        """Return the likeliest label as a reply; nothing is generated."""
        assert self._classifier is not None
        started = time.perf_counter()
        found = self._classifier.classify(request.text, prompt, earlier)
        seconds["model"] = time.perf_counter() - started
        return self._labelled(request, prompt, seconds, found)

    def _labelled(
        self, request: _Request, prompt: Prompt, seconds: dict[str, float], found: Classified
    ) -> Reply:
        """Return a label as a reply that the session remembers."""
        self._remember(request, found.text)
        return Reply(
            text=found.text,
            session=request.session,
            label=found.label,
            trace=self._trace(prompt, found.completion, seconds, found, events=request.events),
        )

    def _condense(
        self, session: str, earlier: Sequence[Message], config: RunnableConfig
    ) -> Condensed:
        """Return the session's summary or facts, brought up to date by the model where due."""

        def ask(question: str) -> str:
            n_tokens = self.bot.spec.memory.max_new_tokens
            settings: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": n_tokens}
            messages = to_langchain([Message("user", question)])
            return str(self.model.invoke(messages, config, seed=self.seed, **settings).text)

        before = self._condensed.get(session, Condensed())
        condensed = self._composer.condense(earlier, before, ask)
        if (
            earlier and condensed is not before
        ):  # most memories condense nothing, and keep nothing here
            self._condensed[session] = condensed
            while len(self._condensed) > N_CONDENSED:
                self._condensed.pop(next(iter(self._condensed)), None)
        return condensed

    def _remember(self, request: _Request, said: str, *, stopped: bool = False) -> None:
        if request.remembered and said.strip():
            turn = [Message("user", request.text), Message("assistant", said)]
            self.history.append(request.session, turn, stopped=stopped)

    def _trace(
        self,
        prompt: Prompt,
        completion: Completion,
        seconds: Mapping[str, float],
        classified: Classified | None = None,
        output: OutputCheck | None = None,
        events: tuple[GuardEvent, ...] = (),
    ) -> Trace:
        return Trace(
            bot=self.bot.name,
            variant=self.bot.variant,
            bot_hash=self.bot.content_hash,
            model=self.model.spec,
            model_revision=self.model.revision,
            encoder_revision=self._composer.encoder_revision,
            seed=self.seed,
            prompt=prompt,
            completion=completion,
            decoding={} if completion.stop_reason in ("scored", "rule") else self._settings,
            label_logprobs=classified.logprobs if classified else {},
            decision=classified.decision if classified else None,
            output=output,
            guard=events,
            seconds=seconds,
        )

    @cached_property
    def _classifier(self) -> Classifier | None:
        if not self.bot.spec.labels:
            return None
        from promptbot.classify import Classifier  # numpy, which chat bots may do without

        return Classifier(self.bot, self.model, self._composer, self.seed)

    @cached_property
    def _guard(self) -> Guard:
        return Guard(self.bot.spec)

    @property
    def _chooser(self) -> ChoosesOptions | None:
        """The model, where it is asked for a label that it cannot score."""
        wanted = self._classifier and self.bot.spec.verbalizer.mode == "score"
        return self.model if wanted and isinstance(self.model, ChoosesOptions) else None

    @cached_property
    def _answerer(self) -> Answerer:
        return Answerer(self.bot, self.model, self._settings, self.sampling_seed)

    @property
    def _settings(self) -> dict[str, Any]:
        return self.bot.spec.decoding.model_dump()

    @property
    def _decoding(self) -> dict[str, Any]:
        return {**self._settings, "seed": self.sampling_seed}

    def _load_encoder(self) -> Encoder:
        if self._encoder is None:
            from promptbot.models.encoder import load_encoder

            self._encoder = load_encoder(self.bot.spec.encoder)
        return self._encoder


def load_chain(
    bot: str | Path | Bot,
    *,
    variant: str | None = None,
    model: str | FrozenModel | None = None,
    encoder: Encoder | None = None,
    selector: Selector | None = None,
    history: History | None = None,
    seed: int = 0,
    sampling_seed: int | None = None,
    json_schema: Mapping[str, Any] | type | None = None,
) -> Chain:
    """Return the chain of a bot, found by path or name.

    Args:
        bot: The folder's path, the bot's name, or a bot already loaded.
        variant: Which of its variants; bot.yaml as it stands when None.
        model: A model, or its spec (see `promptbot.models.load`); what the bot names when None.
        encoder: Measures similarity; the one that the bot names when None.
        selector: Chooses the examples; the one that the bot names when None. LangChain's selectors
            and vector stores become selectors by `promptbot.langchain_compat`.
        history: Keeps the sessions; in memory when None.
        seed: Of everything random.
        sampling_seed: Of what the model draws, where that is another one.
        json_schema: A JSON schema, or a pydantic class, that the answers must have; each reply
            then has its value in `data`. What bot.yaml says when None.

    Raises:
        UserError: The bot or the model cannot be loaded; the message says why.
    """
    from promptbot.models.registry import load_model, refuse_foreign_server

    loaded = bot if isinstance(bot, Bot) else load_bot(bot, variant)
    if json_schema is not None:
        loaded = loaded.with_json(json_schema)
    if model is None:
        # A bot's folder may come from a stranger: only the user sends messages and keys elsewhere.
        refuse_foreign_server(loaded.spec.model, place=str(loaded.folder / "bot.yaml"))
        model = load_model(loaded.spec.model, seed=seed)
    elif isinstance(model, str):
        model = load_model(model, seed=seed)
    return Chain(
        loaded,
        model,
        encoder=encoder,
        selector=selector,
        history=history,
        seed=seed,
        sampling_seed=sampling_seed,
    )


def _screened(answer: Answer, screen: Screen) -> Answer:
    """Return an answer without personal data, also in the attempts that led to it.

    What is taken out counts once for the answer, and once for each attempt that says other words.
    """
    text = screen.whole(answer.text)
    cleaned = {answer.text: text}

    def clean(said: str) -> str:
        if said not in cleaned:
            cleaned[said] = screen.whole(said)
        return cleaned[said]

    def strings(value: Any) -> Any:
        if isinstance(value, str):
            return screen.whole(value, counts=False)  # a part of the answer's text
        if isinstance(value, list):
            return [strings(one) for one in value]
        if isinstance(value, dict):
            return {key: strings(one) for key, one in value.items()}
        return value

    attempts = tuple(replace(one, text=clean(one.text)) for one in answer.check.attempts)
    return Answer(
        text,
        replace(answer.completion, text=clean(answer.completion.text)),
        replace(answer.check, attempts=attempts),
        strings(answer.data),
    )


def _prediction(reply: Reply) -> Prediction:
    if reply.trace is None:
        return Prediction(text=reply.text, label=reply.label)
    completion = reply.trace.completion
    scored = completion.stop_reason in ("scored", "rule")
    return Prediction(
        text=reply.text,
        label=reply.label,
        label_logprobs=reply.trace.label_logprobs,
        n_prompt_tokens=completion.n_prompt_tokens or reply.trace.prompt.n_tokens,
        n_generated_tokens=None
        if scored
        else completion.n_generated_tokens or estimated_text_tokens(completion.text),
        messages=reply.trace.prompt.messages,
        notes=tuple(chosen.item for chosen in reply.trace.prompt.notes),
        first_token_s=reply.trace.seconds.get("first_token"),
    )


def _parse_input(input: ChatInput) -> _Request:
    if isinstance(input, str):
        return _Request(input, uuid.uuid4().hex, remembered=False)
    text = input.get("input") if isinstance(input, Mapping) else None
    if not isinstance(text, str):
        raise InputError(
            f"the chain was given {input!r}.",
            expected='Expected a text, or {"input": text, "session": id}.',
            hint="Pass the user's message as a str.",
        )
    session = input.get("session")
    return _Request(text, str(session or uuid.uuid4().hex), remembered=bool(session))
