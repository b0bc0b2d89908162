# ruff: noqa: E501 - sentences in tables read best on one line
"""A little world for the generators: invented sentences, no data set."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretraining.chats import TOPICS
from pretraining.chinese import Chinese, characters
from pretraining.corpus import Answer, Dialogue
from pretraining.tokenizer import build, with_characters
from pretraining.world import World

NOUNS = [
    "card",
    "train",
    "pizza",
    "song",
    "doctor",
    "garden",
    "ticket",
    "letter",
    "river",
    "lamp",
    "bread",
    "clock",
    "boat",
    "shelf",
    "coffee",
    "window",
    "horse",
    "piano",
]
FORMS = ("where is my {}", "I lost the {}", "please bring a {}", "how much is the {}",
         "tell me about the {}", "the {} is broken", "is there a {} here", "who has my {}")  # fmt: skip


@pytest.fixture(scope="session")
def world() -> World:
    """Return the little world."""
    return little_world()


def little_world() -> World:
    """Return a world of eighteen intents, nine of them pseudo-classes, and small talk."""
    r = Random(0)
    texts, labels = [], []
    for i, noun in enumerate(NOUNS):
        for form in FORMS:
            texts.append(form.format(noun))
            labels.append(f"clinc:about_{noun}" if i < 9 else f"pseudo:{i}")
    for greeting in ("hello", "good day", "hi there", "hey you", "hello my friend"):
        texts.append(greeting)
        labels.append("chitchat:0")
    vectors = np.random.default_rng(0).normal(size=(len(texts), 384))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = [
        a + b
        for a in ["ba", "ke", "lo", "mi", "nu", "ra", "so", "ti"]
        for b in ["den", "lim", "por", "sat"]
    ]
    names = (
        "first_names last_names jobs animals objects clothing fruits dishes cities countries "
        "colors instruments adjectives flowers gems words sports vegetables breads"
    )
    lists = {name: [f"{name[:3]}{w}" for w in words] for name in names.split()}
    condition = "What causes {} ?"
    answers = [
        Answer("medquad", "train", condition.format(w), f"It comes from {w} and from dust.")
        for w in words
    ]
    answers += [Answer("dstc11_faq", "train", f"Is {w} free?", f"Yes, {w} is free.") for w in words]
    messages = (("user", "hello"), ("assistant", "Good day, how can I help you?"))

    def embed(texts: list[str]) -> np.ndarray:
        rows = [np.random.default_rng(list(t.encode())).normal(size=384) for t in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float16)

    return World(
        texts=texts,
        labels=labels,
        held=[False for _ in texts],
        vectors=vectors.astype(np.float16),
        answers=answers,
        dialogues=[Dialogue("sgd", "train", messages)],
        words=words,
        lists=lists,
        replies={"chitchat:0": "Hello there."},
        topic_similarity={(a.name, b.name): r.random() for a in TOPICS for b in TOPICS},
        questions=[0, 9, 17],
        embed=embed,
        sayings=["Well begun is half done.", "Silence is golden."],
        chinese=chinese(),
        encode=embed,
    )


def chinese() -> Chinese:
    """Return a little Chinese material, invented."""
    things = ["茶", "书", "花", "鱼", "灯", "船", "门", "桥", "云", "山", "雨", "雪"]
    questions = tuple((f"{t}在哪里？", f"请问哪里有{t}", f"我想找{t}") for t in things)
    vectors = np.random.default_rng(1).normal(size=(len(questions), 384))
    return Chinese(
        questions,
        tuple(f"{t}就放在那边的柜台上。" for t in things),
        ((("你好", "您好啊", "嗨"), "您好！"), (("谢谢",), "不用谢。"), (("再见",), "下次见。")),
        (("早上好", "您好！"),),
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
    )


@pytest.fixture(scope="session")
def tokenizer(world: World) -> Tokenizer:
    """Return a small tokenizer of the recipe's kind."""
    return little_tokenizer(world)


def little_tokenizer(world: World) -> Tokenizer:
    """Return a small tokenizer of the texts of a world."""
    english = build((" " + t for t in world.texts), size=400)
    material = world.chinese
    assert material is not None
    return with_characters(english, characters([*material.answers] * 3, most=12))
