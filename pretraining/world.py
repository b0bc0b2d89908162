"""What the episode generators draw from: texts with vectors, classes, answers, word lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pretraining.businesses import Business, make_business
from pretraining.corpus import HAN, Answer, Corpus, Dialogue, Text, strings
from pretraining.corpus import load as load_corpus

if TYPE_CHECKING:
    import numpy as np

    from pretraining.chinese import Chinese
    from pretraining.episodes import About

N_CLASSES = 4000
"""Pseudo-classes: k-means over the teacher's vectors of the user utterances."""
N_NEIGHBOURHOODS = 1000
"""Clusters from which texts are read side by side."""
UTTERANCES = [
    "sgd",
    "multidogo",
    "topical_chat",
    "multiwoz21",
    "taskmaster4_coffee",
    "taskmaster3_movies",
    "query_wellformedness",
    "disfl_qa",
    "restaurant8k",
    "dolly_short",
    "medquad",
    "snips",
    "dstc11_faq",
    "clinc150",
    "chatterbot",
    "chatterbot_corpus",
]
"""Sources whose unlabelled texts become pseudo-classes."""
ASKED: dict[str, tuple[tuple[str, ...], str]] = {
    # a fact: classes that ask for it, and how those texts of them read that ask for nothing else
    "bot": (("clinc:what_is_your_name", "chitchat:14"), ".*"),
    "company": (("clinc:who_do_you_work_for",), r".*(employ|work for).*"),
    "boss": (
        ("clinc:who_do_you_work_for", "chitchat:4"),
        r".*(boss|manager|director|superior|supervis|report to|master|runs|in charge|serve).*",
    ),
    "city": (
        ("clinc:where_are_you_from", "chitchat:30"),
        r".*(where|city|town|from|home|live|location|place|origin).*",
    ),
    "address": (("chitchat:30",), r".*(address|find you|where you are|where are you|location).*"),
    "age": (("clinc:how_old_are_you",), r".*(old|years|age).*"),
    "user": (
        ("clinc:user_name", "chitchat:67"),
        r"(?!.*(middle|last name)).*(name|who i am|who this is|call).*",
    ),
}
"""What people wrote to ask for what a system prompt may state, or for the name that they told."""
GENERAL = ("query_wellformedness", "disfl_qa", "dolly_short", "medquad", "clinc150", "snips")
"""Sources of questions that a business's notes do not answer."""


