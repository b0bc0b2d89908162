"""The best of many scores, and fused rankings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.prompt.ranking import best, fuse


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), max_size=30), st.integers(-2, 35))
def test_the_best_are_those_of_a_stable_sort(scores: list[float], k: int) -> None:
    by_hand = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: max(k, 0)]
    assert best(np.array(scores, dtype=np.float32), k) == by_hand


def test_fusion_equals_the_case_worked_by_hand() -> None:
    # 7 is first and second, 3 second and first: both 1/61 + 1/62. 5 is third in one ranking.
    assert fuse([[7, 3, 5], [3, 7]]) == [
        (3, pytest.approx(1 / 61 + 1 / 62)),
        (7, pytest.approx(1 / 61 + 1 / 62)),
        (5, pytest.approx(1 / 63)),
    ]


def test_fusion_equals_langchains_ensemble() -> None:
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    class Listed(BaseRetriever):
        order: list[int]

        def _get_relevant_documents(self, query, *, run_manager):  # type: ignore[no-untyped-def]
            return [Document(str(index)) for index in self.order]

    rankings = [[4, 2, 9, 1], [2, 8, 4, 0, 7]]
    ensemble = EnsembleRetriever(
        retrievers=[Listed(order=order) for order in rankings], weights=[1, 1], c=60
    )
    theirs = [int(document.page_content) for document in ensemble.invoke("q")]
    ours = fuse(rankings)
    assert [index for index, _ in ours if index not in (1, 0, 7)] == [
        index for index in theirs if index not in (1, 0, 7)
    ]
    assert {index for index, _ in ours} == set(theirs)
