"""Characters of several bytes become tokens, and nothing else is read otherwise."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from pretraining.tokenizer import SPECIAL, build, with_characters

ENGLISH = (" the card is here", " naïve, 4.90 euros", " a\n\nQ: b")


@pytest.fixture(scope="module")
def english() -> Tokenizer:
    return build(["the card is here " * 20, "where is the card"], size=300)


def test_a_character_is_one_token_and_text_round_trips(english: Tokenizer) -> None:
    tokenizer = with_characters(english, ["你", "好", "，"])
    assert len(tokenizer.encode("你好，").ids) == 3
    for text in (" 你好，世界", " mixed 你 text", *ENGLISH):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_other_text_keeps_its_tokens(english: Tokenizer) -> None:
    tokenizer = with_characters(english, ["你", "好"])
    for text in ENGLISH:
        assert tokenizer.encode(text).ids == english.encode(text).ids


def test_control_tokens_keep_their_numbers(english: Tokenizer) -> None:
    tokenizer = with_characters(english, ["你"])
    assert [tokenizer.token_to_id(t) for t in SPECIAL] == list(range(len(SPECIAL)))
