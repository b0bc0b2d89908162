"""Whose numbers are whose: the regions of languages, and the national ids of regions."""

from __future__ import annotations

from dataclasses import dataclass

REGIONS = {
    "af": ("ZA",),
    "ar": ("SA", "EG", "AE", "MA"),
    "be": ("BY",),
    "bg": ("BG",),
    "bn": ("BD", "IN"),
    "bs": ("BA",),
    "ca": ("ES",),
    "cs": ("CZ",),
    "cy": ("GB",),
    "da": ("DK",),
    "de": ("DE", "AT", "CH"),
    "el": ("GR", "CY"),
    "en": ("US", "GB"),
    "es": ("ES", "MX"),
    "et": ("EE",),
    "eu": ("ES",),
    "fa": ("IR",),
    "fi": ("FI",),
    "fil": ("PH",),
    "fr": ("FR", "BE", "CH"),
    "ga": ("IE",),
    "gl": ("ES",),
    "gu": ("IN",),
    "he": ("IL",),
    "hi": ("IN",),
    "hr": ("HR",),
    "hu": ("HU",),
    "hy": ("AM",),
    "id": ("ID",),
    "is": ("IS",),
    "it": ("IT", "CH"),
    "ja": ("JP",),
    "ka": ("GE",),
    "kk": ("KZ",),
    "km": ("KH",),
    "kn": ("IN",),
    "ko": ("KR",),
    "lb": ("LU",),
    "lo": ("LA",),
    "lt": ("LT",),
    "lv": ("LV",),
    "mk": ("MK",),
    "ml": ("IN",),
    "mn": ("MN",),
    "mr": ("IN",),
    "ms": ("MY",),
    "mt": ("MT",),
    "my": ("MM",),
    "nb": ("NO",),
    "ne": ("NP",),
    "nl": ("NL", "BE"),
    "nn": ("NO",),
    "no": ("NO",),
    "pa": ("IN", "PK"),
    "pl": ("PL",),
    "pt": ("PT", "BR"),
    "ro": ("RO", "MD"),
    "ru": ("RU", "KZ"),
    "si": ("LK",),
    "sk": ("SK",),
    "sl": ("SI",),
    "sq": ("AL",),
    "sr": ("RS",),
    "sv": ("SE",),
    "sw": ("KE", "TZ"),
    "ta": ("IN", "LK"),
    "te": ("IN",),
    "th": ("TH",),
    "tr": ("TR",),
    "uk": ("UA",),
    "ur": ("PK",),
    "uz": ("UZ",),
    "vi": ("VN",),
    "zh": ("CN",),
}
"""Where numbers without a country code may come from, by language."""


def regions_of(language: str) -> tuple[str, ...]:
    """Return whose numbers a language's speakers write: its tag's region first, as in ``pt-BR``."""
    tag, *rest = language.replace("_", "-").split("-")
    named = [part.upper() for part in rest if len(part) == 2 and part.isalpha()]
    return tuple(dict.fromkeys([*named, *REGIONS.get(tag.casefold(), ())]))


@dataclass(frozen=True, slots=True)
class IdForm:
    """How a region writes an id."""

    module: str
    """The module of python-stdnum that knows its check digits; "" where the form decides."""
    form: str
    """A regular expression of the whole id."""
    name: str = ""
    """A regular expression of what it is called. Where given, the id counts only beside its name,
    since its form alone is that of many numbers."""