@dataclass
class World:
    """The material of the episodes. A text is named by its row number."""

    texts: list[str]
    labels: list[str]
    """Of each text: "clinc:...", "chitchat:...", "pseudo:..." or ""."""
    held: list[bool]
    """Texts that never enter training."""
    vectors: np.ndarray
    """The teacher's unit vectors (n_texts, 384)."""
    answers: list[Answer]
    dialogues: list[Dialogue]
    words: list[str]
    """Common lower-case words, for labels and short look-ups."""
    lists: dict[str, list[str]] = field(default_factory=dict)
    """Word lists by name: names, jobs, animals, cities ..."""
    replies: dict[str, str] = field(default_factory=dict)
    """The answer of each "chitchat:..." class."""
    topic_similarity: dict[tuple[str, str], float] = field(default_factory=dict)
    """How near two topics of the made-up businesses are, by the teacher."""
    questions: list[int] = field(default_factory=list)
    """Rows of general questions, which no bot's notes answer."""
    sayings: list[str] = field(default_factory=list)
    """Short sentences that can be a bot's own reply to small talk."""
    embed: Callable[[list[str]], np.ndarray] | None = None
    """Gives the teacher's vectors of texts that are not in the corpus."""
    retrieval: np.ndarray | None = None
    """The embedded encoder's unit vectors, by which examples are retrieved as deployed; without
    them the teacher's are."""
    made: dict[str, np.ndarray] = field(default_factory=dict)
    """The vectors of made-up texts seen so far."""
    chinese: Chinese | None = None
    """What the Chinese episodes draw from."""
    encode: Callable[[list[str]], np.ndarray] | None = None
    """Gives the embedded encoder's unit vectors: by them notes are retrieved as deployed, and texts
    in Chinese, which the teacher cannot read, are summarised."""

    def learn(self, abouts: Iterable[About]) -> None:
        """Compute the teacher's vectors of made-up texts that are new."""
        made = (a for a in abouts if not isinstance(a, int))
        texts = {text for a in made for text in ((a,) if isinstance(a, str) else a)}
        new = sorted(texts - self.made.keys())
        if len(self.made) > 500_000:
            self.made.clear()
            new = sorted(texts)
        for embed, part in (
            (self.embed, [t for t in new if not HAN.search(t)]),
            (self.encode, [t for t in new if HAN.search(t)]),
        ):
            if part and embed is not None:
                self.made.update(zip(part, embed(part), strict=True))

    def vector(self, about: About) -> np.ndarray:
        """Return the teacher's vector of a text of the corpus, or of what was learnt."""
        import numpy as np

        if isinstance(about, tuple):
            mean = np.sum([self.made[text].astype(np.float32) for text in about], axis=0)
            return np.asarray(mean / np.linalg.norm(mean))
        found: np.ndarray = self.vectors[about] if isinstance(about, int) else self.made[about]
        return found

    @cached_property
    def classes(self) -> dict[str, list[int]]:
        """Row numbers of each class, training texts only."""
        result: dict[str, list[int]] = {}
        for i, label in enumerate(self.labels):
            if label and not self.held[i]:
                result.setdefault(label, []).append(i)
        return result

    @cached_property
    def held_classes(self) -> dict[str, list[int]]:
        """Row numbers of each class, held-out texts only."""
        result: dict[str, list[int]] = {}
        for i, label in enumerate(self.labels):
            if label and self.held[i]:
                result.setdefault(label, []).append(i)
        return result

    @cached_property
    def intents(self) -> list[str]:
        """Real intents of the training split."""
        return sorted(c for c in self.classes if c.startswith(("clinc:", "snips:")))

    @cached_property
    def pseudo(self) -> list[str]:
        """Pseudo-classes of at least five texts."""
        return sorted(c for c in self.classes if c[0] == "p" and len(self.classes[c]) >= 5)

    @cached_property
    def _centres(self) -> dict[str, np.ndarray]:
        """The mean vectors of the intents and of the pseudo-classes, as unit vectors."""
        import numpy as np

        result = {}
        for kind, source in (("intent", self.intents), ("pseudo", self.pseudo)):
            rows = [self.vectors[self.classes[c]].astype(np.float32).mean(0) for c in source]
            result[kind] = np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
        return result

    def near_classes(self, label: str, n: int) -> list[str]:
        """Return a class and the n - 1 nearest to it of its kind: intents or pseudo-classes."""
        import numpy as np

        kind, source = ("pseudo", self.pseudo) if label[0] == "p" else ("intent", self.intents)
        scores = self._centres[kind] @ self._centres[kind][source.index(label)]
        return [source[i] for i in np.argsort(-scores, kind="stable")[:n]]

    @cached_property
    def asked(self) -> dict[str, list[int]]:
        """Rows of what people wrote to ask for each fact of `ASKED`."""
        return {
            fact: [
                i
                for c in classes
                for i in self.classes.get(c, ())
                if re.fullmatch(form, self.texts[i], re.IGNORECASE)
            ]
            for fact, (classes, form) in ASKED.items()
        }

    @cached_property
    def businesses(self) -> list[Business]:
        """A few made-up businesses whose questions are read again and again."""
        return [make_business(Random(seed), self.lists) for seed in range(60)]

    @cached_property
    def chitchat(self) -> list[str]:
        """Small-talk classes whose answer is known."""
        return sorted(c for c in self.classes if c in self.replies)

    @cached_property
    def trainable(self) -> list[int]:
        """Every text that may be trained on."""
        return [i for i, held in enumerate(self.held) if not held]

    @cached_property
    def neighbourhoods(self) -> list[list[int]]:
        """All texts that may be trained on, in clusters of the teacher's vectors."""
        from pretraining.encoder import clusters

        found: dict[int, list[int]] = {}
        numbers = clusters(self.vectors[self.trainable], N_NEIGHBOURHOODS, seed=0)
        for row, number in zip(self.trainable, numbers.tolist(), strict=True):
            found.setdefault(number, []).append(row)
        return [rows for _, rows in sorted(found.items())]

    @cached_property
    def note_answers(self) -> list[str]:
        """Short sentences that can stand as the answer of a note about anything."""
        rows = {
            a.answer
            for a in self.answers
            if a.split == "train" and a.source in ("dstc11_faq", "medquad") and len(a.answer) < 160
        }
        for d in self.dialogues:
            if d.split == "train" and d.source in ("sgd", "multiwoz21", "taskmaster4_coffee"):
                rows |= {t for r, t in d.messages if r == "assistant" and 15 < len(t) < 140}
        return sorted(rows)

    @cached_property
    def medical(self) -> list[tuple[str, str, str]]:
        """(condition, kind of question, answer) of the medical questions with short answers."""
        forms = {
            "information": r"What is \(are\) (.+?) ?\?",
            "symptoms": r"What are the symptoms of (.+?) ?\?",
            "treatment": r"What are the treatments for (.+?) ?\?",
            "causes": r"What causes (.+?) ?\?",
            "prevention": r"How to prevent (.+?) ?\?",
            "susceptibility": r"Who is at risk for (.+?)\??",
            "frequency": r"How many people are affected by (.+?) ?\?",
        }
        result = []
        for a in self.answers:
            if (
                a.source == "medquad"
                and a.split == "train"
                and 20 < len(a.answer) < 180
                and a.answer[-1] != "?"
            ):
                for kind, form in forms.items():
                    if found := re.fullmatch(form, a.question):
                        result.append((found[1], kind, a.answer))
        return result

    def nearest(self, query: int, pool: list[int], k: int) -> list[int]:
        """Return the k texts of the pool nearest to the query, the nearest last."""
        import numpy as np

        vectors = self.vectors if self.retrieval is None else self.retrieval
        scores = vectors[pool].astype(np.float32) @ vectors[query].astype(np.float32)
        order = np.argsort(scores, kind="stable")[-k:]
        return [pool[i] for i in order]


