"""Templates: Jinja text that turns plain values into a prompt.

A template may come from a stranger, so it is parsed and rendered in a process of its own, under
limits (``template_process.py``, ``template_worker.py``). Users' texts are values and never
template source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

from promptbot.errors import TemplateError, TemplateLimit, did_you_mean, known_words
from promptbot.prompt.template_process import ask_worker

_INSPECT = b'{"do": "inspect"}\n'


@dataclass(frozen=True)
class Template:
    """A template with the files that it may include.

    Jinja as usual, with these differences: a variable that is not given is an error, blocks
    leave no empty lines (``trim_blocks``, ``lstrip_blocks``), nothing is escaped for HTML,
    ``tojson`` writes plain JSON, and ``random``, ``lipsum``, ``cycler`` and ``joiner`` are
    missing. What is printed must be text, a number, a list or a mapping.

    ::

        >>> Template("hello.j2", "Hello {{ name }}!").render({"name": "{{ 1 }}"})
        'Hello {{ 1 }}!'
    """

    name: str
    """What errors call it: its path, as ``templates/customer_service/system.j2``."""
    source: str
    """Its text."""
    partials: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Source of the templates of its folder that it may include or import, by file name."""

    def render(self, values: Mapping[str, object]) -> str:
        """Return the template filled with `values`, without white space at its end.

        The first rendering in a process starts the worker. What was rendered last is kept: the
        system prompts of an evaluation are often all the same, and nothing in a template is random.

        Args:
            values: Plain data by variable name: text, numbers, booleans, None, lists, mappings.
                Half surrogate pairs, which no encoding can carry, become U+FFFD.

        Raises:
            TemplateLimit: It ran too long, needed too much memory or wrote too much.
            TemplateError: Syntax, a variable that is not given, or a value of the wrong kind.
        """
        order = self._order(values)
        if (known := self._last.get(order)) is not None:
            return known
        reply = ask_worker(self._line, order, self.name)
        if "error" in reply:
            raise self._error(reply["error"], values)
        text: str = reply["text"]
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self.__dict__["_last"] = {order: text}  # a new one: other threads may read the old one
        return text

    def check(self, declared: Iterable[str]) -> list[TemplateError]:
        """Return everything that can be found wrong without rendering, by file and line.

        That is, here and in every file that it includes or imports: syntax, variables that are
        not declared, unknown filters and tests, and files that do not exist. A variable that
        the file tests with ``is defined``, or reads through ``default``, may be missing.

        Args:
            declared: Names of the variables that the template will be given.
        """
        try:
            facts = self._facts
        except TemplateError as error:
            return [error]
        names = list(declared)
        found: dict[str, tuple[tuple[str, int], TemplateError]] = {}
        for file, known, is_import in _walk(facts, frozenset(names)):
            for line, mistake in self._mistakes(facts, file, known, names, is_import):
                found.setdefault(str(mistake), ((file["file"] or "", line), mistake))
        return [mistake for _, mistake in sorted(found.values(), key=lambda pair: pair[0])]

    def variables(self) -> frozenset[str]:
        """Return the names of the variables that it reads, optional ones and partials included.

        Raises:
            TemplateError: It, or a file that it includes, has a syntax error.
        """
        facts = self._facts
        for file in facts["files"]:
            if file["syntax"]:
                raise self._error(file["syntax"] | {"file": file["file"]}, {})
        return frozenset(
            name
            for file, known, is_import in _walk(facts, frozenset())
            for name, _, _, is_hidden in file["reads"]
            if not is_import and not is_hidden and name not in known
        )

    @cached_property
    def _last(self) -> dict[bytes, str]:
        """The order that was rendered last, and its text; empty before the first."""
        return {}

    @cached_property
    def _line(self) -> bytes:
        """What the worker is told about this template; also the key of its compiled form."""
        return _to_line({"name": self.name, "source": self.source, "partials": dict(self.partials)})

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """What the worker found out about it; see ``facts_of`` in template_worker.py."""
        reply = ask_worker(self._line, _INSPECT, self.name)
        if "error" in reply:
            raise self._error(reply["error"], {})
        return reply

    def _order(self, values: Mapping[str, object]) -> bytes:
        """Return the order to render; refuse values that are not plain data."""
        try:
            return _to_line({"do": "render", "values": dict(values)})
        except (TypeError, ValueError, RecursionError):
            for name, value in values.items():
                self._refuse_unless_plain(name, value)
            raise

    def _refuse_unless_plain(self, name: str, value: object) -> None:
        try:
            _to_line({name: value})
        except (TypeError, ValueError, RecursionError) as error:
            raise TemplateError(
                f'variable "{name}" has a value that templates cannot read ({error}).',
                place=self.name,
                expected="Templates read text, numbers, true, false, null, lists and mappings.",
                hint="Write it as text; in YAML, put dates between quotes.",
            ) from None

    def _place(self, file: str | None, line: int | None) -> str:
        """Return where something is wrong; `file` is None for the template itself."""
        path = self.name if file in (None, self.name) else str(PurePath(self.name).with_name(file))
        return f"{path}, line {line}" if line else path

    def _error(self, problem: dict[str, Any], values: Mapping[str, object]) -> TemplateError:
        """Put a problem that the worker met into words."""
        place = self._place(problem["file"], problem["line"])
        kind, text = problem["kind"], _sentence(problem["problem"])
        word = problem.get("word", "")
        if kind == "variable":
            return _not_declared(place, word, list(values))
        if kind == "include":
            return self._no_such_file(place, word)
        if kind == "limit":
            return TemplateLimit(
                text, place=place, hint="Make it smaller: fewer rounds, shorter texts."
            )
        if kind == "member":
            known = problem.get("known")
            return TemplateError(
                f'{problem["problem"]} has no "{word}".',
                place=place,
                hint=known_words("It has", word, known)
                if known is not None
                else "Look at what the variable holds, or test it with: is defined",
            )
        hints = {
            "syntax": "Correct this place; templates are written in Jinja.",
            "refused": "Templates read plain values; they reach no Python object, change nothing.",
            "unprintable": 'Call functions with "()", and end a chain of filters with "|list" '
            'or "|join".',
        }
        hint = hints.get(kind, "Look at what the variables of this line hold.")
        return TemplateError(text, place=place, expected=self._quoted(problem), hint=hint)

    def _quoted(self, problem: dict[str, Any]) -> str | None:
        """Return the line of the template where a problem is, shortened."""
        source = self.partials.get(problem["file"], self.source)
        lines = source.splitlines()
        number = problem["line"] or 0
        text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        return f"The line reads: {text[:100]}" if text else None

    def _no_such_file(self, place: str, word: str) -> TemplateError:
        return TemplateError(
            f'there is no template "{word}" to include.',
            place=place,
            hint=known_words("Templates of this bot", word, sorted(self.partials)),
        )

    def _mistakes(
        self,
        facts: dict[str, Any],
        file: dict[str, Any],
        known: frozenset[str],
        declared: list[str],
        is_import: bool,
    ) -> Iterator[tuple[int, TemplateError]]:
        """Yield the mistakes of one file with their lines."""
        if file["syntax"]:
            problem = file["syntax"] | {"file": file["file"]}
            yield problem["line"] or 0, self._error(problem, {})
        reported: set[str] = set()
        for name, line, is_optional, is_hidden in file["reads"]:
            if is_optional or name in reported or (name in known and not is_hidden):
                continue
            reported.add(name)
            place = self._place(file["file"], line)
            if is_import and name in declared and not is_hidden:
                yield (
                    line,
                    TemplateError(
                        f'variable "{name}" is not visible in an imported file.',
                        place=place,
                        hint='Import the file "with context", or give the macro an argument.',
                    ),
                )
            elif name in file["stored"]:
                yield (
                    line,
                    TemplateError(
                        f'variable "{name}" has no value here.',
                        place=place,
                        expected=f"It is set at line {file['stored'][name]}, but only from there "
                        "on, and only within that loop, macro or block.",
                        hint="Set it earlier or further out, or keep it in a namespace.",
                    ),
                )
            else:
                yield line, _not_declared(place, name, declared)
        for kind in ("filters", "tests"):
            for name, line in file[kind]:
                near = did_you_mean(name, facts[kind])
                yield (
                    line,
                    TemplateError(
                        f'there is no {kind[:-1]} "{name}".',
                        place=self._place(file["file"], line),
                        hint=near or f"Known: {', '.join(facts[kind])}.",
                    ),
                )
        for ref in file["refs"]:
            if not ref["optional"] and not any(name in self.partials for name in ref["names"]):
                place = self._place(file["file"], ref["line"])
                yield ref["line"], self._no_such_file(place, ref["names"][0])


