from __future__ import annotations

from pathlib import Path

import pytest

from promptbot.bot.check import check_bot
from promptbot.bot.folder import bot_folders, load_bot
from promptbot.errors import BotNotFound, UserError
from tests.conftest import CLASSIFY_EXAMPLES, CLASSIFY_YAML, EXAMPLES, BotMaker


def problems(folder: Path) -> str:
    return "\n\n".join(str(error) for error in check_bot(folder))


def test_a_good_bot_has_no_problems(make_bot: BotMaker, make_classifier: BotMaker) -> None:
    assert check_bot(make_bot()) == []
    assert check_bot(make_classifier()) == []


@pytest.mark.parametrize("name", sorted(bot_folders()))
def test_shipped_bots_have_no_problems(name: str) -> None:
    assert check_bot(name) == []


def test_everything_wrong_is_found_at_once(make_bot: BotMaker) -> None:
    folder = make_bot(
        files={
            "system.j2": "{{ compny }}\n{% if knowledge %}\n",
            "examples.jsonl": EXAMPLES + '{"input": "x"}\nnot json\n',
            "knowledge.jsonl": '{"question": "Q"}\n',
            "variants/typo.yaml": "exmples: {k: 1}\n",
            "variants/lost.yaml": "template: lost.j2\n",
        }
    )
    found = problems(folder)
    for part in (
        "system.j2, line 2",
        'examples.jsonl, line 4: field "output" is missing',
        "examples.jsonl, line 5: this line is not JSON",
        'knowledge.jsonl, line 1: field "answer" is missing',
        'typo.yaml, line 1: unknown setting "exmples"',
        'there is no template "lost.j2"',
    ):
        assert part in found


def test_undeclared_variable_is_found_with_its_line(make_bot: BotMaker) -> None:
    found = problems(make_bot(files={"system.j2": "Hi\n{{ compny }}"}))
    assert 'system.j2, line 2: variable "compny" is not declared.' in found
    assert 'Did you mean "company"?' in found


def test_input_is_declared_in_the_turn_template_only(make_bot: BotMaker) -> None:
    assert check_bot(make_bot("a", {"turn.j2": "{{ input }}"})) == []
    found = problems(make_bot("b", {"system.j2": "{{ input }}", "turn.j2": "{{ knowledge }}"}))
    assert 'variable "input" is not declared' in found
    assert 'variable "knowledge" is not declared' in found


def test_a_problem_that_every_variant_meets_is_reported_once(make_bot: BotMaker) -> None:
    folder = make_bot(files={"examples.jsonl": "broken\n", "variants/a.yaml": "language: de\n"})
    assert problems(folder).count("this line is not JSON") == 1


def test_broken_settings_are_reported_once_and_not_for_each_variant(make_bot: BotMaker) -> None:
    assert len(check_bot(make_bot(files={"bot.yaml": "nme: x\n"}))) == 1


def test_k_of_a_variant_larger_than_the_pool_is_found(make_bot: BotMaker) -> None:
    assert "asks for k = 9 examples" in problems(
        make_bot(files={"variants/k9.yaml": "examples: {k: 9}\n"})
    )


def test_one_input_with_two_answers_is_found(make_bot: BotMaker) -> None:
    again = EXAMPLES + '{"input": "hello ", "output": "Go away!"}\n'
    found = problems(make_bot(files={"examples.jsonl": again}))
    assert 'line 4: "hello" is answered "Go away!", but on line 1 "Hi there!"' in found


def test_label_that_no_example_shows_is_found(make_classifier: BotMaker) -> None:
    yaml = CLASSIFY_YAML + "  fees: [fees]\n"
    assert "no example shows the labels fees." in problems(
        make_classifier(files={"bot.yaml": yaml})
    )


def test_one_wording_for_two_labels_is_found(make_classifier: BotMaker) -> None:
    yaml = CLASSIFY_YAML + "  other: [lost card]\n"
    examples = CLASSIFY_EXAMPLES + '{"input": "x", "label": "other"}\n'
    found = problems(make_classifier(files={"bot.yaml": yaml, "examples.jsonl": examples}))
    assert "lost card" in found


def test_empty_knowledge_is_found(make_bot: BotMaker) -> None:
    assert "the knowledge is empty" in problems(make_bot(files={"knowledge.jsonl": "\n"}))


def test_missing_files_are_found(make_bot: BotMaker) -> None:
    found = problems(make_bot(files={"system.j2": None, "examples.jsonl": None}))
    assert 'there is no template "system.j2"' in found
    assert found.count('there is no file "examples.jsonl"') == 1


def test_empty_folder_is_no_bot(tmp_path: Path) -> None:
    with pytest.raises(BotNotFound):
        check_bot(tmp_path)


