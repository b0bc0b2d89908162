"""Judges: a model that says how good an answer is, or which of two is better, by a rubric.

::

    judges:
      helpful: {model: "openai:gpt-4o-mini", criterion: Does the answer solve the problem?}
    metrics: [helpful, exact]

A judge is a metric with a model in it, so it must be looked at like one: it says how often its
answers could not be read, whether it leans to the answer that it reads first, and how well it
agrees with people.

Source:
    Zheng et al. (2023), "Judging LLM-as-a-judge with MT-bench and Chatbot Arena",
    arXiv:2306.05685 (both orders, a tie where they disagree).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from promptbot.bot.spec import Settings, Text
from promptbot.data import content_hash, scan_rows
from promptbot.errors import DataError, SpecError, did_you_mean
from promptbot.evals.metrics.metric import Metric, Outcome
from promptbot.evals.metrics.registry import metric_named
from promptbot.evals.metrics.text import normalise
from promptbot.prompt.template import Template

RUBRICS = Path(__file__).parent / "rubrics"
"""The rubrics that are used where a suite names none, one of each kind."""

DECLARED = {
    "score": ("input", "target", "answer", "notes", "criterion", "lowest", "highest"),
    "pairwise": ("input", "target", "answer_a", "answer_b", "criterion"),
}
"""What a rubric may read."""

Winner = Literal["a", "b", "tie"]

_SCORE = re.compile(r"\bscore\W{0,4}[:=]\W{0,4}?(-?\d+(?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE)
_NUMBER = re.compile(r"\W{0,4}?(-?\d+(?:\.\d+)?)(?:\s*/\s*\d+)?\W{0,4}")
_VERDICT = re.compile(r"\bverdict\W{0,4}[:=]\W{0,4}(a|b|tie)\b", re.IGNORECASE)
_CHOICE = re.compile(r"\W{0,4}(?:answer\s+)?(a|b|tie)\W{0,4}", re.IGNORECASE)


class RatedFields(Settings):
    """Which field of a row of judged answers means what."""

    input: Text = "input"
    """What the user said; rows may lack it."""
    target: Text = "target"
    """A good answer; rows may lack it."""
    answer: Text = "answer"
    """The answer that people judged."""
    score: Text = "score"
    """Their score of it, on the judge's scale."""
    answer_a: Text = "answer_a"
    """Of a pair, one answer."""
    answer_b: Text = "answer_b"
    """Of a pair, the other."""
    preferred: Text = "preferred"
    """Which of them people prefer: a, b or tie."""


class RatedSpec(Settings):
    """Answers that people judged."""

    file: Text
    """JSONL or CSV file."""
    fields: RatedFields = RatedFields()
    limit: Annotated[int, Field(ge=2)] | None = None
    """Rows at most, spread evenly over the file."""


