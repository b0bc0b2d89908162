"""Selectors, and LangChain's interface to them."""

from __future__ import annotations

import math
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from promptbot.bot.spec import BY_LABEL, ExamplesSpec
from promptbot.errors import DataError, InputError, SpecError
from promptbot.interfaces import Selector
from promptbot.prompt.orders import ORDERS
from promptbot.prompt.selectors import (
    NEEDS_ENCODER,
    SELECTORS,
    Pool,
    as_langchain,
    make_selector,
)
from promptbot.prompt.words import words
from promptbot.types import Chosen, Example, Message
from tests.encoders import HashingEncoder

TEXTS = ["where is my parcel", "lost my card", "lost card abroad", "what time do you open", "hello"]
LABELS = ["parcel", "card", "card", "shop", "shop"]
POOL = [
    Example(text, f"answer {n}", label, line=n)
    for n, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True), start=1)
]


def count_words(messages: Sequence[Message]) -> int:
    return sum(len(message.content.split()) for message in messages)


def make(
    kind: str, seed: int = 0, pool: Sequence[Example] = POOL, max_tokens: int = 100, keep: int = 100
) -> Selector:
    return make_selector(
        kind, Pool(pool, HashingEncoder(), seed, count_words, max_tokens=max_tokens, keep=keep)
    )


def inputs_of(kind: str, query: str, k: int, **settings: Any) -> list[str]:
    return inputs(make(kind, **settings).select(query, k))


def inputs(chosen: list[Chosen[Example]]) -> list[str]:
    return [c.item.input for c in chosen]


@pytest.mark.parametrize("kind", SELECTORS)
def test_every_selector_returns_k_distinct_examples(kind: str) -> None:
    for k in range(len(POOL) + 1):
        chosen = make(kind).select("I lost a card", k)
        assert len(chosen) == k
        assert len({c.item.line for c in chosen}) == k


@pytest.mark.parametrize("kind", SELECTORS)
@pytest.mark.parametrize("k", [-1, 6])
def test_k_outside_the_pool_is_the_users_error(kind: str, k: int) -> None:
    with pytest.raises(DataError, match=rf"asks for k = {k} examples, the pool holds 5\."):
        make(kind).select("hello", k)


def test_an_empty_pool_gives_no_examples_and_an_error_beyond() -> None:
    for kind in SELECTORS:
        selector = make(kind, pool=[])
        assert selector.select("hello", 0) == []
        with pytest.raises(DataError, match="the pool is empty"):
            selector.select("hello", 1)


def test_fixed_returns_the_first_of_the_file_for_any_query() -> None:
    assert inputs(make("fixed").select("one", 2)) == TEXTS[:2]
    assert inputs(make("fixed").select("two", 2)) == TEXTS[:2]


def test_random_depends_on_seed_and_query_and_on_nothing_else() -> None:
    one, other = make("random", seed=3), make("random", seed=3)
    forwards = {q: inputs(one.select(q, 3)) for q in TEXTS}
    backwards = {q: inputs(other.select(q, 3)) for q in reversed(TEXTS)}
    assert forwards == backwards
    assert len(set(map(tuple, forwards.values()))) > 1
    assert forwards != {q: inputs(make("random", seed=4).select(q, 3)) for q in TEXTS}


def test_random_is_the_same_in_another_process() -> None:
    code = (
        "from promptbot.prompt.selectors import Pool, make_selector\n"
        "from promptbot.types import Example\n"
        "pool = [Example(str(n), '') for n in range(100)]\n"
        "chosen = make_selector('random', Pool(pool, seed=1)).select('hi', 6)\n"
        "print([int(c.item.input) for c in chosen])"
    )
    pool = [Example(str(n), "") for n in range(100)]
    here = [int(t) for t in inputs(make("random", 1, pool).select("hi", 6))]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here)


def test_random_favours_no_example() -> None:
    selector = make("random")
    drawn = Counter(c.item.line for n in range(2000) for c in selector.select(f"query {n}", 2))
    # 800 expected of each; the standard deviation is sqrt(2000 * .4 * .6), about 22.
    assert all(690 < drawn[example.line] < 910 for example in POOL)


def test_nearest_returns_the_most_similar_first_with_its_similarity() -> None:
    chosen = make("nearest").select("lost my card", 3)
    assert inputs(chosen)[:2] == ["lost my card", "lost card abroad"]
    similarities = [c.similarity for c in chosen]
    assert similarities[0] == 1.0
    assert similarities == sorted(similarities, key=lambda s: -(s or 0))


def test_an_unknown_selector_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(SpecError, match=r'votek\. Did you mean "nearest"'):
        make_selector("nearst", Pool(POOL))


