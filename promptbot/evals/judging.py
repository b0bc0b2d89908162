"""Judges asked about a run's answers: what they were asked and said is kept in the run's folder.

::

    runs/SUITE/TIME-HASH/judges/
      records.jsonl     one line per question, appended as it is answered; a stopped run goes on
      texts.jsonl       each question as the judge read it
      judges.json       what is to be known of each judge before it is believed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import DataError, ModelError
from promptbot.evals.judge import Judge, Question, Winner, both_orders, same_answer
from promptbot.evals.measures import KeptScore, Measured, key_of
from promptbot.evals.metrics.agreement import cohen_kappa, kappa_interval
from promptbot.evals.metrics.metric import Outcome
from promptbot.evals.records import Key, Record, RecordFile, load_records, save_json
from promptbot.evals.runner import Job, run_jobs
from promptbot.evals.samples import EvalSample
from promptbot.evals.stats import Interval, wilson
from promptbot.evals.suite import Suite
from promptbot.models.call_cache import CallCache, with_cache
from promptbot.models.providers import is_remote_model
from promptbot.types import Message, Prediction, Sample

if TYPE_CHECKING:
    from promptbot.interfaces import FrozenModel

FOLDER = "judges"
"""The folder in a run's folder."""

SCRIPTED = "scripted:"
"""Models of this kind are never cached: a script may be read line by line."""

MIN_RATED = 10
"""Judged answers under which no agreement with people is told."""


@dataclass(frozen=True, slots=True)
class HumanAgreement:
    """How well a judge agrees with people."""

    n: int
    """Answers that both judged."""
    n_unreadable: int
    """Answers that people judged, and of which the judge's word could not be read."""
    kappa: float | None
    """Cohen's, with quadratic weights for scores; None where one of them always says the same."""
    interval: Interval | None
    """Of it, at 95%."""


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What is to be known of a judge before it is believed."""

    name: str
    """The judge's name."""
    model: str
    """Who judges."""
    kind: str
    """``score`` or ``pairwise``."""
    criterion: str
    """The question by which it judged."""
    n_asked: int
    """Different questions about the run's answers."""
    n_unreadable: int
    """Of these, answers that named no score or verdict; they do not count."""
    n_failed: int
    """Of these, calls that failed."""
    first_problem: str
    """The first of either, for a reader."""
    first_shown: tuple[float, Interval, int] | None = None
    """Pairwise: share of its decided verdicts for the answer that it read first, and their
    number; half is right, since each pair is asked in both orders."""
    disagree: tuple[float, Interval, int] | None = None
    """Pairwise: share of pairs on which its two orders disagree, and the number of pairs."""
    human: HumanAgreement | None = None
    """Agreement with people, where the suite has what they said."""

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> JudgeReport:
        """Return what `asdict` gave, from JSON."""
        found = dict(values)
        for name in ("first_shown", "disagree"):
            if found[name]:
                share, interval, n = found[name]
                found[name] = (share, Interval(**interval), n)
        if human := found["human"]:
            interval = Interval(**human["interval"]) if human["interval"] else None
            found["human"] = HumanAgreement(**human | {"interval": interval})
        return JudgeReport(**found)


@dataclass(frozen=True, slots=True)
class Asking:
    """How judges are asked; none of it changes what they say."""

    cache: CallCache | None = None
    """Answers equal questions of this and earlier runs."""
    n_parallel: int = 1
    """Calls to remote models under way at most."""
    per_minute: float | None = None
    """Calls to remote models that begin in a minute at most."""
    on_model: Callable[[str, str], None] = lambda name, revision: None
    """Called with each judge's name and its model's revision, before it answers."""
    on_start: Callable[[str, int], None] = lambda name, n: None
    """Called with each judge's name, and how many questions it is still asked."""
    on_record: Callable[[Record], None] = lambda record: None
    """Called with each answer."""
    on_stop: Callable[[int], None] = lambda n_under_way: None
    """Called when the run is stopped, with the number of answers it still waits for."""


def ask_judges(
    suite: Suite, folder: Path, outcomes: Mapping[str, Sequence[Outcome]], asking: Asking
) -> list[Measured]:
    """Ask every judge of a suite about a run's answers, and return what they say of them.

    Args:
        suite: With judges.
        folder: The run's folder.
        outcomes: By column, the reference first, each in one order.
        asking: How.

    Raises:
        ModelError: A judge's model cannot be loaded.
        ProviderError: A remote judge failed again and again.
    """
    beside = folder / FOLDER
    beside.mkdir(exist_ok=True)
    measured, reports = [], []
    for judge in suite.judges.values():
        questions = _questions(judge, outcomes)
        wanted = {q.key: q for rated in judge.human for q in rated.questions} | questions
        _ask(suite, judge, wanted, beside, asking)
        records = {
            key.sample: r for key, r in load_records(beside).items() if key.column == judge.name
        }
        said = {key: _text(records[key]) for key in wanted}
        measured.append(Measured(judge.metric, tuple(_scores(judge, outcomes, said))))
        reports.append(_report(judge, questions, said, records, outcomes))
    save_json(beside / "judges.json", [asdict(report) for report in reports])
    return measured


