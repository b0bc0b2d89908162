"""check says everything at once; new makes what check accepts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from promptbot.prompt import output
from tests.cli.conftest import SHOP_YAML, Cli, ScriptMaker
from tests.conftest import BotMaker


def test_a_good_bot_is_ok(cli: Cli, shop: str) -> None:
    result = cli("check", shop)
    assert result.status == 0
    assert result.out == f"ok: {shop} (1 variant, 3 examples, 0 notes)\n"


def test_everything_wrong_in_every_bot_is_said_at_once(
    cli: Cli, shop: str, make_bot: BotMaker
) -> None:
    broken = make_bot(
        "broken",
        {
            "bot.yaml": SHOP_YAML,
            "system.j2": "{{ compny }}",
            "examples.jsonl": '{"input": "a", "output": "b"}\n{"input": 1}\n{"input": "c"}\n',
            "variants/zero_shot.yaml": "examples: {kk: 0}\n",
        },
    )
    result = cli("check", str(broken), "no_such_bot", shop)
    assert result.status == 2
    assert result.out == f"ok: {shop} (1 variant, 3 examples, 0 notes)\n"
    for problem in (
        'Did you mean "company"?',
        "examples.jsonl, line 2",
        "examples.jsonl, line 3",
        "zero_shot.yaml, line 1",
        'there is no bot "no_such_bot"',
    ):
        assert problem in result.err


@pytest.mark.parametrize("task", ["chat", "classify"])
def test_a_new_bot_passes_its_check_and_answers(
    cli: Cli, script: ScriptMaker, tmp_path: Path, task: str
) -> None:
    made = cli("new", "my_bot", "--task", task)
    assert made.status == 0
    assert (tmp_path / "templates" / "my_bot" / "bot.yaml").is_file()
    assert "promptbot run my_bot" in made.out
    assert cli("check", "my_bot").status == 0
    assert cli("new", "my_bot").status == 2


def test_a_template_that_defeats_the_prefix_cache_is_remarked_on_and_fine(
    cli: Cli, make_bot: BotMaker
) -> None:
    fixed = "Be friendly, be brief, and never promise what the shop cannot keep. " * 3
    files = {
        "bot.yaml": "name: late\ntask: chat\nmodel: embedded\ntemplate: system.j2\n"
        "knowledge: {file: knowledge.jsonl, k: 1}\n",
        "knowledge.jsonl": '{"question": "Who?", "answer": "We."}\n',
        "system.j2": "Notes: {% for n in knowledge %}{{ n.answer }}{% endfor %} " + fixed,
        "first.j2": fixed + "Notes: {% for n in knowledge %}{{ n.answer }}{% endfor %}",
    }
    late = cli("check", str(make_bot("late", files)))
    assert late.status == 0
    assert f"system.j2: {len(fixed)} characters of fixed text stand behind" in late.out
    files["bot.yaml"] = files["bot.yaml"].replace("system.j2", "first.j2")
    assert "characters" not in cli("check", str(make_bot("first", files))).out


def test_a_template_that_reckons_with_a_similarity_that_words_do_not_give_is_found(
    cli: Cli, make_bot: BotMaker
) -> None:
    files = {
        "bot.yaml": "name: words\ntask: chat\nmodel: embedded\ntemplate: system.j2\n"
        "knowledge: {file: knowledge.jsonl, k: 1, retriever: bm25}\n",
        "knowledge.jsonl": '{"question": "Who?", "answer": "We."}\n',
        "system.j2": "{% if knowledge[-1].similarity >= 0.5 %}Surely.{% endif %}",
    }
    reckons = cli("check", str(make_bot("reckons", files)))
    assert reckons.status == 2
    assert "system.j2" in reckons.err
    files["system.j2"] = "{% if (knowledge[-1].similarity or 0) >= 0.5 %}Surely.{% endif %}"
    assert cli("check", str(make_bot("careful", files))).status == 0


def test_a_variant_whose_extra_is_missing_is_said_and_the_others_are_checked(
    cli: Cli, make_bot: BotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("jsonschema", "llguidance", "py3langid", "py3langid.langid"):
        monkeypatch.setitem(sys.modules, package, None)
    # What another test loaded is remembered for the whole process.
    output._identifier.cache_clear()
    output.known_languages.cache_clear()
    files = {
        "bot.yaml": SHOP_YAML,
        "variants/form.yaml": "output: json\n",
        "variants/english.yaml": "output: {wrong_language: remark}\n",
        "variants/last.yaml": "examples: {k: 2}\n",
    }
    result = cli("check", str(make_bot("several", files)))
    assert result.status == 0
    assert "4 variants" in result.out
    assert "form.yaml: output.format: json needs" in result.out
    assert 'Install it with: pip install "promptbot[structured]"' in result.out
    assert "english.yaml: Checking the language of answers needs py3langid." in result.out

    files["variants/last.yaml"] = "examples: {k: 99}\n"
    broken = cli("check", str(make_bot("broken", files)))
    assert broken.status == 2
    assert "last.yaml, line 1" in broken.err
    assert "not checked here" in broken.out


def test_a_task_that_is_none_is_the_users_mistake(cli: Cli) -> None:
    result = cli("new", "x", "--task", "sing")
    assert result.status == 2
    assert "chat" in result.err


def test_a_new_bot_that_hides_a_shipped_one_says_so(cli: Cli) -> None:
    assert "hides promptbot's own bot" in cli("new", "customer_service").out
    assert "hides" not in cli("new", "my_own").out


def test_personal_data_that_cannot_be_known_is_remarked_on(cli: Cli, make_bot: BotMaker) -> None:
    def remarks(language: str, guard: str) -> str:
        yaml = f"name: g\nlanguage: {language}\nguard: {guard}\n"
        folder = make_bot("g", {"bot.yaml": yaml, "system.j2": "Be kind."})
        result = cli("check", str(folder))
        assert result.status == 0
        return " ".join(result.out.split())

    assert "phone numbers without a country code will not be found" in remarks(
        "eo", "{redact: [phone]}"
    )
    assert "will not be found" not in remarks("ja", "{redact: [phone, card]}")
    assert "will not be found" not in remarks("eo", "{redact: [phone], regions: [JP]}")
    assert "national ids of JP are not known" in remarks(
        "en", "{redact: [national_id], regions: [JP, DE]}"
    )
    assert "will not be found" not in remarks("en", "{redact: [national_id]}")
