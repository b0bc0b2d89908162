"""The tree of what was read, against a plain list of every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.models.prefix_cache import CausalNetwork, KeyValues, PrefixCache, common_length

ids_lists = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=25)


class Ids:
    """Keys and values that are the token ids themselves, one byte each."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self.ids = list(ids)

    @property
    def n_tokens(self) -> int:
        return len(self.ids)

    @property
    def n_bytes(self) -> int:
        return len(self.ids)

    def crop(self, n_tokens: int) -> None:
        del self.ids[n_tokens:]

    def part(self, start: int, stop: int) -> Ids:
        return Ids(self.ids[start:stop])

    def extend(self, others: Sequence[KeyValues]) -> None:
        for other in others:
            self.ids += cast(Ids, other).ids


class Network:
    """Has nothing but empty memories to give."""

    def new_key_values(self) -> Ids:
        return Ids()


def make_cache(max_bytes: int) -> PrefixCache:
    return PrefixCache(cast(CausalNetwork, Network()), max_bytes)


def read(cache: PrefixCache, ids: Sequence[int]) -> int:
    """Read a sequence through the cache; return how many of its tokens were known."""
    sequence = cache.take(ids)
    memory = cast(Ids, sequence.key_values)
    assert memory.ids == sequence.ids == list(ids[: len(sequence.ids)])
    n_known = len(sequence.ids)
    memory.ids += ids[n_known:]
    sequence.ids += ids[n_known:]
    cache.give_back(sequence, intact=True)
    return n_known


@given(ids_lists)
def test_the_longest_prefix_ever_read_is_known_and_each_token_kept_once(
    sequences: list[list[int]],
) -> None:
    cache = make_cache(10**6)
    for i, ids in enumerate(sequences):
        longest = max((common_length(old, ids) for old in sequences[:i]), default=0)
        assert read(cache, ids) == min(longest, len(ids) - 1)
    distinct = {tuple(ids[:n]) for ids in sequences for n in range(1, len(ids) + 1)}
    assert cache.n_tokens == cache.n_bytes == len(distinct)


@given(ids_lists, st.integers(0, 12))
def test_the_bound_holds_and_what_is_left_is_sound(
    sequences: list[list[int]], max_bytes: int
) -> None:
    cache = make_cache(max_bytes)
    for ids in sequences:
        read(cache, ids)
        assert cache.n_bytes == cache.n_tokens <= max_bytes


@given(ids_lists, st.integers(0, 12))
def test_sequences_in_use_at_once_do_not_touch_each_other(
    sequences: list[list[int]], max_bytes: int
) -> None:
    cache = make_cache(max_bytes)
    for one, other in zip(sequences[::2], sequences[1::2], strict=False):
        first, second = cache.take(one), cache.take(other)
        for sequence, ids in ((first, one), (second, other)):
            memory = cast(Ids, sequence.key_values)
            assert memory.ids == ids[: len(memory.ids)]
            memory.ids[:] = sequence.ids[:] = ids
            cache.give_back(sequence, intact=True)
    for ids in sequences:
        read(cache, ids)


def test_the_branch_used_longest_ago_goes_first_and_shared_beginnings_last() -> None:
    cache = make_cache(9)
    read(cache, [1, 1, 1, 2, 2])  # 5 tokens
    read(cache, [1, 1, 1, 3, 3])  # 2 more
    read(cache, [1, 1, 1, 2, 2])  # used again
    read(cache, [4, 4, 4])  # 10 tokens: the branch of 3 goes
    assert cache.n_tokens == 8
    assert read(cache, [1, 1, 1, 3, 9]) == 3
    assert read(cache, [1, 1, 1, 2, 2, 5]) in (3, 5)


def test_a_sequence_whose_pass_broke_off_leaves_the_rest_alone() -> None:
    cache = make_cache(100)
    read(cache, [1, 2, 3])
    broken = cache.take([1, 2, 3, 4])
    cast(Ids, broken.key_values).ids += [9, 9]
    cache.give_back(broken, intact=False)
    assert cache.n_tokens == 3
    assert read(cache, [1, 2, 3, 4]) == 3


@pytest.mark.parametrize("ids", [[5], [5, 6]])
def test_the_last_token_is_always_left_to_read(ids: list[int]) -> None:
    cache = make_cache(100)
    read(cache, ids)
    assert read(cache, ids) == len(ids) - 1
