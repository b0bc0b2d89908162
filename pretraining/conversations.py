"""Conversations as a bot holds them: the notes shown are those of the newest message alone.

What was answered before stands in the window without the notes it came from, examples of the bot's
own small talk stand before it, and the notes are the deployed encoder's nearest: where the right
one is missing, those shown are the next best, near and wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from pretraining import wordings
from pretraining.businesses import Note, as_written, fallback_sentence, phone
from pretraining.chats import (
    ASKED_TOO_EARLY,
    N_SHOWN,
    SOCIAL,
    SURE,
    TOLD,
    UNSEEN,
    Scene,
    ask,
    known_part,
    lengthened,
    longer,
    near_business,
    off_topic,
    own_name_question,
    persona,
    small_talk,
    social_turns,
    split_mark,
    untold,
)
from pretraining.episodes import About, Mark, Piece, Turn, shown, system, user
from pretraining.world import World

ABSENT = 0.34
"""Share of the questions that no note answers."""
NAME_ASKED = "What is my name?"
FLOOR, SURE_FROM = 0.35, 0.4
"""The similarities under which the shipped bots show no note and over which they do not offer the
fallback."""
LOW_FLOOR = 0.2
"""Another one, so that notes that are far and right are met as well."""
Listed = tuple[str, Note]
"""A note with the question under which the bot keeps it."""


def some_questions(r: Random, world: World, label: str) -> tuple[str, ...]:
    """Return up to four real questions of a class."""
    rows = world.classes[label]
    return tuple(world.texts[i] for i in r.sample(rows, min(4, len(rows))))


def class_notes(r: Random, world: World, n: int) -> tuple[Note, ...]:
    """Return notes of made-up answers to classes of real questions, near to one another or not."""
    n = min(n, len(world.intents))
    near = r.random() < 0.5
    classes = world.near_classes(r.choice(world.intents), n) if near else r.sample(world.intents, n)
    # Who is called what is told by the conversation, not by a note.
    classes = [c for c in classes if "name" not in c]
    answers = r.sample(world.note_answers, len(classes))
    notes = []
    for label, answer in zip(classes, answers, strict=True):
        questions = some_questions(r, world, label)
        notes.append(Note(questions, longer(r, world, answer), label))
    return tuple(notes)


def retrieve(world: World, question: str, notes: list[Listed], k: int) -> list[Listed]:
    """Return the k notes nearest to a question by the deployed encoder, the nearest last."""
    return [notes[i] for i, _ in nearest(world, question, [asked for asked, _ in notes], k)]


def nearest(world: World, message: str, texts: list[str], k: int) -> list[tuple[int, float]]:
    """Return the places of the k texts nearest to a message by the deployed encoder, the nearest
    last, each with its cosine.
    """
    import numpy as np

    assert world.encode is not None
    vectors = world.encode([message, *texts])
    scores = vectors[1:].astype(np.float32) @ vectors[0].astype(np.float32)
    order = np.argsort(scores, kind="stable")[max(0, len(texts) - k) :]
    return [(int(i), float(scores[i])) for i in order]


def talk_notes(r: Random, world: World, n: int) -> tuple[Note, ...]:
    """Return notes about the bot itself: questions of small talk with answers of its own.

    What a note answers is not answered in the usual way.
    """
    notes = []
    for label in r.sample(world.chitchat, min(n, len(world.chitchat))):
        questions = some_questions(r, world, label)
        answer = r.choice(world.note_answers if r.random() < 0.5 else world.sayings)
        notes.append(Note(questions, longer(r, world, answer), label))
    return tuple(notes)


def entwined(
    r: Random, world: World, notes: tuple[Note, ...], fallback: str
) -> tuple[tuple[Note, ...], str]:
    """Return notes and fallback with one piece in most of them, as a number or a clause recurs.

    A copy must go on where it began, and not where the same words stand in another note.
    """
    x = r.random()
    if x < 0.35:
        piece = phone(r)
    elif x < 0.5:
        lists = world.lists
        piece = f"{r.choice(lists['first_names'])} {r.choice(lists['last_names'])}"
    elif x < 0.75:
        piece = " ".join(r.sample(world.words, r.randint(1, 4)))
    else:
        piece = " ".join(r.choice(world.note_answers).split()[: r.randint(3, 8)])

    def planted(text: str) -> str:
        words = text.split()
        at = r.randint(1, len(words))
        return " ".join([*words[:at], piece, *words[at:]])

    changed = (replace(n, answer=planted(n.answer)) if r.random() < 0.6 else n for n in notes)
    return tuple(changed), planted(fallback) if r.random() < 0.5 else fallback


def is_talk(note: Note) -> bool:
    """Return whether a note is about small talk, which has an answer without it too."""
    return note.topic.startswith("chitchat:")


@dataclass
class Conversation:
    """A conversation while it is composed."""

    r: Random
    world: World
    scene: Scene
    notes: list[Listed]
    """All that the bot knows."""
    picked: list[Listed] = field(default_factory=list)
    """What the prompt shows."""
    known: dict[str, str] = field(default_factory=dict)
    """The examples' replies to small talk."""

    def question(self, absent: bool) -> list[Turn]:
        """Choose a question and the notes that it retrieves; return it with its answer.

        A right note that the encoder does not find is missing, as deployed, or stands first.
        """
        asked, right = self.r.choice(self.notes)
        absent = absent and not is_talk(right)
        turn = ask(self.r, right, asked)
        k = self.r.choice(N_SHOWN)
        others = [x for x in self.notes if x[1] is not right]
        self.picked = retrieve(self.world, turn.content, others if absent else self.notes, k)
        if not absent and all(x[1] is not right for x in self.picked):
            if self.r.random() < 0.5 and not is_talk(right):
                absent = True
            else:
                self.picked[0] = (asked, right)
        if self.r.random() < 0.1:
            self.r.shuffle(self.picked)
        self.scene.is_sure = not absent and self.r.random() < SURE
        reply = self.scene.fallback if absent else right.answer
        return [turn, self.scene.reply(Mark(reply))]

    def past(self) -> list[Turn]:
        """Return an earlier question with its answer, mostly of a note that is not shown now."""
        x = self.r.random()
        if x < 0.68:
            asked, note = self.r.choice(self.notes)
            words = ask(self.r, note, asked)
            if any(note is p for _, p in self.picked):
                return [words, self.scene.reply(Mark(note.answer))]
            ending = f" {self.scene.ending}" if self.scene.ending else ""
            return [words, shown(note.answer + ending, weight=UNSEEN)]
        if x < 0.82:
            # A note about the bot itself may answer a question for it.
            stated = None if any(is_talk(n) for _, n in self.notes) else self.scene
            return self.scene.unanswered(off_topic(self.r, self.world, stated))
        return small_talk(self.r, self.world, self.scene, self.known)

    def more(self, used: set[str]) -> list[Turn]:
        """Return a further question about the notes shown: another of them, or one that is near."""
        x = self.r.random()
        if x < 0.5:
            asked, note = self.r.choice(self.picked)
            return [ask(self.r, note, asked), self.scene.reply(Mark(note.answer))]
        shown_now = {note.answer for _, note in self.picked}
        used = used | shown_now
        rest = [n for n in self.notes if n[1].answer not in used and not is_talk(n[1])]
        if x < 0.8 and rest:
            # The nearest that is not shown: what tells it from those that are is little.
            asked, note = retrieve(self.world, self.picked[-1][0], rest, min(3, len(rest)))[-1]
            turn = ask(self.r, note, asked)
            return self.scene.unanswered((turn.content, turn.about))
        return small_talk(self.r, self.world, self.scene, self.known)


