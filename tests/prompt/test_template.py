"""Templates: rendering, errors, checks, and what a hostile template cannot do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from promptbot.errors import PromptbotError, TemplateError, TemplateLimit
from promptbot.prompt import template_process
from promptbot.prompt.template import Template

NAME = "templates/shop/system.j2"
ON_LINUX = sys.platform == "linux"

ENDLESS = (
    "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
)

# What each would need: gigabytes, hours, or more stack than there is.
BOMBS = {
    "repeat": "{{ 'x' * 10**8 }}",
    "repeat a list": "{{ ([0] * 10**8)|length }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "percent": "{{ '%050000000d' % 1 }}",
    "percent, larger": "{{ '%05000000000d' % 1 }}",
    "format": "{{ '{:>5000000000}'.format(1) }}",
    "format filter": "{{ '%5000000000d'|format(1) }}",
    "center filter": "{{ 'x'|center(10**10) }}",
    "ljust": "{{ 'x'.ljust(10**10) }}",
    "join": "{{ ('x' * 900000).join(['y'] * 900000) }}",
    "range": "{{ range(10**9)|list }}",
    "doubling": "{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x|length }}",
    "doubling lists": "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    "set block": "{% set x %}{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}{% endset %}",
    "macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "include": "{% include 'self.j2' %}",
    "import": "{% import 'importer.j2' as x %}",
    "output": "{% for i in range(99999) %}A line of many lines.{% endfor %}",
    "parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "at compile time": "{% autoescape 'x'|center(10 * 10**9) %}{% endautoescape %}",
}

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cla' ~ 'ss__') }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ [1]|map('attr', '__class__')|list }}",
    "{{ range.__globals__ }}",
    "{{ namespace.__init__ }}",
    "{{ dict.mro() }}",
    "{{ self._TemplateReference__context }}",
    "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{{ given.append(1) }}",
    "{{ (given|list).clear() }}",
]


def template(source: str, **partials: str) -> Template:
    return Template(NAME, source, {f"{name}.j2": text for name, text in partials.items()})


def render(source: str, /, **values: object) -> str:
    return template(source).render(values)


def error_of(source: str, /, **values: object) -> str:
    with pytest.raises(TemplateError) as caught:
        render(source, **values)
    return str(caught.value)


def mistakes(made: Template, *declared: str) -> list[str]:
    return [str(error) for error in made.check(declared)]


def worker_pid() -> int:
    assert template_process._worker is not None
    return template_process._worker.process.pid


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def wait_for_end(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.fixture
def short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop templates after half a second, with a worker that is already running."""
    assert render("ready") == "ready"
    monkeypatch.setattr(template_process, "TIMEOUT_S", 0.5)


@pytest.fixture
def own_worker() -> Iterator[None]:
    """Let a test start its own kind of worker, and leave none behind."""
    template_process.stop_worker()
    yield
    template_process.stop_worker()


# Rendering


def test_values_fill_the_template() -> None:
    notes = [{"question": "When?", "answer": "At nine."}, {"question": "Where?", "answer": "Here."}]
    source = (
        "{% for note in notes %}\n"
        "  {{ loop.index }}. {{ note.question }} {{ note.answer|upper }}\n"
        "  {% if not loop.last %}\n"
        "  -\n"
        "  {% endif %}\n"
        "{% endfor %}\n"
        "{# nobody sees this #}\n"
        "{{ 3 }}{{ none }}{{ true }} {{ ' x '|trim }} {%- for key, value in d.items() %}\n"
        "{{ key }}={{ value }}\n"
        "{%- endfor %}\n\n\n"
    )
    assert render(source, notes=notes, d={"a": 1.5, "b": [1, "x"]}) == (
        "  1. When? AT NINE.\n  -\n  2. Where? HERE.\n3NoneTrue xa=1.5b=[1, 'x']"
    )


