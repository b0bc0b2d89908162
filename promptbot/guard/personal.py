"""Finds personal data in a text: by check digits and number plans, without any model."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from promptbot.guard.numbers import NATIONAL_IDS
from promptbot.scripts import HANGUL, UNSPACED, set_apart, touches
from promptbot.types import PersonalKind

KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)
"""Where two claim the same place, the one named first has it."""

_CERTAIN: frozenset[PersonalKind] = frozenset({"iban", "card", "ip"})
"""Kinds whose places are no other's, also where they themselves are not asked for: half of an IBAN
is no telephone number."""

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}\Z")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?(?:\.[^\W_](?:[\w-]{0,61}[^\W_])?){1,8}")
_END_OF_LATIN = re.compile(rf"[^{UNSPACED}{HANGUL}][{UNSPACED}{HANGUL}]")
_LATIN_TAIL = re.compile(rf"[^{UNSPACED}{HANGUL}]+\Z")
_SPELT_AT = re.compile(r"\s*[\[({<]\s*(?:at|ät|arroba|chez|@)\s*[\])}>]\s*|\s+@\s*|(?<=\w)@\s+")
_SPOKEN_AT = re.compile(r"\s+(?:at|ät|arroba)\s+")
_SPOKEN_NAME = re.compile(r"(?:[\w-]{1,30}\s*[\[({<]?\s*\bdot\b\s*[\])}>]?\s*){1,3}\Z")
_DOT = r"(?:\.|\s*[\[({<]\s*(?:dot|punkt|punto|point|\.)\s*[\])}>]\s*|\s+(?:dot|punkt|punto)\s+)"
_SPELT_DOMAIN = re.compile(
    rf"[a-z\d][a-z\d-]{{0,61}}(?:{_DOT}[a-z\d-]{{1,63}}){{0,4}}{_DOT}[a-z]{{2,24}}\b"
)
_SPOKEN_DOMAIN = re.compile(
    r"(?!(?:the|an?|our|my|your|this|that|his|her)\s)"
    r"[a-z\d-]{1,62}(?:\s+(?:dot|punkt|punto)\s+[a-z\d-]{1,24}){1,4}\b"
)

_GAP = r"[\s./_,·|-]{1,3}"
_GROUPS = re.compile(rf"\d+(?:{_GAP}\d+)*")
_GROUP = re.compile(r"\d+")
_BEHIND_CARD = re.compile(
    r"(?:[\s,;|/]{0,3}\(?(?:(?:exp\w*|valid|thru|gültig|bis|until)[\s.:]{0,2}){0,3}"
    r"(?<!\d)(?:0?[1-9]|1[0-2])\s?[/-]\s?(?:20)?\d\d(?!\d)\)?)?"
    r"(?:[\s,;|/]{0,3}(?:and\s|und\s)?\(?(?:cvv2?|cvc2?|cid|csc|security code|prüf\w+)"
    r"\W{0,3}(?:is\s)?\d{3,4}(?!\d)\)?"
    r"|[\s,;|/]{1,3}\d{3}(?!\w|[.,]?\d|\s?[$€£%]|\s\w))?",
    re.IGNORECASE,
)
_IBAN = re.compile(r"(?:(?<![^\W_])|(?<=[Ii][Bb][Aa][Nn]))[A-Za-z]{2}[\s.-]{0,3}\d[\s.-]{0,2}\d")
_BETWEEN_IBAN = frozenset(" \t\r\n.-/_,·")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w:])(?!\.\d)|\d{1,3}(?:\.\d{1,3}){3}(?=:\d{1,5}(?![\w:.]))"
    r"|(?=[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:)[0-9A-Fa-f:.]{3,45}(?![\w:]))"
)
_VERSION = re.compile(
    r"(?<![^\W\d_])(?:version|versión|versione|versão|versie|wersja|ver|release|build|firmware|chapter|section|"
    r"kapitel|abschnitt|paragraph|update|v|版本|第|§)[\s.:]{0,3}"
    r"(?:[\d.]+\s*(?:to|and|or|bis|und|auf|a|-|,|/|->)\s*)*\Z",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:order|invoice|ticket|ref(?:erence)?|parcel|tracking|booking|article|item|case|customer|"
    r"part|serial|version|bestell\w*|auftrag\w*|kunden\w*|rechnung\w*|sendung\w*|artikel\w*|"
    r"commande|facture|colis|client|pedido|factura|cliente|订单\w*|单号|编号|注文\w*|주문\w*|заказ\w*|"
    r"sipariş\w*)"
    r"\W{0,3}(?:number|numero|num|no|nr|nummer|id|code|numéro|número|n°|№)?[\W_]{0,4}(?:is|ist|est|es)?"
    r"[\W_]{0,3}\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in a text."""

    kind: PersonalKind
    """What it is."""
    start: int
    """Where it begins."""
    stop: int
    """Behind its last character."""


