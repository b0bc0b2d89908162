"""When picks between two variants are enough: a test that holds however often one looks.

A person who picks between two replies looks at the count after every pick, and stops when it
pleases. A fixed-sample test (and its p-value) does not survive that; an *e-value* does. It is the
wealth of a gambler who starts with 1 and bets on every decided pick at even odds: if neither
variant is preferred, it stays at most 1 on average, so it ever reaches 1 / alpha with probability
at most alpha (Ville 1939). What is drawn at random is the order in which the replies are shown, so
a person who likes the first reply whatever it says wins the gambler nothing.

Source:
    Ramdas, Grünwald, Vovk and Shafer (2023), Game-theoretic statistics and safe anytime-valid
    inference, Statistical Science 38:576, arXiv:2210.01948; betting and confidence sequences:
    Waudby-Smith and Ramdas (2024), JRSS B 86:1, arXiv:2010.09686; the uniform mixture over stakes:
    Robbins (1970), Annals of Mathematical Statistics 41:1397.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptbot.evals.stats import Interval

ALPHA = 0.05
"""Probability with which anything is ever decided wrongly, however often one looks."""

MARGIN = 0.1
"""The smallest preference that matters: 60 of 100 picks. Within it, two variants count as alike."""

MOST_EXPECTED = 2_000
"""Picks beyond which nobody is told how many more are needed."""

Decision = Literal["first", "second", "alike", "open"]

_LOG_2 = math.log(2)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the test between two variants stands after some picks."""

    names: tuple[str, str]
    """The two."""
    n_picked: tuple[int, int]
    """How often each was picked."""
    n_ties: int
    """How often neither was; they say nothing for either, and are left out of the test."""
    e_value: float
    """The gambler's greatest wealth so far; `1 / ALPHA` decides."""
    p_value: float
    """Always valid: 1 over the greatest wealth, at most 1."""
    interval: Interval | None
    """Confidence sequence of the share of decided picks that prefer the first; it holds after every
    pick at once. None where earlier and later picks contradict each other."""
    outcome: Decision
    """Which of the two is preferred, neither in a way that matters, or that more picks are needed.
    What was once decided stays so."""
    decided_after: int | None
    """Picks, ties included, after which it was decided."""
    n_expected: int | None
    """How many more decided picks would decide if they fell as those so far; None where it is
    decided, or would take more than `MOST_EXPECTED`."""
    sentence: str
    """All of it in words."""

    @property
    def n_decided(self) -> int:
        """Picks that preferred one of the two."""
        return sum(self.n_picked)

    @property
    def winner(self) -> str | None:
        """The variant that is preferred; None where neither is, or nothing is decided."""
        return {"first": self.names[0], "second": self.names[1]}.get(self.outcome)


def judge_picks(names: tuple[str, str], picks: Sequence[str | None]) -> Standing:
    """Return where the test stands after picks in the order in which they were made.

    Args:
        names: The two variants.
        picks: The one that was preferred, each time; None for neither.

    Example:
        >>> judge_picks(("a", "b"), ["a"] * 8).winner
        'a'
    """
    first = second = 0
    greatest = 0.0
    outcome: Decision = "open"
    decided_after: int | None = None
    low, high, agree = 0.0, 1.0, True
    for number, pick in enumerate(picks, start=1):
        if pick is None:
            continue
        first, second = first + (pick == names[0]), second + (pick == names[1])
        greatest = max(greatest, log_e_value(first, second))
        if agree:
            bounds = preference_bounds(first, second)
            low, high = max(low, bounds[0]), min(high, bounds[1])
            agree = low <= high
        if outcome != "open":
            continue
        if greatest >= -math.log(ALPHA):
            outcome = "first" if first > second else "second"
        elif agree and low >= 0.5 - MARGIN and high <= 0.5 + MARGIN:
            outcome = "alike"
        decided_after = number if outcome != "open" else None
    standing = Standing(
        names=names,
        n_picked=(first, second),
        n_ties=sum(pick is None for pick in picks),
        e_value=math.exp(min(greatest, 700.0)),
        p_value=math.exp(-greatest),
        interval=Interval(low, high, 1 - ALPHA) if agree else None,
        outcome=outcome,
        decided_after=decided_after,
        n_expected=_n_expected(first, second) if outcome == "open" else None,
        sentence="",
    )
    return replace(standing, sentence=_say(standing))


