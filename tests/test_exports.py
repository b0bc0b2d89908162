"""The public names: what `import promptbot` promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

import promptbot


@pytest.mark.parametrize("name", promptbot.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    assert getattr(promptbot, name).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = promptbot.nothing_of_this_name


def test_import_loads_nothing_else() -> None:
    probe = (
        "import promptbot, sys; "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "{'numpy', 'torch', 'transformers', 'langchain_core', 'pydantic', 'jinja2', 'yaml'}])"
    )
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
