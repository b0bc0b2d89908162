from __future__ import annotations

import json
import re
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402
from tokenizers.normalizers import BertNormalizer  # noqa: E402
from tokenizers.pre_tokenizers import BertPreTokenizer  # noqa: E402

from pretraining.encoder import (  # noqa: E402
    CHUNK,
    CHUNKS,
    Student,
    batches,
    clusters,
    export,
    first_weights,
    loss_of,
    near_words,
    quantised,
    start_from,
)
from pretraining.encoder_texts import (  # noqa: E402
    business_sentences,
    chained_sentences,
    fresh,
    grammar_sentences,
    split_sentences,
    swapped_sentences,
)
from promptbot.models.encoder import StudentConfig, StudentEncoder, load_student  # noqa: E402

SIZES = StudentConfig(layers=2, heads=2, width=8, inner=16, dimension=12, reach=3, max_tokens=16)
WORDS = ["[UNK]", "my", "card", "is", "lost", "where", "##s", "the", "bank", "?"]


def tokenizer() -> Tokenizer:
    made = Tokenizer(WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = BertNormalizer()
    made.pre_tokenizer = BertPreTokenizer()
    return made


def student() -> Student:
    torch.manual_seed(0)
    made = Student(SIZES, len(WORDS))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


TEXTS = ["my cards is lost ?", "bank", "where is the bank ?", "my my my my my my my my my my my my"]


def tokens() -> list[np.ndarray]:
    return [np.array(e.ids, dtype=np.int32) for e in tokenizer().encode_batch(TEXTS)]


def test_numpy_and_torch_give_the_same_vectors() -> None:
    net = student()
    runtime = StudentEncoder(SIZES, net.arrays(), tokenizer(), "test")
    with torch.no_grad():
        wanted = net(tokens()).numpy()
    np.testing.assert_allclose(runtime.encode(TEXTS), wanted, atol=1e-5)


def test_padding_beside_longer_texts_changes_nothing() -> None:
    net = student()
    with torch.no_grad():
        together = net(tokens())
        alone = torch.cat([net([one]) for one in tokens()])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_exported_folder_loads_and_stays_near_the_student(tmp_path: Path) -> None:
    net = student()
    export(net, tokenizer(), tmp_path)
    loaded = load_student(tmp_path)
    with torch.no_grad():
        wanted = net(tokens()).numpy()
    assert ((loaded.encode(TEXTS) * wanted).sum(1) > 0.999).all()
    assert loaded.config == SIZES
    again = tmp_path / "again"
    export(net, tokenizer(), again)
    assert load_student(again).revision == loaded.revision


def test_training_goes_on_from_an_exported_folder(tmp_path: Path) -> None:
    net = student()
    export(net, tokenizer(), tmp_path)
    # One word piece fewer: those that come last, Chinese characters, are added afterwards.
    again = Student(SIZES, len(WORDS) - 1)
    start_from(again, tmp_path)
    known = [tokens()[1], tokens()[3]]  # texts without "?", the last of the word pieces
    with torch.no_grad():
        wanted, found = net(known), again(known)
    assert ((wanted * found).sum(1) > 0.999).all()


def test_quantised_rows_are_off_by_less_than_one_step() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    rows[3] = 0
    whole, scales = quantised(rows)
    back = whole * scales[:, None].astype(np.float32)
    assert (np.abs(back - rows) <= 0.6 * scales[:, None] + 1e-6).all()


def test_loss_is_zero_for_the_teachers_own_vectors_only() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=1)
    direct, ranking = loss_of(teacher, teacher)
    assert float(direct) == pytest.approx(0, abs=1e-6)
    assert float(ranking) == pytest.approx(0, abs=1e-6)
    # Mirrored vectors keep every similarity: the ranking is content, the direction is not.
    direct, ranking = loss_of(-teacher, teacher)
    assert float(direct) == pytest.approx(2, abs=1e-6)
    assert float(ranking) == pytest.approx(0, abs=1e-6)
    assert float(loss_of(teacher.roll(1, 0), teacher)[1]) > 0.1


def test_student_starts_as_weighted_mean_of_the_teachers_pieces() -> None:
    rng = np.random.default_rng(0)
    pieces = rng.normal(size=(len(WORDS), SIZES.dimension)).astype(np.float32)
    net = Student(SIZES, len(WORDS))
    first_weights(net, pieces, tokens())
    weight = net.rows.weight.detach().numpy()
    # "my" stands in nearly every place, "lost" once: its row must be the lighter one.
    assert np.linalg.norm(weight[1]) < 0.2 * np.linalg.norm(weight[4])
    centred = pieces - pieces.mean(0)
    back = net.project.weight.detach().numpy() @ weight[4]
    cosine = back @ centred[4] / np.linalg.norm(back) / np.linalg.norm(centred[4])
    assert cosine > 0.7  # 8 of 12 directions are kept


