"""`promptbot models export`, and matrices in 8 bits."""

from __future__ import annotations

import errno
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from promptbot.errors import InputError, ModelError
from promptbot.models import export as exporting
from promptbot.models.export import export_model, export_onnx
from promptbot.models.int8 import BLOCK, quantise
from promptbot.models.onnx import load_onnx
from promptbot.models.registry import load_model
from promptbot.types import Message
from tests.models import checkpoints

pytest.importorskip("torch")
pytest.importorskip("onnx")

PROMPT = [Message("user", "Where is my order?")]
OPTIONS = ["lost card", "lost card abroad", "card payment"]
LAYOUTS = {
    "llama3": checkpoints.llama3_like,
    "qwen3": partial(checkpoints.qwen_like, generation=3),
    "gpt2": checkpoints.gpt2_like,
}


@pytest.mark.parametrize("columns", [BLOCK, 3 * BLOCK, 40])
def test_codes_give_every_number_back_within_half_a_scale(columns: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(5, columns)).astype(np.float32)
    matrix[1] = 0.0
    codes, scales = quantise(matrix)
    blocks = scales.reshape(5, -1, 1)
    given_back = ((codes.astype(np.float32) - 128.0) * blocks).reshape(5, -1)
    padded = np.zeros_like(given_back)
    padded[:, :columns] = matrix
    assert np.abs(given_back - padded).max() <= blocks.max() / 2 + 1e-6
    assert not given_back[1].any()


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_exported_checkpoint_runs_on_onnx_runtime_and_says_the_same(
    tmp_path: Path, name: str
) -> None:
    source = LAYOUTS[name](tmp_path / "source")
    equality = export_model(str(source), tmp_path / "made")
    assert equality.n_equal == equality.n_answers
    assert equality.nats < 1e-4
    assert not (source / "model.onnx").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "source"]
    facts = exporting.read_json(tmp_path / "made" / "config.json")
    assert facts["model_type"] in name


@pytest.mark.parametrize("name", LAYOUTS)
def test_8_bits_score_nearly_as_float32_does(tmp_path: Path, name: str) -> None:
    source = LAYOUTS[name](tmp_path / "source")
    export_onnx(source, check=False)
    plain = load_onnx(source, "plain").score(PROMPT, OPTIONS)
    export_onnx(source, with_int8=True)
    model = load_model(str(source))
    coded = model.score(PROMPT, OPTIONS)
    differences = [
        abs(a - b)
        for one, other in zip(coded, plain, strict=True)
        for a, b in zip(one.token_logprobs, other.token_logprobs, strict=True)
    ]
    assert 0.0 < np.mean(differences) < 0.2  # the tiny models' numbers are large and random
    assert model.digest() == model.revision


def test_what_stands_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    source = LAYOUTS["gpt2"](tmp_path / "source")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="something is there already"):
        export_model(str(source), tmp_path / "made")
    assert (tmp_path / "made" / "mine.txt").read_text() == "keep"


def test_a_model_that_differs_too_much_is_not_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = LAYOUTS["gpt2"](tmp_path / "source")
    monkeypatch.setitem(exporting.MAX_NATS, True, 1e-9)
    with pytest.raises(ModelError, match="Export it without --int8"):
        export_model(str(source), tmp_path / "made", with_int8=True)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = LAYOUTS["gpt2"](tmp_path / "source")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        export_model(str(source), tmp_path / "file" / "made")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_full_disk_and_ctrl_c_leave_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    source = LAYOUTS["gpt2"](tmp_path / "source")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(exporting, "export_onnx", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else InputError):
        export_model(str(source), tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_architecture_that_is_not_supported_is_named(tmp_path: Path) -> None:
    folder = checkpoints.t5_like(tmp_path / "t5")
    with pytest.raises(ModelError, match='architecture "t5"') as raised:
        export_model(str(folder), tmp_path / "made")
    assert raised.value.place == str(folder)
    assert not list(tmp_path.glob("made*"))


def test_the_command_says_how_equal_the_models_are_and_how_to_use_it(tmp_path: Path) -> None:
    source = LAYOUTS["gpt2"](tmp_path / "source")
    command = [sys.executable, "-m", "promptbot", "models", "export"]
    done = subprocess.run(
        [*command, str(source), str(tmp_path / "made"), "--int8"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "greedy answers are equal" in done.stdout
    assert f"--model {tmp_path / 'made'}" in done.stdout
    info = subprocess.run(
        [*command[:-1], "info", str(tmp_path / "made")], capture_output=True, text=True
    )
    assert "8 bits" in info.stdout
    wrong = subprocess.run(
        [*command, str(tmp_path / "nothing"), str(tmp_path / "other")],
        capture_output=True,
        text=True,
    )
    assert wrong.returncode == 2
    assert "no such folder" in wrong.stderr
