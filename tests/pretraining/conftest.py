# ruff: noqa: E501 - sentences in tables read best on one line
"""A little world for the generators: invented sentences, no data set."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from pretraining.chats import TOPICS
from pretraining.corpus import Answer, Dialogue
from pretraining.tokenizer import build
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
    )


@pytest.fixture(scope="session")
def tokenizer(world: World) -> Tokenizer:
    """Return a small tokenizer of the recipe's kind."""
    return build((" " + t for t in world.texts), size=400)