def test_macros_includes_and_imports_come_from_the_partials() -> None:
    made = template(
        "{% import 'm.j2' as m %}{{ m.bold(name) }} {% include 'p.j2' %}"
        "{% include 'none.j2' ignore missing %}",
        m="{% macro bold(x) %}**{{ x }}**{% endmacro %}",
        p="and {{ name }}",
    )
    assert made.render({"name": "Ann"}) == "**Ann** and Ann"


def test_no_file_outside_the_partials_can_be_included(tmp_path: Path) -> None:
    (tmp_path / "secret.j2").write_text("secret")
    message = error_of(f"{{% include '{tmp_path}/secret.j2' %}}")
    assert "there is no template" in message


def test_tojson_is_plain_json() -> None:
    assert render("{{ v|tojson }}", v={"b": "it's <é>", "a": [None, True]}) == (
        '{"b": "it\'s <é>", "a": [null, true]}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a\x00b\r\nc",
        "\u202eمرحبا שלום",
        "👩‍👩‍👧‍👦 🏳️‍🌈",
        "\u2028\u2029\x85",
        "<|system|></s>",
        "'\"\\",
    ],
)
def test_unusual_text_arrives_as_it_is(text: str) -> None:
    assert render("[{{ text }}]", text=text) == f"[{text}]"


def test_half_surrogate_pairs_become_the_replacement_character() -> None:
    assert render("[{{ a }}]", a="x\ud800y") == "[x\ufffdy]"
    assert render("[{{ a }}]", a="\ud83d\ude00") == "[😀]"


def test_a_megabyte_of_user_text_is_rendered() -> None:
    text = "Ünï 😀 {{ x }} " * 70_000
    assert render("[{{ text }}]", text=text) == f"[{text}]"


def test_values_beyond_the_bound_are_refused() -> None:
    with pytest.raises(TemplateLimit, match=r"At most: 8,000,000 bytes"):
        render("{{ text|length }}", text="x" * 8_000_001)


def test_values_that_are_not_plain_data_are_refused_by_name() -> None:
    message = error_of("{{ a }}{{ opened }}", a=1, opened=date(2024, 1, 31))
    assert 'variable "opened"' in message
    assert "put dates between quotes" in message
    circle: list[object] = []
    circle.append(circle)
    assert 'variable "circle"' in error_of("{{ circle }}", circle=circle)


def test_nothing_is_kept_from_one_rendering_to_the_next() -> None:
    made = template(
        "{% import 'm.j2' as m %}{{ m.add(text) }}",
        m="{% set ns = namespace(seen='') %}"
        "{% macro add(x) %}{% set ns.seen = ns.seen ~ x %}{{ ns.seen }}{% endmacro %}",
    )
    assert made.render({"text": "first"}) == "first"
    assert made.render({"text": "second"}) == "second"


# Errors


def test_an_undeclared_variable_names_line_and_likely_word() -> None:
    assert error_of("a\n\n{{ contxt }}", context="", question="") == (
        f'{NAME}, line 3: variable "contxt" is not declared.\n'
        'Declared: context, question. Did you mean "context"?'
    )


def test_a_missing_member_names_those_that_exist() -> None:
    assert error_of("{{ note.anser }}", note={"question": "", "answer": ""}) == (
        f'{NAME}, line 1: a mapping has no "anser".\n'
        'It has: question, answer. Did you mean "answer"?'
    )


def test_undefined_members_inside_lists_are_errors_too() -> None:
    assert 'has no "x"' in error_of("{{ [{}]|map(attribute='x')|list }}")


def test_a_syntax_error_names_line_and_text() -> None:
    message = error_of("a\n{% fro x in y %}\n")
    assert message.startswith(f"{NAME}, line 2: encountered unknown tag 'fro'.")
    assert "The line reads: {% fro x in y %}" in message


def test_a_wrong_type_names_the_line() -> None:
    assert error_of("\n{{ 1 + a }}", a="x").startswith(f"{NAME}, line 2: unsupported operand")


def test_an_error_in_a_partial_names_the_partial() -> None:
    with pytest.raises(TemplateError, match=r'^templates/shop/p\.j2, line 2: variable "x"'):
        template("{% include 'p.j2' %}", p="\n{{ x }}").render({})


