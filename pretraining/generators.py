"""The episodes of the curriculum, each composed as promptbot composes its prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from pretraining import chinese, wordings
from pretraining.businesses import as_written, fallback_sentence, in_passing, make_business
from pretraining.chats import (
    ABSENT,
    FACTS,
    N_SHOWN,
    SURE,
    Scene,
    banter,
    chat,
    copying,
    longer,
    many_notes,
    notes_part,
    one_word,
    persona,
    remember,
    small_talk,
    social_turns,
    stated,
    talk,
)
from pretraining.conversations import conversation, whole_bot
from pretraining.episodes import (
    About,
    Mark,
    Piece,
    Turn,
    shown,
    system,
    target,
    user,
)
from pretraining.world import World

Generator = Callable[[Random, World], list[Turn]]

CLASSIFY = (
    "Classify the message with one label.",
    "Give the intent of each message.",
    "Label the user's message.",
    "What does the user want? Answer with a label.",
    "Reply with the intent label only.",
    "You sort messages into intents. Answer with the intent and nothing else.",
    "Each message has one label. Write the label of the last one.",
    "Sort the customer's message into one of the intents shown by the examples.",
    "You are a classifier. Read the message and answer with its label.",
    "Name the topic of the message, in the words of the examples.",
    "Decide what the customer is asking for. Use one of the labels seen above each answer.",
    "You read messages and reply with exactly one label.",
)


MEDICAL: dict[str, tuple[str, ...]] = {
    "information": ("What is {}?", "Tell me about {}", "What does {} mean?", "Can you explain {}?"),
    "symptoms": ("What are the symptoms of {}?", "How do I notice {}?", "What are signs of {}?",
                 "How does {} show itself?"),
    "treatment": ("What are the treatments for {}?", "How is {} treated?", "What helps against {}?",
                  "What can be done about {}?"),
    "causes": ("What causes {}?", "Where does {} come from?", "Why do people get {}?",
               "What is the reason for {}?"),
    "prevention": ("How to prevent {}?", "How can I avoid {}?", "What protects me from {}?"),
    "susceptibility": ("Who is at risk for {}?", "Who gets {}?", "Am I in danger of {}?"),
    "frequency": ("How many people are affected by {}?", "How common is {}?", "Is {} rare?"),
}  # fmt: skip
"""Wordings of the questions about a condition; the first is the note's."""


GARBLED = 0.18
"""Share of the messages to classify of which too little is left to be read: their labels are told
by the order of the examples alone, which the encoder made from the whole message."""


MISREAD = 0.7
"""Share of the classifications whose messages are misread in part. A new domain's messages are read
so, trained ones are not: only there a reader learns that the order of the examples, which the
encoder made, tells more than its summaries do."""


def _pool(r: Random, world: World) -> tuple[str, list[str], int]:
    """Return where this episode's classes come from and how many there are."""
    if r.random() < 0.5:
        return "intent", world.intents, r.randint(5, len(world.intents))
    return "pseudo", world.pseudo, r.randint(5, 120)


def _classes(r: Random, world: World) -> tuple[str, list[str]]:
    """Return the classes of an episode: any, or (what is hard) those nearest to one of them."""
    kind, source, n = _pool(r, world)
    n = min(n, len(source))
    if r.random() < 0.6:
        return kind, world.near_classes(r.choice(source), min(n, 77))
    return kind, r.sample(source, n)


def _readable(label: str) -> str:
    return label.split(":", 1)[1].replace("_", " ")


