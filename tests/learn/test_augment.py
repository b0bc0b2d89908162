"""Swaps of groups against texts written by hand; paraphrases from a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptbot.learn.augment import paraphrase, swap_groups
from promptbot.models.registry import load_model
from tests.encoders import HashingEncoder


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He lost his card", "She lost her card"),
        ("my husband says it is his.", "my wife says it is hers."),
        ("The card is hers, not his", "The card is his, not hers"),
        ("Please call her today", "Please call him today"),
        ("Please call her sister", "Please call his brother"),
        ("I sent it to her, and to Mary", "I sent it to him, and to John"),
        ("HE'S my dad", "SHE'S my mum"),
        ("Mrs Smith and her son", "Mr Smith and his daughter"),
        ("my mom forgot her PIN again", "my dad forgot his PIN again"),
        ("Is the lady herself there, ma'am?", "Is the gentleman himself there, sir?"),
        ("The theme of the manual", "The theme of the manual"),
    ],
)
def test_words_of_one_gender_become_those_of_the_other(text: str, wanted: str) -> None:
    swapped = swap_groups(text)
    assert swapped is not None
    if "John" in wanted:  # several names stand for one
        wanted, swapped = wanted.rsplit(" ", 1)[0], swapped.rsplit(" ", 1)[0]
    assert swapped == wanted


@pytest.mark.parametrize("text", ["I want to send her money", "it was her's"])
def test_what_the_words_around_do_not_decide_has_no_result(text: str) -> None:
    assert swap_groups(text) is None


def test_paraphrases_are_new_near_to_the_source_and_unlike_each_other(tmp_path: Path) -> None:
    answer = (
        "Here are three:\n1. Where is my parcel?\n"
        '2) "Where is my parcel, I ask you now"\n- zzz qqq vvv'
    )
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"match": "Where is my parcel?", "text": answer}) + "\n")
    (found,) = paraphrase(
        ["Where is my parcel?"],
        load_model(f"scripted:{script}"),
        HashingEncoder(),
        language="en",
    )
    assert found.kept == ("Where is my parcel, I ask you now",)
    assert found.n_refused == 2
