"""A message written in the user's own editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from promptbot.errors import InputError

EDITORS = ("editor", "nano", "vim", "vi", "notepad")
"""What is tried where neither $VISUAL nor $EDITOR is set."""


def edit_text(text: str) -> str:
    """Return a text as it was when the user left the editor.

    Raises:
        InputError: There is no editor, or it failed; then nothing is taken over.
    """
    command = _editor()
    # A terminal may give bytes that are no text, which stand in a str as lone surrogates.
    text = text.encode("utf-8", "replace").decode("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "message.md"
        file.write_text(text, encoding="utf-8")
        try:
            status = subprocess.run([*command, str(file)], check=False).returncode
        except OSError as error:
            raise _failed(command, error.strerror or str(error)) from None
        if status:
            raise _failed(command, f"it ended with status {status}")
        try:
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise _failed(command, f"it left no text: {error.strerror}") from None


def _editor() -> list[str]:
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    found = named or next((name for name in EDITORS if shutil.which(name)), None)
    if not found:
        raise InputError(
            "there is no editor.", place="/editor", hint="Name one: export EDITOR=nano"
        )
    try:
        return shlex.split(found)
    except ValueError as error:
        raise InputError(
            f"{found} cannot be read ({error}).",
            place="$VISUAL or $EDITOR",
            hint="Nothing was sent. Name another editor: export EDITOR=nano",
        ) from None


def _failed(command: list[str], reason: str) -> InputError:
    return InputError(
        f"{shlex.join(command)} could not be used ({reason}).",
        place="/editor",
        hint="Nothing was sent. Name another editor: export EDITOR=nano",
    )