class JudgeSpec(Settings):
    """The settings of one judge."""

    model: Text
    """Who judges, as any model is named."""
    kind: Literal["score", "pairwise"] = "score"
    """Whether it gives each answer a score, or says whether it is better than the reference's."""
    criterion: Text = "Does the answer help the user, and is what it says right?"
    """The question by which it judges."""
    rubric: Text | None = None
    """A Jinja template beside the suite, in place of the one that ships."""
    scale: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(default=[1, 5])
    """Lowest and highest score, whole numbers."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    """Tokens that it may write, its reason included."""
    human: RatedSpec | None = None
    """Answers that people judged, to measure how well it agrees with them."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a judge is asked."""

    key: str
    """Content hash of all that decides the answer; equal questions are asked once."""
    values: Mapping[str, Any]
    """What the rubric is filled with."""


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer, or a pair, that people judged."""

    questions: tuple[Question, ...]
    """One for a score; both orders for a pair."""
    said: float | Winner
    """What people said."""


@dataclass(frozen=True)
class Judge:
    """A judge that was read and found to make sense."""

    name: str
    """What suites and reports call it; also its metric's name."""
    spec: JudgeSpec
    """Its settings."""
    rubric: Template
    """What it is asked, as a template."""
    human: tuple[Rated, ...] = field(default=(), repr=False)
    """What people judged."""

    @property
    def pairwise(self) -> bool:
        """Whether it compares answers with the reference's."""
        return self.spec.kind == "pairwise"

    @property
    def metric(self) -> Metric:
        """What it measures, as reports name it."""
        share = self.pairwise or self.spec.scale == [0, 1]
        about = self.spec.criterion.rstrip(".")
        if self.pairwise:
            about += " Preferred to the reference; a tie counts half"
        return Metric(self.name, about, "share" if share else "score", score=lambda o: None)

    def about_answer(self, outcome: Outcome) -> Question:
        """Return what it is asked about one answer."""
        assert outcome.prediction is not None
        return self._ask(
            input=outcome.sample.input,
            target=outcome.sample.target,
            answer=outcome.prediction.text,
            notes=[note.text for note in outcome.prediction.notes],
        )

    def about_pair(self, one: Outcome, other: Outcome) -> tuple[Question, Question]:
        """Return what it is asked about two answers to a sample, in either order."""
        assert one.prediction is not None
        assert other.prediction is not None
        sample = one.sample
        return self._both(sample.input, sample.target, one.prediction.text, other.prediction.text)

    def prompt(self, question: Question) -> str:
        """Return the rubric filled in.

        Raises:
            TemplateError: It cannot be.
        """
        return self.rubric.render(question.values)

    def read_score(self, text: str) -> float | None:
        """Return the score that an answer of the judge names; None where it names none.

        That is the number after the last ``Score:``, or the whole answer where it is a number.
        Numbers off the scale are none.
        """
        said = _SCORE.findall(text)
        whole = _NUMBER.fullmatch(text.strip())
        found = said[-1] if said else whole[1] if whole else None
        if found is None:
            return None
        low, high = self.spec.scale
        return float(found) if low <= float(found) <= high else None

    def read_winner(self, text: str) -> Winner | None:
        """Return what an answer of the judge prefers; None where it says nothing of it.

        That is the word after the last ``Verdict:``, or the whole answer where it is one.
        """
        said = _VERDICT.findall(text)
        whole = _CHOICE.fullmatch(text.strip())
        found = said[-1] if said else whole[1] if whole else None
        return None if found is None else found.lower()  # type: ignore[return-value]

    def _ask(self, **values: Any) -> Question:
        values["criterion"] = self.spec.criterion
        if not self.pairwise:
            values["lowest"], values["highest"] = self.spec.scale
        settings = self.spec.model_dump(exclude={"human"})
        key = content_hash([settings, self.rubric.source, dict(self.rubric.partials), values])
        return Question(key, values)

    def _both(self, input: str, target: str, one: str, other: str) -> tuple[Question, Question]:
        return (
            self._ask(input=input, target=target, answer_a=one, answer_b=other),
            self._ask(input=input, target=target, answer_a=other, answer_b=one),
        )


def both_orders(first: Winner | None, swapped: Winner | None) -> Winner | None:
    """Return what a judge prefers over both orders of a pair: a tie where they disagree.

    Args:
        first: What it preferred in the pair's order.
        swapped: What it preferred in the other order, as it said it.

    Returns:
        The winner in the pair's own order; None where either could not be read.
    """
    if first is None or swapped is None:
        return None
    back: dict[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}
    return first if first == back[swapped] else "tie"


def same_answer(one: Outcome, other: Outcome) -> bool:
    """Return whether two answers are one, so that no judge need be asked."""
    assert one.prediction is not None
    assert other.prediction is not None
    return one.prediction.text.strip() == other.prediction.text.strip()