def _to_line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _sentence(text: str) -> str:
    """Return `text` with a small letter first, to follow a place, and a full stop."""
    text = text.strip()
    if text[1:2].islower():
        text = text[:1].lower() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _not_declared(place: str, name: str, declared: list[str]) -> TemplateError:
    if name in declared:
        return TemplateError(
            f'variable "{name}" has no value here.',
            place=place,
            hint="The template sets it further down, or an import does not pass it on.",
        )
    problem, listed = f'variable "{name}" is not declared.', known_words("Declared", name, declared)
    if did_you_mean(name, declared):
        return TemplateError(problem, place=place, hint=listed)
    hint = 'Declare it under "vars" in bot.yaml.'
    return TemplateError(problem, place=place, expected=listed, hint=hint)


def _walk(
    facts: dict[str, Any], declared: frozenset[str]
) -> Iterator[tuple[dict[str, Any], frozenset[str], bool]]:
    """Yield every file that is reached, the names it can see, and whether it is an import.

    An included file sees what its includer sees and sets; an imported one starts afresh.
    """
    files = {file["file"]: file for file in facts["files"]}
    waiting: list[tuple[str | None, frozenset[str], bool]] = [(None, declared, False)]
    seen: set[tuple[str | None, frozenset[str], bool]] = set()
    while waiting:
        step = waiting.pop()
        if step in seen or step[0] not in files:
            continue
        seen.add(step)
        name, known, is_import = step
        file = files[name]
        yield file, known, is_import
        optional = {read for read, _, is_optional, _ in file["reads"] if is_optional}
        for ref in file["refs"]:
            for target in ref["names"]:
                if ref["context"]:
                    waiting.append((target, known | optional | set(ref["visible"]), is_import))
                else:
                    waiting.append((target, frozenset(), True))
