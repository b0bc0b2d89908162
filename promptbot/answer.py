"""Answers that are looked at before they are shown: JSON of a schema, a language, a majority."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptbot.bot.folder import Bot, place_of_schema
from promptbot.data import content_hash
from promptbot.errors import ContextOverflow, InputError
from promptbot.interfaces import FollowsSchemas
from promptbot.models.messages import completion_of, to_langchain
from promptbot.prompt.output import (
    ANY_OBJECT,
    Schema,
    canonical,
    check_schema,
    other_language,
    parse_json,
)
from promptbot.types import Attempt, Completion, Message, OutputCheck, Prompt

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from promptbot.interfaces import FrozenModel

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bot says, and how that came about."""

    text: str
    """What the bot says."""
    completion: Completion
    """The answer that was taken, with the tokens of all that were written."""
    check: OutputCheck
    """What was looked at."""
    data: Any = None
    """The JSON value; None where none was asked for, or no answer had the form."""


class Answerer:
    """Writes the answers of one bot, and looks at each before it is shown.

    Args:
        bot: Says which form, which language, and how many samples.
        model: Writes.
        decoding: Settings of the model, without a seed.
        seed: Of what the model draws; each further sample has another one derived from it.

    Raises:
        SpecError: The bot's JSON schema is none, or no answer can meet it.
        MissingExtra: What checks the form is not installed.
    """

    def __init__(
        self, bot: Bot, model: FrozenModel, decoding: Mapping[str, Any], seed: int
    ) -> None:
        self._bot = bot
        self._model = model
        self._decoding = dict(decoding)
        self._seed = seed
        self._spec = bot.spec.output
        self._n_samples = bot.spec.ensemble.n if self.votes else 1
        self._schema: Schema | None = None
        if self._spec.format == "json":
            self._schema = check_schema(
                ANY_OBJECT if bot.json_schema is None else bot.json_schema,
                place_of_schema(bot.folder, bot.spec),
            )
        if self._spec.wrong_language != "ignore":
            other_language("", bot.spec.language)  # what is missing is told before any question

    @property
    def votes(self) -> bool:
        """Whether several answers are written, of which the most frequent one is taken."""
        return self._bot.spec.ensemble.kind == "self_consistency"

    @property
    def holds_back(self) -> bool:
        """Whether an answer may be replaced, so that it is shown only when it is whole."""
        return (
            self.votes
            or self._spec.format == "json"
            or self._spec.wrong_language in ("retry", "fallback")
        )

    def look_at(self, text: str) -> OutputCheck | None:
        """Return what is to be said of an answer that was shown already; None for nothing."""
        if self._spec.wrong_language != "remark":
            return None
        problem = self._language_problem(text)
        return OutputCheck("checked", (Attempt(text, problem),))

    def write(
        self,
        prompt: Prompt,
        config: RunnableConfig,
        choice: Callable[[str], str | None] | None = None,
    ) -> Answer:
        """Return the answer to a prompt.

        Args:
            prompt: What the model is to read.
            config: LangChain's, with the callbacks.
            choice: What an answer stands for in the vote, as a label; None for no vote. By default
                the answer itself, in the form that ``ensemble.vote_on`` names.
        """
        if self.votes:
            return self._majority(prompt, config, choice or self._said)
        messages = list(prompt.messages)
        tries: list[Answer] = []
        for _ in range(1 + self._spec.retries):
            one = self._once(messages, config, self._seed)
            tries.append(one)
            problem = one.check.attempts[0].problem
            if problem is None or not self._tries_again:
                break
            asked = [
                *prompt.messages,
                *([Message("assistant", one.completion.text)] if one.completion.text else []),
                Message("user", self._complaint(problem)),
            ]
            try:
                if not self._fits(asked):
                    break
            except ContextOverflow:
                break
            messages = asked
        return self._finish(tries, tries[-1], {})

    @property
    def _free(self) -> str:
        """Why the model is not kept to the schema while it writes; empty where it is."""
        if self._schema is None:
            return ""
        if not isinstance(self._model, FollowsSchemas):
            return "the model takes no schema"
        return self._model.cannot_follow(self._schema) or ""

    @property
    def _tries_again(self) -> bool:
        return self._spec.format == "json" or self._spec.wrong_language == "retry"

    def _fits(self, messages: Sequence[Message]) -> bool:
        """Return whether prompt, answer and complaint leave room for another answer."""
        limit = self._model.context_tokens
        n_tokens = self._model.count_tokens(messages) + self._bot.spec.decoding.max_new_tokens
        return limit is None or n_tokens <= limit

    def _majority(
        self, prompt: Prompt, config: RunnableConfig, choice: Callable[[str], str | None]
    ) -> Answer:
        """Return the first of the answers that agree most often.

        Source:
            Wang et al. (2022), "Self-consistency improves chain of thought reasoning",
            arXiv:2203.11171.
        """
        samples = []
        for number in range(self._n_samples):
            seed = self._seed if number == 0 else int(content_hash([self._seed, number])[:7], 16)
            samples.append(self._once(prompt.messages, config, seed))
        says = [None if s.check.attempts[0].problem else self._vote(s, choice) for s in samples]
        votes = Counter(said for said in says if said is not None)
        if not votes:
            return self._finish(samples, samples[0], {})
        most = max(votes, key=lambda said: (votes[said], -says.index(said)))
        return self._finish(samples, samples[says.index(most)], votes)

    def _vote(self, sample: Answer, choice: Callable[[str], str | None]) -> str | None:
        if self._schema is not None:
            return canonical(sample.data)
        return choice(sample.completion.text)

    def _said(self, text: str) -> str | None:
        """Return the part of an answer that votes: all of it, its last line or its last number."""
        vote_on = self._bot.spec.ensemble.vote_on
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        if vote_on == "last_number":
            numbers = _NUMBER.findall(text)
            return f"{float(numbers[-1].replace(',', '')):g}" if numbers else None
        if not lines:
            return None
        said = lines[-1] if vote_on == "last_line" else " ".join(lines)
        return said.casefold().rstrip(" .!。！")

    def _once(self, messages: Sequence[Message], config: RunnableConfig, seed: int) -> Answer:
        """Return one answer of the model, with what is wrong with it."""
        settings = {**self._decoding, "seed": seed}
        if self._schema is not None and not self._free:
            settings["json_schema"] = self._schema
        try:
            message = self._model.invoke(to_langchain(messages), config, **settings)
        except ContextOverflow:
            raise
        except InputError as error:
            # A local model that is kept to a schema says so when its tokens are spent before the
            # value is complete.
            if self._schema is None or self._free:
                raise
            n_tokens = self._bot.spec.decoding.max_new_tokens
            spent = Completion(
                "", self._model.count_tokens(messages), 0, n_tokens, stop_reason="length"
            )
            return Answer("", spent, OutputCheck("checked", (Attempt("", error.problem),)))
        completion = completion_of(str(message.text), message)
        data, problem = None, None
        if self._schema is not None:
            parsed = parse_json(completion.text, self._schema)
            data, problem = parsed.data, parsed.problem
            if problem and completion.stop_reason == "length":
                problem = f"{problem} (the answer was cut at decoding.max_new_tokens)"
        elif self._spec.wrong_language != "ignore":
            problem = self._language_problem(completion.text)
        check = OutputCheck("checked", (Attempt(completion.text, problem),))
        return Answer(completion.text, completion, check, data)

    def _language_problem(self, text: str) -> str | None:
        if text.strip() == self._bot.spec.guard.fallback:
            return None
        wanted = self._bot.spec.language
        found = other_language(text, wanted)
        return f"the language is {found}, not {wanted}" if found else None

    def _complaint(self, problem: str) -> str:
        if self._schema is not None:
            schema = json.dumps(self._schema, ensure_ascii=False)
            return (
                f"That cannot be used: {problem}. Answer again, with JSON alone, of this schema: "
                f"{schema}"
            )
        return f"Answer again, in the language {self._bot.spec.language}."

    def _finish(self, tries: Sequence[Answer], taken: Answer, votes: Mapping[str, int]) -> Answer:
        attempts = tuple(one.check.attempts[0] for one in tries)
        used = [one.completion for one in tries]
        completion = replace(
            taken.completion,
            n_prompt_tokens=sum(c.n_prompt_tokens for c in used),
            n_cached_tokens=sum(c.n_cached_tokens for c in used),
            n_generated_tokens=sum(c.n_generated_tokens for c in used),
        )
        problem = taken.check.attempts[0].problem
        falls_back = problem is not None and self._spec.wrong_language == "fallback"
        free = self._free
        remarks = [f"not kept to the schema while writing: {free}"] if free else []
        if problem is not None:
            remarks.append(
                f"{'the fallback speaks' if falls_back else 'taken as it is'}: {problem}"
            )
        if self.votes and not votes:
            remarks.append("no sample could vote: the first one was taken")
        check = OutputCheck(
            how="constrained" if self._schema is not None and not free else "checked",
            attempts=attempts,
            votes=dict(sorted(votes.items(), key=lambda item: -item[1])),
            remarks=tuple(remarks),
        )
        text = self._bot.spec.guard.fallback if falls_back else taken.completion.text
        return Answer(text, completion, check, taken.data)
