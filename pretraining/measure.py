# ruff: noqa: E501 - sentences in tables read best on one line
"""What the model can do, on classes, businesses and wordings that it never saw.

    python -m pretraining.measure FOLDER

prints a table over an exported folder (or `--checkpoint`, a training checkpoint) and writes it as
JSON; `--summaries` says instead what the summaries of an exported folder can tell apart. Prompts
have the deployed layout; notes and examples are retrieved by the teacher's vectors. Intervals are
Wilson's at 95%.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from pretraining import generators
from pretraining.businesses import Business, Note, make_business
from pretraining.chats import SOCIAL, detail
from pretraining.corpus import load as load_corpus
from pretraining.episodes import encode
from pretraining.grammar import HELD_BUSINESSES, HELD_TOPICS
from pretraining.tokenizer import ASSISTANT, END
from pretraining.world import World

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    from pretraining.corpus import Text

from pretraining.episodes import Turn, shown, system, user

FALLBACK = "I must look that up and will write to you."
"""A fallback sentence that training never used."""
MAX_NEW = 60
T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """A share of right answers."""

    name: str
    right: int
    n: int

    @property
    def value(self) -> float:
        """The share."""
        return self.right / max(1, self.n)

    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95% interval."""
        z, n, p = 1.96, max(1, self.n), self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return middle - half, middle + half


@dataclass(frozen=True)
class Case:
    """A prompt with the reply that counts as right."""

    turns: tuple[Turn, ...]
    wanted: str
    loose: bool = False
    """Whether it is enough that the reply contains the wanted text."""