def test_a_function_that_was_not_called_is_not_printed() -> None:
    message = error_of("{{ d.items }}", d={"a": 1})
    assert "a function that was not called cannot be printed" in message


@pytest.mark.parametrize("source", ESCAPES)
def test_python_stays_out_of_reach(source: str) -> None:
    message = error_of(source, given=[1])
    assert message.startswith(f"{NAME}, line 1: ")
    assert "is refused" in message


@pytest.mark.parametrize("word", ["lipsum", "cycler", "joiner", "open", "__builtins__", "self.x"])
def test_globals_that_prompts_do_not_need_are_missing(word: str) -> None:
    with pytest.raises(TemplateError):
        render(f"{{{{ {word} }}}}")


# Checks


def test_check_finds_everything_at_once() -> None:
    made = template(
        "{{ contxt }}\n{{ question|uper }}\n{% if question is od %}{% endif %}\n"
        "{% include 'prt.j2' %}{% include 'part.j2' %}{% include 'broken.j2' %}\n{{ zzz }}",
        part="\n{{ questio }}",
        broken="{% if %}",
    )
    found = [text.splitlines() for text in mistakes(made, "context", "question")]
    assert [lines[0] for lines in found] == [
        f'{NAME}, line 1: variable "contxt" is not declared.',
        f'{NAME}, line 2: there is no filter "uper".',
        f'{NAME}, line 3: there is no test "od".',
        f'{NAME}, line 4: there is no template "prt.j2" to include.',
        f'{NAME}, line 5: variable "zzz" is not declared.',
        "templates/shop/broken.j2, line 1: expected an expression, got 'end of statement block'.",
        'templates/shop/part.j2, line 2: variable "questio" is not declared.',
    ]
    assert found[0][1] == 'Declared: context, question. Did you mean "context"?'
    assert found[1][1] == 'Did you mean "upper"?'
    assert found[3][1] == 'Templates of this bot: broken.j2, part.j2. Did you mean "part.j2"?'
    assert found[4][1:] == [
        "Declared: context, question.",
        'Declare it under "vars" in bot.yaml.',
    ]


@pytest.mark.parametrize(
    "source",
    [
        "{{ tip|default('') }}{{ tip|d }}",
        "{% if tip is defined %}{{ tip }}{% endif %}",
        "{{ tip if tip is not undefined }}",
        "{% if tip is defined %}{% include 'tip.j2' %}{% endif %}",
        "{% set tip = 1 %}{{ tip }}{% block b %}{{ tip }}{% endblock %}",
        "{% if question %}{% set tip = 1 %}{% endif %}{{ tip }}",
        "{% for tip in question %}{{ loop.index }}{% include 'tip.j2' %}{% endfor %}",
        "{% macro m(tip, b=1) %}{{ tip }}{{ caller() }}{{ varargs }}{{ kwargs }}{% endmacro %}"
        "{% call m(1) %}{{ question }}{% endcall %}",
        "{% with tip = question %}{{ tip }}{% endwith %}{% set x %}{{ question }}{% endset %}",
        "{% macro a() %}{{ tip }}{{ b() }}{% endmacro %}{% macro b() %}{% endmacro %}"
        "{% set tip = 1 %}{{ a() }}",
        "{% from 'm.j2' import greet as hello, part %}{{ hello(1) }}{{ part }}",
        "{% include ['no.j2', 'm.j2'] %}{% include 'no.j2' ignore missing %}{% include question %}",
        "{% set ns = namespace(n=0) %}{% for x in [1] %}{% set ns.n = 1 %}{% endfor %}{{ ns.n }}",
    ],
)
def test_check_accepts_what_may_work(source: str) -> None:
    made = template(source, tip="{{ tip }}", m="{% macro greet(x) %}{{ x }}{% endmacro %}")
    assert mistakes(made, "question") == []


