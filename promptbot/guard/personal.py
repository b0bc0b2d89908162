"""Finds personal data in a text: by check digits and number plans, without any model."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from promptbot.types import PersonalKind

KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)
"""Where two claim the same place, the one named first has it."""

REGIONS = {
    "en": ("US", "GB"),
    "de": ("DE", "AT", "CH"),
    "fr": ("FR", "BE", "CH"),
    "es": ("ES", "MX"),
    "it": ("IT",),
    "nl": ("NL", "BE"),
    "pt": ("PT", "BR"),
    "pl": ("PL",),
    "sv": ("SE",),
    "zh": ("CN",),
}
"""Where numbers without a country code may come from, by language."""

NATIONAL_IDS: dict[str, tuple[tuple[str, str], ...]] = {
    "US": (("us.ssn", r"\d{3}-\d{2}-\d{4}"),),
    "GB": (
        ("gb.nhs", r"\d{3}[ -]\d{3}[ -]\d{4}"),
        ("", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),
    ),
    "DE": (("de.idnr", r"\d{2} \d{3} \d{3} \d{3}|\d{11}"),),
    "AT": (("at.vnr", r"\d{4} \d{6}"),),
    "CH": (("ch.ssn", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}"),),
    "FR": (("fr.nir", r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"),),
    "BE": (("be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}|\d{11}"),),
    "ES": (("es.dni", r"\d{8}-?[A-Z]"), ("es.nie", r"[XYZ]-?\d{7}-?[A-Z]")),
    "IT": (("it.codicefiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]"),),
    "NL": (("nl.bsn", r"\d{4}[. ]\d{2}[. ]\d{3}|\d{9}"),),
    "PL": (("pl.pesel", r"\d{11}"),),
    "SE": (("se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}"),),
    "BR": (("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}"),),
    "MX": (("mx.curp", r"[A-Z]{4}\d{6}[A-Z]{6}[A-Z\d]\d"),),
    "CN": (("cn.ric", r"\d{17}[\dX]"),),
    "CA": (("ca.sin", r"\d{3}[ -]\d{3}[ -]\d{3}"),),
    "IN": (("in_.aadhaar", r"\d{4} \d{4} \d{4}"),),
}
"""The module of python-stdnum that knows a region's numbers, and how they are written. Where there
is no module, the form alone decides."""

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}\Z")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?(?:\.[^\W_](?:[\w-]{0,61}[^\W_])?){1,8}")
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ .-]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?=(?:[ .-]?[A-Za-z0-9]){11,30})")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?=[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:)[0-9A-Fa-f:.]{3,45})(?![\w:])"
)
_NUMBERED = re.compile(
    r"(?:order|invoice|ticket|ref(?:erence)?|parcel|tracking|booking|article|item|case|customer|"
    r"part|serial|version|bestell\w*|auftrag\w*|kunden\w*|rechnung\w*|sendung\w*|artikel\w*|"
    r"commande|facture|colis|client|pedido|factura|cliente|订单\w*|单号|编号)"
    r"\W{0,3}(?:number|numero|num|no|nr|nummer|id|code|numéro|número|n°)?[\W_]{0,4}(?:is|ist|est|es)?"
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
    found: list[Found] = []
    for kind in KINDS:
        if kind in kinds:
            for start, stop in _FINDERS[kind](plain, regions):
                first, last = places[start], places[stop - 1]
                if not any(first < other.stop and other.start <= last for other in found):
                    found.append(Found(kind, first, last + 1))
    return sorted(found, key=lambda one: one.start)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Return a text in plain digits, letters and spaces, and the place of each of its characters.

    Full-width and other scripts' digits, unusual spaces and hyphens become ASCII's; what has no
    width is left out, so that it hides nothing.
    """
    if text.isascii():
        return text, range(len(text))
    kept: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category == "Cf":
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
        before = text[max(0, at - 64) : at]
        local, domain = _LOCAL.search(before), _DOMAIN.match(text, at + 1)
        if local and domain and (name := local.group().lstrip(".'")):
            yield at - len(name), domain.end()
        at = text.find("@", at + 1)


def _ibans(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        from stdnum import iban

        stop, n = match.start(), 0
        ends: list[int] = []
        while stop < len(text) and n < 34:
            if text[stop].isascii() and text[stop].isalnum():
                n += 1
                ends.append(stop + 1)
            elif text[stop] not in " .-":
                break
            stop += 1
        for end in reversed(ends[14:]):
            whole = end == len(text) or not text[end].isalnum()
            if whole and iban.is_valid(text[match.start() : end].replace(".", " ")):
                yield match.start(), end
                break


def _cards(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        from stdnum import luhn

        digits = re.sub(r"\D", "", match.group())
        if len(set(digits)) > 1 and luhn.is_valid(digits):
            yield match.span()


def _national_ids(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for region in regions:
        for module, form in NATIONAL_IDS.get(region, ()):
            for match in re.finditer(rf"(?<![\w.-])(?:{form})(?![\w-])", text, re.IGNORECASE):
                if _NUMBERED.search(text, max(0, match.start() - 40), match.start()):
                    continue
                if not module or importlib.import_module(f"stdnum.{module}").is_valid(
                    match.group()
                ):
                    yield match.span()


def _addresses(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    for match in _IP.finditer(text):
        import ipaddress

        try:
            ipaddress.ip_address(match.group().rstrip("."))
        except ValueError:
            continue
        yield match.start(), match.start() + len(match.group().rstrip("."))


def _phones(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    if sum(map(str.isdigit, text)) < 7:
        return  # too short for any number plan; the library need not be loaded
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in regions or (None,):
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            named = _NUMBERED.search(text, max(0, match.start - 40), match.start)
            if match.raw_string.startswith("+") or not named:
                yield match.start, match.end


_FINDERS: dict[PersonalKind, Callable[[str, Sequence[str]], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "national_id": _national_ids,
    "ip": _addresses,
    "phone": _phones,
}
