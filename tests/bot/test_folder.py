from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from promptbot.bot.folder import bot_folders, find_bot, load_bot, shipped_bots_folder
from promptbot.errors import BotNotFound, DataError, SpecError, TemplateError, UserError
from tests.conftest import BOT_YAML, EXAMPLES, BotMaker


def test_a_bot_is_read_with_everything_it_needs(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot())
    assert bot.name == "shop"
    assert bot.variant == "default"
    assert [e.input for e in bot.examples] == ["Hello", "Bye", "Thank you"]
    assert bot.notes[1].answer == "In Mill Street."
    assert "You work at" in bot.system.text
    assert bot.turn is None


def test_variant_changes_only_what_it_names(make_bot: BotMaker) -> None:
    folder = make_bot()
    base, variant = load_bot(folder), load_bot(folder, "zero_shot")
    assert variant.spec.examples is not None
    assert base.spec.examples is not None
    assert variant.spec.examples.k == 0
    assert variant.spec.examples == base.spec.examples.model_copy(update={"k": 0})
    assert variant.spec.model_copy(update={"examples": base.spec.examples}) == base.spec


def test_variant_finds_its_own_template_first(make_bot: BotMaker) -> None:
    folder = make_bot(
        files={"variants/terse.yaml": "template: terse.j2\n", "variants/terse.j2": "Short."}
    )
    assert load_bot(folder, "terse").system.text == "Short."


def test_variant_with_a_missing_template_is_refused(make_bot: BotMaker) -> None:
    folder = make_bot(files={"variants/terse.yaml": "template: sytem.j2\n"})
    with pytest.raises(TemplateError, match=r'no template "sytem\.j2"(.|\n)*"system\.j2"\?'):
        load_bot(folder, "terse")


def test_unknown_variant_lists_those_there_are(make_bot: BotMaker) -> None:
    with pytest.raises(SpecError, match=r'Variants: default, zero_shot. Did you mean "zero_shot"'):
        load_bot(make_bot(), "zeroshot")


def test_turn_template_is_used_where_it_exists(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot(files={"turn.j2": "<{{ input }}>"}))
    assert bot.turn is not None
    assert bot.turn.text == "<{{ input }}>"


@pytest.mark.parametrize(
    "change",
    [
        {"bot.yaml": BOT_YAML.replace("Acme", "Ajax")},
        {"system.j2": "Hello."},
        {"examples.jsonl": EXAMPLES.replace("Goodbye!", "See you!")},
        {"knowledge.jsonl": '{"question": "Q", "answer": "A"}\n'},
        {"turn.j2": "{{ input }}!"},
    ],
)
def test_hash_changes_with_everything_that_decides_a_reply(
    make_bot: BotMaker, change: dict[str, str]
) -> None:
    before = load_bot(make_bot()).content_hash
    assert load_bot(make_bot(files=change)).content_hash != before


def test_hash_does_not_change_with_place_description_or_blank_lines(
    make_bot: BotMaker, tmp_path: Path
) -> None:
    before = load_bot(make_bot()).content_hash
    described = make_bot(files={"bot.yaml": BOT_YAML + "description: Another.\n"})
    (described / "examples.jsonl").write_text("\n" + EXAMPLES)
    moved = shutil.copytree(described, tmp_path / "elsewhere" / "shop")
    assert load_bot(moved).content_hash == before


def test_bots_are_found_by_path_name_and_among_those_shipped(
    make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = make_bot()
    assert find_bot(folder) == folder
    assert find_bot(folder / "bot.yaml") == folder
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert find_bot("customer_service") == shipped_bots_folder() / "customer_service"
    shutil.copytree(folder, tmp_path / "work" / "templates" / "customer_service")
    assert find_bot("customer_service") == Path("templates/customer_service")


@pytest.mark.parametrize("name", ["custmer_service", "x" * 5000, "a\0b", ""])
def test_unknown_bot_is_one_clear_message(name: str) -> None:
    with pytest.raises(BotNotFound, match="customer_service"):
        find_bot(name)


def test_folder_without_bot_yaml_says_so(tmp_path: Path) -> None:
    with pytest.raises(BotNotFound, match=r"holds no bot\.yaml"):
        find_bot(tmp_path)


def test_k_larger_than_the_pool_is_refused(make_bot: BotMaker) -> None:
    folder = make_bot(files={"bot.yaml": BOT_YAML.replace("k: 2, order", "k: 4, order")})
    with pytest.raises(DataError, match=r"asks for k = 4 examples, the pool holds 3"):
        load_bot(folder)


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd"])
def test_files_outside_the_folder_are_refused(
    make_bot: BotMaker, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret.jsonl").write_text(EXAMPLES)
    folder = make_bot(files={"bot.yaml": BOT_YAML.replace("examples.jsonl", name)})
    with pytest.raises(DataError, match="leads out of the bot's folder"):
        load_bot(folder)


def test_links_out_of_the_folder_are_refused(make_bot: BotMaker, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    folder = make_bot(files={"system.j2": None})
    (folder / "system.j2").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="leads out"):
        load_bot(folder)


@pytest.mark.parametrize("name", sorted(bot_folders()))
def test_shipped_bots_load_under_every_variant(name: str) -> None:
    from promptbot.bot.folder import variant_files

    hashes = {
        load_bot(name, variant).content_hash for variant in (None, *variant_files(find_bot(name)))
    }
    assert len(hashes) == 1 + len(variant_files(find_bot(name)))


def test_every_error_of_a_bot_is_a_users_mistake() -> None:
    assert all(issubclass(e, UserError) for e in (BotNotFound, DataError, SpecError, TemplateError))
