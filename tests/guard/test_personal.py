"""Personal data in texts, and what only looks like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptbot.guard.numbers import NATIONAL_IDS, regions_of
from promptbot.guard.personal import KINDS, find

TEXTS = [
    json.loads(line)
    for line in (Path(__file__).parent / "texts.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: row["text"][:40])
def test_what_a_text_holds_is_found_and_nothing_else(row: dict[str, Any]) -> None:
    found = find(row["text"], KINDS, regions_of(row["language"]))
    assert sorted(one.kind for one in found) == sorted(row["kinds"])


def test_only_what_is_asked_for_is_found() -> None:
    text = "eva@example.com, +44 7911 123456"
    assert [one.kind for one in find(text, ["phone"], [])] == ["phone"]
    assert find(text, ["card", "iban"], ["US"]) == []


def test_the_place_is_exactly_the_data() -> None:
    text = "Write (to eva@example.com), pay 4111 1111 1111 1111. IBAN de89 3704 0044 0532 0130 00!"
    values = [text[one.start : one.stop] for one in find(text, KINDS, ["DE"])]
    assert values == ["eva@example.com", "4111 1111 1111 1111", "de89 3704 0044 0532 0130 00"]


@settings(deadline=None)  # the first example loads the number plans
@given(st.text(alphabet="0123456789 +-()@.:abcDE8", max_size=80))
def test_what_is_found_lies_in_order_and_never_overlaps(text: str) -> None:
    found = find(text, KINDS, ["US", "DE", "NL"])
    ends = [0]
    for one in found:
        assert ends[-1] <= one.start < one.stop <= len(text)
        ends.append(one.stop)


def test_every_regions_ids_have_a_module_that_exists() -> None:
    import importlib

    for forms in NATIONAL_IDS.values():
        for one in forms:
            if one.module:
                assert importlib.import_module(f"stdnum.{one.module}").is_valid


@pytest.mark.parametrize("unit", ["a.", "@", "1 ", "AB12 ", "a@", "1:", "1-", "é"])
def test_long_texts_are_read_to_their_end(unit: str) -> None:
    assert find(unit * 20_000 + " eva@example.com", ["email", "iban", "card", "ip"], ["US"])[-1:]


def test_a_card_goes_with_its_expiry_and_code_and_leaves_the_rest() -> None:
    said = {
        "pay 5425 2334 3010 9903 exp 12/27 cvv 831 today": "pay [] today",
        "5425233430109903 831, thanks": "[], thanks",
        "5425 2334 3010 9903 120 euros": "[] 120 euros",
        "5425 2334 3010 9903\n12/27\n831": "[]",
    }
    for text, wanted in said.items():
        for one in reversed(find(text, ["card"], [])):
            text = f"{text[: one.start]}[]{text[one.stop :]}"
        assert text == wanted


def test_an_address_in_chinese_takes_nothing_of_the_sentence() -> None:
    for text, wanted in (
        ("请写信给li.wei@example.cn谢谢再见", "li.wei@example.cn"),
        ("我的邮箱是李伟@example.cn", "李伟@example.cn"),
        ("メールはsato@example.jpです", "sato@example.jp"),
    ):
        found = find(text, ["email"], [])
        assert [text[one.start : one.stop].lstrip("是") for one in found] == [wanted]


def test_a_spoken_name_is_taken_whole() -> None:
    text = "write to jane dot doe at example dot org please"
    assert [text[one.start : one.stop] for one in find(text, ["email"], [])] == [
        "jane dot doe at example dot org"
    ]


def test_half_of_an_account_is_no_telephone_number() -> None:
    assert find("IBAN DE75 5121 0800\n1245 1261 99", ["phone"], ["DE", "US"]) == []


def test_a_languages_tag_names_the_first_region() -> None:
    assert regions_of("pt-BR") == ("BR", "PT")
    assert regions_of("de_AT") == ("AT", "DE", "CH")
    assert regions_of("zh-Hant-TW") == ("TW", "CN")
    assert regions_of("tlh") == ()
