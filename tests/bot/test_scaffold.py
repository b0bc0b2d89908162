from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from promptbot.bot.check import check_bot
from promptbot.bot.folder import load_bot
from promptbot.bot.scaffold import create_bot
from promptbot.bot.spec import BotSpec
from promptbot.errors import InputError


@pytest.mark.parametrize("task", ["chat", "classify"])
def test_a_new_bot_works_as_it_stands(tmp_path: Path, task: Literal["chat", "classify"]) -> None:
    folder = create_bot("help_desk", tmp_path, task)
    assert check_bot(folder) == []
    assert load_bot(folder).spec.task == task
    assert load_bot(folder, "zero_shot").spec.examples is not None


def test_the_settings_of_a_new_bot_name_every_key(tmp_path: Path) -> None:
    text = "".join(
        (create_bot(task, tmp_path, task) / "bot.yaml").read_text() for task in ("chat", "classify")
    )
    unnamed = [key for key in BotSpec.model_fields if f"\n{key}:" not in "\n" + text]
    assert unnamed == ["turn_template"]


def test_an_existing_folder_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="already something of this name"):
        create_bot("a", tmp_path)
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "-x", ".", "a" * 300])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a bot"):
        create_bot(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        create_bot("a", tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
