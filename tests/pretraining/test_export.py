"""The shipped folder is what the recipe describes and what plain Transformers loads."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from pretraining import export, generators, tokenizer
from pretraining.episodes import encode
from pretraining.world import World
from promptbot.models.weights import checksums

FOLDER = Path(__file__).parents[2] / export.FOLDER


def test_card_describes_every_shipped_file() -> None:
    card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    names = [p.name for p in FOLDER.iterdir() if p.name != "card.json"]
    assert card["files"] == checksums(FOLDER, names)
    assert all(f["bytes"] < 20_000_000 for f in card["files"].values())


@pytest.mark.parametrize("text", ["Order 48213, please!", "你好 café 🎉", "a\n\n  b", "<|end|>"])
def test_shipped_tokenizer_gives_any_text_back(text: str) -> None:
    vocabulary = tokenizer.load(FOLDER)
    vocabulary.encode_special_tokens = True
    assert vocabulary.decode(vocabulary.encode(text).ids, skip_special_tokens=False) == text


def test_chat_format_reads_an_episode_as_training_did(world: World) -> None:
    from promptbot.models.chat_format import ChatFormat
    from promptbot.models.codec import Codec
    from promptbot.types import Message

    template = (FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
    chat = ChatFormat(
        Codec.load(FOLDER), template=template, special={}, eos_ids=[4], place="embedded"
    )
    vocabulary = tokenizer.load(FOLDER)
    for seed in range(20):
        turns = generators.chat(Random(seed), world)[:-1]
        messages = [Message(t.role, t.content) for t in turns]
        ids = encode(turns, vocabulary).ids
        if ids[-1] != tokenizer.ASSISTANT:
            ids = [*ids, tokenizer.ASSISTANT]
        assert chat.encode(messages).ids == ids