def greeting(c: Conversation, name: str) -> list[Turn]:
    """Return a greeting that tells a name, answered as a greeting."""
    said = wordings.pick(c.r, wordings.GREETED)
    reply = c.known.get("greet", SOCIAL["greet"][1][0])
    typed = said if c.r.random() < 0.7 else said[:1].lower() + said[1:]
    return [user(*split_mark(typed, name, NAME_ASKED)), c.scene.reply(Mark(reply))]


def name_question(c: Conversation) -> str:
    """Return a question for the user's own name."""
    wording = wordings.OWN_NAME
    asked = wordings.pick(c.r, wording.asked) if c.r.random() < 0.5 else c.r.choice(TOLD["name"][2])
    return as_written(c.r, own_name_question(c.r, c.world, asked))


def name_asked(c: Conversation, name: str) -> list[Turn]:
    """Return the question for the user's own name, with its answer."""
    return [
        user(name_question(c), row=NAME_ASKED),
        c.scene.reply(*split_mark(wordings.OWN_NAME.reply, name)),
    ]


def conversation(r: Random, world: World) -> list[Turn]:
    """A bot with notes after several turns: a question, near or right notes, perhaps a name."""
    b = lengthened(r, world, near_business(r, world, r.randint(8, 18)))
    notes = b.notes if r.random() < 0.55 else class_notes(r, world, r.randint(8, 18))
    if r.random() < 0.35:
        notes = (*notes, *talk_notes(r, world, r.randint(2, 6)))
    fallback = fallback_sentence(r)
    if r.random() < 0.4:
        notes, fallback = entwined(r, world, notes, fallback)
    name = r.choice(world.lists["first_names"]) if r.random() < 0.4 else ""
    scene = Scene(b, fallback, is_named=bool(name))
    c = Conversation(r, world, scene, [(r.choice(n.questions), n) for n in notes])
    opening: list[Piece] = persona(r, world, scene, r.choice((0, 0, 0, 1)), endings=0.1)
    stated = bool(name) and r.random() < 0.5
    if stated:
        line = wordings.pick(r, wordings.USER_NAMED)
        opening += [*(["\n"] if opening else []), *split_mark(line, name, NAME_ASKED)]
    last = c.question(r.random() < ABSENT)
    opening += ["\n"] if opening else []
    turns = [system(*opening, *known_part(r, scene, c.picked))]
    if r.random() < 0.75:
        examples, c.known = social_turns(r, world, scene, r.choice((1, 2, 3, 3, 4)))
        if name and "greet" not in c.known and r.random() < 0.7:
            c.known["greet"] = r.choice(SOCIAL["greet"][1]).replace("{name}", scene.business.name)
            hello = r.choice(SOCIAL["greet"][0])
            examples += [user(hello), shown(Mark(c.known["greet"]))]
        turns += examples
    told = bool(name) and (not stated or r.random() < 0.5)
    if told:
        if not stated and r.random() < ASKED_TOO_EARLY:
            turns += scene.unanswered((name_question(c), NAME_ASKED))
        turns += greeting(c, name)
    for _ in range(r.choice((0, 1, 1, 2, 2, 3, 3, 4))):
        turns += c.past()
    if name and r.random() < 0.3:
        turns += name_asked(c, name)
        name = ""
    before: list[Turn] = []
    after: list[Turn] = []
    if not scene.is_named and r.random() < 0.2:
        before = scene.unanswered(untold(r, world, scene))
    if r.random() < 0.5:
        before, after = after, before
    turns += [*before, *last]
    used = {t.content for t in turns if t.role == "assistant"}
    for _ in range(r.choice((0, 1, 1, 2))):
        turns += c.more(used)
    return [*turns, *after, *(name_asked(c, name) if name and r.random() < 0.7 else [])]