def test_batches_are_chunks_of_neighbours_and_cover_an_epoch() -> None:
    cluster = np.repeat(np.arange(8), CHUNK * 2)
    first = list(islice(batches(cluster, seed=1), len(cluster) // (CHUNK * CHUNKS)))
    assert sorted(np.concatenate(first)) == list(range(len(cluster)))
    for batch in first:
        for chunk in batch.reshape(CHUNKS, CHUNK):
            assert len(set(cluster[chunk])) <= 2
    again = next(batches(cluster, seed=1))
    np.testing.assert_array_equal(first[0], again)


def test_clusters_keep_equal_directions_together() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4, 6)
    rows = np.repeat(centres, 50, axis=0) + rng.normal(scale=0.05, size=(200, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = clusters(rows.astype(np.float16), 12, seed=0)
    owners = {c: set(np.flatnonzero(found == c) // 50) for c in set(found)}
    assert all(len(group) == 1 for group in owners.values())


def test_grammar_writes_distinct_repeatable_sentences() -> None:
    texts = grammar_sentences(500, seed=3)
    assert len(set(texts)) == 500
    assert texts == grammar_sentences(500, seed=3)
    assert not any(re.search(r"[{}]|  | [.,!?]", text) for text in texts)


def test_chained_sentences_follow_the_corpus_and_are_new() -> None:
    seeds = [f"i want to {verb} my {thing} today" for verb in ("see", "buy") for thing in ("cat",)]
    seeds += ["please tell me to buy my dog today", "i want to buy my dog"]
    made = list(chained_sentences(seeds, 3, seed=0))
    pairs = {p for s in seeds for p in pairwise(s.split())}
    assert len(set(made) - set(seeds)) == 3
    for text in made:
        words = text.split()
        assert set(pairwise(words)) <= pairs


def test_swapped_sentences_keep_all_but_a_few_words_and_the_case() -> None:
    near = {"cat": ["dog"], "dog": ["cat"], "house": ["garden"], "garden": ["house"]}
    texts = ["Cat and house, they said.", "my dog", "the garden is the house of the cat"]
    made = list(swapped_sentences(texts, near, 20, seed=0))
    assert made == list(swapped_sentences(texts, near, 20, seed=0))
    assert len(set(made)) == 20
    assert not set(made) & set(texts)
    for text in made:
        words = re.findall(r"\w+", text)
        origin = min(
            (re.findall(r"\w+", t) for t in texts if len(re.findall(r"\w+", t)) == len(words)),
            key=lambda old: sum(a != b for a, b in zip(old, words, strict=True)),
        )
        changed = [(a, b) for a, b in zip(origin, words, strict=True) if a != b]
        assert {a.lower() for a, _ in changed} | {b.lower() for _, b in changed} <= set(near)
        assert all(a[0].isupper() == b[0].isupper() for a, b in changed)
        # What says which kind of word it is stays: never are all the known ones exchanged.
        assert len(changed) < sum(word.lower() in near for word in origin)
    assert not any("my" in text for text in made)


def test_near_words_are_whole_words_by_the_angle_of_their_vectors() -> None:
    words = tokenizer()
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
    vectors[WORDS.index("bank")] = 3 * vectors[WORDS.index("card")]
    near = near_words(words, vectors, common=["the"], n=2)
    assert set(near) == {"card", "lost", "where", "bank"}
    assert near["card"][0] == "bank"
    assert near["bank"][0] == "card"
    assert all(len(found) == 2 and word not in found for word, found in near.items())


def test_split_and_fresh_sentences() -> None:
    text = "It rains today. Yes! Why does it rain so often here? Caf\u00e9s are open all day."
    assert list(split_sentences(text)) == ["It rains today.", "Why does it rain so often here?"]
    assert list(split_sentences(text, longest=20)) == ["It rains today."]
    assert list(fresh(["One", "two", "TWO", "three"], ["one"])) == ["two", "three"]


def test_businesses_are_asked_distinct_repeatable_sentences() -> None:
    lists = {
        name: [f"{name} one", f"{name} two"]
        for name in (
            "last_names", "first_names", "cities", "countries", "animals", "flowers", "gems",
            "fruits", "colors", "words", "objects", "dishes", "adjectives",
        )
    }  # fmt: skip
    texts = list(business_sentences(lists, 300, seed=1))
    assert len(texts) >= 300
    assert texts == list(business_sentences(lists, 300, seed=1))
    assert not any(re.search(r"[{}]", text) for text in texts)


def test_shipped_tokenizer_knows_no_special_token() -> None:
    from promptbot.models.encoder import EMBEDDED_FOLDER

    stored = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    assert stored["added_tokens"] == []
    assert {"[CLS]", "[SEP]", "[PAD]", "[MASK]"}.isdisjoint(stored["model"]["vocab"])