def load_judge(name: str, spec: JudgeSpec, base: Path, place: str) -> Judge:
    """Return a judge with its rubric, and with what people judged.

    Args:
        name: What the suite calls it.
        spec: Its settings.
        base: The suite's folder, at which paths start.
        place: Where the suite names it, for errors.

    Raises:
        SpecError: Its name is a metric's, or there is no such rubric.
        TemplateError: The rubric cannot be parsed, or reads what it is not given.
        DataError: What people judged is missing or wrong.
    """
    if metric_named(name) is not None:
        raise SpecError(
            f'"{name}" is the name of a metric.',
            place=place,
            hint=f"Give the judge another name, as  judged_{name}.",
        )
    if spec.scale[0] >= spec.scale[1]:
        raise SpecError(
            f"scale is {spec.scale}.",
            place=place,
            expected="Expected two whole numbers, the lower one first.",
            hint="Write  scale: [1, 5].",
        )
    path = base / spec.rubric if spec.rubric else RUBRICS / f"{spec.kind}.j2"
    if not path.is_file():
        beside = [found.name for found in sorted(path.parent.glob("*.j2"))]
        raise SpecError(
            f"there is no rubric {spec.rubric}.",
            place=place,
            expected=f"Expected it in {path.parent}.",
            hint=did_you_mean(path.name, beside) or "Leave it out to use the one that ships.",
        )
    rubric = Template(str(path), path.read_text(encoding="utf-8"))
    for mistake in rubric.check(DECLARED[spec.kind]):
        raise mistake
    judge = Judge(name, spec, rubric)
    if spec.human is None:
        return judge
    return Judge(name, spec, rubric, tuple(_load_rated(judge, spec.human, base)))


def _load_rated(judge: Judge, spec: RatedSpec, base: Path) -> Sequence[Rated]:
    path, names = base / spec.file, spec.fields
    if not path.is_file():
        raise DataError(
            "there is no such data.",
            place=str(path),
            expected=f"Expected answers that people judged, for the judge {judge.name}.",
            hint="Put the file there, or take  human:  out of the suite.",
        )
    rows = []
    for row in scan_rows(path):
        if isinstance(row, DataError):
            raise row
        rows.append(row)
    n = min(spec.limit or len(rows), len(rows))
    found = []
    for row in (rows[math.floor(i * len(rows) / n)] for i in range(n)):
        values, place = row.values, f"{path}, line {row.line}"
        given = str(values.get(names.input) or ""), str(values.get(names.target) or "")
        if judge.pairwise:
            one, other = (_said(values, f, place) for f in (names.answer_a, names.answer_b))
            winner = normalise(_said(values, names.preferred, place))
            if winner not in ("a", "b", "tie"):
                raise DataError(
                    f'field "{names.preferred}" is {winner[:40]!r}.',
                    place=place,
                    expected="Expected a, b or tie.",
                    hint="Correct the line.",
                )
            said: Winner = "a" if winner == "a" else "b" if winner == "b" else "tie"
            found.append(Rated(judge._both(*given, one, other), said))
            continue
        score = _score(values, names.score, judge.spec.scale, place)
        answer = _said(values, names.answer, place)
        question = judge._ask(input=given[0], target=given[1], answer=answer, notes=[])
        found.append(Rated((question,), score))
    return found


def _said(values: Mapping[str, Any], name: str, place: str) -> str:
    value = values.get(name)
    if isinstance(value, str) and value.strip():
        return value.strip()
    near = did_you_mean(name, values)
    raise DataError(
        f'field "{name}" is missing, or no text.',
        place=place,
        expected=f"Found: {', '.join(values) or 'no fields'}. {near}".strip(),
        hint="Correct the line, or name the field under human: fields: in the suite.",
    )


def _score(values: Mapping[str, Any], name: str, scale: Sequence[int], place: str) -> float:
    value = values.get(name)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not scale[0] <= number <= scale[1]:
        raise DataError(
            f'field "{name}" is {str(value)[:40]}.',
            place=place,
            expected=f"Expected a number from {scale[0]} to {scale[1]}, the judge's scale.",
            hint="Correct the line, the field's name or the scale.",
        )
    return number