def kin_names(r: Random, world: World, classes: list[str]) -> list[str]:
    """Return names of few words in many orders, as labels of one trade have them.

    Many begin alike, and their words also stand in the messages: only where a name goes on, and
    which example it is that has it, tells them apart.
    """
    rows = [r.choice(world.classes[c]) for c in r.sample(classes, min(12, len(classes)))]
    said = [w for i in rows for w in world.texts[i].lower().split() if w.isalpha()]
    n = max(4, len(classes) // 2)
    words = [*r.sample(said, min(len(said), n)), *r.sample(world.words, n)]
    first = r.sample(words, max(2, len(words) // r.choice((3, 6, 12))))
    names: dict[str, None] = {}
    while len(names) < len(classes):
        rest = r.sample(words, r.choice((1, 1, 2, 2, 3, 4)))
        names[" ".join([r.choice(first), *rest])] = None
    return list(names)


def label_names(r: Random, world: World, kind: str, classes: list[str]) -> dict[str, str]:
    """Return a name for each class, in one written style.

    Seldom the real ones, which are learnt by heart: else those of other classes, kindred words or
    random words, which can only be read.
    """
    x = r.random()
    if kind == "intent" and x < 0.1:
        names = [_readable(c) for c in classes]
    elif x < 0.35:
        real = r.sample(world.intents, min(len(classes), len(world.intents)))
        names = [_readable(c) for c in real]
        names += [f"{names[i % len(names)]} {i}" for i in range(len(names), len(classes))]
    elif x < 0.75:
        names = kin_names(r, world, classes)
    else:
        names = [" ".join(r.sample(world.words, r.randint(1, 3))) for _ in classes]
    style = r.random()
    if style < 0.35:
        names = [n.lower().replace(" ", "_") for n in names]
    elif style < 0.45:
        names = [n[:1].upper() + n[1:] for n in names]
    return dict(zip(classes, names, strict=True))


def retrieve(
    r: Random, world: World, query: int, classes: list[str], per_class: int, k: int
) -> list[int]:
    """Return the k examples nearest to the query from a random pool, the nearest last."""
    pool: list[int] = []
    for c in classes:
        rows = [i for i in world.classes[c] if i != query]
        pool += r.sample(rows, min(per_class, len(rows)))
    return world.nearest(query, pool, k)


def garbled(r: Random, world: World, text: str) -> str:
    """Return a message of which most words are others or missing."""
    words = []
    for word in text.split():
        x = r.random()
        if x < 0.7:
            words.append(word if x < 0.35 else r.choice(world.words))
    return " ".join(words) or r.choice(world.words)


def classification(r: Random, world: World) -> list[Turn]:
    """Retrieved examples with their labels, then the message to label."""
    kind, classes = _classes(r, world)
    names = label_names(r, world, kind, classes)
    per_class, k = r.choice((1, 3, 5, 10, 10, 10)), r.choice((2, 3, 4, 5, 6, 8, 8, 8, 8, 10))
    for _ in range(4):
        label = r.choice(classes)
        query = r.choice(world.classes[label])
        examples = retrieve(r, world, query, classes, per_class, k)
        if any(world.labels[i] == label for i in examples):
            break
    if r.random() < 0.04:
        r.shuffle(examples)
    prompt = r.choice(CLASSIFY)
    if r.random() < 0.2:
        options = sorted({names[world.labels[i]] for i in examples} | {names[label]})
        prompt += " " + r.choice(("Labels: ", "Intents: ", "Choose from: ")) + ", ".join(options)
    turns = [replace(system(prompt), is_misread=r.random() < MISREAD)]
    seen: set[str] = set()
    # The last example is the nearest to the message, but none is so to the one after it: asked
    # too often, those would teach that the nearest does not count.
    also = r.random() < 0.25
    for i in examples:
        # A label that stood before is a question of its own: more to learn from one prompt.
        name = Mark(names[world.labels[i]])
        turns.append(user(world.texts[i], row=i))
        turns.append(
            target(name, weight=0.7) if also and name.text in seen else shown(name, weight=0.05)
        )
        seen.add(name.text)
    if r.random() < GARBLED:
        return [*turns, user(garbled(r, world, world.texts[query])), target(Mark(names[label]))]
    # Written otherwise than where it was retrieved: so the order of the examples tells what the
    # words no longer do, and the nearest is left only where the reading is sure.
    message = in_passing(r, world.texts[query])
    return [*turns, user(message, row=query), target(Mark(names[label]))]


def dense(r: Random, world: World) -> list[Turn]:
    """A run of messages of few classes, every label after its class's first is a target."""
    kind, source, _ = _pool(r, world)
    classes = r.sample(source, r.randint(3, 8))
    names = label_names(r, world, kind, classes)
    turns = [system(r.choice(CLASSIFY))]
    seen: set[str] = set()
    used: set[int] = set()
    for _ in range(r.randint(12, 20)):
        label = r.choice(classes)
        query = r.choice(world.classes[label])
        if query in used:
            continue
        used.add(query)
        turns.append(user(world.texts[query], row=query))
        name = Mark(names[label])
        turns.append(target(name) if label in seen else shown(name, weight=0.05))
        seen.add(label)
    return turns


def key_value(r: Random, world: World) -> list[Turn]:
    """Words that answer words: the shortest form of copying."""
    n = r.randint(2, 5)
    keys = r.sample(world.words, n)
    values = [" ".join(r.sample(world.words, r.randint(1, 3))) for _ in keys]
    turns: list[Turn] = []
    seen: set[int] = set()
    for _ in range(r.randint(6, 14)):
        j = r.randrange(n)
        turns.append(user(keys[j], weight=0.0))
        turns.append(target(Mark(values[j])) if j in seen else shown(Mark(values[j]), weight=0.0))
        seen.add(j)
    return turns


def _to_read(r: Random, world: World) -> list[tuple[str, About]]:
    """Return about 21 texts to be read, most of them near one another, and what each is about."""
    x = r.random()
    if x < 0.12:
        notes = r.sample(r.choice(world.businesses).notes, 6)
        return [(q, n.about(q)) for n in notes for q in r.sample(n.questions, 4)]
    if x < 0.24:
        told = r.sample(wordings.TOLD, 3) + r.sample(wordings.THINGS, 2)
        asked = [(w.asked, w.question) for w in (wordings.drawn(r, world, w) for w in told)]
        asked += [
            (wordings.MORE_FACTS[f][1], FACTS[f].asked[0]) for f in r.sample(sorted(FACTS), 3)
        ]
        return [(wordings.pick(r, texts), about) for texts, about in asked for _ in range(3)]
    if x < 0.42:
        _, source, _ = _pool(r, world)
        rows = [r.choice(world.classes[c]) for c in r.sample(source, 3) for _ in range(7)]
    elif x < 0.76:
        rows = [i for n in r.sample(world.neighbourhoods, 3) for i in r.sample(n, min(7, len(n)))]
    else:
        rows = r.sample(world.trainable, 21)
    return [(world.texts[i], i) for i in rows]


def reading(r: Random, world: World) -> list[Turn]:
    """Many texts read for their summaries alone, as notes and as messages."""
    texts = _to_read(r, world)
    r.shuffle(texts)
    n_notes = r.choice((0, 0, 2, 3, 4))
    pieces: list[Piece] = [r.choice(CLASSIFY)]
    if n_notes:
        answers = [" ".join(r.sample(world.words, r.randint(1, 4))) for _ in range(n_notes)]
        notes = [(text, a) for (text, _), a in zip(texts, answers, strict=False)]
        pieces = notes_part(r, fallback_sentence(r), notes, [about for _, about in texts[:n_notes]])
    turns = [system(*pieces)]
    for text, about in texts[n_notes:]:
        turns += [user(text, row=about, weight=0.0), shown(r.choice(world.words), weight=0.0)]
    return turns


def dialogue(r: Random, world: World) -> list[Turn]:
    """A stretch of a written conversation, or an instruction with its answer."""
    if r.random() < 0.25:
        answer = r.choice(world.answers)
        while answer.split != "train" or answer.source not in ("dolly_short", "medquad"):
            answer = r.choice(world.answers)
        return [user(answer.question, weight=0.2), target(answer.answer, weight=0.6)]
    d = r.choice(world.dialogues)
    while d.split != "train":
        d = r.choice(world.dialogues)
    start = r.randrange(max(1, len(d.messages) - 5))
    while start and d.messages[start][0] != "user":
        start -= 1
    return [
        user(text, weight=0.2) if role == "user" else target(text, weight=0.6)
        for role, text in d.messages[start : start + 8]
    ]


def retrieved_notes(r: Random, world: World) -> list[Turn]:
    """Notes of made-up answers to classes of real questions, retrieved as deployed."""
    _, classes = _classes(r, world)
    found = [longer(r, world, a) for a in r.sample(world.note_answers, len(classes))]
    if r.random() < 0.3:
        # A family: near-equal answers that differ in a few words.
        pattern = r.choice(found).split()
        at = r.randrange(len(pattern))
        found = [
            " ".join([*pattern[:at], *r.sample(world.words, r.randint(1, 2)), *pattern[at + 1 :]])
            for _ in classes
        ]
    answers = dict(zip(classes, found, strict=True))
    scene = Scene(make_business(r, world.lists, n_notes=1), fallback_sentence(r))
    opening = persona(r, world, scene, r.choice((0, 0, 0, 1)))
    k = r.choice(N_SHOWN)
    label = r.choice(classes)
    query = r.choice(world.classes[label])
    absent = r.random() < ABSENT
    pool = [c for c in classes if c != label] if absent else classes
    rows = retrieve(r, world, query, pool, r.choice((1, 1, 1, 2)), k)
    if not absent and all(world.labels[i] != label for i in rows):
        rows[0] = r.choice([i for i in world.classes[label] if i != query])
    if r.random() < 0.12:
        r.shuffle(rows)
    notes = [(world.texts[i], answers[world.labels[i]]) for i in rows]
    scene.is_sure = not absent and r.random() < SURE
    rules = notes_part(r, scene.fallback, notes, rows, scene.is_sure)
    turns = [system(*opening, *(["\n"] if opening else []), *rules)]
    known: dict[str, str] = {}
    if r.random() < 0.35:
        examples, known = social_turns(r, world, scene, r.randint(1, 3))
        turns += examples
    if r.random() < 0.25:
        turns += small_talk(r, world, scene, known)
    reply = scene.fallback if absent else answers[label]
    message = in_passing(r, world.texts[query])
    return [*turns, user(message, row=query), scene.reply(Mark(reply))]


def medical_notes(r: Random, world: World) -> list[Turn]:
    """Long real answers to near-equal questions, asked in other words."""
    entries = [world.medical[i] for i in r.sample(range(len(world.medical)), 3)]
    scene = Scene(make_business(r, world.lists, n_notes=1), fallback_sentence(r))
    opening = persona(r, world, scene, 0)
    about, kind, _ = r.choice(entries)
    absent = r.random() < 0.15
    if absent:
        entries = [e for e in entries if e[:2] != (about, kind)]
    notes = [(MEDICAL[k][0].format(a), answer) for a, k, answer in entries]
    rules = notes_part(r, scene.fallback, notes)
    question = as_written(r, r.choice(MEDICAL[kind]).format(about))
    answer = scene.fallback if absent else next(e[2] for e in entries if e[:2] == (about, kind))
    turns = [system(*opening, *(["\n"] if opening else []), *rules)]
    return [*turns, user(question), scene.reply(Mark(answer))]


EARLY: tuple[tuple[Generator, float], ...] = (
    (dense, 0.35),
    (key_value, 0.15),
    (classification, 0.13),
    (retrieved_notes, 0.1),
    (many_notes, 0.1),
    (copying, 0.1),
    (one_word, 0.05),
)
MIXTURE: tuple[tuple[Generator, float], ...] = (
    (whole_bot, 0.14),
    (conversation, 0.09),
    (chat, 0.09),
    (many_notes, 0.08),
    (retrieved_notes, 0.08),
    (medical_notes, 0.01),
    (classification, 0.12),
    (talk, 0.04),
    (banter, 0.04),
    (stated, 0.14),
    (remember, 0.15),
    (copying, 0.13),
    (one_word, 0.02),
    (dialogue, 0.03),
    (chinese.notes, 0.1),
    (chinese.talk, 0.08),
)
