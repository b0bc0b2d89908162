"""The process in which templates are parsed and rendered.

A sandbox inside our own process could hide Python's objects from a stranger's template, but it
could not bound its memory or its time: ``{% set ns.x = ns.x ~ ns.x %}`` doubles a text without
calling anything. So templates live here, in a process that can be killed, that inherits no
secret, opens no file, and knows nothing but standard library and Jinja.
``template_process.py`` starts it.

Two lines come in for one that goes out, all of them JSON: the template
(``name``, ``source``, ``partials``) and what to do with it (``{"do": "render", "values": ...}``
or ``{"do": "inspect"}``). Errors go back as plain facts; ``template.py`` words them.
"""

from __future__ import annotations

import codecs
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import (
    SecurityError,
    TemplateNotFound,
    TemplatesNotFound,
    TemplateSyntaxError,
    UndefinedError,
)
from jinja2.loaders import FunctionLoader
from jinja2.runtime import Context, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context

MAX_RANGE = 100_000
"""Items that one ``range`` may have."""
MAX_OUTPUT = 200_000
"""Characters that a template may write beyond the size of its values."""
MAX_REPEATED = 1_000_000
"""Items or characters that ``*`` may make."""
MAX_BITS = 10_000
"""Bits that a power may have."""
MAX_MEMORY = 640 * 2**20
"""Bytes of address space; Python and Jinja themselves take about a tenth."""
MAX_FILES = 16
"""Open files: enough for the pipes and for what Python and Jinja import late."""
MAX_SECONDS = 5.0
"""The process ends itself after this time, in case nobody is left to end it."""
MAX_BUNDLES = 64
"""Compiled templates, each with its partials, that are kept."""

Problem = dict[str, Any]


class LimitError(Exception):
    """The template asked for more than a template may have."""


class UnprintableError(Exception):
    """The template prints something that is no text, number or list."""


class MissingError(UndefinedError):
    """The template read a variable, or a member of a value, that is not there."""

    def __init__(self, word: str, owner: Any, is_variable: bool) -> None:
        super().__init__(word)
        self.word = word
        self.owner = owner
        self.is_variable = is_variable


class Missing(StrictUndefined):
    """A value that is not there; whoever touches it learns its name and its owner."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        # Jinja reads this property only in order to raise its own exception, which has lost
        # name and owner by then.
        if self._undefined_hint:
            return self._undefined_hint
        is_variable = self._undefined_obj is missing
        raise MissingError(str(self._undefined_name), self._undefined_obj, is_variable)

    def __repr__(self) -> NoReturn:
        # Reached by printing a list that holds one, as ``map(attribute=...)`` makes it.
        self._fail_with_undefined_error()


class FreshTemplate(Template):
    """A template whose imports run anew in every rendering.

    Jinja keeps an imported module, so that a ``namespace`` in it would carry one user's text
    into the next user's prompt.
    """

    def _get_default_module(self, ctx: Context | None = None) -> Any:
        self._module = None
        return super()._get_default_module(ctx)


def bounded_range(*args: int) -> range:
    """Return a range of at most MAX_RANGE items."""
    numbers = range(*args)
    if numbers and (numbers[-1] - numbers[0]) // numbers.step >= MAX_RANGE:
        raise LimitError(f"a range may have at most {MAX_RANGE:,} items")
    return numbers


def plain_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON for a model to read: no HTML escapes, keys in their own order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


@pass_context  # with a context to pass, Jinja does not evaluate outputs at compile time either
def only_printable(context: Context, value: Any) -> Any:
    """Return `value`, which is about to be printed, if it has a text worth printing."""
    if value is None or isinstance(value, (str, int, float, list, tuple, dict, Undefined)):
        return value
    raise UnprintableError(f"{kind_of(value)} cannot be printed")


def kind_of(value: Any) -> str:
    """Return what a template's author would call a value of this type."""
    kinds: dict[type, str] = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
        type(None): "none",
    }
    name = type(value).__name__
    if "method" in name or "function" in name:
        return "a function that was not called"
    return kinds.get(type(value), f"a {name.removeprefix('dict_')}")


HUGE_BINOPS = frozenset({"*", "**"})
"""Operators whose result may be far larger than what they take."""