@torch.inference_mode()
def greedy(network: LlamaForCausalLM, tokenizer: Tokenizer, turns: Sequence[Turn]) -> str:
    """Return the model's reply, the most likely token each time."""
    ids = encode(list(turns), tokenizer).ids
    if ids[-1] != ASSISTANT:
        ids = [*ids, ASSISTANT]
    output = network(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    reply: list[int] = []
    while len(reply) < MAX_NEW:
        token = int(output.logits[0, -1].argmax())
        if token == END:
            break
        reply.append(token)
        output = network(
            torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True
        )
    return str(tokenizer.decode(reply)).strip()


def count(
    name: str, network: LlamaForCausalLM, tokenizer: Tokenizer, cases: Sequence[Case], show: int = 0
) -> Figure:
    """Return how many of the cases the model answers as wanted."""
    right = 0
    for case in cases:
        reply = greedy(network, tokenizer, case.turns)
        good = case.wanted.lower() in reply.lower() if case.loose else reply == case.wanted
        right += good
        if not good and show > 0:
            show -= 1
            print(f"   {name}: {case.turns[-1].content!r} -> {reply!r}, wanted {case.wanted!r}")
    return Figure(name, right, len(cases))


@torch.inference_mode()
def label_score(
    network: LlamaForCausalLM, tokenizer: Tokenizer, turns: list[Turn], options: list[str]
) -> str:
    """Return the option with the highest log-probability as the assistant's whole reply."""
    prompt = encode(turns, tokenizer).ids
    if prompt[-1] != ASSISTANT:
        prompt = [*prompt, ASSISTANT]
    rows = [[*tokenizer.encode(" " + o, add_special_tokens=False).ids, END] for o in options]
    longest = max(map(len, rows))
    answers = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        answers[i, : len(row)] = torch.tensor(row)
    start = network(torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    past = start.past_key_values
    past.batch_repeat_interleave(len(rows))
    rest = network(answers, past_key_values=past, use_cache=True).logits[:, :-1]
    logits = torch.cat([start.logits.expand(len(rows), -1, -1), rest], dim=1)
    logs = logits.log_softmax(-1)  # (n_options, longest, n_tokens)
    scores = [sum(logs[i, j, t].item() for j, t in enumerate(row)) for i, row in enumerate(rows)]
    return options[max(range(len(options)), key=scores.__getitem__)]


def nearest(vectors: np.ndarray, query: int, pool: Sequence[int], k: int) -> list[int]:
    """Return the k rows of the pool nearest to the query, the nearest last."""
    import numpy as np

    scores = vectors[list(pool)].astype(np.float32) @ vectors[query].astype(np.float32)
    return [pool[i] for i in np.argsort(scores, kind="stable")[-k:]]


def classify(
    name: str,
    network: LlamaForCausalLM,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    labels: Sequence[str],
    vectors: np.ndarray,
    pool: list[int],
    queries: list[int],
    k: int = 8,
) -> tuple[Figure, Figure]:
    """Return the accuracy over the queries and that of the nearest example; labels are scored."""
    right = one = 0
    for query in queries:
        rows = nearest(vectors, query, pool, k)
        turns = [system(generators.CLASSIFY[0])]
        for i in rows:
            turns += [user(texts[i]), shown(labels[i])]
        turns.append(user(texts[query]))
        options = list(dict.fromkeys(labels[i] for i in rows))
        right += label_score(network, tokenizer, turns, options) == labels[query]
        one += labels[rows[-1]] == labels[query]
    n = len(queries)
    return Figure(name, right, n), Figure(name + ", nearest example", one, n)


def renamed(r: Random, words: list[str], labels: Sequence[str]) -> list[str]:
    """Return the labels with every name exchanged for two random words."""
    names = {label: " ".join(r.sample(words, 2)) for label in sorted(set(labels))}
    return [names[label] for label in labels]


def held_intents(
    network: LlamaForCausalLM, tokenizer: Tokenizer, world: World, n: int, seed: int = 5
) -> list[Figure]:
    """Return the accuracy on intents of held-out domains, 5 examples each, two kinds of names."""
    r = Random(seed)
    classes = sorted(c for c in world.held_classes if c.startswith("clinc:"))
    rows = [i for c in classes for i in world.held_classes[c]]
    pool = [i for c in classes for i in r.sample(world.held_classes[c], 5)]
    chosen = set(pool)
    queries = r.sample([i for i in rows if i not in chosen], n)
    place = {row: j for j, row in enumerate(rows)}
    texts = [world.texts[i] for i in rows]
    labels = [world.labels[i][6:].replace("_", " ") for i in rows]
    vectors = world.vectors[rows]
    result: list[Figure] = []
    for name, names in (("real", labels), ("random", renamed(r, world.words, labels))):
        result += classify(
            f"held-out intents, {name} names", network, tokenizer, texts, names, vectors,
            [place[i] for i in pool], [place[i] for i in queries],
        )  # fmt: skip
    return [result[0], result[2], result[1]]


def examples(r: Random, rows: Sequence[Text], labels: Sequence[str], n: int = 10) -> list[int]:
    """Return n training rows of each label, drawn."""
    by_label: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.split == "train":
            by_label.setdefault(labels[i], []).append(i)
    return [i for label in sorted(by_label) for i in r.sample(by_label[label], n)]


def banking(
    network: LlamaForCausalLM, tokenizer: Tokenizer, world: World, work: Path, n: int, seeds: int
) -> list[Figure]:
    """Return the accuracy on BANKING77 test, 10 examples a label, over pools of several seeds."""
    import numpy as np

    rows = load_corpus(work).evals
    vectors = np.load(work / "eval_texts.npy")
    texts = [t.text for t in rows]
    labels = [t.label.split(":")[1].replace("_", " ").replace("?", "").lower() for t in rows]
    totals = {"real": [0, 0, 0], "random": [0, 0, 0]}
    for seed in range(seeds):
        r = Random(seed)
        pool = examples(r, rows, labels)
        queries = r.sample([i for i, t in enumerate(rows) if t.split == "test"], n)
        for name, names in (("real", labels), ("random", renamed(r, world.words, labels))):
            model, one = classify(name, network, tokenizer, texts, names, vectors, pool, queries)
            totals[name] = [
                a + b for a, b in zip(totals[name], (model.right, one.right, n), strict=True)
            ]
    return [
        Figure("BANKING77, real names", totals["real"][0], totals["real"][2]),
        Figure("BANKING77, random names", totals["random"][0], totals["random"][2]),
        Figure("BANKING77, nearest example", totals["real"][1], totals["real"][2]),
    ]


@dataclass(frozen=True)
class NoteCase:
    """A question to a held-out business with the notes that are shown."""

    name: str
    kind: str
    notes: tuple[tuple[str, str], ...]
    question: str
    answer: str
    """The right note's answer, or "" where it is not shown."""


def note_cases(world: World, work: Path, n: int = 150, seed: int = 77) -> list[NoteCase]:
    """Return questions about held-out businesses, half with and half without the right note.

    Three notes are shown, retrieved by the teacher; the question is another wording than the
    note's. Where the right note is not among the three it takes the first place.
    """
    import numpy as np

    from pretraining import teacher

    # A name for what they are made of: cases kept from before a change would measure another thing.
    made_of = repr((HELD_TOPICS, sorted(HELD_BUSINESSES), n, seed))
    path = work / f"held_notes-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.json"
    if path.exists():
        saved = json.loads(path.read_text(encoding="utf-8"))
        return [NoteCase(**{**c, "notes": tuple(map(tuple, c["notes"]))}) for c in saved]
    r = Random(seed)
    drawn: list[tuple[Business, list[tuple[str, Note]], Note, str]] = []
    while len(drawn) < 2 * n:
        b = make_business(r, world.lists, held=True, n_notes=20)
        listed = [(r.choice(note.questions), note) for note in b.notes]
        for question, note in r.sample(listed, 6):
            others = [q for q in note.questions if q != question]
            if others:
                drawn.append((b, listed, note, r.choice(others)))
    drawn = drawn[: 2 * n]
    texts = sorted({q for _, listed, _, asked in drawn for q in [asked, *(x for x, _ in listed)]})
    place = {t: i for i, t in enumerate(texts)}
    vectors = teacher.embed(texts, threads=1).astype(np.float32)
    cases = []
    for i, (b, listed, note, asked) in enumerate(drawn):
        absent = i % 2 == 1
        pool = [x for x in listed if not (absent and x[1] is note)]
        scores = vectors[[place[q] for q, _ in pool]] @ vectors[place[asked]]
        rows = [pool[j] for j in np.argsort(scores, kind="stable")[-3:]]
        if not absent and all(x[1] is not note for x in rows):
            rows[0] = next(x for x in listed if x[1] is note)
        shown_notes = tuple((q, x.answer) for q, x in rows)
        cases.append(NoteCase(b.name, b.kind, shown_notes, asked, "" if absent else note.answer))
    path.write_text(json.dumps([asdict(c) for c in cases], indent=0), encoding="utf-8")
    return cases


def note_prompt(case: NoteCase) -> tuple[Turn, ...]:
    """Return a case as the shipped customer service bot would ask it."""
    lines = f"You are the customer service assistant of {case.name}. Be friendly and brief."
    lines += f"\nAnswer with the notes. If no note fits, say: {FALLBACK}"
    for question, answer in case.notes:
        lines += f"\n\nQ: {question}\nA: {answer}"
    return system(lines), user(case.question)


def notes(
    network: LlamaForCausalLM, tokenizer: Tokenizer, cases: Sequence[NoteCase], show: int = 0
) -> list[Figure]:
    """Return the shares of exact answers, false fallbacks and right fallbacks."""
    exact = false = fell = n_with = n_without = 0
    for case in cases:
        reply = greedy(network, tokenizer, note_prompt(case))
        if case.answer:
            n_with += 1
            exact += reply == case.answer
            false += reply == FALLBACK
        else:
            n_without += 1
            fell += reply == FALLBACK
        if show > 0 and reply != (case.answer or FALLBACK):
            show -= 1
            print(f"   {case.question!r} -> {reply!r}, wanted {case.answer or 'the fallback'!r}")
    return [
        Figure("notes, exact answer", exact, n_with),
        Figure("notes, false fallback", false, n_with),
        Figure("notes, fallback where none fits", fell, n_without),
    ]


def chitchat_cases(world: World, n: int, seed: int = 3) -> list[Case]:
    """Return held-out phrasings of small talk; the class's own answer is wanted."""
    r = Random(seed)
    rows = [i for c, rows in sorted(world.held_classes.items()) if c in world.replies for i in rows]
    opening = system("You are a friendly assistant. Be brief.")
    return [
        Case((opening, user(world.texts[i])), world.replies[world.labels[i]])
        for i in r.sample(rows, min(n, len(rows)))
    ]


HELD_FACTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "names": (
        ("Everyone knows you as {}.", "Behind this chat sits {}: that is you.",
         "You were hired under the name {}.", "Visitors begin their letters to you with Dear {}."),
        ("Which name shall I put down for you?", "Sorry, I did not catch your name", "Who have I got on the line?",
         "What do I call you by?", "Could you say your name again?", "I'd love to know who is helping me",
         "Hi, whom do I have the pleasure with?", "How shall I address you, please?"),
    ),
    "companies": (
        ("This desk belongs to {}.", "Everything here is done in the name of {}.",
         "You wear the badge of {}.", "Those who write to you are customers of {}."),
        ("Whose desk is this?", "What firm is behind this?", "Which firm have I reached?",
         "Who is this service from?", "Remind me which company I wrote to", "What outfit are you part of?",
         "Is there a company behind this chat, and which?", "Which business do you stand for?"),
    ),
    "hours": (
        ("You can visit us {}.", "The shutters are up {}.", "Appointments are kept {}.",
         "There is light in our window {}."),
        ("At what hours may I drop in?", "From when to when is somebody there?",
         "Until what time can I still pop in?", "Which hours do you keep?", "When should I turn up?",
         "Do you open early in the morning?", "Is there a time when you shut?", "What are the visiting times?"),
    ),
    "phones": (
        ("Ring us up on {}.", "The telephone on this desk has the number {}.",
         "Whoever wants to talk to a human dials {}.", "Voice calls are taken on {}."),
        ("What do I dial?", "Under which number can you be reached?", "Is there a number for calls?",
         "I'd rather talk, how do I get you on the phone?", "Which digits do I have to type to call?",
         "Let me write down your phone number", "What is the best number to get hold of you?",
         "Do you take calls, and where?"),
    ),
    "addresses": (
        ("The house stands at {}.", "Our front door opens on {}.", "Parcels for us are left at {}.",
         "Take the bus as far as {}, there you see us."),
        ("What street do I walk to?", "Tell me where your place is", "Where do I have to come to?",
         "What do I enter in my map to reach you?", "On what street will I see you?",
         "I want to come over, where is that?", "Where should the taxi drop me off?",
         "Which door do I knock on?"),
    ),
}  # fmt: skip
"""Facts in wordings that training never used: how they are stated, and how they are asked for."""
HELD_ENDING_RULES = (
    'Put "{}" behind each reply.', 'Your replies all stop with the words "{}"',
    'Whatever you say, let it be followed by "{}"', 'Not one message goes out without "{}" below it.',
    'Leave every guest with the words: {}', 'Tag each response with "{}"',
)  # fmt: skip
HELD_ENDINGS = (
    "Long live the sea!", "That was all.", "Yours truly.", "Sleep well!", "Mind the gap.",
    "Back to work.", "Happy sailing!", "So be it.", "Your friends at the harbour.", "Good luck out there!",
)  # fmt: skip
HELD_ONE_WORD = (
    "Say just one word.", "No more than one word, ever.", "Each reply is a lone word.",
    "Speak in one-word replies.", "Limit yourself to one word.", "Talk like a telegram: one word.",
)  # fmt: skip
HELD_COLORS = (
    "Which color is the {}?", "The {}, what color is it?", "Do you know the color of the {}?",
)  # fmt: skip
HELD_COPIES = (
    ("My parcel has the number {}.", "Parcel {} is noted, one moment.", "number"),
    ("I was told my claim is filed as {}", "Claim {} sits on my desk.", "number"),
    ("the voucher reads {}", "Voucher {} has been redeemed.", "number"),
    ("please book me in under {}", "Done, the booking is under {}.", "name"),
    ("Can you add {} to the guest list?", "Of course, {} will be let in.", "name"),
    ("Please give my regards to {}", "I shall greet {} from you.", "name"),
    ("would {} suit you?", "Yes, {} suits us well.", "date"),
    ("I leave on {}", "Safe travels on {}!", "date"),
    ("could we push it to {} instead", "Moved: we now meet on {}.", "date"),
    ("Have the papers sent to {}", "The papers went out to {} today.", "email"),
    ("We are driving down to {}", "The roads to {} are clear.", "city"),
    ("I left my {} on the bus", "A {} was handed in yesterday.", "thing"),
)
HELD_TOLD = (
    ("By the way, people call me {}.", "Nice to meet you!", "Can you still say who I am?", "first_names"),
    ("Everybody at school said {} to me", "A good name.", "How did they call me at school?", "first_names"),
    ("I grew up in {} you know", "How nice.", "Which town did I grow up in?", "cities"),
    ("I have just moved over from {}", "Welcome!", "From where did I move?", "cities"),
    ("At home I keep a {}", "That is sweet.", "Which animal do I keep?", "animals"),
    ("A {} sleeps on my bed every night", "Cosy.", "Which creature sleeps on my bed?", "animals"),
    ("For breakfast I always take a {}", "Healthy.", "What do I take for breakfast?", "fruits"),
    ("I am the one who plays the {} in our band", "Great.", "What is it that I play in our band?", "instruments"),
    ("This year we spend our holidays in {}", "Enjoy it!", "In which country are our holidays?", "countries"),
    ("The kitchen is painted {} now", "A fine choice.", "What color is the kitchen now?", "colors"),
    ("On weekends I go for {}", "Good for you.", "What do I go for on weekends?", "sports"),
    ("My grandfather was a {} all his life", "A good trade.", "What was my grandfather?", "jobs"),
)  # fmt: skip


def dealt(r: Random, n: int, cases: Iterable[T]) -> list[T]:
    """Return n of the cases in random order, all of them before any comes again."""
    every = list(cases)
    return [x for _ in range(n // len(every) + 1) for x in r.sample(every, len(every))][:n]


def fact_cases(world: World, n: int, seed: int = 4) -> list[Case]:
    """Return questions about facts of the system prompt, in held-out wordings."""
    r = Random(seed)
    wordings = [
        (kind, said, question)
        for kind, (statements, questions) in HELD_FACTS.items()
        for question in questions
        for said in statements
    ]
    cases = []
    for kind, said, question in dealt(r, n, wordings):
        b = make_business(r, world.lists, held=True, n_notes=1)
        value = {
            "names": f"{r.choice(world.lists['first_names'])} {r.choice(world.lists['last_names'])}",
            "companies": b.name,
            "hours": b.hours,
            "phones": b.phone,
            "addresses": b.address,
        }[kind]
        opening = f"You help the visitors of a {b.kind}. {said.replace('{}', value)}"
        cases.append(Case((system(opening), user(question)), value, loose=True))
    return cases


def rule_cases(world: World, n: int, seed: int = 9) -> list[Case]:
    """Return greetings to be answered with a fixed ending, and facts asked for in one word.

    The rules are worded as training never worded them.
    """
    r = Random(seed)
    cases = []
    things = [o for o in world.lists["objects"] if " " not in o]
    colors = [c for c in world.lists["colors"] if " " not in c]
    for rule, ending in dealt(r, n // 2, product(HELD_ENDING_RULES, HELD_ENDINGS)):
        opening = f"You are a friendly assistant. {rule.replace('{}', ending)}"
        says = r.choice(SOCIAL[r.choice(("greet", "thanks", "how"))][0])
        cases.append(Case((system(opening), user(says)), ending, loose=True))
    for rule, question in dealt(r, n - n // 2, product(HELD_ONE_WORD, HELD_COLORS)):
        known = list(zip(r.sample(things, 2), r.sample(colors, 2), strict=True))
        facts = " ".join(f"The {thing} is {color}." for thing, color in known)
        thing, color = r.choice(known)
        opening = f"You help in a shop. {rule} {facts}"
        cases.append(Case((system(opening), user(question.replace("{}", thing))), color))
    return cases


def copy_cases(world: World, n: int, seed: int = 6) -> list[Case]:
    """Return messages with a detail that the reply must hold, two examples showing the form."""
    r = Random(seed)
    cases = []
    for says, replies, kind in dealt(r, n, HELD_COPIES):
        turns = [system("You are the assistant of a camp site.")]
        for _ in range(2):
            value = detail(r, world, kind)
            turns += [user(says.replace("{}", value)), shown(replies.replace("{}", value))]
        value = detail(r, world, kind)
        turns.append(user(says.replace("{}", value)))
        cases.append(Case(tuple(turns), replies.replace("{}", value)))
    return cases


def memory_cases(world: World, n: int, seed: int = 8) -> list[Case]:
    """Return questions about something said one to four turns earlier, in held-out wordings."""
    r = Random(seed)
    cases = []
    for (says, reply, asks, kind), n_between in dealt(r, n, product(HELD_TOLD, range(4))):
        value = r.choice(world.lists[kind])
        if kind not in ("first_names", "cities", "countries"):
            value = value.lower()
        turns = [system("You are a friendly assistant."), user(says.replace("{}", value))]
        turns.append(shown(reply))
        for _ in range(n_between):
            social = SOCIAL[r.choice(sorted(SOCIAL))]
            turns += [user(r.choice(social[0])), shown(social[1][1])]
        turns.append(user(asks))
        cases.append(Case(tuple(turns), value, loose=True))
    return cases


@torch.inference_mode()
def bits_per_byte(network: LlamaForCausalLM, tokenizer: Tokenizer, world: World, n: int) -> float:
    """Return the bits per byte of held-out dialogues of the training families."""
    nats = size = 0.0
    held = [d for d in world.dialogues if d.split == "held"][:n]
    for d in held:
        turns = [user(t) if role == "user" else shown(t) for role, t in d.messages[:8]]
        ids = torch.tensor([encode(turns, tokenizer).ids])
        logs = network(ids).logits[0, :-1].log_softmax(-1)
        nats -= logs.gather(1, ids[0, 1:, None]).sum().item()
        size += sum(len(t.content.encode()) for t in turns)
    return nats / math.log(2) / max(1.0, size)


def vote(similarity: np.ndarray, labels: Sequence[str], temperature: float) -> str:
    """Return the label with the most weight, exp(temperature * similarity) an example."""
    import numpy as np

    weight: dict[str, float] = {}
    for label, w in zip(labels, np.exp(temperature * similarity), strict=True):
        weight[label] = weight.get(label, 0.0) + float(w)
    return max(weight, key=weight.__getitem__)


def in_pieces(tokenizer: Tokenizer, text: str) -> int:
    """Return how many words of a text are several tokens."""
    words = re.findall(r"[A-Za-z']+", text)
    return sum(len(tokenizer.encode(" " + w, add_special_tokens=False).ids) > 1 for w in words)


@torch.inference_mode()
def summaries(
    folder: Path, tokenizer: Tokenizer, world: World, work: Path, n: int = 1000, seeds: int = 3
) -> list[str]:
    """Return rows of a table: how near summaries are to the teacher's vectors, and what they find.

    Messages of BANKING77's test, 10 examples a label in the pool, eight of them retrieved by the
    embedded encoder, which vote by the similarity of the vectors named in the row. A second table
    has the questions for held-out notes, by how many of their words are several tokens.
    """
    import numpy as np

    from pretraining import model, train

    assert world.encode is not None
    assert world.embed is not None
    rows = load_corpus(work).evals
    teacher = np.load(work / "eval_texts.npy").astype(np.float32)
    network = model.build(model.CPU, torch.randn(tokenizer.get_vocab_size(), model.CPU.width))
    trainer = train.Trainer(network, model.CPU, train.Settings(tokens=1))
    trainer.start_from(folder, world, tokenizer)

    def read(texts: list[str]) -> np.ndarray:
        found = []
        for start in range(0, len(texts), 64):
            episodes = [
                encode([system(generators.CLASSIFY[0]), user(t, row=0)], tokenizer)
                for t in texts[start : start + 64]
            ]
            states = trainer.reader(trainer.read(train.collate(episodes)))
            found.append(torch.nn.functional.normalize(states, dim=-1).numpy())
        return np.concatenate(found)

    labels = [t.label for t in rows]
    tests = [i for i, t in enumerate(rows) if t.split == "test"]
    tests = sorted(Random(0).sample(tests, min(n, len(tests))))
    texts = [rows[i].text for i in tests]
    queries = {"summaries": read(texts), "encoder": world.encode(texts), "teacher": teacher[tests]}
    right: dict[str, dict[float, int]] = {name: {10.0: 0, 20.0: 0} for name in queries}
    for seed in range(seeds):
        pool = examples(Random(seed), rows, labels)
        shown_texts = [rows[i].text for i in pool]
        keys = {
            "summaries": read(shown_texts),
            "encoder": world.encode(shown_texts),
            "teacher": teacher[pool],
        }
        near = np.argsort(-(queries["encoder"] @ keys["encoder"].T), axis=1, kind="stable")[:, :8]
        for name, query in queries.items():
            for i, places in enumerate(near):
                known = [labels[pool[j]] for j in places]
                for temperature in right[name]:
                    said = vote(keys[name][places] @ query[i], known, temperature)
                    right[name][temperature] += said == labels[tests[i]]
    lines = ["| vectors | cosine to the teacher | right by the vote |", "|---|---|---|"]
    for name, query in queries.items():
        cosine = float((query * teacher[tests]).sum(1).mean())
        best = Figure(name, max(right[name].values()), len(tests) * seeds)
        lines.append(f"| {name} | {cosine:.2f} | {best.value:.1%} |")
    asked = sorted({case.question for case in note_cases(world, work)})
    goal = world.embed(asked).astype(np.float32)
    cosines = [(vectors * goal).sum(1) for vectors in (read(asked), world.encode(asked))]
    pieces = np.array([min(3, in_pieces(tokenizer, text)) for text in asked])
    lines += ["", "| words in pieces | questions | summaries | encoder |", "|---|---|---|---|"]
    for n, name in enumerate(("none", "1", "2", "3 or more")):
        if (pieces == n).any():
            means = " | ".join(f"{c[pieces == n].mean():.2f}" for c in cosines)
            lines.append(f"| {name} | {(pieces == n).sum()} | {means} |")
    return lines


def quick(network: LlamaForCausalLM, tokenizer: Tokenizer, world: World, work: Path) -> str:
    """Return a line of cheap figures for the log of a run."""
    figures = held_intents(network, tokenizer, world, 60)
    figures += notes(network, tokenizer, note_cases(world, work)[:80], show=4)
    figures.append(count("small talk", network, tokenizer, chitchat_cases(world, 25)))
    figures.append(count("facts", network, tokenizer, fact_cases(world, 25)))
    figures.append(count("copying", network, tokenizer, copy_cases(world, 20)))
    figures.append(count("memory", network, tokenizer, memory_cases(world, 20)))
    return "; ".join(f"{f.name} {f.value:.2f}" for f in figures)


def full(
    network: LlamaForCausalLM, tokenizer: Tokenizer, world: World, work: Path
) -> tuple[list[Figure], float]:
    """Return every figure of the model card, and the bits per byte."""
    figures = banking(network, tokenizer, world, work, n=200, seeds=3)
    figures += held_intents(network, tokenizer, world, 200)
    figures += notes(network, tokenizer, note_cases(world, work), show=12)
    for name, cases in (
        ("small talk, held-out phrasings", chitchat_cases(world, 150)),
        ("facts of the system prompt, held-out wordings", fact_cases(world, 100)),
        ("details copied into the reply", copy_cases(world, 100)),
        ("something said 1 to 4 turns before", memory_cases(world, 100)),
    ):
        figures.append(count(name, network, tokenizer, cases, show=3))
    return figures, bits_per_byte(network, tokenizer, world, 100)


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| ability | right | of | share | 95% interval |", "|---|---|---|---|---|"]
    for f in figures:
        low, high = f.interval()
        lines.append(f"| {f.name} | {f.right} | {f.n} | {f.value:.1%} | {low:.1%} to {high:.1%} |")
    return "\n".join(lines)


def load_network(folder: Path, checkpoint: Path | None) -> LlamaForCausalLM:
    """Return the exported model, or that of a checkpoint rounded to bfloat16 as it is shipped."""
    from transformers import AutoModelForCausalLM

    network: Any
    if checkpoint is None:
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    else:
        from pretraining import model

        state = torch.load(checkpoint, weights_only=True)["network"]
        network = model.build(model.CPU, torch.randn(state["model.embed_tokens.weight"].shape))
        network.load_state_dict({k: v.bfloat16().float() for k, v in state.items()})
    result: LlamaForCausalLM = network.eval()
    return result


def main(
    folder: Path,
    data: Path,
    work: Path,
    checkpoint: Path | None,
    is_quick: bool,
    of_summaries: bool = False,
) -> None:
    """Print the figures and write them to `measured.json`."""
    from pretraining import teacher, tokenizer, world

    torch.set_num_threads(1)
    material = world.load(data, work)
    vocabulary = tokenizer.load(work if checkpoint else folder)
    if of_summaries:
        material.embed = teacher.Teacher(threads=1).embed
        print("\n".join(summaries(folder, vocabulary, material, work)))
        return
    network = load_network(folder, checkpoint)
    if is_quick:
        print(quick(network, vocabulary, material, work))
        return
    figures, bits = full(network, vocabulary, material, work)
    print(table(figures))
    print(f"bits per byte on held-out dialogues: {bits:.3f}")
    result = {
        "figures": [{**asdict(f), "interval": f.interval()} for f in figures],
        "bits_per_byte": bits,
    }
    (work / "measured.json").write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Measure the embedded chat model.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("promptbot/models/embedded"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--summaries", action="store_true", help="what the summaries can tell")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    options = parser.parse_args()
    main(
        options.folder,
        options.data,
        options.work,
        options.checkpoint,
        options.quick,
        options.summaries,
    )
