"""What a user writes for a suite: functions in a Python file beside it; here, metrics.

::

    metrics: [exact, polite.py:says_please]

Such a file is code of the user's, and runs with the user's rights when a suite is loaded. Reports
of a run never run it: its scores are kept in the run's folder (`promptbot.evals.measures`).
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from promptbot.data import content_hash
from promptbot.errors import SpecError, did_you_mean, known_words
from promptbot.evals.metrics.metric import Metric, Outcome
from promptbot.evals.metrics.registry import metric_named

FORM = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")
"""How a suite names such a metric."""

TASKS = ("chat", "classify", "any")


def is_own(name: str) -> bool:
    """Return whether a suite's metric is meant to stand in a Python file."""
    return ".py" in name


def load_own_metric(text: str, base: Path, task: str, place: str) -> Metric:
    """Return the metric that a Python file holds; importing the file runs it.

    Args:
        text: As ``polite.py:says_please``: a function that takes an `Outcome` and returns a
            number, True or False, or None where it does not concern it; or a `Metric`.
        base: The suite's folder; the file lies there or below.
        task: Of the suite's bot.
        place: Where the suite names it, for errors.

    Raises:
        SpecError: There is no such file or function, importing it fails, or it is neither.
    """
    file, name, found, _ = load_own(text, base, place)
    metric = _metric(name, found, file, place)
    if metric.task not in (task, "any"):
        raise SpecError(
            f'metric "{metric.name}" is for {metric.task} bots; this is a {task} bot.',
            place=place,
            hint="Take it out of the suite.",
        )
    if metric_named(metric.name) is not None:
        raise SpecError(
            f'"{metric.name}" is a metric of promptbot, or of an installed package.',
            place=place,
            hint=f"Give yours another name, as  my_{metric.name}.",
        )
    return metric


def load_own(text: str, base: Path, place: str) -> tuple[str, str, Any, str]:
    """Return what a Python file beside a suite holds under a name; importing the file runs it.

    Args:
        text: As ``polite.py:says_please``.
        base: The suite's folder; the file lies there or below.
        place: Where the suite names it, for errors.

    Returns:
        The file, the name, what it stands for, and the content hash of the file.

    Raises:
        SpecError: There is no such file or name, or importing the file fails.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise SpecError(
            f'"{text}" names no function of a Python file.',
            place=place,
            expected="Expected FILE.py:FUNCTION, as  polite.py:says_please.",
            hint="Write the file's name, a colon and the function's name.",
        )
    file, name = match["file"], match["name"]
    path = _file(base, file, place)
    module = _module(path, file, place)
    # Names that begin with an underscore, and what the file imports, are nothing of its own.
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (isinstance(value, Metric) or getattr(value, "__module__", "") == module.__name__)
    ]
    if name not in vars(module):
        raise SpecError(
            f'{file} has no "{name}".', place=place, hint=known_words("It has", name, own)
        )
    digest = content_hash(path.read_text("utf-8"))
    return file, name, getattr(module, name), digest


def check_function(found: object, what: str, place: str, expected: str, hint: str) -> None:
    """Raise SpecError where what a file holds is no function; classes are none."""
    if not callable(found) or isinstance(found, type):
        raise SpecError(f"{what} is {repr(found)[:60]}.", place=place, expected=expected, hint=hint)


def _file(base: Path, file: str, place: str) -> Path:
    folder = base.resolve()
    path = (folder / file).resolve()
    if not path.is_relative_to(folder):
        raise SpecError(
            f"{file} lies outside the suite's folder.",
            place=place,
            hint="Put the file beside the suite: what runs should be seen there.",
        )
    if not path.is_file():
        beside = [found.name for found in sorted(path.parent.glob("*.py"))]
        near = did_you_mean(path.name, beside)
        raise SpecError(
            f"there is no file {file}.",
            place=place,
            expected=f"Expected it in {path.parent}.",
            hint=near or "Create it, or correct its name.",
        )
    return path


def _module(path: Path, file: str, place: str) -> ModuleType:
    name = f"promptbot_suite_{path.stem}_{content_hash(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        del sys.modules[name]
        said = str(error)
        lines = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
        ]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        raise SpecError(
            f"{file}{f', line {line}' if line else ''}: {type(error).__name__}: {said}",
            place=place,
            hint="Mend the file; python runs it when the suite is loaded.",
        ) from error
    return module


def _metric(name: str, found: Any, file: str, place: str) -> Metric:
    if isinstance(found, Metric):
        if not found.has_scores:
            raise SpecError(
                f"{file}: the metric {found.name} has neither score nor scores.",
                place=place,
                hint="Give it a function of one Outcome as score, or of all of them as scores.",
            )
        return found
    expected = "Expected a function that takes an Outcome, or a Metric."
    check_function(found, f'{file}: "{name}"', place, expected, "See docs/metrics.md.")
    about = (found.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    return Metric(name, about or f"{file}:{name}", "score", score=_checked(found, f"{file}:{name}"))


def _checked(function: Callable[[Outcome], Any], name: str) -> Callable[[Outcome], float | None]:
    def score(outcome: Outcome) -> float | None:
        found = function(outcome)
        if found is None or isinstance(found, bool):
            return found
        try:
            number = float(found)
        except (TypeError, ValueError):
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):
            raise TypeError(f"{name} returned {found!r}; expected a number, True, False or None")
        return number

    return score