NATIONAL_IDS: dict[str, tuple[IdForm, ...]] = {
    "AR": (IdForm("ar.cuit", r"\d{2}-\d{8}-\d"),),
    "AT": (IdForm("at.vnr", r"\d{4} \d{6}"), IdForm("at.vnr", r"\d{10}", r"svnr|sv-?n|versich")),
    "AU": (IdForm("au.tfn", r"\d{3} ?\d{3} ?\d{3}", r"tfn|tax file"),),
    "BE": (IdForm("be.nn", r"\d{2}\.\d{2}\.\d{2}[- ]\d{3}[. ]\d{2}|\d{11}"),),
    "BG": (IdForm("bg.egn", r"\d{10}", r"егн|egn"),),
    "BR": (IdForm("br.cpf", r"\d{3}\.\d{3}\.\d{3}[- ]\d{2}|\d{11}"),),
    "CA": (
        IdForm("ca.sin", r"\d{3}[ -]\d{3}[ -]\d{3}"),
        IdForm("ca.sin", r"\d{9}", r"\bsin\b|social insurance|\bnas\b"),
    ),
    "CH": (IdForm("ch.ssn", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}"),),
    "CL": (IdForm("cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dK]|\d{7,8}-[\dK]"),),
    "CN": (IdForm("cn.ric", r"\d{17}[\dX]|\d{6} \d{8} \d{3}[\dX]"),),
    "CZ": (IdForm("cz.rc", r"\d{6}/\d{3,4}"),),
    "DE": (IdForm("de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}"),),
    "DK": (IdForm("dk.cpr", r"\d{6}-\d{4}"),),
    "EE": (IdForm("ee.ik", r"[1-8]\d{10}"),),
    "ES": (
        IdForm("es.dni", r"(?:\d{8}|\d{1,2}[. ]\d{3}[. ]\d{3})[- ]?[A-Z]"),
        IdForm("es.nie", r"[XYZ][- ]?(?:\d{7}|\d[. ]\d{3}[. ]\d{3})[- ]?[A-Z]"),
    ),
    "FI": (IdForm("fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[\dA-Y]"),),
    "FR": (IdForm("fr.nir", r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"),),
    "GB": (
        IdForm("gb.nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", r"nhs"),
        IdForm("", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D]"),
    ),
    "GR": (IdForm("gr.amka", r"\d{11}"),),
    "HR": (IdForm("hr.oib", r"\d{11}", r"oib"),),
    "ID": (IdForm("id.nik", r"\d{16}", r"nik|ktp"),),
    "IE": (IdForm("ie.pps", r"\d{7}[A-W][A-IW]?"),),
    "IL": (IdForm("il.idnr", r"\d{9}", r"ת\.?ז|תעודת|\bid\b"),),
    "IN": (
        IdForm("in_.aadhaar", r"\d{4}[ -]\d{4}[ -]\d{4}"),
        IdForm("in_.aadhaar", r"\d{12}", r"aadha?ar|uid|आधार"),
        IdForm("in_.pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]"),
    ),
    "IS": (IdForm("is_.kennitala", r"\d{6}-\d{4}"),),
    "IT": (IdForm("it.codicefiscale", r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]"),),
    "KR": (IdForm("kr.rrn", r"\d{6}-[1-8]\d{6}"),),
    "LT": (IdForm("lt.asmens", r"[3-6]\d{10}"),),
    "MX": (IdForm("mx.curp", r"[A-Z]{4}\d{6}[A-Z]{6}[A-Z\d]\d"),),
    "MY": (IdForm("my.nric", r"\d{6}-\d{2}-\d{4}"),),
    "NL": (IdForm("nl.bsn", r"\d{4}[. ]\d{2}[. ]\d{3}|\d{9}"),),
    "NO": (IdForm("no.fodselsnummer", r"\d{6} ?\d{5}"),),
    "PL": (IdForm("pl.pesel", r"\d{11}"),),
    "PT": (
        IdForm("pt.cc", r"\d{8} ?\d ?[A-Z\d]{2}\d"),
        IdForm("pt.nif", r"\d{3} ?\d{3} ?\d{3}", r"nif|contribuinte|fiscal"),
    ),
    "RO": (IdForm("ro.cnp", r"[1-9]\d{12}"),),
    "RS": (IdForm("si.emso", r"\d{13}"),),
    "SE": (
        IdForm("se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}|(?:19|20)\d{10}"),
        IdForm("se.personnummer", r"\d{10}", r"person"),
    ),
    "SI": (IdForm("si.emso", r"\d{13}"),),
    "SK": (IdForm("sk.rc", r"\d{6}/\d{3,4}"),),
    "TH": (
        IdForm("th.pin", r"\d-\d{4}-\d{5}-\d{2}-\d|\d \d{4} \d{5} \d{2} \d"),
        IdForm("th.pin", r"\d{13}", r"บัตร|ประชาชน|\bid\b"),
    ),
    "TR": (IdForm("tr.tckimlik", r"[1-9]\d{10}"),),
    "UA": (IdForm("ua.rntrc", r"\d{10}", r"іпн|рнокпп|инн|подат"),),
    "US": (
        IdForm("us.ssn", r"\d{3}-\d{2}-\d{4}"),
        IdForm("us.ssn", r"\d{3}[ .]?\d{2}[ .]?\d{4}", r"ssn|social"),
        IdForm("us.itin", r"9\d{2}-\d{2}-\d{4}"),
    ),
    "ZA": (IdForm("za.idnr", r"\d{13}|\d{6} \d{4} \d{2} \d"),),
}
"""The ids of people, by region."""
