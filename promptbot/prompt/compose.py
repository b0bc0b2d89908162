"""From a message to the prompt that a frozen model reads: select, recall, fit, render."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from promptbot.bot.folder import Bot, TemplateSource
from promptbot.errors import ContextOverflow, InputError
from promptbot.guard.guard import secrets_of_environment, without_secrets
from promptbot.prompt.budget import Contents, fit
from promptbot.prompt.condense import (
    FACTS_TEMPLATE,
    SUMMARY_TEMPLATE,
    Ask,
    Condensed,
    condense,
)
from promptbot.prompt.knowledge import Knowledge
from promptbot.prompt.leave_out import LeftOut, leave_out_each
from promptbot.prompt.memory import make_memory, split_turns
from promptbot.prompt.orders import arrange
from promptbot.prompt.selectors import NEEDS_ENCODER, Pool, make_selector
from promptbot.prompt.template import Template
from promptbot.types import Chosen, Example, Message, Note, Part, PartKind, Prompt, Recall

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptbot.interfaces import Encoder, Selector

_Item = TypeVar("_Item", Example, Note)

RESERVED_FOR_MARKERS = 8
"""Tokens kept free for what a chat template writes around the answer."""


class Composer:
    """Composes the prompts of one bot.

    Args:
        bot: Templates, examples, notes and settings.
        count_tokens: Tokens of some messages, as the model counts them.
        context_tokens: Tokens of the model's context; None when unknown.
        load_encoder: Gives the encoder; called only when something must be compared.
        selector: Chooses the examples; the one that the bot names when None.
        seed: Of everything random.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        count_tokens: Callable[[Sequence[Message]], int],
        context_tokens: int | None,
        load_encoder: Callable[[], Encoder],
        selector: Selector | None = None,
        seed: int = 0,
    ) -> None:
        self._bot = bot
        self._count = count_tokens
        self._context_tokens = context_tokens
        self._load_encoder = load_encoder
        self._given_selector = selector
        self._seed = seed
        # Also where an author wrote one into a template, a note, an example or a variable.
        self._secrets = tuple(secrets_of_environment().values())
        self._system = self._template(bot.system)
        self._turn = self._template(bot.turn) if bot.turn else None
        schema = bot.json_schema
        self._json_schema = "" if schema is None else json.dumps(schema, ensure_ascii=False)
        self._system_shows_examples = "examples" in self._system.variables()
        memory = bot.spec.memory
        self._memory = make_memory(
            memory.kind,
            max_tokens=memory.max_tokens,
            max_turns=memory.max_turns,
            count=count_tokens,
        )

    def for_bot(self, bot: Bot) -> Composer:
        """Return what composes the prompts of another bot for the same model and encoder."""
        return Composer(
            bot,
            count_tokens=self._count,
            context_tokens=self._context_tokens,
            load_encoder=lambda: self.encoder,
            seed=self._seed,
        )

    def condense(self, history: Sequence[Message], earlier: Condensed, ask: Ask) -> Condensed:
        """Return the session's summary or facts, brought up to date; see `condense`."""
        if self._bot.spec.memory.kind not in ("summary", "facts"):
            return earlier
        return condense(
            self._bot.spec.memory,
            history,
            earlier,
            render=lambda values: self._clean(
                self._memory_template.render({**self._values(), **values})
            ),
            ask=ask,
            count=self._count,
        )

    def compose(
        self, text: str, history: Sequence[Message] = (), condensed: Condensed | None = None
    ) -> Prompt:
        """Return the prompt for a message.

        Args:
            text: What the user says.
            history: The session's earlier messages, oldest first.
            condensed: What was made of the oldest of them; see `condense`.

        Raises:
            InputError: The message is empty.
            TemplateError: A template fails on these values.
            ContextOverflow: Not even system prompt and message fit into the model's context.
        """
        if not text.strip():
            raise InputError("the message is empty.", hint="Write something to the bot.")
        text = text.encode("utf-8", "replace").decode("utf-8").strip()  # no lone surrogates
        condensed = (condensed or Condensed()).within(history)
        turns = tuple(split_turns(self._memory.recall(history[len(condensed.covered) :])))
        recall = self._recall(history, condensed, n_recalled=len(turns))
        began = time.perf_counter()
        examples = tuple(self._choose_examples(text))
        selected = time.perf_counter()
        notes = tuple(self._retrieve(text))
        retrieved = time.perf_counter()
        contents = Contents(examples=examples, notes=notes, turns=turns)
        max_tokens = self._max_prompt_tokens()
        # Fitting may ask for the same contents twice, and what fits has then been rendered.
        render = cache(lambda some: self._render(text, some, recall))
        count = cache(lambda some: self._count(_flatten(render(some))))
        contents, dropped = fit(contents, count, max_tokens)
        parts = tuple(
            Part(kind, tuple(messages), self._count(messages))
            for kind, messages in render(contents).items()
            if messages
        )
        rendered = time.perf_counter()
        return Prompt(
            parts=parts,
            n_tokens=count(contents),
            max_tokens=max_tokens,
            examples=tuple(self._arrange(text, contents.examples)),
            notes=tuple(reversed(contents.notes)),
            dropped=dropped,
            memory=recall,
            seconds={
                "select": selected - began,
                "retrieve": retrieved - selected,
                "render": rendered - retrieved,
            },
        )

    def leave_out_each(self, prompt: Prompt) -> list[LeftOut]:
        """Return a prompt that was composed here without each of its parts in turn."""

        def render_system(changed: Prompt) -> str:
            shown = [c.item for c in changed.examples]
            return self._render_system(changed.notes, shown, changed.memory)

        return leave_out_each(prompt, render_system)

    def ask_instead(self, prompt: Prompt, text: str) -> list[Message]:
        """Return the messages of a prompt with another question, all else as it stands."""
        context = [m for part in prompt.parts if part.kind != "question" for m in part.messages]
        return [*context, self._user(text)]

    def reorder(self, prompt: Prompt, examples: Sequence[Chosen[Example]]) -> Prompt:
        """Return a prompt that was composed here with its examples in another order."""
        shown = [chosen.item for chosen in examples]
        system = self._render_system(prompt.notes, shown, prompt.memory)
        texts = {"system": (Message("system", system),), "examples": tuple(self._pairs(shown))}
        parts = tuple(
            replace(part, messages=texts.get(part.kind, part.messages)) for part in prompt.parts
        )
        return replace(prompt, parts=parts, examples=tuple(examples))

    def ask_alone(self, text: str) -> list[Message]:
        """Return system prompt and question, without examples, notes and turns."""
        return _flatten(self._render(text, Contents((), (), ())))

    def ask_reversed(self, prompt: Prompt, answer: str) -> list[Message]:
        """Return a prompt that asks for the text to an answer, as examples turned around show it.

        The system prompt, which says the opposite, is left out.
        """
        messages = []
        for chosen in prompt.examples:
            messages += [
                Message("user", chosen.item.output),
                Message("assistant", chosen.item.input),
            ]
        return [*messages, Message("user", answer)]

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first asked for; it remembers the last questions' vectors."""
        return self._encoder

    @property
    def encoder_revision(self) -> str | None:
        """Content hash of the encoder; None when nothing needed it."""
        return self._encoder.revision if "_encoder" in self.__dict__ else None

    def _choose_examples(self, text: str) -> list[Chosen[Example]]:
        spec = self._bot.spec.examples
        found = self._selector.select(text, spec.k) if spec and spec.k else []
        return self._clean_each(found, "input", "output")

    def _retrieve(self, text: str) -> list[Chosen[Note]]:
        spec = self._bot.spec.knowledge
        if not spec or not spec.k:
            return []
        found = self._knowledge.retrieve(text, spec.k, min_similarity=spec.min_similarity)
        return self._clean_each(found, "question", "answer")

    def _arrange(self, text: str, chosen: Sequence[Chosen[Example]]) -> list[Chosen[Example]]:
        spec = self._bot.spec.examples
        return arrange(chosen, spec.order, seed=self._seed, query=text) if spec else []

    def _recall(
        self, history: Sequence[Message], condensed: Condensed, *, n_recalled: int
    ) -> Recall:
        return Recall(
            kind=self._bot.spec.memory.kind,
            n_turns=len(split_turns(history)),
            n_recalled=n_recalled,
            n_condensed=len(split_turns(condensed.covered)),
            summary=condensed.summary,
            facts=condensed.facts,
            n_asked=condensed.n_asked,
            problem=condensed.problem,
        )

    def _render(
        self, text: str, contents: Contents, recall: Recall | None = None
    ) -> dict[PartKind, list[Message]]:
        """Return the messages of each part, in the order in which the model reads them."""
        examples = [chosen.item for chosen in self._arrange(text, contents.examples)]
        # The most similar note comes last, beside the question (Liu et al. 2023,
        # arXiv:2307.03172: what stands in the middle is lost).
        notes = tuple(reversed(contents.notes))
        system = self._render_system(notes, examples, recall)
        pairs = [] if self._system_shows_examples else self._pairs(examples)
        turns = [
            self._user(message.content)
            if message.role == "user"
            else Message(message.role, self._clean(message.content))
            for turn in contents.turns
            for message in turn
        ]
        return {
            "system": [Message("system", system)] if system.strip() else [],
            "examples": pairs,
            "turns": turns,
            "question": [self._user(text)],
        }

    def _render_system(
        self,
        notes: Sequence[Chosen[Note]],
        examples: Sequence[Example],
        recall: Recall | None = None,
    ) -> str:
        rendered = self._system.render(
            self._values()
            | {
                "knowledge": [_note_values(note) for note in notes],
                "examples": [{"input": e.input, "output": e.output} for e in examples],
                "summary": recall.summary if recall else "",
                "facts": dict(recall.facts) if recall else {},
            }
        )
        return self._clean(rendered)

    def _pairs(self, examples: Sequence[Example]) -> list[Message]:
        """Return examples as earlier messages of user and assistant."""
        return [
            message
            for example in examples
            for message in (self._user(example.input), Message("assistant", example.output))
        ]

    def _user(self, text: str) -> Message:
        if self._turn:
            text = self._turn.render(self._values() | {"input": text})
        return Message("user", self._clean(text))

    def _clean_each(self, found: list[Chosen[_Item]], *names: str) -> list[Chosen[_Item]]:
        """Return what was chosen without secrets in its texts, for prompt and trace."""
        if not self._secrets:
            return found
        cleaned = []
        for chosen in found:
            texts: dict[str, Any] = {n: self._clean(getattr(chosen.item, n)) for n in names}
            cleaned.append(replace(chosen, item=replace(chosen.item, **texts)))
        return cleaned

    def _clean(self, text: str) -> str:
        """Return a text without the environment's secrets: no prompt holds one."""
        return without_secrets(text, self._secrets)[0]

    def _values(self) -> dict[str, Any]:
        spec = self._bot.spec
        return {
            **spec.vars,
            "fallback": spec.guard.fallback,
            "language": spec.language,
            "labels": spec.labels or {},
            "json_schema": self._json_schema,
        }

    def _max_prompt_tokens(self) -> int | None:
        if self._context_tokens is None:
            return None
        answer = self._bot.spec.decoding.max_new_tokens
        if self._bot.spec.labels:
            wordings = [w for words in self._bot.spec.labels.values() for w in words]
            answer = max(self._count([Message("assistant", word)]) for word in wordings)
        left = self._context_tokens - answer - RESERVED_FOR_MARKERS
        if left <= 0:
            raise ContextOverflow(
                f"decoding.max_new_tokens is {answer}.",
                expected=f"The model's context is {self._context_tokens} tokens, prompt included.",
                hint="Lower decoding.max_new_tokens.",
            )
        return left

    def _template(self, source: TemplateSource) -> Template:
        return Template(name=source.name, source=source.text, partials=self._bot.partials)

    @cached_property
    def _memory_template(self) -> Template:
        kind = self._bot.spec.memory.kind
        own = SUMMARY_TEMPLATE if kind == "summary" else FACTS_TEMPLATE
        return self._template(self._bot.memory or TemplateSource(f"{kind}.j2", own))

    @cached_property
    def _encoder(self) -> _RememberingEncoder:
        return _RememberingEncoder(self._load_encoder())

    @cached_property
    def _selector(self) -> Selector:
        if self._given_selector:
            return self._given_selector
        spec = self._bot.spec.examples
        assert spec is not None
        pool = Pool(
            self._bot.examples,
            encoder=self._encoder if spec.selector in NEEDS_ENCODER else None,
            seed=self._seed,
            count_tokens=self._count,
            max_tokens=spec.max_tokens,
            keep=spec.keep,
        )
        return make_selector(spec.selector, pool)

    @cached_property
    def _knowledge(self) -> Knowledge:
        spec = self._bot.spec.knowledge
        assert spec is not None
        encoder = None if spec.retriever == "bm25" else self._encoder
        return Knowledge(self._bot.notes, encoder, retriever=spec.retriever)


class _RememberingEncoder:
    """An encoder that keeps the vectors of the last questions: examples and notes share them."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._encode_one = lru_cache(maxsize=64)(lambda text: encoder.encode([text]))

    @property
    def revision(self) -> str:
        return self._encoder.revision

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode_one(texts[0]) if len(texts) == 1 else self._encoder.encode(texts)


def _note_values(chosen: Chosen[Note]) -> Mapping[str, str | float | None]:
    note, similarity = chosen.item, chosen.similarity
    return {
        "question": note.question,
        "answer": note.answer,
        "text": note.text,
        "source": note.source,
        # Two digits: what more says is noise, and costs a model tokens. No -0.0.
        "similarity": None if similarity is None else round(similarity, 2) + 0.0,
    }


def _flatten(parts: Mapping[PartKind, Sequence[Message]]) -> list[Message]:
    return [message for messages in parts.values() for message in messages]
