"""Label options at a provider: what its log-probabilities of the likeliest tokens say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

TOP = 20
"""Tokens whose log-probabilities are asked for at each place; what providers give at most."""

TINY = 1e-9
"""Probability of an option that nothing speaks for."""

NOTHING = 1e-3
"""Probability of all options together under which the answer named none of them."""


def option_logprobs(
    tokens: Sequence[Mapping[str, Any]], options: Sequence[str]
) -> dict[str, float] | None:
    """Return the log-probability of each option, in nats; None where the answer names none.

    The answer's tokens are followed from the first on. At each place, the options that go on with
    one of the likeliest tokens get that token's probability. Options that begin alike share it
    equally where the answer went another way, since nothing is known of what would have followed;
    so options that differ in their first token get exactly their token's probability, and others
    an estimate. Options that no listed token begins share what the list leaves, none of them more
    than the list's last token. Case and outer white space do not matter.

    Args:
        tokens: ``content`` of the ``logprobs`` of an answer in OpenAI's form.
        options: Texts that the answer could be.
    """
    found = dict.fromkeys(options, 0.0)
    wanted = {option: option.strip().casefold() for option in options}
    alive, reached, mass = list(options), "", 1.0
    for token in tokens:
        if mass <= TINY or not alive:
            break
        listed = {str(token["token"]): float(token["logprob"])}
        listed |= {
            str(top["token"]): float(top["logprob"]) for top in token.get("top_logprobs") or ()
        }
        claimed: set[str] = set()
        following: list[str] = []
        for text, logprob in listed.items():
            read = (reached + text).lstrip().casefold()
            fitting = [o for o in alive if wanted[o].startswith(read.rstrip()) and read.strip()]
            if not fitting:  # the option ended before this token
                fitting = [o for o in alive if wanted[o] == reached.strip() and reached.strip()]
            claimed.update(fitting)
            share = mass * math.exp(logprob)
            if text == token["token"] and len(fitting) > 1:
                following = fitting
            else:
                for option in fitting:
                    found[option] += share / len(fitting)
        unseen = [option for option in alive if option not in claimed]
        left = max(0.0, 1 - sum(map(math.exp, listed.values())))
        least = min(map(math.exp, listed.values()))
        for option in unseen:
            found[option] += mass * min(left / len(unseen), least)
        alive, reached = following, (reached + str(token["token"])).lstrip().casefold()
        mass *= math.exp(float(token["logprob"]))
    exact = [option for option in alive if wanted[option] == reached.strip()] or alive
    for option in exact:
        found[option] += mass / len(exact)
    if sum(found.values()) < NOTHING:
        return None
    return {option: math.log(max(share, TINY)) for option, share in found.items()}


def enumerated(options: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer that is one of the options, under ``label``."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(options)}},
        "required": ["label"],
        "additionalProperties": False,
    }