def test_settings_and_registries_know_the_same_words() -> None:
    assert set(get_args(ExamplesSpec.model_fields["selector"].annotation)) == set(SELECTORS)
    assert set(get_args(ExamplesSpec.model_fields["order"].annotation)) == set(ORDERS)
    by_label = {kind for kind in SELECTORS if kind in BY_LABEL}
    assert by_label == {"balanced", "nearest_per_label"}
    assert BY_LABEL - by_label == {"label_interleaved"}


@pytest.mark.parametrize("kind", SELECTORS)
def test_a_selector_works_inside_langchains_few_shot_prompt(kind: str) -> None:
    from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate

    prompt = FewShotChatMessagePromptTemplate(
        input_variables=["input"],
        example_selector=as_langchain(make(kind), k=2),
        example_prompt=ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")]),
    )
    messages = prompt.format_messages(input="lost my card")
    chosen = make(kind).select("lost my card", 2)
    assert [m.content for m in messages] == [
        t for c in chosen for t in (c.item.input, c.item.output)
    ]


def test_the_langchain_selector_gives_labels_and_clear_errors() -> None:
    pool = [Example("I lost it", "lost card", label="card_lost")]
    selector = as_langchain(make_selector("fixed", Pool(pool)), k=1, input_key="question")
    assert selector.select_examples({"question": "hm"}) == [
        {"input": "I lost it", "output": "lost card", "label": "card_lost"}
    ]
    with pytest.raises(InputError, match='no variable "question"'):
        selector.select_examples({"input": "hm"})
    with pytest.raises(DataError, match="pool is fixed"):
        selector.add_example({"input": "a", "output": "b"})


@pytest.mark.parametrize("kind", SELECTORS)
def test_two_selectors_of_one_seed_choose_alike_in_any_order_of_questions(kind: str) -> None:
    one, other = make(kind, seed=5), make(kind, seed=5)
    forwards = {q: one.select(q, 3) for q in TEXTS}
    assert forwards == {q: other.select(q, 3) for q in reversed(TEXTS)}


@pytest.mark.parametrize("kind", sorted(SELECTORS.keys() - NEEDS_ENCODER))
def test_these_selectors_never_ask_for_an_encoder(kind: str) -> None:
    assert len(make_selector(kind, Pool(POOL, count_tokens=count_words)).select("a card", 2)) == 2


@pytest.mark.parametrize("kind", SELECTORS)
@pytest.mark.parametrize("query", ["?!", "xyzzy", "多久能送到？", "\ud800"])
def test_a_question_that_shares_nothing_with_the_pool_still_gets_its_examples(
    kind: str, query: str
) -> None:
    assert len(make(kind).select(query, 4)) == 4


@pytest.mark.parametrize("kind", ["balanced", "nearest_per_label"])
def test_a_selector_by_label_refuses_examples_without_labels(kind: str) -> None:
    with pytest.raises(DataError, match=r'"hello" has no label[^!]*task: classify'):
        make(kind, pool=[Example("hello", "Hi!")])


# --- balanced


def test_balanced_shows_each_label_equally_often_and_favours_none_for_the_rest() -> None:
    pool = [Example(f"{label} {n}", "x", label) for label in "abc" for n in range(4)]
    extra: Counter[str | None] = Counter()
    for n in range(300):
        chosen = make("balanced", pool=pool).select(f"query {n}", 7)
        counts = Counter(c.item.label for c in chosen)
        assert sorted(counts.values()) == [2, 2, 3]
        assert {c.item.label for c in chosen[:3]} == {"a", "b", "c"}
        extra[max(counts, key=lambda label: counts[label])] += 1
    # 100 expected of each; the standard deviation is sqrt(300 * 1/3 * 2/3), about 8.
    assert all(65 < extra[label] < 135 for label in "abc")


def test_balanced_goes_on_with_the_others_where_a_label_has_no_more() -> None:
    pool = [Example("one", "x", "rare"), *(Example(str(n), "x", "common") for n in range(5))]
    counts = Counter(c.item.label for c in make("balanced", pool=pool).select("q", 5))
    assert counts == {"rare": 1, "common": 4}


# --- length


def test_length_agrees_with_langchains_own_selector() -> None:
    from langchain_core.example_selectors import LengthBasedExampleSelector
    from langchain_core.prompts import PromptTemplate

    # From short to long: what follows the first that does not fit does not fit either.
    pool = sorted(POOL, key=lambda e: len(e.input.split()))
    theirs = LengthBasedExampleSelector(
        examples=[{"input": e.input, "output": e.output} for e in pool],
        example_prompt=PromptTemplate.from_template("{input} {output}"),
        get_text_length=lambda text: len(text.split()),
        max_length=20,
    )
    n_chosen = []
    for query in ("short", "a much longer question than that one", "word " * 30):
        expected = [e["input"] for e in theirs.select_examples({"input": query})]
        assert inputs_of("length", query, 5, pool=pool, max_tokens=20) == expected
        n_chosen.append(len(expected))
    assert n_chosen == [4, 3, 0]