def test_every_problem_is_a_users_mistake_with_a_next_step(make_bot: BotMaker) -> None:
    folder = make_bot(files={"examples.jsonl": "x\n", "system.j2": "{{ a.b }} {% bogus %}"})
    for error in check_bot(folder):
        assert isinstance(error, UserError)
        assert error.hint
        assert error.place


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{{ 1 / 0 }}",
        "{{ fallback.nope }}",
    ],
)
def test_what_only_a_rendering_shows_is_found(make_bot: BotMaker, template: str) -> None:
    found = check_bot(make_bot(files={"system.j2": template}))
    assert len(found) == 1
    assert "system.j2" in str(found[0])


def test_missing_template_is_told_in_the_variant_that_names_it(make_bot: BotMaker) -> None:
    folder = make_bot(files={"variants/lost.yaml": "# mine\ntemplate: lost.j2\n"})
    assert "lost.yaml, line 2: there is no template" in problems(folder)


def test_a_pipe_in_place_of_a_template_is_no_template(make_bot: BotMaker) -> None:
    import os

    folder = make_bot(files={"system.j2": None})
    os.mkfifo(folder / "system.j2")
    assert 'there is no template "system.j2"' in problems(folder)


def test_wordings_that_read_alike_are_reported(make_classifier: BotMaker) -> None:
    text = CLASSIFY_YAML.replace("account balance", "Lost-card")
    problems = check_bot(make_classifier(files={"bot.yaml": text}))
    assert any('"lost card" and "Lost-card" of two labels read alike' in str(p) for p in problems)
    assert check_bot(make_classifier("fine")) == []


def test_a_mixture_of_an_unknown_variant_is_found_where_it_is_named(
    make_classifier: BotMaker,
) -> None:
    mix = "ensemble:\n  kind: variants\n  variants:\n    - default\n    - plian\n"
    found = problems(make_classifier("a", {"variants/mix.yaml": mix, "variants/plain.yaml": ""}))
    assert "mix.yaml, line 5" in found
    assert 'Did you mean "plain"?' in found


def test_a_mixture_that_names_a_variant_twice_is_found(make_classifier: BotMaker) -> None:
    mix = "ensemble: {kind: variants, variants: [a, a]}\n"
    found = problems(make_classifier("a", {"variants/mix.yaml": mix, "variants/a.yaml": ""}))
    assert 'mix.yaml, line 1: ensemble.variants names "a" twice.' in found


def test_keep_without_votek_is_found_in_the_file_that_says_both(make_bot: BotMaker) -> None:
    both = "examples: {file: examples.jsonl, k: 1, selector: bm25, keep: 2}\n"
    found = problems(make_bot("a", {"variants/both.yaml": both}))
    assert "both.yaml, line 1: examples.keep is for votek, but examples.selector is bm25." in found


def test_missing_data_of_a_variant_is_told_with_the_line_that_names_it(make_bot: BotMaker) -> None:
    lost = "vars: {company: C}\nexamples:\n  file: exampels.jsonl\n  k: 1\n"
    folder = make_bot("a", {"variants/lost.yaml": lost})
    found = problems(folder)
    assert 'lost.yaml, line 3: there is no file "exampels.jsonl" in the folder.' in found
    assert 'Did you mean "examples.jsonl"?' in found
    with pytest.raises(UserError) as loaded:
        load_bot(folder, "lost")
    assert str(loaded.value) in found


def test_an_empty_pool_says_that_it_is_empty(make_bot: BotMaker) -> None:
    found = problems(make_bot("a", {"examples.jsonl": ""}))
    assert "examples, the pool is empty." in found
    assert "Add examples, or set k to 0" in found


@pytest.mark.parametrize(
    ("calibration", "line", "problem"),
    [
        ("calibration: domain", 8, "domain calibration draws words from"),
        ("calibration:\n  method: domain", 9, "domain calibration draws words from"),
        ("calibration: {neighbours: {k: 2}}", 8, "calibration.neighbours are looked for in"),
    ],
)
def test_an_empty_pool_is_found_where_a_calibration_needs_it(
    make_classifier: BotMaker, calibration: str, line: int, problem: str
) -> None:
    yaml = CLASSIFY_YAML.replace("k: 2", "k: 0") + "# of the bank\n" + calibration + "\n"
    assert yaml.splitlines()[7].startswith("calibration")
    folder = make_classifier("a", {"bot.yaml": yaml, "examples.jsonl": ""})
    assert f"bot.yaml, line {line}: {problem} the example pool, which is empty." in problems(folder)
    over = {"bot.yaml": CLASSIFY_YAML.replace("k: 2", "k: 0"), "examples.jsonl": ""}
    folder = make_classifier("b", {**over, "variants/v.yaml": f"{calibration}\n"})
    assert f"v.yaml, line {line - 7}: {problem} the example pool" in problems(folder)


def test_a_schema_that_no_answer_can_meet_is_told_with_the_line_that_holds_it(
    make_bot: BotMaker,
) -> None:
    schema = "{type: array, minItems: 3, maxItems: 1}"
    mine = f"# mine\noutput: {{format: json, json_schema: {schema}}}\n"
    found = problems(make_bot(files={"variants/mine.yaml": mine}))
    assert "mine.yaml, line 2: no answer can meet this schema" in found
    assert "bot.yaml" not in found
