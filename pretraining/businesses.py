# ruff: noqa: E501 - sentences in tables read best on one line
"""Made-up businesses with notes: the customers' questions in several wordings, and one answer.

A business draws its facts (prices, hours, names, rules) at random, so that nothing about it can be
remembered from training: it can only be read. Topics whose question has a slot come as families of
near-equal notes ("How much is a {item}?"), which teach the model to stay with the note it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from pretraining.episodes import halved
from pretraining.grammar import (
    BUSINESSES,
    FALLBACK_PARTS,
    HELD_BUSINESSES,
    HELD_TOPICS,
    TOPICS,
    Topic,
)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
STREETS = [
    "Station Road",
    "Mill Lane",
    "Harbour Street",
    "Garden Avenue",
    "King Street",
    "Park Road",
    "Bridge Street",
    "Church Lane",
    "Market Square",
    "Hill Road",
    "River Walk",
    "Oak Avenue",
    "School Lane",
    "Castle Street",
    "Green Lane",
    "Victoria Road",
    "Rose Court",
    "Forest Drive",
    "North Parade",
    "Canal Street",
]
CURRENCIES = ("euros", "dollars", "pounds", "francs", "crowns")


@dataclass(frozen=True)
class Note:
    """One thing a business can answer."""

    questions: tuple[str, ...]
    """The same question in several wordings."""
    answer: str
    topic: str
    """Notes of one topic are a family: their answers share their wording."""

    def about(self, question: str) -> tuple[str, ...]:
        """Return what the summary of one of its questions is of: half of it is common to all."""
        return halved(question, self.questions[0])


@dataclass(frozen=True)
class Business:
    """A made-up business."""

    name: str
    kind: str
    """What it is, for example "bicycle shop"."""
    phone: str
    email: str
    address: str
    city: str
    hours: str
    owner: str
    notes: tuple[Note, ...]


Lists = dict[str, list[str]]


def clock(r: Random) -> str:
    """Return a time of day in one of the common ways to write it."""
    hour, minute = r.randint(6, 12), r.choice((0, 0, 0, 30, 15, 45))
    late = r.random() < 0.5
    if r.random() < 0.4:
        return f"{hour + (0 if not late else 8)}:{minute:02d}"
    tail = f":{minute:02d}" if minute else ""
    return f"{r.randint(1, 9) if late else hour}{tail} {'pm' if late else 'am'}"


def price(r: Random, currency: str) -> str:
    """Return an amount of money."""
    x = r.random()
    if x < 0.5:
        return f"{r.randint(2, 95)} {currency}"
    if x < 0.85:
        return f"{r.randint(1, 80)}.{r.choice((20, 40, 50, 60, 80, 90, 95, 99))} {currency}"
    return f"{r.randint(10, 90) * 10} {currency}"


def phone(r: Random) -> str:
    """Return a made-up telephone number."""
    return r.choice(("0800 {} {}", "0{}-{}", "555-{}{}", "+44 {} {}", "({}) {}")).format(
        r.randint(100, 999), r.randint(100, 9999)
    )


def fill(text: str, slots: dict[str, str]) -> str:
    """Return a pattern with its slots filled; a sentence starts with a capital."""
    for name, value in slots.items():
        text = text.replace("{" + name + "}", value)
    return text[:1].upper() + text[1:]


def slots(r: Random, kind: str, lists: Lists, base: dict[str, str]) -> dict[str, str]:
    """Return a value for every slot of a topic's patterns."""
    items = BUSINESSES.get(kind) or HELD_BUSINESSES[kind]
    first, second = r.sample(DAYS, 2)
    currency = base["currency"]
    return {
        **base,
        "item": r.choice(items.items) if r.random() < 0.7 else r.choice(lists["objects"]).lower(),
        "price": price(r, currency),
        "price2": price(r, currency),
        "time": clock(r),
        "time2": clock(r),
        "day": first,
        "day2": second,
        "n": str(r.randint(2, 60)),
        "n2": str(r.randint(2, 30)),
        "number": r.choice(("two", "three", "four", "five", "six", "seven", "ten", "twelve")),
        "percent": str(r.choice((5, 10, 15, 20, 25, 30, 40, 50))),
        "person": r.choice(lists["first_names"]),
        "surname": r.choice(lists["last_names"]),
        "place": r.choice(lists["cities"]),
        "country": r.choice(lists["countries"]),
        "street": r.choice(STREETS),
        "color": r.choice(lists["colors"]).lower(),
        "animal": r.choice(lists["animals"]),
        "dish": r.choice(lists["dishes"]).lower(),
        "fruit": r.choice(lists["fruits"]),
        "word": r.choice(lists["adjectives"]).lower(),
        "phone2": phone(r),
        "floor": r.choice(("ground floor", "first floor", "second floor", "third floor", "basement")),
        "weeks": r.choice(("two weeks", "30 days", "14 days", "three months", "60 days", "a year")),
        "wait": r.choice(
            ("two to three days", "one week", "about an hour", "five working days", "a few minutes",
             "24 hours", "three to five days", "ten minutes", "up to two weeks")
        ),
        "where": r.choice(
            ("behind the building", "next to the entrance", "on the first floor", "at the front desk",
             "opposite the station", "in the basement", "across the street", "beside the lift",
             "in the main hall", "at the back of the shop")
        ),
    }  # fmt: skip