def log_e_value(n_first: int, n_second: int) -> float:
    """Return the log of a gambler's wealth after picks, who bets on every preference alike.

    It is the mean over p, uniform in (0, 1), of the likelihood ratio of p to 1/2:
    2^n B(1 + n_first, 1 + n_second), or 2^n / ((n + 1) C(n, n_first)).
    """
    return (n_first + n_second) * _LOG_2 + _log_mixture(n_first, n_second)


def preference_bounds(n_first: int, n_second: int) -> tuple[float, float]:
    """Return the shares p that a gambler against p has not grown rich on, at level `ALPHA`.

    All p whose mixture likelihood ratio is under 1 / alpha; together over all numbers of picks
    they miss the truth with probability at most alpha.
    """
    limit = _log_mixture(n_first, n_second) + math.log(ALPHA)
    best = n_first / max(n_first + n_second, 1)

    def inside(p: float) -> bool:
        told = n_first * math.log(p) if n_first else 0.0
        return told + (n_second * math.log1p(-p) if n_second else 0.0) > limit

    low = 0.0 if not n_first else _edge(inside, 0.0, best)
    high = 1.0 if not n_second else _edge(inside, 1.0, best)
    return low, high


def _edge(inside: Callable[[float], bool], outer: float, inner: float) -> float:
    """Return where an interval ends between a point outside of it and one inside."""
    for _ in range(30):
        middle = (outer + inner) / 2
        if inside(middle):
            inner = middle
        else:
            outer = middle
    return outer


def _log_mixture(n_first: int, n_second: int) -> float:
    """Return the log of B(1 + n_first, 1 + n_second)."""
    return (
        math.lgamma(n_first + 1) + math.lgamma(n_second + 1) - math.lgamma(n_first + n_second + 2)
    )


def _n_expected(n_first: int, n_second: int) -> int | None:
    """Return how many more picks decide if they fall as those so far."""
    n = n_first + n_second
    for more in range(1, MOST_EXPECTED + 1):
        scale = (n + more) / n if n else 0.0
        expected = round(n_first * scale), round(n_second * scale)
        if log_e_value(*expected) >= -math.log(ALPHA):
            return more
    return None


def _say(found: Standing) -> str:
    one, two = found.names
    counts = f"{one} {found.n_picked[0]}, {two} {found.n_picked[1]}, neither {found.n_ties}"
    if found.interval is None:
        return (
            f"{one} and {two}: earlier and later picks contradict each other, no one preference "
            f"fits them all ({counts})."
        )
    low, high = found.interval.low, found.interval.high
    ties = f", {_times(found.n_ties)} neither" if found.n_ties else ""
    if found.winner:
        index = found.names.index(found.winner)
        if index:
            low, high = 1 - high, 1 - low
        return (
            f"{found.winner} is preferred to {found.names[1 - index]}: picked "
            f"{found.n_picked[index]} of {_times(found.n_decided)} ({low:.0%} to {high:.0%} at "
            f"95%, however often one looks){ties}; decided after {found.decided_after} picks."
        )
    if found.outcome == "alike":
        most = max(high, 1 - low)
        return (
            f"{one} and {two}: neither is preferred in more than {most:.0%} of picks ({counts}); "
            f"decided after {found.decided_after} picks."
        )
    more = ""
    if found.n_expected:
        more = f"; about {_picks(found.n_expected, 'more ')} like these would"
    return (
        f"{one} and {two}: not decided by {_picks(found.n_decided + found.n_ties)} ({counts}; "
        f"e-value {found.e_value:.1f}, {1 / ALPHA:.0f} decides){more}."
    )


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _picks(n: int, more: str = "") -> str:
    return f"{n} {more}pick" if n == 1 else f"{n} {more}picks"
