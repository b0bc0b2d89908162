"""Characters of several bytes become tokens, and nothing else is read otherwise."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from pretraining.chinese import N_CHARACTERS
from pretraining.corpus import Corpus, Text
from pretraining.model import CPU
from pretraining.tokenizer import (
    QUOTED,
    SPECIAL,
    VOCABULARY,
    build,
    common_words,
    spelt,
    training_lines,
    with_characters,
)

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


def test_a_token_is_found_by_what_it_spells(english: Tokenizer) -> None:
    assert [english.token_to_id(t) for t in spelt(english)] == list(range(english.get_vocab_size()))


def test_common_words_are_whole_where_the_corpus_lacks_them() -> None:
    texts = (Text("where is the card", "a", "", "train"), Text("zyzzyva", "a", "", "held"))
    tokenizer = build(training_lines(Corpus(texts, (), (), (), {})))
    words = common_words()
    assert len(words) > 20_000
    whole = sum(len(tokenizer.encode(" " + word).ids) == 1 for word in words)
    assert whole > 0.6 * len(words)
    assert all(len(tokenizer.encode(word.capitalize()).ids) == 1 for word in words[:QUOTED])
    assert len(tokenizer.encode(" zyzzyva").ids) > 1  # what is held out is not learnt


def test_the_embeddings_fit_into_a_file_of_20_megabytes(english: Tokenizer) -> None:
    every = [chr(0x4E00 + i) for i in range(N_CHARACTERS)]
    characters = with_characters(english, every).get_vocab_size() - english.get_vocab_size()
    bytes_a_number = 2  # bfloat16
    assert (VOCABULARY + characters + 300) * CPU.width * bytes_a_number < 20_000_000