def refuse_huge(operator: str, left: Any, right: Any) -> None:
    """Raise LimitError where one of `HUGE_BINOPS` would make something huge."""
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * right > MAX_BITS:
            raise LimitError("the power is too large")
    elif operator == "*":
        for value, times in ((left, right), (right, left)):
            is_sequence = isinstance(value, (str, list, tuple)) and isinstance(times, int)
            if is_sequence and len(value) * times > MAX_REPEATED:
                raise LimitError(f"a product may have at most {MAX_REPEATED:,} characters or items")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for prompts: strict, without HTML, without chance and without files."""

    template_class = FreshTemplate
    intercepted_binops = HUGE_BINOPS

    def __init__(self, partials: dict[str, str]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=Missing,
            finalize=only_printable,
            # Folding would run a template's bombs while it is compiled.
            optimized=False,
            auto_reload=False,
            cache_size=-1,
            loader=FunctionLoader(partials.get),
        )
        names = ("dict", "namespace")
        self.globals = {name: self.globals[name] for name in names} | {"range": bounded_range}
        self.filters["tojson"] = plain_json
        # The same values must give the same prompt.
        del self.filters["random"]

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Raise the error as it is; Jinja would rewrite its traceback, for which it reads files."""
        raise

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once; Jinja would wait until the attribute is used."""
        raise SecurityError(f'"{attribute}" of {kind_of(obj)} is refused')

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, unless the result would be huge."""
        refuse_huge(operator, left, right)
        return super().call_binop(context, operator, left, right)


class Bundle:
    """A template with the partials that it may include, compiled once."""

    def __init__(self, line: bytes) -> None:
        sources = json.loads(line)
        self.name: str = sources["name"]
        self.source: str = sources["source"]
        self.partials: dict[str, str] = sources["partials"]
        self.sandbox = Sandbox(self.partials)
        self._template: Template | None = None

    @property
    def template(self) -> Template:
        """The compiled template; raises what Jinja raises."""
        if self._template is None:
            self._template = self.sandbox.from_string(self.source)
        return self._template

    def render(self, values: dict[str, Any], max_output: int) -> str:
        """Return the rendering; stop it as soon as it is too long."""
        pieces: list[str] = []
        length = 0
        context = self.template.new_context(values)
        for piece in self.template.root_render_func(context):
            length += len(piece)
            if length > max_output:
                raise LimitError(f"it wrote more than {MAX_OUTPUT:,} characters beyond its values")
            pieces.append(piece)
        return "".join(pieces).rstrip()

    def inspect(self) -> dict[str, Any]:
        """Return what the template and every file that it reaches read, set and refer to."""
        files: dict[str | None, dict[str, Any]] = {}
        waiting: list[str | None] = [None]
        while waiting:
            file = waiting.pop()
            source = self.source if file is None else self.partials.get(file)
            if file in files or source is None:
                continue
            files[file] = facts = facts_of(source)
            waiting += [name for ref in facts["refs"] for name in ref["names"]]
        return {
            "files": [facts | {"file": file} for file, facts in files.items()],
            "filters": sorted(self.sandbox.filters),
            "tests": sorted(test for test in self.sandbox.tests if test.isidentifier()),
        }


class Reads(CodeGenerator):
    """Notes which variables are looked up from outside, and in which line.

    As ``jinja2.meta`` does, it lets Jinja's compiler decide which name means what; unlike it,
    it keeps the nodes.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox, "<template>", "<template>", optimized=False)
        self.nodes: list[nodes.Name | nodes.NSRef] = []
        self.unset: list[nodes.Name | nodes.NSRef] = []
        """Reads of the template's own variables: whoever sets one later hides what was given."""

    def write(self, x: str) -> None:
        """Write nothing."""

    def _note(self, node: nodes.Name | nodes.NSRef, frame: Frame) -> None:
        load = frame.symbols.find_load(frame.symbols.ref(node.name))
        kind = load[0] if load is not None else None
        if kind == "resolve" and node.name not in self.environment.globals:
            self.nodes.append(node)
        elif kind == "undefined":
            self.unset.append(node)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802
        """Note a name that is read."""
        if node.ctx == "load":
            self._note(node, frame)
        super().visit_Name(node, frame)

    def visit_NSRef(self, node: nodes.NSRef, frame: Frame) -> None:  # noqa: N802
        """Note a namespace whose member is set."""
        self._note(node, frame)
        super().visit_NSRef(node, frame)


