"""How calls are spaced, with a clock that only sleeping moves."""

from __future__ import annotations

import pytest

from promptbot.models import pace as module
from promptbot.models.pace import MAX_SPACING_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_without_a_limit_nothing_waits(clock: Clock) -> None:
    pace = Pace()
    for _ in range(100):
        pace.wait()
    assert clock.now == 1000.0


def test_a_stated_rate_is_kept(clock: Clock) -> None:
    pace = Pace(per_minute=120)
    for _ in range(11):
        pace.wait()
        pace.answered()
    assert clock.now == pytest.approx(1005.0)


def test_everybody_waits_as_long_as_the_provider_asks(clock: Clock) -> None:
    pace = Pace()
    began = pace.wait()
    pace.refused(began, 7.0)
    assert pace.wait() == pytest.approx(1007.0)


def test_one_burst_of_refusals_slows_down_once(clock: Clock) -> None:
    pace = Pace()
    burst = [pace.wait() for _ in range(8)]
    clock.now += 0.1
    for began in burst:
        pace.refused(began, None)
    first, second = pace.wait(), pace.wait()
    assert second - first == pytest.approx(0.1)


def test_the_rate_that_a_provider_allows_is_found(clock: Clock) -> None:
    pace = Pace()
    allowed_at, n_refused, n_answered, started = clock.now, 0, 0, clock.now
    while n_answered < 300:  # a provider that allows one call each half second
        began = pace.wait()
        if clock.now >= allowed_at:
            allowed_at = clock.now + 0.5
            pace.answered()
            n_answered += 1
        else:
            pace.refused(began, 0.5)
            n_refused += 1
    assert n_refused < n_answered / 2
    assert clock.now - started < 2 * 300 * 0.5


def test_spacing_has_a_limit_and_shrinks_again(clock: Clock) -> None:
    pace = Pace()
    for _ in range(20):
        clock.now += 1
        pace.refused(pace.wait(), None)
    first, second = pace.wait(), pace.wait()
    assert second - first == MAX_SPACING_S
    for _ in range(300):
        pace.answered()
    first, second, third = pace.wait(), pace.wait(), pace.wait()
    assert third - second == 0