def test_length_passes_over_what_is_too_long_and_never_gives_more_than_k() -> None:
    pool = [Example("word " * n, "x") for n in (3, 50, 2, 4)]
    # 12 words less the question's 2 leave 10: 4 + 3 are taken, then 5 no longer fits.
    chosen = make("length", pool=pool, max_tokens=12).select("two words", 4)
    assert [c.item for c in chosen] == [pool[0], pool[2]]
    assert len(make("length", pool=pool, max_tokens=12).select("two words", 1)) == 1


# --- bm25 and ngram


def test_bm25_equals_the_formula_computed_by_hand() -> None:
    chosen = make("bm25").select("lost card", 5)
    documents = [text.split() for text in TEXTS]
    mean = sum(map(len, documents)) / len(documents)
    expected = {}
    for text, document in zip(TEXTS, documents, strict=True):
        score = 0.0
        for word in ("lost", "card"):
            n = sum(word in other for other in documents)
            rarity = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            f = document.count(word)
            score += rarity * f / (f + 1.5 * (1 - 0.75 + 0.75 * len(document) / mean))
        expected[text] = score
    assert {c.item.input: c.score for c in chosen} == pytest.approx(expected, abs=1e-5)
    assert inputs(chosen)[:2] == ["lost my card", "lost card abroad"]
    assert all(c.similarity is None for c in chosen)


def test_ngram_equals_scikit_learns_sets_of_n_grams() -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.metrics import jaccard_score

    query = "I LOST  my cardd"
    # A mark in place of each space, since scikit-learn would fold the two at the start into one.
    texts = [f"__{'_'.join(text.split())}_" for text in (query, *TEXTS)]
    rows = CountVectorizer(analyzer="char", ngram_range=(2, 3), binary=True).fit_transform(texts)
    dense = rows.toarray()
    expected = {t: jaccard_score(dense[0], row) for t, row in zip(TEXTS, dense[1:], strict=True)}
    chosen = make("ngram").select(query, 5)
    assert {c.item.input: c.score for c in chosen} == pytest.approx(expected, abs=1e-5)
    assert inputs(chosen)[0] == "lost my card"


def test_words_and_letters_find_chinese_without_spaces() -> None:
    pool = [Example(text, "x") for text in ("你好", "多久能送到", "怎么退货", "几点开门")]
    for kind in ("bm25", "ngram"):
        assert inputs_of(kind, "能退货吗", 1, pool=pool) == ["怎么退货"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't FIND my card!", ["i", "can't", "find", "my", "card"]),
        ("it’s 4.90 €", ["it's", "4", "90"]),
        ("iPhone 17多少钱", ["iphone", "17", "多", "少", "钱"]),
        ("…", ["…"]),
    ],
)
def test_words_of_a_text(text: str, expected: list[str]) -> None:
    assert words(text) == expected


# --- nearest_per_label


def test_nearest_per_label_gives_each_label_its_nearest_first() -> None:
    query = "lost my card"
    by_nearness = make("nearest").select(query, 5)
    best_of = {}
    for c in by_nearness:
        best_of.setdefault(c.item.label, c)
    chosen = make("nearest_per_label").select(query, 5)
    assert chosen[:3] == list(best_of.values())
    assert chosen[3:] == [c for c in by_nearness if c not in chosen[:3]]
    assert make("nearest_per_label").select(query, 2) == chosen[:2]


def test_nearest_per_label_equals_rounds_made_one_by_one() -> None:
    pool = [Example(f"order {n * 37 % 101}", "x", "abcd"[n * n % 4], line=n) for n in range(60)]
    left = make("nearest", pool=pool).select("order 17", 60)
    expected: list[Chosen[Example]] = []
    while left:
        seen: set[str | None] = set()
        taken = [c for c in left if c.item.label not in seen and not seen.add(c.item.label)]  # type: ignore[func-returns-value]
        expected += taken
        left = [c for c in left if c not in taken]
    assert make("nearest_per_label", pool=pool).select("order 17", 60) == expected


# --- nearest and diverse


