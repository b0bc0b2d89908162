# ruff: noqa: E501 - tables read best on one line
"""Wordings by composition: what prompts state, what users tell and ask, and how replies run.

The tables stand in `wordings.toml`. A pattern such as "[The shop|Our house] is [at|located at] {}."
stands for all its choices. So a few lines make thousands of surroundings for a value that is copied,
and none can be remembered instead of read.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from pretraining.businesses import CURRENCIES, DAYS, STREETS, clock
from pretraining.world import World

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@cache
def spread(pattern: str) -> tuple[str, ...]:
    """Return every text that a pattern with [choices|in brackets] stands for."""
    parts = [p.split("|") for p in re.split(r"\[([^]]*)\]", pattern)[1::2]]
    fixed = re.split(r"\[[^]]*\]", pattern)
    result = []
    for chosen in product(*parts):
        text = "".join(a + b for a, b in zip(fixed, (*chosen, ""), strict=True))
        result.append(text[:1].upper() + text[1:])
    return tuple(result)


def pick(r: Random, patterns: tuple[str, ...]) -> str:
    """Return one text of one of the patterns."""
    return r.choice(spread(r.choice(patterns)))


def some(r: Random, texts: tuple[str, ...]) -> str:
    """Return one of the texts, or nothing."""
    return r.choice(texts) if r.random() < 0.6 else ""


@dataclass(frozen=True)
class Wording:
    """How something is stated, asked for and repeated; {} is its value."""

    said: tuple[str, ...]
    asked: tuple[str, ...]
    reply: str
    values: str = ""
    """The kind of value, see `value`."""

    @property
    def question(self) -> str:
        """The first wording asked: the one that every other has the summary of."""
        return spread(self.asked[0])[0]


BEGUN = {
    "KNOW": "[could you tell me|can you tell me|I would like to know|please tell me|do you know|I need to know|I was wondering|tell me]",
    "GIVE": "[could you give me|can you give me|please give me|I need|may I have|do you have|let me have|I am looking for]",
}
"""What KNOW and GIVE stand for in a pattern of `wordings.toml`."""


def _texts(patterns: list[str]) -> tuple[str, ...]:
    return tuple(re.sub("|".join(BEGUN), lambda m: BEGUN[m[0]], p) for p in patterns)


def _wording(row: dict[str, Any]) -> Wording:
    return Wording(_texts(row["said"]), _texts(row["asked"]), row["reply"], row["values"])


_TABLES = tomllib.loads(Path(__file__).with_name("wordings.toml").read_text(encoding="utf-8"))
MORE_FACTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    name: (_texts(row["said"]), _texts(row["asked"])) for name, row in _TABLES["facts"].items()
}
"""Further ways to state and to ask for what `chats.FACTS` holds."""
THINGS = tuple(map(_wording, _TABLES["things"]))
"""Facts of other kinds, many about a drawn thing {x}, which the question names."""
TOLD = tuple(map(_wording, _TABLES["told"]))
"""What a user tells, asks later, and is answered."""
OWN_NAME = next(w for w in TOLD if w.reply == "Your name is {}.")
BEFORE, AFTER, ASKING = (_texts(_TABLES[name]) for name in ("before", "after", "asking"))
"""What may stand before and after what is told, and before what is asked."""
GREETED = _texts(_TABLES["greeted"])
"""Greetings that tell the user's name, which are still greetings."""
USER_NAMED = _texts(_TABLES["user_named"])
"""How a system prompt states what was kept of the user."""
HEARD = _texts(_TABLES["heard"])
"""Replies to what a user tells that do not repeat it."""
END_RULES, ENDINGS = _texts(_TABLES["end_rules"]), _texts(_TABLES["endings"])
ONE_WORD = _texts(_TABLES["one_word"])
HELPING = _texts(_TABLES["helping"])
"""Openings that name a kind of business and no name."""
MANNERS, ROLES = _texts(_TABLES["manners"]), _texts(_TABLES["roles"])
COPIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    kind: (_texts(row["said"]), _texts(row["replies"])) for kind, row in _TABLES["copies"].items()
}
"""For each kind of detail: how a user gives it; replies that repeat it."""
PAIRS = tuple((row["said"], row["reply"], row["kind"]) for row in _TABLES["pairs"])
"""What a user says, a reply to just that, and the kind of detail in both."""
COPY_RULES = _texts(_TABLES["copy_rules"])
WORD_FACTS = tuple((row["said"], tuple(row["asked"]), row["values"]) for row in _TABLES["words"])
"""A fact about a thing {x}, questions for it, and the kind of its value, which is one word."""
DRAWN: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in _TABLES["drawn"].items()}
DEEDS = (("buy", "bought"), ("lose", "lost"), ("find", "found"), ("break", "broke"), ("forget", "forgot"), ("sell", "sold"), ("repair", "repaired"), ("borrow", "borrowed"),
         ("paint", "painted"), ("order", "ordered"), ("return", "returned"), ("wash", "washed"), ("need", "needed"), ("hide", "hid"), ("inherit", "inherited"))  # fmt: skip


