"""For any text: templates show it, never obey it."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from promptbot.errors import TemplateError
from promptbot.prompt import template_process
from promptbot.prompt.template import Template

SNIPPETS = [
    "{{ 7 * 7 }}", "{{ secret }}", "{{", "}}", "{%", "%}", "{#", "#}", "{% include 'note.j2' %}",
    "{% raw %}", "{% endraw %}", "{% endfor %}", "{{ ''.__class__ }}", "-%}", "{%- if x %}", "\\",
    "<|system|>", "<|endoftext|>", "</s>", "[INST]", "\n", "\r\n", "\r", "\x00", "\u2028", "\x85",
    '"}\n{"text": "forged"}\n', "&lt;", "<b>", "%s", "{0}", "$x", "\u202e", "é", "😀", " ",
]  # fmt: skip
TEXT = st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS)).map("".join))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
NOTES = Template(
    "notes.j2",
    "{% from 'macros.j2' import show %}\n"
    "[{{ text }}]\n"
    "{% for note in notes %}\n"
    "{{ loop.index }}:[{{ note.text }}]\n"
    "{{ show(note.text) }}\n"
    "{% include 'note.j2' %}\n"
    "{% endfor %}\n"
    "{% set kept %}[{{ text }}]{% endset %}\n"
    "{{ kept ~ '/' ~ text }}.\n",
    {
        "macros.j2": "{% macro show(x) %}m[{{ x }}]{% endmacro %}",
        "note.j2": "i[{{ note['text'] }}]\n",
    },
)

FRAGMENTS = [
    "{{ a }}", "{% if b %}{{ c }}{% endif %}", "{% for a in xs %}{{ a }}{% endfor %}",
    "{% set b = 1 %}", "{{ c|default('') }}", "{% if a is defined %}{{ a }}{% endif %}",
    "{% set c = c ~ 'x' %}", "{% macro b(c) %}{{ c }}{{ a }}{% endmacro %}", "{{ b }}",
    "{% with a = b %}{{ a }}{{ c }}{% endwith %}", "{% include 'a.j2' %}",
    "{% for c in xs if b %}{% include 'c.j2' %}{% else %}{{ a }}{% endfor %}",
    "{% set ns = namespace(a=a) %}{% set ns.a = c %}{{ ns.a }}", "{% set a, c = [b, b] %}",
    "{% set a %}{{ b }}{% endset %}", "{% filter upper %}{{ c }}{% endfilter %}",
    "{% import 'm.j2' as c %}",
]  # fmt: skip


@given(text=TEXT, notes=st.lists(TEXT, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_text_appears_verbatim_and_is_never_evaluated(text: str, notes: list[str]) -> None:
    expected = f"[{text}]\n" + "".join(
        f"{number}:[{note}]\nm[{note}]\ni[{note}]" for number, note in enumerate(notes, 1)
    )
    expected += f"[{text}]/{text}."
    values = {"text": text, "notes": [{"text": note} for note in notes], "secret": "s3cr3t"}
    assert NOTES.render(values) == expected


@given(text=TEXT)
@settings(max_examples=20, deadline=None)
def test_a_new_worker_renders_the_same(text: str) -> None:
    values = {"text": text, "notes": [text, "b", text], "d": {text: 1, "b": 2}}
    made = Template("d.j2", "{{ d|tojson }}{{ d }}{{ notes|unique|list }}{{ text|upper }}.")
    first = made.render(values)
    assert made.render(values) == first
    if len(text) % 5 == 0:
        template_process.stop_worker()
        assert made.render(values) == first


@given(value=PLAIN)
@settings(max_examples=100, deadline=None)
def test_values_pass_unchanged(value: object) -> None:
    assert json.loads(Template("v.j2", "{{ v|tojson }}").render({"v": value})) == value


@given(source=TEXT)
@settings(max_examples=100, deadline=None)
def test_any_source_renders_or_is_a_template_error(source: str) -> None:
    made = Template("t.j2", source)
    problems = made.check(["secret", "x"])
    assert all(problem.place and problem.hint for problem in problems)
    with suppress(TemplateError):
        assert made.render({"secret": "", "x": 1}) is not None


@given(fragments=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_a_template_never_misses_a_variable_that_it_names(fragments: list[str]) -> None:
    partials = {"a.j2": "{{ a }}", "c.j2": "{{ c }}", "m.j2": ""}
    made = Template("t.j2", "\n".join(fragments), partials)
    names = made.variables()
    if made.check(names):  # a variable is used before the template sets it
        return
    problem = ""
    try:
        made.render(dict.fromkeys(names, "xx"))
    except TemplateError as error:
        problem = error.problem
    assert "declared" not in problem
    assert "has no value" not in problem
