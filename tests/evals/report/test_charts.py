"""Where names stand beside a chart."""

from __future__ import annotations

import pytest

from promptbot.evals.report.charts import spread


@pytest.mark.parametrize(
    "heights", [[50.0], [50.0, 50.0, 50.0], [10.0, 200.0], [270.0, 272.0, 274.0], [0.0] * 20]
)
def test_names_stand_apart_and_above_the_floor(heights: list[float]) -> None:
    found = spread(heights, floor=274.0)
    assert len(found) == len(heights)
    assert all(below - above >= 13 for above, below in zip(found, found[1:]))  # noqa: B905, RUF007
    assert found[-1] <= 274


def test_names_that_have_room_stay_where_they_are() -> None:
    assert spread([10.0, 60.0, 100.0], floor=274.0) == [10.0, 60.0, 100.0]