def facts_of(source: str) -> dict[str, Any]:
    """Return what one file reads, sets and refers to, and its first syntax error."""
    facts: dict[str, Any] = {
        "syntax": None, "reads": [], "stored": {}, "filters": [], "tests": [], "refs": [],
    }  # fmt: skip
    sandbox = Sandbox({})
    try:
        tree = sandbox.parse(source)
    except TemplateSyntaxError as error:
        return facts | {"syntax": problem_of(error)}
    # An unknown filter or test stops Jinja's compiler, which shall tell us the rest too.
    for kind, node_type, known in (
        ("filters", nodes.Filter, sandbox.filters),
        ("tests", nodes.Test, sandbox.tests),
    ):
        facts[kind] = [
            [node.name, node.lineno] for node in tree.find_all(node_type) if node.name not in known
        ]
        known.update(dict.fromkeys((name for name, _ in facts[kind]), plain_json))
    reads = Reads(sandbox)
    try:
        reads.visit(tree)
        sandbox.compile(source)
    except (TemplateSyntaxError, SyntaxError) as error:
        facts["syntax"] = problem_of(error)
    optional = {
        test.node.name
        for test in tree.find_all(nodes.Test)
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name)
    }
    defaulted = {
        id(filtered.node)
        for filtered in tree.find_all(nodes.Filter)
        if filtered.name in ("default", "d")
    }
    place = {id(node): index for index, node in enumerate(tree.find_all(nodes.Node))}
    set_from: dict[str, int] = {}
    for name, setter in exported(tree.body):
        facts["stored"].setdefault(name, setter.lineno)
        # In {% set x = x ~ "!" %} the x on the right is still the outer one.
        is_set = not isinstance(setter, nodes.Macro)
        end = max([place[id(node)] for node in setter.find_all(nodes.Node) if is_set], default=0)
        set_from.setdefault(name, max(place[id(setter)], end))
    for node in tree.find_all(nodes.Name):
        if node.ctx in ("store", "param"):
            facts["stored"].setdefault(node.name, node.lineno)
    # A macro's body runs when it is called, by when the template may have set everything.
    deferred = {
        id(node) for macro in tree.find_all(nodes.Macro) for node in macro.find_all(nodes.Node)
    }
    for is_hidden, found in ((False, reads.nodes), (True, reads.unset)):
        for read in found:
            is_optional = read.name in optional or id(read) in defaulted
            end = set_from.get(read.name, -1 if is_hidden else len(place))
            if place[id(read)] <= end and not (is_hidden and id(read) in deferred):
                facts["reads"].append([read.name, read.lineno, is_optional, is_hidden])
    for ref in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        is_late = isinstance(ref, nodes.Extends) or id(ref) in deferred
        set_before = {name for name, end in set_from.items() if is_late or end < place[id(ref)]}
        facts["refs"] += reference(tree, ref, set_before)
    return facts


def exported(body: Iterable[nodes.Node]) -> Iterator[tuple[str, nodes.Node]]:
    """Yield the names that a template sets for all that follows, each with what sets it.

    A name that is set inside an ``if`` counts: whether it has a value, only rendering shows.
    """
    for node in body:
        if isinstance(node, nodes.If):
            yield from exported([*node.body, *node.elif_, *node.else_])
        elif isinstance(node, (nodes.Assign, nodes.AssignBlock)):
            targets = [node.target, *node.target.find_all(nodes.Name)]
            yield from ((target.name, node) for target in targets if isinstance(target, nodes.Name))
        elif isinstance(node, nodes.Macro):
            yield node.name, node
        elif isinstance(node, nodes.Import):
            yield node.target, node
        elif isinstance(node, nodes.FromImport):
            for name in node.names:
                yield name if isinstance(name, str) else name[1], node


def reference(tree: nodes.Template, node: nodes.Node, set_before: set[str]) -> list[dict[str, Any]]:
    """Return the files that an include, import or extends names, and the variables they can see.

    Names of files that are only known while rendering are left out.
    """
    target: nodes.Node = node.template  # type: ignore[attr-defined]  # all of them have one
    items = target.items if isinstance(target, (nodes.Tuple, nodes.List)) else [target]
    names = [item.value for item in items if isinstance(item, nodes.Const)]
    if len(names) != len(items) or not all(isinstance(name, str) for name in names):
        return []
    scopes = [
        scope
        for scope in tree.find_all((nodes.For, nodes.With, nodes.Macro, nodes.CallBlock))
        if any(inner is node for inner in scope.find_all(type(node)))
    ]
    visible = set_before.union(
        name.name for scope in scopes for name in scope.find_all(nodes.Name) if name.ctx != "load"
    )
    return [
        {
            "names": names,
            "line": node.lineno,
            "context": getattr(node, "with_context", True),
            "optional": getattr(node, "ignore_missing", False),
            "visible": sorted(visible),
        }
    ]