def find(text: str, kinds: Sequence[PersonalKind], regions: Sequence[str]) -> list[Found]:
    """Return the personal data in a text, in order, none overlapping another.

    Cards, IBANs and national ids count only with the right check digits, phone numbers only where
    the region's number plan has them. A number that is called an order's, an invoice's or another
    thing's stays.

    Args:
        text: Anything.
        kinds: What to look for.
        regions: Two-letter codes: whose national ids, and whose phone numbers without a country
            code.
    """
    plain, places = _plain(text)
    taken: list[tuple[int, int]] = []
    found: list[Found] = []
    for kind in KINDS:
        if kind in kinds or (kind in _CERTAIN and kinds):
            for start, stop in _FINDERS[kind](plain, regions):
                if not any(start < end and begin < stop for begin, end in taken):
                    taken.append((start, stop))
                    if kind in kinds:
                        # What has no width behind the last character belongs to it.
                        last = places[stop] if stop < len(places) else len(text)
                        found.append(Found(kind, places[start], last))
    return sorted(found, key=lambda one: one.start)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Return a text in plain digits, letters and spaces, and the place of each of its characters.

    Full-width and other scripts' digits, unusual spaces and hyphens become ASCII's; what has no
    width, and marks over or under letters and digits, are left out, so that they hide nothing.
    """
    if text.isascii():
        return text, range(len(text))
    kept: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Cf", "Mn", "Me"):
            continue
        if category == "Nd":
            character = str(unicodedata.digit(character))
        elif category == "Zs":
            character = " "
        elif category == "Pd":
            character = "-"
        elif len(alike := unicodedata.normalize("NFKC", character)) == 1:
            character = alike
        kept.append(character)
        places.append(place)
    return "".join(kept), places


def _emails(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find addresses around each @, so that long texts take no longer than they must."""
    at = text.find("@")
    while at >= 0:
        local, domain = _LOCAL.search(text[max(0, at - 64) : at]), _DOMAIN.match(text, at + 1)
        if local and domain and (name := _local_part(local.group())):
            # git@host:owner/repository is where code lies, not where a person reads mail.
            is_code = name in ("git", "hg") and text[domain.end() : domain.end() + 1] in (":", "/")
            if not is_code:
                yield at - len(name), _end_of_domain(domain)
        at = text.find("@", at + 1)
    folded = text.casefold()
    if len(folded) == len(text):
        yield from _spelt_emails(folded)


def _local_part(name: str) -> str:
    """Return what of the letters before an @ is the address.

    A name in Latin letters ends what Chinese, say, stands before it without a space. One that is
    all in such letters may begin anywhere: what is too long for a name is cut to the length of one.
    """
    if touches(name):
        latin = _LATIN_TAIL.search(name)
        name = latin.group() if latin else name if len(name) <= 6 else name[-3:]
    return name.lstrip(".'")


