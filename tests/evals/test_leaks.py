"""The leak check: what it finds, and that its shortcut misses nothing."""

from __future__ import annotations

import random

from promptbot.evals.leaks import NEAR, _jaccard, _trigrams, find_leaks


def test_equal_but_for_case_and_punctuation_is_a_leak() -> None:
    [leak] = find_leaks(["Where are you?", "New"], ["hello", "where are you"])
    assert (leak.sample, leak.example, leak.similarity) == (0, 1, 1.0)


def test_nearly_equal_is_a_leak_and_another_question_is_none() -> None:
    example = "I lost my card yesterday in the train to the city"
    near = "I lost my cards yesterday in the train to the city"
    assert [leak.sample for leak in find_leaks([near, "I want a new card"], [example])] == [0]


def test_the_shortcut_finds_what_comparing_all_pairs_finds() -> None:
    rng = random.Random(2)
    words = ["card", "lost", "my", "new", "the", "a", "bank", "to", "pin", "open", "close", "fee"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(60)]
    samples, examples = texts[:30], texts[30:] + [t + "s" for t in texts[:15]]
    slow = {
        s
        for s, sample in enumerate(samples)
        if max(_jaccard(_trigrams(sample), _trigrams(e)) for e in examples) >= NEAR
    }
    assert slow
    assert {leak.sample for leak in find_leaks(samples, examples)} == slow
