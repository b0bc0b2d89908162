"""Every error that promptbot raises on purpose.

::

    PromptbotError                 the root; exit status 1
    |-- UserError                  the user can mend it; exit status 2, no traceback
    |   |-- BotNotFound            no such bot folder
    |   |-- SpecError              bot.yaml or a variant is wrong
    |   |-- TemplateError          a template cannot be parsed or rendered
    |   |   `-- TemplateLimit      a template ran too long or wrote too much
    |   |-- DataError              examples, knowledge or samples are wrong
    |   |-- InputError             the user's message or a command's argument is wrong
    |   |-- ModelError             a model cannot be found, loaded or used as asked
    |   |   |-- UnsafeWeights      weights that could run code when they are read
    |   |   |-- MissingExtra       an optional dependency is not installed
    |   |   |-- MissingKey         no API key in the environment
    |   |   |-- OutOfMemory        not even the smallest piece of work fits into memory
    |   |   `-- CannotScore        the model only writes
    |   |-- ContextOverflow        the prompt cannot be made to fit
    |   `-- StoreError             conversations or runs cannot be read or written
    |-- ProviderError              a remote model failed
    |   `-- BrokenOff              its answer began and did not end
    `-- FrozenModelChanged         the weights are not what they were

A message names the place, what was found, what was expected, and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Self

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""


class PromptbotError(Exception):
    """The root of promptbot's errors.

    Args:
        problem: What was found, as one sentence.
        place: File, line or setting where it was found.
        expected: What would have been right.
        hint: What to do next.
    """

    exit_status: ClassVar[int] = 1

    def __init__(
        self, problem: str, *, hint: str, place: str | None = None, expected: str | None = None
    ) -> None:
        self.problem = problem
        self.place = place
        self.expected = expected
        self.hint = hint
        first = f"{place}: {problem}" if place else problem
        super().__init__("\n".join(line for line in (first, expected, hint) if line))

    def located(self, place: str) -> Self:
        """Return the same error with the place where it was said."""
        return type(self)(self.problem, hint=self.hint, place=place, expected=self.expected)


class UserError(PromptbotError):
    """A mistake that the user can mend."""

    exit_status: ClassVar[int] = 2


class BotNotFound(UserError):
    """There is no bot of this name or at this path."""


class SpecError(UserError):
    """bot.yaml, a variant or a suite does not say what it must."""


class TemplateError(UserError):
    """A template cannot be parsed or rendered."""


class TemplateLimit(TemplateError):
    """A template ran too long or wrote too much."""


class DataError(UserError):
    """Examples, knowledge or samples cannot be used as they stand."""


class InputError(UserError):
    """The user's message or a command's argument is wrong."""


class ModelError(UserError):
    """A model cannot be found, loaded or used as asked."""


class UnsafeWeights(ModelError):
    """The weights are in a format that can run code when it is read."""


class MissingExtra(ModelError):
    """An optional dependency is not installed.

    Args:
        purpose: What needs it, as the start of a sentence.
        package: The import that failed.
        extra: promptbot's extra that brings it.
    """

    def __init__(self, purpose: str, package: str, extra: str, *, place: str | None = None) -> None:
        self._missing = (purpose, package, extra)
        super().__init__(
            f"{purpose} needs {package}.",
            hint=f'Install it with: pip install "promptbot[{extra}]"',
            place=place,
        )

    def located(self, place: str) -> Self:
        """Return the same error with the place where it was said."""
        return type(self)(*self._missing, place=place)


class MissingKey(ModelError):
    """The environment holds no key for a remote provider."""


class OutOfMemory(ModelError):
    """A local model's work does not fit into the memory of its device."""


class CannotScore(ModelError):
    """The model writes text but gives no log-probabilities."""


class ContextOverflow(UserError):
    """System prompt and question alone do not fit into the model's context."""


class StoreError(UserError):
    """Conversations or runs cannot be read or written."""


class ProviderError(PromptbotError):
    """A remote model failed."""


class BrokenOff(ProviderError):
    """An answer of a remote model began and did not end; who has not shown it can ask again."""


class FrozenModelChanged(PromptbotError):
    """The weights of a frozen model are not what they were when it was loaded."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``Did you mean "x"?`` for the known word nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'Did you mean "{near[0]}"?' if near else ""


def known_words(title: str, word: str, known: Iterable[str]) -> str:
    """Return one line that lists what is known and, where one is near, a did-you-mean."""
    names = list(known)
    listed = ", ".join(names) if names else "none"
    return f"{title}: {listed}. {did_you_mean(word, names)}".strip()