WRITTEN = (
    (0.45, lambda t: t),
    (0.18, lambda t: t.lower()),
    (0.12, lambda t: t.rstrip("?")),
    (0.13, lambda t: t.lower().rstrip("?")),
)


def as_written(r: Random, text: str) -> str:
    """Return a question as a customer may type it."""
    if r.random() < 0.12:
        text = slipped(r, text)
    x = r.random()
    for share, change in WRITTEN:
        if x < share:
            return change(text)
        x -= share
    start = r.choice(
        ("Hi, ", "Hello, ", "Hello! ", "Excuse me, ", "Please tell me, ", "One question: ", "Hey, ",
         "Sorry, ", "Could you tell me: ", "I wanted to ask, ", "Good morning, ", "ok and ")
    )  # fmt: skip
    return start + text[:1].lower() + text[1:]


def slipped(r: Random, text: str) -> str:
    """Return a text with a slip or two: a letter too many, too few or out of place, a word left out.

    The summary of what was meant stays the aim, so that a message is not known by its very words.
    """
    words = text.split()
    for _ in range(r.choice((1, 1, 2))):
        i = r.randrange(len(words))
        word = words[i]
        x = r.random()
        if x < 0.3 and len(words) > 3:
            words.pop(i)
        elif len(word) > 3:
            at = r.randint(1, len(word) - 2)
            changed = (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            )
            words[i] = r.choice(changed)
    return " ".join(words)


ROUND = ("please", "thanks", "hello", "hi", "ok", "can you help me", "I need help", "tell me",
         "quick question", "hey", "so", "sorry to bother you", "thank you", "help")  # fmt: skip


def in_passing(r: Random, text: str) -> str:
    """Return a message as it comes: as it stands, or with words around it, or with slips."""
    x = r.random()
    if x < 0.5:
        return text
    if x < 0.75:
        return slipped(r, text)
    if x < 0.85:
        return f"{r.choice(ROUND)} {text}"
    if x < 0.92:
        return f"{text.rstrip('.?!')}, {r.choice(ROUND)}"
    return slipped(r, f"{r.choice(ROUND)}, {text}")


def make_note(r: Random, topic: Topic, values: dict[str, str]) -> Note:
    """Return a note about a topic, with the topic's questions and one of its answers."""
    answer = fill(r.choice(topic.answers), values)
    if r.random() < 0.2:
        answer += " " + fill(r.choice(EXTRA), values)
    return Note(tuple(fill(q, values) for q in topic.questions), answer, topic.name)


EXTRA = (
    "Just ask {person} at the desk.",
    "Please bring an ID.",
    "You find more on our website.",
    "Call {phone2} if you have trouble.",
    "This does not apply on {day}s.",
    "We are happy to help you.",
    "It is best to book in advance.",
    "Members pay {percent} percent less.",
    "The same is true for groups.",
    "That usually takes {wait}.",
    "Ask for {person} {surname}.",
    "There is no extra charge.",
    "You can also do it in our app.",
    "Thank you for your patience.",
)


