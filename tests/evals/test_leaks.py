"""The leak check: what it finds, and that its shortcut misses nothing."""

from __future__ import annotations

import random

from promptbot.evals.leaks import NEAR, NearTexts, find_leaks


def test_equal_but_for_case_and_punctuation_is_a_leak() -> None:
    [leak] = find_leaks(["Where are you?", "New"], ["hello", "where are you"])
    assert (leak.sample, leak.example, leak.similarity) == (0, 1, 1.0)


def test_nearly_equal_is_a_leak_and_another_question_is_none() -> None:
    example = "I lost my card yesterday in the train to the city"
    near = "I lost my cards yesterday in the train to the city"
    assert [leak.sample for leak in find_leaks([near, "I want a new card"], [example])] == [0]


def trigrams(text: str) -> set[str]:
    padded = f"  {text.lower()} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}


def jaccard(one: str, other: str) -> float:
    return len(trigrams(one) & trigrams(other)) / len(trigrams(one) | trigrams(other))


def test_the_shortcut_finds_what_comparing_all_pairs_finds() -> None:
    rng = random.Random(2)
    words = ["card", "lost", "my", "new", "the", "a", "bank", "to", "pin", "open", "close", "fee"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(60)]
    samples, examples = texts[:30], texts[30:] + [t + "s" for t in texts[:15]]
    slow = {
        s: max((jaccard(sample, e), -place) for place, e in enumerate(examples))
        for s, sample in enumerate(samples)
    }
    wanted = {s: best for s, best in slow.items() if best[0] >= NEAR}
    assert wanted
    found = find_leaks(samples, examples)
    assert {leak.sample: (leak.similarity, -leak.example) for leak in found} == wanted
    index = NearTexts(texts)
    for text in texts:
        places, similarities = index.find(text)
        near = [(i, s) for i, other in enumerate(texts) if (s := jaccard(text, other)) >= NEAR]
        assert list(zip(places.tolist(), similarities.tolist(), strict=True)) == near


def test_texts_of_marks_alone_and_none_at_all_are_told_apart() -> None:
    assert find_leaks(["???", "hello"], ["!!!"]) == []
    assert [leak.sample for leak in find_leaks(["???"], ["???"])] == [0]
    assert find_leaks(["hello"], []) == []
    assert find_leaks([], ["hello"]) == []
