"""The average of two checkpoints lies between them and keeps the second's progress."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from pretraining.average import average


def test_weights_lie_between_and_progress_is_the_seconds(tmp_path: Path) -> None:
    for name, value, tokens in (("a.pt", 0.0, 1), ("b.pt", 4.0, 2)):
        network = {"w": torch.full((2,), value)}
        torch.save({"network": network, "progress": {"tokens": tokens}}, tmp_path / name)
    average(tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt", share=0.25)
    found = torch.load(tmp_path / "c.pt", weights_only=True)
    assert found["network"]["w"].tolist() == [1.0, 1.0]
    assert found["progress"] == {"tokens": 2}


def test_an_exported_folder_is_averaged_and_new_tokens_keep_their_vectors(tmp_path: Path) -> None:
    old = {"model.embed_tokens.weight": torch.zeros(2, 3)}
    save_file(old, tmp_path / "model.safetensors")
    new = torch.full((4, 3), 2.0)
    network = {"model.embed_tokens.weight": new, "lm_head.weight": new}
    torch.save({"network": network, "progress": {}}, tmp_path / "b.pt")
    average(tmp_path, tmp_path / "b.pt", tmp_path / "c.pt")
    found = torch.load(tmp_path / "c.pt", weights_only=True)["network"]
    for weights in found.values():
        assert weights[:, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
