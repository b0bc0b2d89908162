"""Exact search and its cache."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptbot.prompt import similarity
from promptbot.prompt.similarity import SimilarityIndex, cache_folder
from tests.encoders import HashingEncoder

MANY = [f"order {n} has not arrived since {n * 7} days" for n in range(250)]


def cosine(a: str, b: str) -> float:
    """Cosine similarity, computed without the index."""
    x, y = (HashingEncoder().encode([text])[0].tolist() for text in (a, b))
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="abc ", max_size=6), max_size=12),
    st.text(alphabet="abc ", max_size=6),
    st.integers(0, 15),
)
def test_search_equals_sorting_the_whole_pool(pool: list[str], query: str, k: int) -> None:
    found = SimilarityIndex(pool, HashingEncoder()).search(query, k)
    by_hand = sorted((-round(cosine(query, text), 5), i) for i, text in enumerate(pool))[:k]
    assert [s for _, s in found] == pytest.approx([-s for s, _ in by_hand], abs=2e-5)
    assert len({i for i, _ in found}) == min(k, len(pool))
    for i, s in found:
        assert s == pytest.approx(cosine(query, pool[i]), abs=1e-5)


def test_equal_texts_come_in_the_order_of_the_pool() -> None:
    pool = ["far away", *["same text"] * 40, "same texts"]
    found = SimilarityIndex(pool, HashingEncoder()).search("same text", 5)
    assert [i for i, _ in found] == [1, 2, 3, 4, 5]
    assert found[0][1] == 1.0


def test_a_small_k_and_the_whole_pool_agree() -> None:
    index = SimilarityIndex(MANY[:100], HashingEncoder())
    assert index.search("order 17", 7) == index.search("order 17", 1000)[:7]


def test_an_empty_pool_finds_nothing_and_encodes_nothing() -> None:
    encoder = HashingEncoder()
    assert SimilarityIndex([], encoder).search("hello", 3) == []
    assert encoder.n_encoded == 0


def test_excluded_entries_are_never_found() -> None:
    index = SimilarityIndex(["a card", "a cart", "a cat"], HashingEncoder())
    assert [i for i, _ in index.search("a card", 3, exclude={0})] == [1, 2]
    assert index.search("a card", 3, exclude=[0, 1, 2]) == []


def test_an_entry_of_two_texts_is_the_mean_of_their_vectors() -> None:
    found = SimilarityIndex([("blue car", "red house")], HashingEncoder()).search("blue car", 1)
    # For unit vectors a, b: cos(a, (a + b) / |a + b|) = (1 + ab) / sqrt(2 + 2ab).
    ab = cosine("blue car", "red house")
    assert found[0][1] == pytest.approx((1 + ab) / math.sqrt(2 + 2 * ab), abs=1e-5)


def test_texts_are_encoded_on_the_first_search_once_and_the_short_ones_first() -> None:
    encoder = HashingEncoder()
    pool = ["x" * n for n in (5, 2, 9, 2, 1)]
    index = SimilarityIndex(pool, encoder)
    assert encoder.batches == []
    index.search("q", 1)
    index.search("q", 1)
    assert encoder.batches == [["x", "xx", "xxxxx", "xxxxxxxxx"], ["q"], ["q"]]


def test_threads_that_search_at_once_encode_the_pool_once() -> None:
    encoder = HashingEncoder()
    index = SimilarityIndex(MANY[:50], encoder)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: index.search("order 3", 4), range(16)))
    assert all(f == found[0] for f in found)
    assert encoder.n_encoded == 50 + 16


def test_a_second_index_reads_the_vectors_from_disk(tmp_path: Path) -> None:
    first, second = HashingEncoder(), HashingEncoder()
    found = SimilarityIndex(MANY, first, tmp_path).search("order 17", 5)
    assert SimilarityIndex(MANY, second, tmp_path).search("order 17", 5) == found
    assert first.n_encoded == len(MANY) + 1
    assert second.n_encoded == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


@pytest.mark.parametrize("change", ["text", "order", "split", "revision"])
def test_another_pool_or_encoder_never_reads_the_same_file(tmp_path: Path, change: str) -> None:
    SimilarityIndex(MANY, HashingEncoder(), tmp_path).search("q", 1)
    pools = {
        "text": [*MANY[:-1], "another"],
        "order": MANY[::-1],
        "split": [*MANY[:-1], (MANY[-1], "more")],
        "revision": MANY,
    }
    encoder = HashingEncoder("hashing-2" if change == "revision" else "hashing-1")
    SimilarityIndex(pools[change], encoder, tmp_path).search("q", 1)
    assert encoder.n_encoded >= len(MANY)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[[[\n")


def damage_zip(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"x" * 400)


def damage_zeros_and_nan(path: Path) -> None:
    vectors = np.load(path)
    vectors[7] = np.nan
    np.save(path, vectors)


def damage_shape(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def damage_pickle(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        damage_empty,
        damage_truncate,
        damage_header,
        damage_zip,
        damage_zeros_and_nan,
        damage_shape,
        damage_pickle,
    ],
)
def test_a_damaged_cache_is_computed_again_and_mended(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    found = SimilarityIndex(MANY, HashingEncoder(), tmp_path).search("order 17", 5)
    (path,) = tmp_path.iterdir()
    damage(path)
    again, after = HashingEncoder(), HashingEncoder()
    assert SimilarityIndex(MANY, again, tmp_path).search("order 17", 5) == found
    assert again.n_encoded == len(MANY) + 1
    assert SimilarityIndex(MANY, after, tmp_path).search("order 17", 5) == found
    assert after.n_encoded == 1


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    found = SimilarityIndex(MANY, HashingEncoder(), blocked / "vectors").search("order 17", 2)
    assert found == SimilarityIndex(MANY, HashingEncoder(), tmp_path).search("order 17", 2)


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(similarity.os, "fsync", full)
    assert SimilarityIndex(MANY, HashingEncoder(), tmp_path).search("order 17", 2)
    assert list(tmp_path.iterdir()) == []


def test_a_small_pool_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    SimilarityIndex(MANY[:200], HashingEncoder(), tmp_path).search("q", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTBOT_CACHE", str(tmp_path))
    SimilarityIndex(MANY, HashingEncoder()).search("q", 1)
    assert cache_folder("vectors").parent == tmp_path
    assert len(list(cache_folder("vectors").glob("*.npy"))) == 1


def test_lone_surrogates_in_a_pool_have_a_cache_key(tmp_path: Path) -> None:
    index = SimilarityIndex([*MANY, "\ud800"], HashingEncoder(), tmp_path)
    assert index.search("order 17", 1)


def test_several_processes_share_one_sound_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from promptbot.prompt.similarity import SimilarityIndex\n"
        "from tests.encoders import HashingEncoder\n"
        "pool = [f'order {n} has not arrived since {n * 7} days' for n in range(250)]\n"
        "print(SimilarityIndex(pool, HashingEncoder(), Path(sys.argv[1])).search('order 17', 3))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert said == {f"{SimilarityIndex(MANY, HashingEncoder()).search('order 17', 3)}\n"}
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_vectors_of_an_encoder_of_another_size_are_not_used(tmp_path: Path) -> None:
    class Wider(HashingEncoder):
        dimension = 96

    SimilarityIndex(MANY, HashingEncoder(), tmp_path).search("q", 1)
    encoder = Wider()  # of the same revision, so it looks for the same file
    found = SimilarityIndex(MANY, encoder, tmp_path).search("order 17", 2)
    assert encoder.n_encoded == len(MANY) + 1
    assert found == SimilarityIndex(MANY, Wider()).search("order 17", 2)


def test_beyond_the_limit_a_graph_finds_nearly_the_same(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    texts = [f"word{n % 37} thing{n % 101} place{n}" for n in range(1500)]
    encoder = HashingEncoder()
    exact = SimilarityIndex(texts, encoder, tmp_path)
    quick = SimilarityIndex(texts, encoder, tmp_path, exact_up_to=1000)
    n_found = 0
    for n in range(0, 1500, 50):
        wanted = exact.search(texts[n], 5)
        found = quick.search(texts[n], 5)
        assert found[0] == (n, 1.0)
        assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
        similarity = dict(enumerate(exact.similarities(texts[n]).tolist()))
        assert all(s == pytest.approx(similarity[i], abs=1e-6) for i, s in found)
        # Several may be equally near: the similarities count, not the indices.
        n_found += sum(s >= wanted[-1][1] for _, s in found)
    assert n_found >= 0.9 * 5 * 30
    # The graph is kept beside the vectors, and a damaged one is built again.
    [kept] = tmp_path.glob("*.faiss")
    again = SimilarityIndex(texts, encoder, tmp_path, exact_up_to=1000)
    assert again.search(texts[7], 1) == [(7, 1.0)]
    kept.write_bytes(b"damaged")
    rebuilt = SimilarityIndex(texts, encoder, tmp_path, exact_up_to=1000)
    assert rebuilt.search(texts[7], 1) == [(7, 1.0)]
    assert kept.stat().st_size > 1000


def test_without_the_library_the_search_stays_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    texts = [f"text {n}" for n in range(30)]
    exact = SimilarityIndex(texts, HashingEncoder(), tmp_path)
    beyond = SimilarityIndex(texts, HashingEncoder(), tmp_path, exact_up_to=10)
    assert beyond.search("text 7", 5) == exact.search("text 7", 5)