def _end_of_domain(domain: re.Match[str]) -> int:
    """Return where a domain ends: a label behind the first that begins in Latin letters ends where
    letters follow that touch it, as in ``li@example.cn谢谢``."""
    first_dot = domain.group().index(".")
    turn = _END_OF_LATIN.search(domain.group(), first_dot + 1)
    return domain.start() + turn.start() + 1 if turn else domain.end()


def _spelt_emails(text: str) -> Iterator[tuple[int, int]]:
    """Find addresses that are written out, as ``jane (at) example dot com``."""
    for sign, rest in ((_SPELT_AT, _SPELT_DOMAIN), (_SPOKEN_AT, _SPOKEN_DOMAIN)):
        for at in sign.finditer(text):
            local = _LOCAL.search(text[max(0, at.start() - 64) : at.start()])
            domain = rest.match(text, at.end())
            if local and domain and (name := _local_part(local.group())):
                start = at.start() - len(name)
                spoken = _SPOKEN_NAME.search(text[max(0, start - 64) : start])
                yield start - (len(spoken.group()) if spoken else 0), domain.end()


def _ibans(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(set_apart(text)):
        from stdnum import iban

        stop, n, gap = match.start(), 0, 0
        ends: list[int] = []
        while stop < len(text) and n < 34 and gap <= 3:
            if text[stop].isascii() and text[stop].isalnum():
                n, gap = n + 1, 0
                ends.append(stop + 1)
            elif text[stop] in _BETWEEN_IBAN:
                gap += 1
            else:
                break
            stop += 1
        for end in reversed(ends[14:]):
            if _goes_on(text, end):
                continue
            number = re.sub(r"[\W_]", "", text[match.start() : end])
            # A sentence that begins like an IBAN has more letters than digits, an account never.
            if 2 * sum(map(str.isdigit, number)) > len(number) and iban.is_valid(number):
                yield match.start(), end
                break


def _goes_on(text: str, end: int) -> bool:
    """Return whether a digit, or a letter behind a letter, stands behind a place."""
    following = text[end : end + 1]
    return following.isdecimal() or (
        following.isascii() and following.isalpha() and text[end - 1].isalpha()
    )


def _cards(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for run in _GROUPS.finditer(text):
        if len(run.group()) < 13:
            continue
        groups = [
            (one.start() + run.start(), one.end() + run.start())
            for one in _GROUP.finditer(run.group())
        ]
        first = 0
        while first < len(groups):
            last = _last_group_of_card(text, groups, first)
            if last is None:
                first += 1
                continue
            behind = _BEHIND_CARD.match(text, groups[last][1])
            assert behind is not None  # it may be empty
            stop = behind.end()
            yield groups[first][0], stop
            first = next((i for i, group in enumerate(groups) if group[0] >= stop), len(groups))


def _is_within_a_code(text: str, start: int, stop: int) -> bool:
    """Return whether letters and digits stand mixed around a number, or a plus before it.

    A word may touch a card's number ("card4111..."), but not the number be a part of a code.
    """
    if text[max(0, start - 1) : start] == "+":
        return True
    before = re.search(r"[^\W_]*\Z", set_apart(text[max(0, start - 40) : start]))
    after = re.match(r"[^\W_]*", set_apart(text[stop : stop + 40]))
    sides = [side.group() for side in (before, after) if side and side.group()]
    return len(sides) == 2 or any(len(side) < 2 or not side.isalpha() for side in sides)


_GROUPINGS = frozenset({(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (6, 13), (4, 4, 4, 1)})
"""How many digits stand together on a card."""


def _last_group_of_card(text: str, groups: Sequence[tuple[int, int]], first: int) -> int | None:
    """Return the last of the groups of digits that are a card's number, from the first on."""
    from stdnum import luhn

    start = groups[first][0]
    before = text[groups[first - 1][1] : start] if first else ""
    n_before = groups[first - 1][1] - groups[first - 1][0] if first else 0
    # Behind a decimal point, say, no card begins; behind the month of another one, it does.
    if before in (".", "-") or (before in (",", "_", "/") and n_before > 4):
        return None
    digits, gaps, fitting = "", "", []
    for last in range(first, min(first + 19, len(groups))):
        if last > first:
            gaps += text[groups[last - 1][1] : groups[last][0]] + "\0"
        digits += text[groups[last][0] : groups[last][1]]
        if len(digits) > 19:
            break
        sizes = tuple(b - a for a, b in groups[first : last + 1])
        plain = all(gap in ("", " ", "-", ".") for gap in gaps.split("\0"))
        if (
            (plain or sizes in _GROUPINGS)
            and len(digits) in _lengths(digits)
            and len(set(digits)) > 1
            and luhn.is_valid(digits)
            and not _is_within_a_code(text, start, groups[last][1])
        ):
            fitting.append((sizes in _GROUPINGS or len(sizes) == 1, len(digits) == 16, last))
    return max(fitting)[2] if fitting else None


def _lengths(digits: str) -> Sequence[int]:
    """Return how many digits the cards have whose numbers begin so (ISO/IEC 7812-1)."""
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return (16,)
    if two in (34, 37):
        return (15,)
    if two in (36, 38, 39, 30):
        return range(14, 20)
    if two == 35 or 2200 <= four <= 2205:
        return range(16, 20)
    return range(13, 20) if digits[0] in "56" else ()


def _national_ids(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    apart = set_apart(text)
    for region in regions:
        for one in NATIONAL_IDS.get(region, ()):
            for match in re.finditer(rf"(?<![\w.-])(?:{one.form})(?![\w-])", apart, re.IGNORECASE):
                before = text[max(0, match.start() - 40) : match.start()]
                if one.name:
                    around = before + "\0" + text[match.end() : match.end() + 25]
                    counts = re.search(one.name, around, re.IGNORECASE) is not None
                else:
                    counts = _NUMBERED.search(before) is None
                if counts and (not one.module or _is_valid(one.module, match.group())):
                    yield match.span()


def _is_valid(module: str, number: str) -> bool:
    number = re.sub(r"[\s.]", "", number)
    if module == "es.dni":
        number = re.sub(r"\W", "", number).zfill(9)
    return bool(importlib.import_module(f"stdnum.{module}").is_valid(number))


def _addresses(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for match in _IP.finditer(set_apart(text)):
        import ipaddress

        found = match.group().rstrip(".")
        try:
            ipaddress.ip_address(found)
        except ValueError:
            continue
        named = _VERSION.search(text, max(0, match.start() - 40), match.start())
        if ":" in found and "." not in found and not _is_plainly_ipv6(found):
            continue
        if not named:
            yield match.start(), match.start() + len(found)


def _is_plainly_ipv6(address: str) -> bool:
    """Return whether an address is no time and no name of a programming language, as a::b is."""
    groups = [group for group in address.split(":") if group]
    if address == "::1":
        return True
    return len(groups) > 3 or (
        any(len(group) > 2 for group in groups) and any(c.isdigit() for c in address)
    )


def _phones(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    if sum(map(str.isdigit, text)) < 7:
        return  # too short for any number plan; the library need not be loaded
    from phonenumbers import Leniency, PhoneNumberMatcher

    spans: set[tuple[int, int]] = set()
    for region in regions or (None,):
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            spans.add((match.start, match.end))
        if re.search(r"\d[ \t-]*[\r\n\t]+ *[\d(]", text):
            # Over a line break a number counts only where its groups are those of its region.
            joined = re.sub(r"[\r\n\t]", " ", text)
            for match in PhoneNumberMatcher(joined, region, leniency=Leniency.STRICT_GROUPING):
                spans.add((match.start, match.end))
    # Of two regions' numbers at one place the longer one counts.
    for start, stop in sorted(spans, key=lambda span: span[0] - span[1]):
        named = _NUMBERED.search(text, max(0, start - 40), start)
        if text[start] == "+" or not named:
            yield start, stop


_FINDERS: dict[PersonalKind, Callable[[str, Sequence[str]], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "ip": _addresses,
    "phone": _phones,
}
