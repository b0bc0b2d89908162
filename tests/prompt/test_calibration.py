"""Calibration against cases worked by hand, and against other routes to the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptbot.prompt import calibration


def log(*probabilities: float) -> NDArray[np.float64]:
    return np.log(np.array(probabilities))


distributions = st.lists(st.floats(0.001, 1), min_size=3, max_size=3).map(
    lambda values: np.log(np.array(values) / sum(values))
)


def test_dividing_by_a_prior_equals_a_case_worked_by_hand() -> None:
    # .7/.8 = .875 and .3/.2 = 1.5; of 2.375 together these are 7/19 and 12/19: the label turns.
    found = calibration.divide(log(0.7, 0.3), log(0.8, 0.2))
    assert np.exp(found) == pytest.approx([7 / 19, 12 / 19])


@given(distributions, st.lists(distributions, min_size=1, max_size=5))
def test_contextual_calibration_equals_the_papers_affine_map(
    logprobs: NDArray[np.float64], content_free: list[NDArray[np.float64]]
) -> None:
    # Zhao et al. (2021), equation 1: softmax is left out as in their section 5, q = W p + b with
    # W = diag(p_cf)^-1 and b = 0, where p_cf is the mean over the content-free inputs.
    p_cf = np.mean([np.exp(one) for one in content_free], axis=0)
    q = np.linalg.inv(np.diag(p_cf)) @ np.exp(logprobs)
    found = calibration.divide(logprobs, calibration.mean_distribution(np.array(content_free)))
    assert np.exp(found) == pytest.approx(q / q.sum(), rel=1e-6)


@given(st.lists(distributions, min_size=1, max_size=6))
def test_the_running_prior_tends_to_the_batchs_mean(rows: list[NDArray[np.float64]]) -> None:
    # Zhou et al. (2024): p_bar after n + 1 messages is n/(n+1) p_bar + 1/(n+1) p.
    mean = np.zeros(3)
    for n, row in enumerate(rows):
        mean = mean * n / (n + 1) + np.exp(row) / (n + 1)
    total = np.exp(rows).sum(axis=0)
    unshrunk = calibration.running_prior(total, len(rows), weight=1e-12)
    assert np.exp(unshrunk) == pytest.approx(mean, rel=1e-6)
    assert unshrunk == pytest.approx(calibration.mean_distribution(np.array(rows)), abs=1e-6)


def test_the_running_prior_equals_a_case_worked_by_hand() -> None:
    # Two labels, one message with .9 and .1, equal shares for 4: (2 + .9)/5 and (2 + .1)/5.
    found = calibration.running_prior(np.array([0.9, 0.1]), 1, weight=4)
    assert np.exp(found) == pytest.approx([0.58, 0.42])


def test_pmi_is_the_logarithm_of_a_quotient_up_to_a_constant() -> None:
    given_message, given_domain = log(0.5, 0.4, 0.1), log(0.8, 0.1, 0.1)
    pmi = [math.log(0.5 / 0.8), math.log(0.4 / 0.1), math.log(0.1 / 0.1)]
    found = calibration.divide(given_message, given_domain)
    assert found - found[0] == pytest.approx(np.array(pmi) - pmi[0])


def test_the_channel_is_bayes_rule_with_equal_priors() -> None:
    # p(x | y) of .02, .01 and .01: posterior 1/2, 1/4, 1/4.
    found = calibration.channel(log(0.02, 0.01, 0.01))
    assert np.exp(found) == pytest.approx([0.5, 0.25, 0.25])
    far = calibration.channel(np.array([-900.0, -901.0, -2000.0]))
    assert np.exp(far[:2]) == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])


def test_neighbours_equal_a_case_worked_by_hand() -> None:
    # exp(.8/.1) and exp(.6/.1) for label 0, exp(.7/.1) for label 2; over exp(6): e^2, 1 and e.
    found = calibration.neighbour_distribution([0, 2, 0], [0.8, 0.7, 0.6], 3, 0.1)
    total = math.e**2 + math.e + 1
    assert found == pytest.approx([(math.e**2 + 1) / total, 0, math.e / total])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.02, 2))
def test_neighbours_equal_scikit_learns_weighted_vote(
    seed: int, k: int, temperature: float
) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    random = np.random.default_rng(seed)
    vectors = random.normal(size=(21, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, query = np.arange(20) % 4, vectors[20]
    voting = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distances: np.exp((1 - distances) / temperature)
    ).fit(vectors[:20], labels)
    similarities = vectors[:20] @ query
    nearest = np.argsort(-similarities)[:k]
    found = calibration.neighbour_distribution(
        labels[nearest].tolist(), similarities[nearest].tolist(), 4, temperature
    )
    assert found == pytest.approx(voting.predict_proba(query[None])[0], abs=1e-9)


def test_interpolation_equals_a_case_worked_by_hand() -> None:
    found = calibration.interpolate(log(0.6, 0.4), np.array([0.0, 1.0]), 0.25)
    assert np.exp(found) == pytest.approx([0.45, 0.55])
    assert np.exp(calibration.interpolate(log(0.6, 0.4), np.array([0.0, 1.0]), 0)) == pytest.approx(
        [0.6, 0.4]
    )
    alone = calibration.interpolate(log(0.6, 0.4), np.array([0.0, 1.0]), 1)
    assert np.isfinite(alone).all()
    assert alone.argmax() == 1


def test_the_chosen_weight_is_the_one_that_is_right_most_often() -> None:
    logprobs = log(0.9, 0.1), log(0.6, 0.4), log(0.45, 0.55)
    neighbours = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    # Right by w: the second turns at w > 1/6, the third at w > 1/11, the first at w > 4/9.
    chosen = calibration.choose_weight(np.array(logprobs), neighbours, [0, 1, 0])
    assert 1 / 6 < chosen <= 4 / 9
    equal = calibration.choose_weight(np.array(logprobs), np.exp(np.array(logprobs)), [0, 0, 1])
    assert equal == 0


@given(distributions, distributions)
def test_every_result_adds_up_to_one(
    logprobs: NDArray[np.float64], prior: NDArray[np.float64]
) -> None:
    assert np.exp(calibration.divide(logprobs, prior)).sum() == pytest.approx(1)
    mixed = calibration.interpolate(logprobs, np.exp(prior), 0.3)
    assert np.exp(mixed).sum() == pytest.approx(1)


def test_impossible_labels_leave_neither_nan_nor_infinity() -> None:
    none = -math.inf
    for logprobs in ([none, 0.0], [none, none]):
        for prior in ([none, 0.0], [0.0, none], [none, none]):
            found = calibration.divide(np.array(logprobs), np.array(prior))
            assert np.isfinite(found).all()


def test_domain_texts_are_words_of_the_domain_at_its_average_length() -> None:
    texts = ["my card is lost", "where is my order"]
    made = calibration.domain_texts(texts, 20, seed=0)
    assert len(made) == 20
    assert {len(text.split()) for text in made} == {4}
    assert {word for text in made for word in text.split()} <= set(" ".join(texts).split())
    assert made == calibration.domain_texts(texts, 20, seed=0)
    assert made != calibration.domain_texts(texts, 20, seed=1)


def test_texts_without_spaces_give_random_characters() -> None:
    made = calibration.domain_texts(["我的卡丢了", "订单在哪里"], 5, seed=0)
    assert {len(text) for text in made} == {5}
    assert set("".join(made)) <= set("我的卡丢了订单在哪里")