def test_check_explains_where_a_variable_has_no_value() -> None:
    (loop,) = mistakes(template("{% for x in [1] %}\n{% endfor %}\n{{ x }}"))
    assert loop.startswith(f'{NAME}, line 3: variable "x" has no value here.\nIt is set at line 1')
    (early,) = mistakes(template("{% set x = x ~ '!' %}"))
    assert 'variable "x" has no value here' in early
    (hidden,) = mistakes(
        template("{% for y in [1] %}{{ x }}{% endfor %}\n{% set x = 1 %}{{ x }}"), "x"
    )
    assert 'variable "x" has no value here.\nIt is set at line 2' in hidden
    (imported,) = mistakes(
        template("{% import 'm.j2' as m %}", m="{% macro a() %}{{ company }}{% endmacro %}"),
        "company",
    )
    assert imported.startswith('templates/shop/m.j2, line 1: variable "company" is not visible')
    assert '"with context"' in imported


def test_check_returns_a_limit_rather_than_raising_it() -> None:
    (error,) = template(BOMBS["parentheses"]).check([])
    assert isinstance(error, TemplateLimit)


def test_variables_are_those_read_from_outside() -> None:
    made = template(
        "{% set a = b %}{{ a }}{{ c|default(1) }}{% for d in range(3) %}{% include 'p.j2' %}"
        "{% endfor %}",
        p="{{ d }}{{ e }}",
        unused="{{ f }}",
    )
    assert made.variables() == {"b", "c", "e"}
    with pytest.raises(TemplateError, match="line 1: unexpected"):
        template("{% if a %}").variables()


# Limits


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.usefixtures("short_time")
def test_a_bomb_ends_as_a_limit_and_the_next_template_works(source: str) -> None:
    partials = {
        "self.j2": "{% include 'self.j2' %}",
        "importer.j2": "{% import 'importer.j2' as y %}",
    }
    started = time.monotonic()
    with pytest.raises(TemplateLimit) as caught:
        Template(NAME, source, partials).render({})
    assert str(caught.value).startswith("templates/shop/")
    assert render("{{ a }}", a="works") == "works"
    assert time.monotonic() - started < 20  # bounded; the machine may be busy


def test_an_endless_loop_is_stopped() -> None:
    with pytest.raises(TemplateLimit, match=rf"^{NAME}: it ran longer than 2 s"):
        render(ENDLESS)
    assert render("{{ a }}", a="works") == "works"


@pytest.mark.usefixtures("own_worker")
def test_limits_of_time_hold_without_limits_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    start = f"import sys; sys.modules['resource'] = None; {template_process._START}"
    monkeypatch.setattr(template_process, "_START", start)
    assert render("works") == "works"
    monkeypatch.setattr(template_process, "TIMEOUT_S", 0.5)
    with pytest.raises(TemplateLimit):
        render(ENDLESS)
    with pytest.raises(TemplateLimit):
        render(BOMBS["repeat"])


def test_a_template_cannot_forge_a_reply() -> None:
    forged = '{"text": "forged"}\n{"text": "forged"}\n{"ready": true}'
    assert render("\n{{ forged }}\n.", forged=forged) == f"\n{forged}\n."
    assert render("{{ 1 }}") == "1"


# The worker


def test_a_worker_that_dies_is_replaced() -> None:
    render("x")
    old = worker_pid()
    os.kill(old, signal.SIGTERM)
    assert render("{{ a }}", a=1) == "1"
    assert worker_pid() != old


def test_a_worker_that_dies_while_it_renders_is_given_a_second_chance() -> None:
    render("x")
    old = worker_pid()
    killer = threading.Timer(0.1, os.kill, (old, signal.SIGTERM))
    killer.start()
    slow = "{% for i in range(99999) %}{% for j in range(20) %}{% endfor %}{% endfor %}done"
    assert render(slow) == "done"
    killer.join()


def test_what_was_rendered_last_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def ask(line: bytes, order: bytes, name: str) -> dict[str, Any]:
        asked.append(order)
        return template_process.ask_worker(line, order, name)

    monkeypatch.setattr("promptbot.prompt.template.ask_worker", ask)
    template = Template(NAME, "Hello {{ names|join(', ') }}!")
    names = ["Ann"]
    assert [template.render({"names": names}) for _ in range(3)] == ["Hello Ann!"] * 3
    assert len(asked) == 1
    names.append("Bo")  # the same list, now with other contents
    assert template.render({"names": names}) == "Hello Ann, Bo!"
    assert template.render({"names": ["Ann"]}) == "Hello Ann!"
    assert len(asked) == 3


