from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptbot.bot.spec import Source, overlay, parse_spec, read_yaml
from promptbot.errors import SpecError


def problem(tmp_path: Path, text: str) -> str:
    """Return what promptbot says about a bot.yaml."""
    file = tmp_path / "bot.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        parse_spec(read_yaml(file))
    return str(caught.value)


def test_a_name_is_enough(tmp_path: Path) -> None:
    (tmp_path / "bot.yaml").write_text("name: shop\n")
    spec = parse_spec(read_yaml(tmp_path / "bot.yaml"))
    assert (spec.model, spec.task, spec.template) == ("embedded", "chat", "system.j2")


def test_tab_is_named_as_such(tmp_path: Path) -> None:
    message = problem(tmp_path, "name: a\nexamples:\n\tk: 3\n")
    assert "bot.yaml, line 3: this line has a tab where YAML wants spaces." in message


def test_duplicate_key_names_both_lines(tmp_path: Path) -> None:
    message = problem(tmp_path, "name: a\nexamples:\n  k: 1\n  k: 2\n")
    assert 'line 4: key "k" stands here a second time.' in message
    assert "first set on line 3" in message


def test_unknown_key_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    message = problem(tmp_path, "name: a\nexamples:\n  selektor: nearest\n")
    assert 'line 3: unknown setting "examples.selektor".' in message
    assert 'Did you mean "selector"?' in message


def test_unknown_choice_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    message = problem(tmp_path, "name: a\n\nexamples: {selector: nearst}\n")
    assert 'line 3: unknown examples.selector "nearst".' in message
    assert "Known: fixed, length, random, balanced, " in message
    assert 'votek. Did you mean "nearest"?' in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nexamples: {k: many}", "examples.k is 'many'.\nExpected a whole number."),
        ("name: a\nexamples: {k: -1}", "examples.k is -1."),
        ("name: a\nmemory: 5", "memory is 5.\nExpected settings below it"),
        ("name: a\ndescription: 5", "description is 5.\nExpected a text"),
        ("name: a\ndecoding: {top_p: 0}", "decoding.top_p is 0."),
        ("name: a\ndecoding: {top_k: -1}", "decoding.top_k is -1."),
        ("name: a\ndecoding: {min_p: 1.5}", "decoding.min_p is 1.5."),
        ("name: a\ndecoding: {repetition_penalty: 0}", "decoding.repetition_penalty is 0."),
        ("name: a\ndecoding: {repetition_penalty: .inf}", "Expected"),
        ("name: a b", "name is 'a b'."),
        ("name: a\nvars: {examples: 1}", 'variable "examples" is one that promptbot fills'),
        ("name: a\nvars: {'b c': 1}", 'variable "b c" cannot be used in a template.'),
        ("name: a\ntask: classify", "task is classify, but there are no labels."),
        ("name: a\nlabels: {x: [y]}", "labels are given, but task is chat."),
        ("- a", "found a list, not settings."),
        ("", 'setting "name" is missing.'),
        ("name: a\nb: [1,", "this is not YAML"),
        ("name: &x [*x]", "an alias refers to the setting that it stands in."),
        ("name: \x01", "this is not YAML"),
        ("name: a\ndecoding: {temperature: .nan}\n", "Expected an ordinary number"),
    ],
)
def test_wrong_value_is_explained(tmp_path: Path, text: str, said: str) -> None:
    assert said in problem(tmp_path, text)


def test_everything_wrong_in_a_file_is_said_at_once_in_its_order(tmp_path: Path) -> None:
    message = problem(tmp_path, "name: a\ntask: chatt\nmodle: b\nexamples: {k: x}\n")
    places = [line.split(": ")[0].rpartition(", ")[2] for line in message.split("\n\n")]
    assert places == ["line 2", "line 3", "line 4"]


def test_dates_and_merge_keys_stay_plain_text(tmp_path: Path) -> None:
    (tmp_path / "bot.yaml").write_text("name: a\nvars: {since: 2020-01-01}\n")
    assert parse_spec(read_yaml(tmp_path / "bot.yaml")).vars == {"since": "2020-01-01"}


def test_python_tags_are_refused(tmp_path: Path) -> None:
    assert "not YAML" in problem(tmp_path, "name: !!python/object/apply:os.getcwd []\n")


def test_error_stands_in_the_file_that_said_it(tmp_path: Path) -> None:
    (tmp_path / "bot.yaml").write_text("name: a\nexamples: {k: 3}\n")
    (tmp_path / "v.yaml").write_text("# a comment\nexamples: {k: x}\n")
    with pytest.raises(SpecError, match=r"v\.yaml, line 2: examples\.k is 'x'"):
        parse_spec(read_yaml(tmp_path / "bot.yaml"), read_yaml(tmp_path / "v.yaml"))


def test_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="promptbot new"):
        read_yaml(tmp_path / "bot.yaml")


names = st.text(max_size=3)  # short, so that two mappings share some
settings = st.recursive(
    st.integers() | names | st.lists(st.integers()),
    lambda values: st.dictionaries(names, values),
    max_leaves=8,
)
mappings = st.dictionaries(names, settings)


@given(base=mappings)
def test_overlay_of_nothing_changes_nothing(base: dict[str, Any]) -> None:
    assert overlay(base, {}) == base


@given(base=mappings, over=mappings)
def test_overlay_says_everything_that_the_variant_says(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    merged = overlay(base, over)
    assert overlay(merged, over) == merged
    assert set(merged) == {*base, *over}
    for key in base.keys() - over.keys():
        assert merged[key] == base[key]
    for key, value in over.items():
        if not isinstance(value, dict):
            assert merged[key] == value


@given(base=mappings, first=mappings, second=mappings)
def test_overlays_can_be_applied_one_after_the_other(
    base: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    one_by_one = overlay(overlay(base, first), second)
    for key in {*second} - {*first}:
        assert one_by_one[key] == overlay(base, second)[key]


def test_place_of_an_unknown_line_is_the_nearest_parent() -> None:
    source = Source(Path("b.yaml"), {}, {("a",): 3})
    assert source.place(("a", "b", 0)) == "b.yaml, line 3"
    assert source.place(("z",)) == "b.yaml"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("examples: {k: -1}", "examples.k is -1."),
        ("examples: {selector: balanced}", "line 2: examples.selector is balanced, but the"),
        ("examples: {selector: nearest_per_label}", "of a chat bot have no labels"),
        ("examples: {order: label_interleaved}", "examples.order is label_interleaved, but"),
        ("examples: {selector: votek, k: 8, keep: 5}", "votek keeps 5 examples to choose from"),
        ("examples: {selector: near}", 'unknown examples.selector "near"'),
        ("knowledge: {retriever: bm25, min_similarity: 0.3}", "which bm25 does not measure"),
        ("knowledge: {retriever: words}", "Known: nearest, bm25, both."),
    ],
)
def test_settings_of_selection_that_cannot_work_are_refused(
    tmp_path: Path, settings: str, message: str
) -> None:
    assert message in problem(tmp_path, f"name: a\n{settings}\n")
