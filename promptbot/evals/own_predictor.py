"""A column that a user writes: a function in a Python file beside the suite, asked as a model is.

::

    variants: [default, rules.py:answer]

It takes a sample's input and returns the answer: a reply, or in classify bots a label, None where
it finds none. For rules, a service of one's own, or what another program answered before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptbot.evals.own_metrics import check_function, load_own
from promptbot.types import Prediction, Sample

FUNCTION = "python:"
"""What the model's spec of such a column begins with; a suite's file, a colon and a name follow."""


@dataclass(frozen=True)
class FunctionPredictor:
    """Answers with a function."""

    function: Callable[[str], object]
    """Of a sample's input."""
    name: str
    """As the suite names it, for errors."""
    task: str
    """``chat`` or ``classify``."""
    revision: str
    """Content hash of its file."""

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one prediction per sample.

        Raises:
            TypeError: The function returned something that is no answer.
        """
        return [self._answer(sample.input) for sample in samples]

    def _answer(self, text: str) -> Prediction:
        said = self.function(text)
        classify = self.task == "classify"
        if said is None and classify:
            return Prediction("")
        if not isinstance(said, str):
            wanted = "a label or None" if classify else "a text"
            raise TypeError(f"{self.name} returned {repr(said)[:60]}; expected {wanted}")
        return Prediction(said, label=said if classify else None)


def load_function(text: str, base: Path, task: str, place: str) -> FunctionPredictor:
    """Return what answers with a function of a Python file; importing the file runs it.

    Args:
        text: As ``rules.py:answer``.
        base: The suite's folder; the file lies there or below.
        task: Of the suite's bot.
        place: Where the suite names it, for errors.

    Raises:
        SpecError: There is no such file or function, or importing it fails.
    """
    file, name, found, revision = load_own(text, base, place)
    expected = "Expected a function that takes the input and returns the answer."
    check_function(found, f'{file}: "{name}"', place, expected, "See docs/evaluation.md.")
    return FunctionPredictor(found, text, task, revision)
