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
    TOLD,
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
from pretraining.episodes import Mark, Piece, Turn, shown, system, user
from pretraining.world import World

ABSENT = 0.34
"""Share of the questions that no note answers."""
PAST = 0.02
"""Loss weight of earlier answers whose notes are not shown: nothing in the prompt tells them."""
NAME_ASKED = "What is my name?"
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
    import numpy as np

    assert world.encode is not None
    vectors = world.encode([question, *(asked for asked, _ in notes)])
    scores = vectors[1:].astype(np.float32) @ vectors[0].astype(np.float32)
    return [notes[i] for i in np.argsort(scores, kind="stable")[-k:]]


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
            return [words, shown(note.answer + ending, weight=PAST)]
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
            return [ask(self.r, note, asked), self.scene.reply(Mark(self.scene.fallback))]
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
    turns = [system(*opening, *known_part(r, scene.fallback, c.picked))]
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