def load_reports(folder: Path) -> tuple[JudgeReport, ...]:
    """Return what is to be known of a run's judges; nothing where it has none.

    Raises:
        DataError: The file cannot be read.
    """
    path = folder / FOLDER / "judges.json"
    if not path.is_file():
        return ()
    try:
        return tuple(map(JudgeReport.from_values, json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            "what is known of the judges cannot be read.",
            place=str(path),
            hint="Delete the file and resume the run: it is made anew.",
        ) from None


def count_questions(judge: Judge, n_answers: int, n_columns: int) -> int:
    """Return how often a judge is asked at most about a run, and about what people judged."""
    human = sum(len(rated.questions) for rated in judge.human)
    if judge.pairwise:
        return 2 * n_answers * (n_columns - 1) // max(n_columns, 1) + human
    return n_answers + human


def _questions(judge: Judge, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for _, asked in _asked(judge, outcomes):
        found |= {question.key: question for question in asked}
    return found


def _asked(
    judge: Judge, outcomes: Mapping[str, Sequence[Outcome]]
) -> Iterable[tuple[tuple[str, Outcome, Outcome], tuple[Question, ...]]]:
    """Yield every answer with its column and the reference's answer, and what is asked of it."""
    reference = next(iter(outcomes))
    for column, found in outcomes.items():
        for one, base in zip(found, outcomes[reference], strict=True):
            asked: tuple[Question, ...] = ()
            if not judge.pairwise:
                asked = (judge.about_answer(one),) if one.prediction else ()
            elif column != reference and one.prediction and base.prediction:
                asked = () if same_answer(one, base) else judge.about_pair(one, base)
            yield (column, one, base), asked


def _scores(
    judge: Judge, outcomes: Mapping[str, Sequence[Outcome]], said: Mapping[str, str | None]
) -> Iterable[KeptScore]:
    for (column, one, base), asked in _asked(judge, outcomes):
        texts = [said[question.key] for question in asked]
        score: float | None
        if judge.pairwise:
            score = _win(judge, one, base, texts)
        elif not asked:
            score = float(judge.spec.scale[0])  # a failed answer is the worst there is
        else:
            score = judge.read_score(texts[0] or "")
        why = "\n\n".join(text for text in texts if text)
        yield KeptScore(judge.name, key_of(column, one), score, why)


def _win(judge: Judge, one: Outcome, base: Outcome, texts: Sequence[str | None]) -> float | None:
    """Return 1 where a column's answer is preferred to the reference's, 0.5 for a tie, else 0."""
    if not texts:
        # One of them failed, or they are the same; of two failed ones neither is better.
        return (1 + bool(one.prediction) - bool(base.prediction)) / 2
    first, swapped = (judge.read_winner(text or "") for text in texts)
    winner = both_orders(first, swapped)
    return None if winner is None else {"a": 1.0, "tie": 0.5, "b": 0.0}[winner]


def _ask(
    suite: Suite, judge: Judge, wanted: Mapping[str, Question], folder: Path, asking: Asking
) -> None:
    with RecordFile(folder) as file:
        done = load_records(folder)
        missing = [
            question
            for key, question in wanted.items()
            if (record := done.get(Key(judge.name, key, 0))) is None or record.prediction is None
        ]
        asking.on_start(judge.name, len(missing))
        if not missing:
            return
        samples = [
            EvalSample(Sample(question.key, judge.prompt(question), ""), "", question.key, 0)
            for question in missing
        ]
        job = Job(
            judge.name,
            0,
            partial(_load, suite, judge, asking),
            remote=is_remote_model(judge.spec.model),
        )
        run_jobs(
            [job],
            samples,
            file,
            done,
            n_parallel=asking.n_parallel,
            per_minute=asking.per_minute,
            on_record=asking.on_record,
            on_stop=asking.on_stop,
        )


def check_judges(suite: Suite) -> None:
    """Raise what would stop a judge, as a missing key, before anything is answered.

    Raises:
        ModelError: Its model cannot be loaded, or it is on a stranger's server.
    """
    for judge in suite.judges.values():
        _load_model(suite, judge)


def _load(suite: Suite, judge: Judge, asking: Asking) -> JudgePredictor:
    model = _load_model(suite, judge)
    asking.on_model(judge.name, model.revision)
    if asking.cache is not None and not judge.spec.model.startswith(SCRIPTED):
        model = with_cache(model, asking.cache)
    return JudgePredictor(model, judge.spec.max_new_tokens)


def _load_model(suite: Suite, judge: Judge) -> FrozenModel:
    from promptbot.models.registry import load_model, refuse_foreign_server

    spec, place = judge.spec.model, f"{suite.path}, judges: {judge.name}"
    try:
        if spec not in suite.models_of_user:
            refuse_foreign_server(spec, place=place)
    except ModelError as error:
        raise ModelError(
            error.problem.replace("the bot sends", "the judge sends"),
            place=place,
            expected=error.expected,
            hint=f"If you trust it, say so: --judge {spec}",
        ) from None
    return load_model(spec)


@dataclass(frozen=True)
class JudgePredictor:
    """Answers what a judge is asked: the sample's input is the whole question."""

    model: FrozenModel
    """Who judges."""
    max_new_tokens: int
    """Tokens that it may write."""

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return what the model writes about each question; it draws nothing."""
        return [self._answer(sample.input) for sample in samples]

    def _answer(self, text: str) -> Prediction:
        from promptbot.models.messages import completion_of, to_langchain

        messages = (Message("user", text),)
        message = self.model.invoke(
            to_langchain(messages), temperature=0.0, max_new_tokens=self.max_new_tokens, seed=0
        )
        said = completion_of(str(message.text), message)
        return Prediction(
            said.text,
            n_prompt_tokens=said.n_prompt_tokens,
            n_generated_tokens=said.n_generated_tokens,
            messages=messages,
        )


def _text(record: Record) -> str | None:
    return record.prediction.text if record.prediction else None


def _report(
    judge: Judge,
    questions: Mapping[str, Question],
    said: Mapping[str, str | None],
    records: Mapping[str, Record],
    outcomes: Mapping[str, Sequence[Outcome]],
) -> JudgeReport:
    read = judge.read_winner if judge.pairwise else judge.read_score
    failed = [key for key in questions if said[key] is None]
    unreadable = [
        key for key in questions if said[key] is not None and read(said[key] or "") is None
    ]
    problem = ""
    if failed:
        problem = str(records[failed[0]].error)
    elif unreadable:
        problem = f"it said {' '.join((said[unreadable[0]] or '').split())[:120]!r}"
    first_shown, disagree = _positions(judge, said, outcomes) if judge.pairwise else (None, None)
    return JudgeReport(
        name=judge.name,
        model=judge.spec.model,
        kind=judge.spec.kind,
        criterion=judge.spec.criterion,
        n_asked=len(questions),
        n_unreadable=len(unreadable),
        n_failed=len(failed),
        first_problem=problem,
        first_shown=first_shown,
        disagree=disagree,
        human=_human(judge, said),
    )


def _share(n: int, total: int) -> tuple[float, Interval, int] | None:
    return (n / total, wilson(n, total), total) if total else None


def _positions(
    judge: Judge, said: Mapping[str, str | None], outcomes: Mapping[str, Sequence[Outcome]]
) -> tuple[tuple[float, Interval, int] | None, tuple[float, Interval, int] | None]:
    """Return how often the answer that was read first won, and how often orders disagreed."""
    pairs = {tuple(q.key for q in asked) for _, asked in _asked(judge, outcomes) if asked}
    read: list[tuple[Winner, Winner]] = []
    for one, other in sorted(pairs):
        first, swapped = (judge.read_winner(said[key] or "") for key in (one, other))
        if first is not None and swapped is not None:
            read.append((first, swapped))
    decided = [winner for pair in read for winner in pair if winner != "tie"]
    back: dict[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}
    n_disagree = sum(first != back[swapped] for first, swapped in read)
    return _share(decided.count("a"), len(decided)), _share(n_disagree, len(read))


def _human(judge: Judge, said: Mapping[str, str | None]) -> HumanAgreement | None:
    if not judge.human:
        return None
    categories: list[Any]
    pairs: list[tuple[Any, Any]] = []
    for rated in judge.human:
        texts = [said[question.key] or "" for question in rated.questions]
        if judge.pairwise:
            winner = both_orders(*(judge.read_winner(text) for text in texts))
            pairs += [(rated.said, winner)] if winner is not None else []
        else:
            score = judge.read_score(texts[0])
            # Means of several people lie between the numbers of the scale.
            assert not isinstance(rated.said, str)
            pairs += [(round(rated.said), round(score))] if score is not None else []
    categories = ["a", "b", "tie"]
    if not judge.pairwise:
        categories = list(range(judge.spec.scale[0], judge.spec.scale[1] + 1))
    people, machine = [a for a, _ in pairs], [b for _, b in pairs]
    kappa, interval = None, None
    if len(pairs) >= MIN_RATED:
        found = cohen_kappa(people, machine, categories, quadratic=not judge.pairwise)
        kappa = None if found != found else found
        if kappa is not None:
            interval = kappa_interval(people, machine, categories, quadratic=not judge.pairwise)
    return HumanAgreement(len(pairs), len(judge.human) - len(pairs), kappa, interval)