def kmeans(vectors: np.ndarray, n: int, rounds: int = 8, seed: int = 0) -> np.ndarray:
    """Return the cluster of each unit vector (spherical k-means); -1 for those far from theirs."""
    import numpy as np

    rng = np.random.default_rng(seed)
    x = vectors.astype(np.float32)
    centres = x[rng.permutation(len(x))[:n]].copy()
    nearest = np.zeros(len(x), dtype=np.int64)
    close = np.zeros(len(x), dtype=np.float32)
    for _ in range(rounds):
        for start in range(0, len(x), 4096):
            scores = x[start : start + 4096] @ centres.T
            nearest[start : start + 4096] = scores.argmax(1)
            close[start : start + 4096] = scores.max(1)
        order = np.argsort(nearest, kind="stable")
        used, first = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(x[order], first, axis=0)
        centres[used] = sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(min=1e-6)
    nearest[close < 0.6] = -1
    counts = np.bincount(nearest[nearest >= 0], minlength=n)
    nearest[(counts[nearest] < 5) | (counts[nearest] > 120)] = -1
    return nearest


def _pseudo_classes(corpus: Corpus, vectors: np.ndarray, folder: Path) -> list[str]:
    """Return a label for each text: its own, or that of its pseudo-class, or ""."""
    import numpy as np

    labels = [t.label for t in corpus.texts]
    rows = [
        i
        for i, t in enumerate(corpus.texts)
        if not t.label and t.split == "train" and t.source in UTTERANCES and 8 < len(t.text) < 120
    ]
    path = folder / "classes.npy"
    if path.exists():
        found = np.load(path)
    else:
        found = kmeans(vectors[rows], min(N_CLASSES, len(rows) // 12 + 1))
        np.save(path, found)
    for i, c in zip(rows, found, strict=True):
        if c >= 0:
            labels[i] = f"pseudo:{c}"
    return labels


def word_lists(data: Path, texts: Iterable[Text]) -> dict[str, list[str]]:
    """Return the word lists that the generators use, from the CC0 corpora and training texts."""

    def read(name: str) -> list[str]:
        value = json.loads((data / "corpora_cc0" / f"{name}.json").read_text(encoding="utf-8"))
        lists = [value] if isinstance(value, list) else list(value.values())
        lists = [v for v in lists if isinstance(v, list)]
        rows = max(lists, key=len)
        found = [r if isinstance(r, str) else str(next(iter(r.values()))) for r in rows]
        return [w for w in dict.fromkeys(found) if w.isascii() and 2 < len(w) < 28]

    names = {
        "first_names": "humans__firstNames",
        "last_names": "humans__lastNames",
        "jobs": "humans__occupations",
        "moods": "humans__moods",
        "animals": "animals__common",
        "objects": "objects__objects",
        "clothing": "objects__clothing",
        "fruits": "foods__fruits",
        "vegetables": "foods__vegetables",
        "dishes": "foods__menuItems",
        "cities": "geography__us_cities",
        "countries": "geography__countries",
        "colors": "colors__crayola",
        "instruments": "music__instruments",
        "sports": "sports__sports",
        "appliances": "technology__appliances",
        "nouns": "words__nouns",
        "adjectives": "words__adjs",
        "flowers": "plants__flowers",
        "gems": "materials__gemstones",
        "breads": "foods__breads_and_pastries",
        "genres": "music__genres",
        "languages": "technology__programming_languages",
    }
    shuffled = [t for t in texts if t.split == "train"]
    Random(0).shuffle(shuffled)
    words = {w for t in shuffled[:40000] for w in t.text.lower().split()}
    common = sorted(w for w in words if w.isalpha() and 3 < len(w) < 10)
    return {**{key: read(name) for key, name in names.items()}, "words": common}


def _topic_similarity(folder: Path) -> dict[tuple[str, str], float]:
    """Return the cosine of each two topics' mean question vectors, computed once."""
    import numpy as np

    from pretraining import teacher
    from pretraining.chats import topic_texts

    rows = topic_texts()
    path = folder / "topics.npy"
    if path.exists() and len(found := np.load(path)) == len(rows):
        vectors = found
    else:
        vectors = teacher.embed([text for _, text in rows], threads=1)
        np.save(path, vectors)
    names = list(dict.fromkeys(name for name, _ in rows))
    means = np.zeros((len(names), vectors.shape[1]), dtype=np.float32)
    for (name, _), vector in zip(rows, vectors, strict=True):
        means[names.index(name)] += vector.astype(np.float32)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ means.T
    return {(a, b): float(cosines[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}


def _made_texts(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return the sentences made for the encoder and their vectors, if it was prepared here."""
    import numpy as np

    from pretraining.encoder import rows_and_vectors

    if not (folder / "encoder_texts.npy").exists():
        return [], np.zeros((0, 384), dtype=np.float16)
    rows, vectors = rows_and_vectors(folder, "encoder_texts", "encoder_texts")
    return [row["text"] for row in rows], vectors


def load(data: Path, folder: Path) -> World:
    """Return the material made from the corpus files and the teacher's vectors in `folder`."""
    import numpy as np

    from pretraining import chinese
    from promptbot.models.encoder import load_encoder

    corpus = load_corpus(folder)
    vectors = np.load(folder / "teacher.npy")
    made, made_vectors = _made_texts(folder)
    if not (folder / "student.npy").exists():
        found = load_encoder("embedded").encode([t.text for t in corpus.texts])
        np.save(folder / "student.npy", found.astype(np.float16))
    labels = _pseudo_classes(corpus, vectors, folder)
    answers = list(corpus.answers)
    lists = word_lists(data, corpus.texts)
    sayings = {
        a.answer
        for a in answers
        if a.split == "train"
        and a.source.startswith(("personality", "chatterbot", "chitchat"))
        and 8 < len(a.answer) < 90
    }
    proverbs = json.loads((data / "corpora_cc0/words__proverbs.json").read_text(encoding="utf-8"))
    sayings |= {s for s in strings(proverbs) if 10 < len(s) < 80 and s.isascii()}
    asked = {c for classes, _ in ASKED.values() for c in classes}
    return World(
        texts=[*(t.text for t in corpus.texts), *made],
        labels=labels + [""] * len(made),
        held=[t.split == "held" for t in corpus.texts] + [False] * len(made),
        vectors=np.concatenate([vectors, made_vectors]) if made else vectors,
        retrieval=np.load(folder / "student.npy"),
        answers=answers,
        dialogues=list(corpus.dialogues),
        words=lists["words"],
        lists=lists,
        replies={a.source: a.answer for a in answers if a.source.startswith("chitchat:")},
        topic_similarity=_topic_similarity(folder),
        questions=[
            i
            for i, t in enumerate(corpus.texts)
            if t.split == "train" and t.source in GENERAL and t.text.count(" ") > 2
            if t.label not in asked  # the prompt may answer them
        ],
        sayings=sorted(sayings),
        chinese=chinese.load(data, folder),
        encode=load_encoder("embedded").encode,
    )