def value(r: Random, world: World, kind: str) -> str:
    """Return a value of a kind, drawn at random."""
    lists = world.lists
    if kind == "where":
        return r.choice(DRAWN["where"])
    if kind == "name":
        first, last = r.choice(lists["first_names"]), r.choice(lists["last_names"])
        return r.choice(
            (first, first, f"{first} {last}", f"{r.choice(('Mrs', 'Mr', 'Dr', 'Ms'))} {last}")
        )
    if kind == "first":
        return r.choice(lists["first_names"])
    if kind == "city":
        return r.choice(lists["cities"])
    if kind == "job":
        job = r.choice(lists["jobs"])
        return f"{'an' if job[0] in 'aeiou' else 'a'} {job}"
    if kind == "code":
        letters = "".join(r.choice("ABCDEFGHKLMNPRSTUXYZ") for _ in range(r.randint(1, 3)))
        return r.choice(
            (
                str(r.randint(10, 99_999_999)),
                f"{letters}-{r.randint(10, 99999)}",
                f"{r.choice(world.words)}{r.randint(1, 99)}",
                r.choice(world.words),
                f"{r.randint(10, 999)}-{r.randint(100, 9999)}",
                f"{letters}{r.randint(1, 999)}",
            )
        )
    if kind == "date":
        month, n = r.choice(MONTHS), r.randint(1, 30)
        return r.choice(
            (
                f"{n} {month}",
                f"{month} {n}",
                r.choice(DAYS),
                f"{r.choice(DAYS)}, {n} {month}",
                f"{n}.{r.randint(1, 12)}.20{r.randint(20, 39)}",
                f"{r.choice(DAYS)} at {r.randint(1, 12)} {r.choice(('am', 'pm'))}",
                f"the {r.randint(4, 20)}th of {month}",
            )
        )
    if kind == "time":
        return clock(r)
    if kind == "address":
        return f"{r.randint(1, 240)} {r.choice(STREETS)}"
    if kind in ("price", "money"):
        cents = f"{r.randint(1, 60)}.{r.randint(10, 99)}"
        amount = r.choice((str(r.randint(2, 99)), str(r.randint(100, 3000)), cents))
        return f"{amount} {r.choice(CURRENCIES)}"
    if kind == "year":
        return str(r.randint(1930, 2035))
    if kind == "count":
        return r.choice(
            (
                str(r.randint(2, 400)),
                r.choice(("three", "four", "six", "nine", "twelve", "twenty", "forty")),
            )
        )
    source = {"color": "colors", "country": "countries", "instrument": "instruments", "sport": "sports", "object": "objects", "animal": "animals", "fruit": "fruits", "dish": "dishes",
              "vegetable": "vegetables", "flower": "flowers", "bread": "breads", "gem": "gems"}[kind]  # fmt: skip
    found = r.choice(lists[source])
    return found if kind == "country" else found.lower()


