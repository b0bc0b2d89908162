"""Imports point down the list of layers, never up, and there is no cycle (DESIGN, section 4)."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import promptbot

PACKAGE = Path(promptbot.__file__).parent

LAYERS = [
    {"promptbot.types", "promptbot.errors", "promptbot.scripts"},
    {
        "promptbot.interfaces",
        "promptbot.data",
        "promptbot.bot.folder",
        "promptbot.bot.patterns",
        "promptbot.bot.spec",
    },
    {
        "promptbot.guard",
        "promptbot.prompt",
        "promptbot.models",
        "promptbot.evals.distributions",
        "promptbot.evals.interpolation",
        "promptbot.evals.ledger",
        "promptbot.evals.metrics",
        "promptbot.evals.sequential",
        "promptbot.evals.stats",
        "promptbot.evals.verdict",
        "promptbot.evals.worth",
    },
    {
        "promptbot.answer",
        "promptbot.chain",
        "promptbot.classify",
        "promptbot.preview",
        "promptbot.bot.check",
        "promptbot.bot.scaffold",
    },
    {
        "promptbot.bot.changes",
        "promptbot.bot.live",
        "promptbot.corrections",
        "promptbot.importing",
        "promptbot.influence",
        "promptbot.interchange",
        "promptbot.picks",
        "promptbot.session",
        "promptbot.store",
        "promptbot.transcript",
        "promptbot.turn_file",
        "promptbot.langchain_compat",
        "promptbot.evals.advice",
        "promptbot.evals.column_spec",
        "promptbot.evals.cleaned",
        "promptbot.evals.columns",
        "promptbot.evals.curve",
        "promptbot.evals.compare",
        "promptbot.evals.data_care",
        "promptbot.evals.evaluation",
        "promptbot.evals.fluency",
        "promptbot.evals.gate",
        "promptbot.evals.estimate",
        "promptbot.evals.hub",
        "promptbot.evals.judge",
        "promptbot.evals.judging",
        "promptbot.evals.leaks",
        "promptbot.evals.lines",
        "promptbot.evals.matrix",
        "promptbot.evals.manifest",
        "promptbot.evals.measures",
        "promptbot.evals.outcomes",
        "promptbot.evals.own_metrics",
        "promptbot.evals.own_predictor",
        "promptbot.evals.records",
        "promptbot.evals.remember",
        "promptbot.evals.report",
        "promptbot.evals.runner",
        "promptbot.evals.samples",
        "promptbot.evals.suite",
        "promptbot.evals.suite_spec",
        "promptbot.evals.summary",
        "promptbot.evals.together",
        "promptbot.evals.trained",
        "promptbot.learn",
    },
    {"promptbot.cli", "promptbot.__main__"},
]
"""Every module belongs to exactly one of these, by its longest prefix."""


def modules() -> dict[str, Path]:
    found = {}
    for file in PACKAGE.rglob("*.py"):
        if "templates" in file.parts:
            continue
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        # These only name what lies in them.
        if name not in {"promptbot", "promptbot.bot", "promptbot.evals"}:
            found[name] = file
    return found


def layer(module: str) -> int:
    levels = [
        level
        for level, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    assert len(levels) == 1, f"{module} belongs to {len(levels)} layers; name it in LAYERS"
    return levels[0]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree: ast.AST, known: set[str]) -> set[str]:
    """Return promptbot's modules that a module imports, those inside its functions included."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
        found |= imports(node, known)
    return {name for name in found if name in known}


def graph() -> dict[str, set[str]]:
    files = modules()
    return {name: imports(ast.parse(file.read_text()), set(files)) for name, file in files.items()}


def test_imports_never_point_up() -> None:
    upward = [
        f"{importer} imports {imported}"
        for importer, targets in graph().items()
        for imported in targets
        if layer(imported) > layer(importer)
    ]
    assert not upward


def test_there_is_no_cycle() -> None:
    TopologicalSorter(graph()).prepare()


def test_the_check_would_see_an_upward_import() -> None:
    known = set(modules())
    tree = ast.parse("def f():\n    from promptbot.cli import main\n")
    found = imports(tree, known)
    assert found
    assert all(layer(name) > layer("promptbot.types") for name in found)
