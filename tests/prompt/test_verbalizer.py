"""Labels, their wordings and their probabilities."""

from __future__ import annotations

import difflib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.errors import SpecError
from promptbot.prompt.verbalizer import Verbalizer
from promptbot.types import OptionScore
from tests.encoders import HashingEncoder

LABELS = {"card_lost": ["lost card", "missing card"], "balance": ["account balance"]}


def scores(**logprobs: float) -> list[OptionScore]:
    return [OptionScore(k.replace("_", " "), v, (v,)) for k, v in logprobs.items()]


def test_options_are_all_wordings_once_in_order() -> None:
    assert Verbalizer(LABELS).options == ["lost card", "missing card", "account balance"]
    assert Verbalizer({"a": ["x", " x ", "y"]}).options == ["x", "y"]


def test_a_labels_word_is_its_first_wording() -> None:
    assert Verbalizer(LABELS).word("card_lost") == "lost card"


def test_label_probabilities_equal_a_case_worked_by_hand() -> None:
    # Options .10 + .20 and .10: the labels have .30 and .10 of .40 together, so 3/4 and 1/4.
    found = Verbalizer(LABELS).label_logprobs(
        scores(account_balance=math.log(0.1), missing_card=math.log(0.2), lost_card=math.log(0.1))
    )
    assert found == pytest.approx({"card_lost": math.log(0.75), "balance": math.log(0.25)})
    assert list(found) == ["card_lost", "balance"]


@given(st.lists(st.floats(-2000, 0), min_size=3, max_size=3))
def test_label_probabilities_equal_numpys_and_add_up_to_one(logprobs: list[float]) -> None:
    a, b, c = logprobs
    found = Verbalizer(LABELS).label_logprobs(
        scores(lost_card=a, missing_card=b, account_balance=c)
    )
    card = np.logaddexp(a, b)
    total = np.logaddexp(card, c)
    assert found["card_lost"] == pytest.approx(card - total, abs=1e-9)
    assert found["balance"] == pytest.approx(c - total, abs=1e-9)
    assert sum(map(math.exp, found.values())) == pytest.approx(1)


def test_impossible_options_leave_no_nan() -> None:
    verbalizer = Verbalizer(LABELS)
    none = -math.inf
    found = verbalizer.label_logprobs(
        scores(lost_card=none, missing_card=none, account_balance=-3.0)
    )
    assert found == {"card_lost": none, "balance": 0.0}
    found = verbalizer.label_logprobs(
        scores(lost_card=none, missing_card=none, account_balance=none)
    )
    assert found == pytest.approx({"card_lost": math.log(0.5), "balance": math.log(0.5)})


def test_a_missing_score_is_never_taken_for_zero() -> None:
    with pytest.raises(ValueError, match="no score for 'missing card'"):
        Verbalizer(LABELS).label_logprobs(scores(lost_card=-1.0, account_balance=-1.0))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("lost card", "card_lost"),
        (" Missing  card.\n", "card_lost"),
        ('"LOST_CARD"', "card_lost"),
        ("card_lost", "card_lost"),
        ("Card lost!", "card_lost"),
        ("**account balance**", "balance"),
        ("ａccount balance", "balance"),
        ("the card was lost", None),
        ("lost card or account balance", None),
        ("lost", None),
        ("", None),
        ("...", None),
    ],
)
def test_only_a_text_that_names_a_label_is_parsed(text: str, label: str | None) -> None:
    assert Verbalizer(LABELS).parse(text) == label


def test_every_wording_parses_to_its_own_label() -> None:
    labels = {"plus": ["+1", "👍"], "minus": ["-1"], "hindi": ["हाँ"], "upper": ["IT"], "it": ["it"]}
    verbalizer = Verbalizer(labels)
    for label, words in labels.items():
        assert [verbalizer.parse(word) for word in words] == [label] * len(words)
    assert verbalizer.parse("1") is None  # "+1" or "-1"?
    assert verbalizer.parse("It.") is None  # "IT" or "it"?
    assert verbalizer.parse("👎") is None