def problem_of(error: BaseException) -> Problem:
    """Return a template's error as plain facts: kind, file, line, problem and known words."""
    file, line = place_of(error)
    problem: Problem = {"kind": "runtime", "file": file, "line": line, "problem": str(error)[:300]}
    if isinstance(error, TemplateSyntaxError):
        problem |= {"kind": "syntax", "problem": error.message or "", "line": error.lineno}
        if error.name is not None:
            problem["file"] = error.name
    elif isinstance(error, SyntaxError):
        # From Python's own compiler: too many nested loops, for instance.
        problem |= {"kind": "syntax", "problem": error.msg, "line": None}
    elif isinstance(error, (TemplatesNotFound, TemplateNotFound)):
        names = error.templates if isinstance(error, TemplatesNotFound) else [error.name]
        problem |= {"kind": "include", "word": str(names[0])}
    elif isinstance(error, MissingError) and error.is_variable:
        problem |= {"kind": "variable", "word": error.word}
    elif isinstance(error, MissingError):
        problem |= {"kind": "member", "word": error.word, "problem": kind_of(error.owner)}
        if isinstance(error.owner, dict):
            problem["known"] = [str(key)[:60] for key in list(error.owner)[:30]]
    elif isinstance(error, SecurityError):
        problem["kind"] = "refused"
    elif isinstance(error, UnprintableError):
        problem["kind"] = "unprintable"
    elif isinstance(error, LimitError):
        problem["kind"] = "limit"
    elif isinstance(error, MemoryError):
        problem |= {"kind": "limit", "problem": "it needs too much memory"}
    elif isinstance(error, RecursionError):
        problem |= {"kind": "limit", "problem": "it calls or includes itself too deeply"}
    return problem


def place_of(error: BaseException) -> tuple[str | None, int | None]:
    """Return the innermost file (None: the template itself) and line where `error` arose."""
    place: tuple[str | None, int | None] = (None, None)
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = (template.name, template.get_corresponding_lineno(trace.tb_lineno))
        trace = trace.tb_next
    return place


def answer(bundles: dict[bytes, Bundle], bundle_line: bytes, order_line: bytes) -> dict[str, Any]:
    """Return the reply to one request; a template's fault is a reply too."""
    try:
        bundle = bundles.get(bundle_line)
        if bundle is None:
            if len(bundles) >= MAX_BUNDLES:
                bundles.clear()
            bundle = bundles[bundle_line] = Bundle(bundle_line)
        order = json.loads(order_line)
        if order["do"] == "inspect":
            return bundle.inspect()
        return {"text": bundle.render(order["values"], MAX_OUTPUT + len(order_line))}
    except Exception as error:
        return {"error": problem_of(error)}


def confine() -> None:
    """Take away what a template could use up, where the system can."""
    sys.dont_write_bytecode = True
    try:
        import resource
    except ImportError:  # Windows: the time limits remain
        return
    for kind, amount in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(kind, (amount, amount))
        except (OSError, ValueError):  # macOS refuses some
            continue


def main() -> None:
    """Answer requests until the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the conversation
    # The pipes move away from 0 and 1, so that nothing printed can look like a reply.
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.fdopen(os.open(os.devnull, os.O_RDWR), "r+b", buffering=0)
    replies.write(b'{"ready": true}\n')
    replies.flush()
    for number in (0, 1, 2):
        os.dup2(nowhere.fileno(), number)
    # Imported on their first use otherwise, when no file can be opened any more.
    import pprint  # noqa: F401
    import traceback  # noqa: F401

    codecs.lookup("unicode_escape")  # what Jinja reads string literals with

    confine()
    bundles: dict[bytes, Bundle] = {}
    while True:
        bundle_line, order_line = requests.readline(), requests.readline()
        if not order_line.endswith(b"\n"):
            break
        # A thread in C: it ends the process even inside one endless operation.
        faulthandler.dump_traceback_later(MAX_SECONDS, file=nowhere, exit=True)
        reply = json.dumps(answer(bundles, bundle_line, order_line), ensure_ascii=False)
        faulthandler.cancel_dump_traceback_later()
        try:
            replies.write(reply.encode("utf-8", "surrogatepass") + b"\n")
            replies.flush()
        except OSError:  # nobody listens any more
            break
    sys.exit()
