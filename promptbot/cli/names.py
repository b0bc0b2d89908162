"""Names of sessions: readable ones that are made up, and those a person gives."""

from __future__ import annotations

import random
from collections.abc import Callable

from promptbot.errors import InputError
from promptbot.store import MAX_NAME_LENGTH

COLOURS = tuple(
    """amber azure black blue bronze brown coral copper cream crimson cyan ebony emerald
golden green grey hazel indigo ivory jade lilac lime maroon mauve mint navy ochre olive orange
pearl pink plum purple red rose ruby russet saffron scarlet sienna silver tan teal umber violet
white yellow""".split()  # noqa: SIM905 (readable as it is)
)

ANIMALS = tuple(
    """badger bear beaver bee bison cat crane cricket crow deer dingo dolphin dove duck eagle
egret elk falcon ferret finch fox frog gecko goose hare hawk heron hippo horse ibex ibis jackal
jay koala lark lemur lion llama lynx magpie marten mole moose moth mouse newt otter owl panda
parrot pigeon pony puffin quail rabbit raven robin salmon seal shrew sloth snail sparrow squid
stork swan swift tapir thrush tiger toad trout turtle viper vole walrus whale wolf wombat wren
yak zebra""".split()  # noqa: SIM905
)


def new_session_name(is_taken: Callable[[str], bool]) -> str:
    """Return a readable name that no session has, as ``amber-otter-42``."""
    choice = random.SystemRandom()
    while True:
        name = f"{choice.choice(COLOURS)}-{choice.choice(ANIMALS)}-{choice.randrange(10, 100)}"
        if not is_taken(name):
            return name


def check_session_name(name: str, hear: Callable[[str], str], place: str = "--session") -> str:
    """Return the name that a person gave to a session.

    Args:
        name: What they typed.
        hear: Returns what may be kept of a text.
        place: Where they typed it.

    Raises:
        InputError: It is empty, too long, holds what cannot be seen, or what may not be kept.
    """
    name = name.strip()
    if hear(name) != name:
        raise InputError(
            "a session's name is stored, and this one holds what the bot does not keep "
            "(guard.redact, or a secret of the environment).",
            place=place,
            hint=f"Give a name that tells nothing, as {place} monday.",
        )
    if name and len(name) <= MAX_NAME_LENGTH and name.isprintable():
        return name
    raise InputError(
        f"the name of the session is {name[:40]!r}.",
        place=place,
        expected=f"Expected 1 to {MAX_NAME_LENGTH} visible characters.",
        hint=f"Give a short name, as {place} monday.",
    )