class ScatteringEncoder:
    """Gives each text a random direction of its own, so that nothing ties."""

    revision, dimension = "scattering", 8

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(zlib.crc32(t.encode())).normal(size=8) for t in texts]
        vectors = np.array(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nearest_equals_langchains_similarity_selector() -> None:
    from langchain_core.embeddings import Embeddings
    from langchain_core.example_selectors import SemanticSimilarityExampleSelector
    from langchain_core.vectorstores import InMemoryVectorStore

    encoder = ScatteringEncoder()

    class Vectors(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts).tolist()  # type: ignore[no-any-return]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    pool = [Example(f"example {n}", f"answer {n}", line=n) for n in range(80)]
    theirs = SemanticSimilarityExampleSelector.from_examples(
        [{"input": e.input} for e in pool], Vectors(), InMemoryVectorStore, k=6
    )
    selector = make_selector("nearest", Pool(pool, encoder))
    for query in ("one", "two", "three"):
        expected = [e["input"] for e in theirs.select_examples({"input": query})]
        assert inputs(selector.select(query, 6)) == expected


def test_diverse_equals_langchains_maximal_marginal_relevance() -> None:
    from langchain_core.vectorstores.utils import maximal_marginal_relevance

    pool = [Example(f"example {n}", "x", line=n) for n in range(80)]
    encoder = ScatteringEncoder()
    selector = make_selector("diverse", Pool(pool, encoder))
    vectors = encoder.encode([e.input for e in pool])
    for query in ("one", "two", "three"):
        asked = encoder.encode([query])
        nearest = np.argsort(-(vectors @ asked[0]))[:50]
        theirs = maximal_marginal_relevance(asked, list(vectors[nearest]), lambda_mult=0.5, k=5)
        chosen = selector.select(query, 5)
        assert inputs(chosen) == [pool[nearest[i]].input for i in theirs]
        similarities = [float(vectors[c.item.line] @ asked[0]) for c in chosen]
        assert [c.similarity for c in chosen] == pytest.approx(similarities, abs=1e-5)


def test_diverse_does_not_repeat_itself() -> None:
    pool = [Example(text, "x") for text in ["lost card"] * 8 + ["my lost purse", "found my card"]]
    query = "i lost my card"
    assert inputs_of("nearest", query, 3, pool=pool)[1:] == ["lost card"] * 2
    assert len(set(inputs_of("diverse", query, 3, pool=pool))) == 3


# --- coverage


def test_coverage_shows_every_part_of_the_question() -> None:
    texts = ["red apples today", "red apples here", "green pears", "blue sky", "many red apples"]
    pool = [Example(text, "x") for text in texts]
    chosen = inputs_of("coverage", "red apples and green pears", 2, pool=pool)
    assert chosen[1] == "green pears" or chosen[0] == "green pears"
    assert any("red apples" in text for text in chosen)
    assert "green pears" not in inputs_of("bm25", "red apples red apples green", 2, pool=pool)


def test_coverage_alone_equals_a_sum_over_words_and_rarity_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    query = "lost the red card"
    encoder = HashingEncoder()
    fitted = TfidfVectorizer(analyzer=words).fit(TEXTS)
    known = dict(zip(fitted.get_feature_names_out(), fitted.idf_, strict=True))
    rarity = {word: known.get(word, math.log(1 + len(TEXTS)) + 1) for word in query.split()}
    expected = {}
    for text in TEXTS:
        near = encoder.encode(query.split()) @ encoder.encode(text.split()).T
        weighed = [rarity[w] * max(row) for w, row in zip(query.split(), near, strict=True)]
        expected[text] = sum(weighed) / sum(rarity.values())
    chosen = make("coverage").select(query, 5)
    assert {c.item.input: c.score for c in chosen} == pytest.approx(expected, abs=1e-5)


# --- votek


def test_votek_chooses_the_nearest_of_those_that_stand_for_the_pool() -> None:
    texts = [*[f"parcel {n}" for n in range(12)], *[f"my lost card {n}" for n in range(12)]]
    pool = [Example(text, "x", line=n) for n, text in enumerate(texts)]
    kept = make("votek", pool=pool, keep=4).select("lost card 3", 4)
    assert {c.item.input.split()[0] for c in kept} == {"parcel", "my"}
    similarities = {
        c.item.line: c.similarity for c in make("nearest", pool=pool).select("lost card 3", 24)
    }
    assert [c.similarity for c in kept] == sorted(
        (similarities[c.item.line] for c in kept), reverse=True
    )
    assert {c.item for c in make("votek", pool=pool, keep=4).select("parcel", 4)} == {
        c.item for c in kept
    }


def test_votek_cannot_show_more_than_it_keeps() -> None:
    with pytest.raises(DataError, match=r"asks for k = 3 examples, the pool holds 2\."):
        make("votek", keep=2).select("hello", 3)