def business_name(r: Random, kind: str, lists: Lists) -> str:
    """Return a made-up name for a business."""
    noun = r.choice(lists[r.choice(("animals", "flowers", "gems", "fruits", "colors"))]).title()
    short = kind.split()[-1].title()
    return r.choice(
        (
            f"{r.choice(lists['last_names'])}'s",
            f"{noun} {short}",
            f"{r.choice(lists['last_names'])} & {r.choice(lists['last_names'])}",
            f"The {noun} {short}",
            f"{r.choice(lists['cities'])} {short}",
            f"{noun}{r.choice(('ly', 'ia', 'o', 'ex', 'net', ' and Sons', ' House', ' Point'))}",
            f"{r.choice(lists['words']).title()}{r.choice(('o', 'ly', 'ix', 'en', 'mart', 'hub'))}",
            f"{r.choice(lists['first_names'])}'s {short}",
        )
    )


KIN = 12
"""Topics that count as the nearest to one."""


def make_business(
    r: Random,
    lists: Lists,
    held: bool = False,
    n_notes: int = 22,
    near: Mapping[tuple[str, str], float] | None = None,
) -> Business:
    """Return a business drawn at random; a held one is of a kind and topics never trained on.

    `near`: how near two topics are; with it, most topics are among the nearest to one of them, as
    what is not answered is hard to tell only from what nearly is.
    """
    kinds = HELD_BUSINESSES if held else BUSINESSES
    kind = r.choice(sorted(kinds))
    name = business_name(r, kind, lists)
    plain = "".join(c for c in name.lower() if c.isalnum())
    address = f"{r.randint(1, 240)} {r.choice(STREETS)}"
    city = r.choice(lists["cities"])
    opens, closes = r.randint(6, 11), r.randint(4, 10)
    hours = r.choice(
        (
            f"Monday to Friday from {opens} am to {closes} pm",
            f"every day from {opens}:00 to {closes + 12}:30",
            f"{r.choice(DAYS[:3])} to {r.choice(DAYS[4:])}, {opens} am to {closes} pm",
            f"daily from {opens} am until {closes}.30 pm",
            f"weekdays {opens} to {closes + 12}, weekends {opens + 1} to {closes + 11}",
        )
    )
    base = {
        "name": name,
        "kind": kind,
        "currency": r.choice(CURRENCIES),
        "email": f"{r.choice(('info', 'hello', 'help', 'service', 'team'))}@{plain}.example",
        "phone": phone(r),
        "address": address,
        "city": city,
        "hours": hours,
    }
    groups = kinds[kind].groups
    topics = [t for t in (HELD_TOPICS if held else TOPICS) if not t.group or t.group in groups]
    if near is not None:
        first = r.choice(topics).name
        topics.sort(key=lambda t: near.get((first, t.name), 0.0), reverse=True)
    notes: list[Note] = []
    while len(notes) < n_notes:
        alike = near is not None and r.random() < 0.6
        topic = r.choice(topics[:KIN] if alike else topics)
        known = [n for n in notes if n.topic == topic.name]
        if known and not topic.family:
            if len({n.topic for n in notes}) >= sum(1 for _ in topics):
                break
            continue
        for _ in range(r.choice((1, 2, 3, 4)) if topic.family else 1):
            note = make_note(r, topic, slots(r, kind, lists, base))
            if all(note.questions[0] != n.questions[0] for n in notes):
                notes.append(note)
    owner = f"{r.choice(lists['first_names'])} {r.choice(lists['last_names'])}"
    return Business(
        name, kind, base["phone"], base["email"], address, city, hours, owner, tuple(notes)
    )


def fallback_sentence(r: Random) -> str:
    """Return a sentence for questions that no note answers."""
    whole = r.random()
    if whole < 0.35:
        return r.choice(FALLBACK_PARTS["alone"])
    first = r.choice(FALLBACK_PARTS["first"])
    if whole < 0.6:
        return first[0].upper() + first[1:] + "."
    second = r.choice(FALLBACK_PARTS["second"])
    joined = r.choice((f"{first}. {second[0].upper()}{second[1:]}.", f"{first}, but {second}.",
                       f"{second}, because {first}." if r.random() < 0.2 else f"{first}; {second}."))  # fmt: skip
    joined = joined.replace("{phone}", phone(r))
    return joined[0].upper() + joined[1:]