def test_a_labels_name_yields_to_another_labels_wording() -> None:
    verbalizer = Verbalizer({"yes": ["agreed"], "no": ["Yes"]})
    assert verbalizer.parse("yes") == "no"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "there are no labels"),
        ({"a": []}, 'label "a" has no wording'),
        ({"a": ["x", "  "]}, 'label "a" has an empty wording'),
        ({"a": ["x"], "b": ["y", "x "]}, 'labels "a" and "b" share the wording "x"'),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(
    labels: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        Verbalizer(labels)


def test_scores_per_token_and_per_byte_equal_a_case_worked_by_hand() -> None:
    labels = {"short": ["no"], "long": ["not at all"]}
    found = [OptionScore("no", -2.0, (-1.5, -0.5)), OptionScore("not at all", -4.0, (-1.0,) * 4)]
    # Sum: -2 against -4. Per token: -1 against -1. Per byte: -1 against -.4.
    by = {
        how: Verbalizer(labels, score=how).label_logprobs(found)  # type: ignore[arg-type]
        for how in ("sum", "mean_token", "mean_byte")
    }
    assert by["sum"]["short"] - by["sum"]["long"] == pytest.approx(2)
    assert by["mean_token"]["short"] - by["mean_token"]["long"] == pytest.approx(0)
    assert by["mean_byte"]["short"] - by["mean_byte"]["long"] == pytest.approx(-0.6)


def test_bytes_and_not_letters_are_counted() -> None:
    found = [OptionScore("卡", -3.0, (-3.0,)), OptionScore("abc", -3.0, (-3.0,))]
    logprobs = Verbalizer({"a": ["卡"], "b": ["abc"]}, score="mean_byte").label_logprobs(found)
    assert logprobs["a"] == pytest.approx(logprobs["b"])


@pytest.mark.parametrize(
    ("text", "label"),
    [("lost cards", "card_lost"), ("acount balanse", "balance"), ("weather", None), ("...", None)],
)
def test_a_misspelt_wording_is_found_by_its_letters(text: str, label: str | None) -> None:
    assert Verbalizer(LABELS, parse="similar").parse(text) == label
    assert Verbalizer(LABELS).parse(text) is None


@pytest.mark.parametrize(
    "text", ["lost cards", "mising card", "acount balanse", "weather", "a lost", "cards lost"]
)
def test_letters_decide_as_the_standard_librarys_close_matches(text: str) -> None:
    found = difflib.get_close_matches(
        text, ["lost card", "missing card", "account balance"], 1, 0.75
    )
    labels = {word: label for label, words in LABELS.items() for word in words}
    expected = labels[found[0]] if found else None
    assert Verbalizer(LABELS, parse="similar", min_similarity=0.75).parse(text) == expected


def test_the_nearest_wording_is_scikit_learns_nearest_neighbour() -> None:
    from sklearn.neighbors import NearestNeighbors

    words = [word for some in LABELS.values() for word in some]
    encoder = HashingEncoder()
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(encoder.encode(words))
    verbalizer = Verbalizer(
        LABELS, parse="nearest", min_similarity=0.3, load_encoder=HashingEncoder
    )
    for text in ("my lost card", "a balance of the account", "it went missing", "zzz qqq"):
        (distance,), (index,) = (one[0] for one in search.kneighbors(encoder.encode([text])))
        label = next(name for name, some in LABELS.items() if words[index] in some)
        assert verbalizer.parse(text) == (label if 1 - distance >= 0.3 else None)


def test_what_two_labels_could_claim_alike_is_not_parsed() -> None:
    verbalizer = Verbalizer({"a": ["card one"], "b": ["card two"]}, parse="similar")
    assert verbalizer.parse("card xyz") is None


def test_the_nearest_wording_is_found_by_the_encoder() -> None:
    verbalizer = Verbalizer(
        LABELS, parse="nearest", min_similarity=0.6, load_encoder=HashingEncoder
    )
    assert verbalizer.parse("my lost card") == "card_lost"
    assert verbalizer.parse("zzz qqq") is None


def test_exact_parsing_forgives_nothing() -> None:
    verbalizer = Verbalizer(LABELS, parse="exact")
    assert verbalizer.parse("lost card") == "card_lost"
    assert verbalizer.parse("Lost card.") is None