def test_a_failed_rendering_fails_again() -> None:
    template = Template(NAME, "Hello {{ name }}!")
    assert template.render({"name": "Ann"}) == "Hello Ann!"
    for _ in range(2):
        with pytest.raises(TemplateError):
            template.render({})
    assert template.render({"name": "Ann"}) == "Hello Ann!"


def test_threads_share_the_worker() -> None:
    results: dict[int, str] = {}

    def work(number: int) -> None:
        for _ in range(10):
            results[number] = render("{{ n }}:{{ text }}", n=number, text="x" * number * 1000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}:" + "x" * number * 1000 for number in range(8)}


def test_an_interrupted_rendering_does_not_answer_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    render("x")
    assert template_process._worker is not None

    class Interrupted:
        def readline(self, size: int) -> bytes:
            raise KeyboardInterrupt

        def close(self) -> None:
            pass

    monkeypatch.setattr(template_process._worker, "_replies", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        render("old")
    assert render("new") == "new"


@pytest.mark.usefixtures("own_worker")
def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_process, "_START", "raise SystemExit('no such luck')")
    with pytest.raises(PromptbotError, match=r"does not start \(no such luck\)") as caught:
        render("x")
    assert caught.value.exit_status == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_its_own_worker() -> None:
    render("x")
    old = worker_pid()
    child = os.fork()
    if child == 0:
        try:
            good = template_process._worker is None and render("{{ a }}", a=1) == "1"
            template_process.stop_worker()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert render("{{ a }}", a=2) == "2"
    assert worker_pid() == old


@pytest.mark.skipif(not hasattr(os, "WNOHANG"), reason="needs waitpid")
def test_a_stopped_worker_is_no_zombie() -> None:
    render("x")
    pid = worker_pid()
    template_process.stop_worker()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.mark.skipif(not ON_LINUX, reason="reads /proc")
@pytest.mark.usefixtures("own_worker")
def test_the_worker_inherits_no_secret_no_terminal_and_no_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    render("x")
    pid = worker_pid()
    assert b"sk-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getsid(pid) != os.getsid(0)
    targets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert {target.split(":")[0] for target in targets} == {"/dev/null", "pipe"}
    os.kill(pid, signal.SIGINT)
    assert render("y") == "y"
    assert worker_pid() == pid


@pytest.mark.skipif(not ON_LINUX, reason="reads /proc")
@pytest.mark.parametrize(
    "ending", ["pass", "import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"]
)
def test_the_worker_ends_with_its_parent(ending: str) -> None:
    pid = run_parent(
        "from promptbot.prompt import template_process",
        "from promptbot.prompt.template import Template",
        "Template('a', 'b').render({})",
        "print(template_process._worker.process.pid, flush=True)",
        ending,
    )
    assert wait_for_end(pid, 10)


@pytest.mark.skipif(not ON_LINUX, reason="reads /proc")
def test_an_orphan_in_an_endless_loop_ends_itself() -> None:
    pid = run_parent(
        "import os, threading, time",
        "from promptbot.prompt import template_process as process",
        "from promptbot.prompt.template import Template",
        "process._START = process._START.replace('template_worker.main',"
        " 'template_worker.MAX_SECONDS = .7; template_worker.main')",
        "Template('a', 'b').render({})",
        "print(process._worker.process.pid, flush=True)",
        f"endless = Template('a', {ENDLESS!r})",
        "threading.Thread(target=endless.render, args=({},), daemon=True).start()",
        "time.sleep(.3)",
        "os.kill(os.getpid(), 9)",
    )
    assert is_alive(pid)
    assert wait_for_end(pid, 10)


def run_parent(*lines: str) -> int:
    """Run a program that prints its worker's process id; return the id once the program ended."""
    command: list[Any] = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return int(done.stdout)