@dataclass(frozen=True)
class Kind:
    """Messages of one kind, which a bot's examples answer alike."""

    ways: tuple[tuple[str, About], ...]
    """Wordings, and what the summary of each is of."""
    reply: str
    label: str = ""
    """Their class, if they have one."""


def example_kinds(r: Random, world: World, scene: Scene) -> list[Kind]:
    """Return what a bot's examples answer: small talk, and messages about anything else.

    Its replies are its own; several kinds may have one, as what a bot must refuse has.
    """
    kinds = []
    for name in r.sample(sorted(SOCIAL), r.randint(1, 5)):
        says, replies = SOCIAL[name]
        reply = r.choice(replies).replace("{name}", scene.business.name)
        reply = reply if r.random() < 0.5 else r.choice(world.sayings)
        kinds.append(Kind(tuple((text, text) for text in says), reply))
    labels = r.sample(world.chitchat, min(len(world.chitchat), r.randint(1, 6)))
    n = min(len(world.intents), r.randint(1, 8))
    near = r.random() < 0.5
    labels += world.near_classes(r.choice(world.intents), n) if near else r.sample(world.intents, n)
    labels += r.sample(world.pseudo, min(len(world.pseudo), r.choice((0, 0, 2, 4))))
    own = [r.choice(world.note_answers if r.random() < 0.4 else world.sayings) for _ in labels]
    if r.random() < 0.5:
        own = [r.choice(own[: 1 + len(own) // 3]) for _ in labels]
    for label, reply in zip(labels, own, strict=True):
        rows = world.classes[label]
        rows = r.sample(rows, min(8, len(rows)))
        usual = world.replies[label] if label in world.replies and r.random() < 0.3 else reply
        kinds.append(Kind(tuple((world.texts[i], i) for i in rows), usual, label))
    if r.random() < 0.6:
        others = tuple(off_topic(r, world, scene) for _ in range(3))
        kinds.append(Kind(others, scene.fallback))
    return kinds


def foreign(r: Random, world: World, scene: Scene, kinds: list[Kind]) -> tuple[str, int | str]:
    """Return a message that no example is like: about anything, or near to what one is about."""
    known = {k.label for k in kinds}
    intents = [k for k in known if k in world.intents]
    if intents and r.random() < 0.3:
        near = [c for c in world.near_classes(r.choice(intents), 8) if c not in known]
        if near:
            row = r.choice(world.classes[r.choice(near)])
            return world.texts[row], row
    while True:
        message, about = off_topic(r, world, scene)
        if isinstance(about, str) or not world.labels[about] or world.labels[about] not in known:
            return message, about


def whole_bot(r: Random, world: World) -> list[Turn]:
    """A bot as its folder stands: of its notes and examples the nearest to the message are shown,
    far notes are left out, and beside a near one the fallback is not offered.
    """
    b = lengthened(r, world, near_business(r, world, r.randint(6, 16)))
    notes = b.notes if r.random() < 0.6 else class_notes(r, world, r.randint(6, 16))
    scene = Scene(b, fallback_sentence(r))
    opening: list[Piece] = persona(r, world, scene, r.choice((0, 0, 0, 1)), endings=0.08)
    kinds = example_kinds(r, world, scene)
    examples = [(way, k) for k in kinds for way in r.sample(k.ways, min(len(k.ways), 3))]
    listed = [(r.choice(n.questions), n) for n in notes]
    about: About | None
    kind: Kind | None = None
    x = r.random()
    if x < 0.4:
        kind = r.choice(kinds)
        (message, about), wanted = r.choice(kind.ways), kind.reply
    elif x < 0.86:
        asked, note = r.choice(listed)
        turn = ask(r, note, asked)
        message, about, wanted = turn.content, turn.about, note.answer
    else:
        (message, about), wanted = foreign(r, world, scene, kinds), scene.fallback
    found = nearest(world, message, [asked for asked, _ in listed], r.choice(N_SHOWN))
    floor = FLOOR if r.random() < 0.6 else LOW_FLOOR
    found = [(i, near) for i, near in found if near >= floor]
    picked = [listed[i] for i, _ in found]
    if kind is None and all(note.answer != wanted for _, note in picked):
        wanted = scene.fallback
    scene.is_sure = bool(found) and found[-1][1] >= SURE_FROM and wanted != scene.fallback
    others = [e for e in examples if e[0][0] != message]
    near_by = nearest(
        world, message, [way[0] for way, _ in others], r.choice((0, 2, 3, 3, 3, 3, 4))
    )
    shown_now = [others[i] for i, _ in near_by]
    if kind is not None and all(k is not kind for _, k in shown_now):
        # Not found by the search: then nothing would tell its reply.
        way = r.choice([w for w in kind.ways if w[0] != message] or list(kind.ways))
        shown_now = [(way, kind), *shown_now[1:]]
    opening += ["\n"] if opening else []
    turns = [system(*opening, *known_part(r, scene, picked))]
    for (text, row), k in shown_now:
        turns += [user(text, row=row), shown(Mark(k.reply))]
    for _ in range(r.choice((0, 0, 0, 1, 1, 2))):
        asked, note = r.choice(listed)
        turns += [ask(r, note, asked), shown(Mark(note.answer), weight=UNSEEN)]
    # A note's question is written as typed already.
    as_typed = not isinstance(about, tuple) and r.random() < 0.5
    said = as_written(r, message) if as_typed else message
    turns += [user(said, row=about), scene.reply(Mark(wanted))]
    for _ in range(r.choice((0, 1, 1, 2))):
        if shown_now and r.random() < 0.6:
            _, k = r.choice(shown_now)
            text, row = r.choice(k.ways)
            if k.reply != scene.fallback:
                turns += [user(text, row=row), scene.reply(Mark(k.reply))]
        elif picked and r.random() < 0.6:
            asked, note = r.choice(picked)
            turns += [ask(r, note, asked), scene.reply(Mark(note.answer))]
        else:
            turns += scene.unanswered(foreign(r, world, scene, kinds))
    return turns
