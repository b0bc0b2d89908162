"""Files of lines, on disks that fill and in processes that die."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from promptbot.errors import InputError
from promptbot.evals.lines import LineFile, whole_lines


def lines_of(path: Path) -> list[str]:
    return [line.rstrip("\n") for _, line in whole_lines(path)]


@pytest.mark.parametrize("torn", [b"", b"{", b"x" * 200_000])
def test_a_last_line_without_its_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"one\ntwo\n" + torn)
    assert lines_of(path) == ["one", "two"]
    with LineFile(path) as file:
        file.append("three")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"half")
    with LineFile(path):
        pass
    assert path.read_bytes() == b""


def test_lines_keep_what_is_no_proper_unicode(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with LineFile(path) as file:
        file.append("\ud83d \u2028 é")
    assert lines_of(path) == ["\ud83d \u2028 é"]


@pytest.mark.parametrize(
    ("begun", "advice"),
    [(True, "promptbot eval --resume"), (False, "then start again; nothing was asked yet")],
)
def test_a_full_disk_is_told_and_keeps_whole_lines_only(
    tmp_path: Path, begun: bool, advice: str
) -> None:
    path = tmp_path / "lines.jsonl"
    if begun:
        (tmp_path / "manifest.json").write_text("{}")
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from promptbot.errors import StoreError\n"
        "from promptbot.evals.lines import LineFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"  # as a full disk: EFBIG
        f"with LineFile(Path({str(path)!r})) as file:\n"
        "    file.append('a' * 700)\n"
        "    try:\n"
        "        file.append('b' * 700)\n"
        "    except StoreError as error:\n"
        "        print(error)\n"
        "    file.append('c' * 100)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cannot be written (File too large)" in done.stdout
    assert advice in done.stdout
    assert lines_of(path) == ["a" * 700, "c" * 100]


def test_only_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with LineFile(path), pytest.raises(InputError, match="another process"):
        LineFile(path)
    LineFile(path).close()