def drawn(r: Random, world: World, wording: Wording) -> Wording:
    """Return a wording with its thing drawn: {role}, {item} and the like are filled."""
    do, did = r.choice(DEEDS)
    fill = {
        "do": do,
        "did": did,
        "item": r.choice([o for o in world.lists["objects"] if o.count(" ") < 2]).lower(),
    }
    fill |= {name: r.choice(found) for name, found in DRAWN.items()}

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: fill[m[1]], text)

    return Wording(
        tuple(map(filled, wording.said)),
        tuple(map(filled, wording.asked)),
        filled(wording.reply),
        filled(wording.values),
    )


def invented(r: Random, world: World) -> str:
    """Return a word that nobody wrote: the start of one and the end of another, read in pieces."""
    start, end = r.choice(world.words), r.choice(world.words)
    return start[: r.randint(2, 4)] + end[-r.randint(2, 5) :]


def sentence(r: Random, world: World) -> str:
    """Return a reply form with one {}: a written sentence cut open anywhere, or loose words."""
    if r.random() < 0.25:
        start = [r.choice(world.words) for _ in range(r.randint(0, 5))]
        end = [r.choice(world.words) for _ in range(r.randint(0, 6))]
        for part in (start, end):
            for i in range(len(part)):
                part[i] += r.choice(("", "", "", "", ",", ":"))
        return " ".join([*start, "{}", *end]).replace(
            "{} ", r.choice(("{} ", "{} ", "{}, ", "{}: "))
        ) + r.choice((".", "!", "?", ""))
    words = r.choice(world.note_answers if r.random() < 0.6 else world.sayings).split()
    if len(words) > 9:
        at = r.randrange(len(words) - 8)
        words = words[at : at + r.randint(4, 9)]
    at = r.randint(0, len(words))
    cut = r.choice((0, 0, 1, 1, 2)) if len(words) > 4 else 0
    text = " ".join([*words[:at], "{}", *words[at + cut :]])
    return text[:1].upper() + text[1:]


def echoing(r: Random, pattern: str, said: str) -> str:
    """Return a reply form that runs beside its first {} as the user's sentence does, or nearly.

    What stands before and after a detail must be read where the reply's form is shown, not in the
    message.
    """
    before, _, after = said.partition("{}")
    words = [w for w in before.split() if w.isalpha() and len(w) > 3]
    if words and r.random() < 0.2:
        # It begins with a word of the message: the detail is not all that is to be said of it.
        return r.choice(words).capitalize() + " {}" + pattern.partition("{}")[2]
    near = r.random()
    if before.split() and near < 0.6:
        pattern = pattern.replace("{}", before.split()[-1].strip(".,?!:") + " {}", 1)
    if after.split() and near > 0.3:
        word = after.split()[0].rstrip(".,?!") + r.choice(("", "", "s", "ed", "ing"))
        pattern = pattern.replace("{}", "{} " + word, 1)
    return pattern


def telling(r: Random, world: World) -> str:
    """Return a user's sentence with one {}: one that was written, cut open anywhere."""
    words = world.texts[r.choice(world.questions)].split()
    if len(words) > 8:
        at = r.randrange(len(words) - 7)
        words = words[at : at + r.randint(2, 8)]
    at = r.randint(0, len(words))
    return " ".join([*words[:at], "{}", *words[at + r.choice((0, 1)) :]])


def told_wording(r: Random, pattern: str, opening: str = "") -> str:
    """Return how a user may type a statement: after an opening or not, with a capital or not."""
    fixed = pattern.startswith(("I ", "I'", "{}"))
    if opening:
        text = opening + (pattern if fixed else pattern[:1].lower() + pattern[1:])
        return text[:1].upper() + text[1:] if r.random() < 0.6 else text
    return pattern if fixed or r.random() < 0.6 else pattern[:1].lower() + pattern[1:]
