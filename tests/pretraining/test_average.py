"""The average of two checkpoints lies between them and keeps the second's progress."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from pretraining.average import average
from pretraining.tokenizer import build, spelt


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


def test_tokens_are_averaged_with_the_one_that_spells_the_same(tmp_path: Path) -> None:
    words = ("card", "cat")
    old, new = (build([f" {w} " * 9 for w in words[:n]], size=300) for n in (1, 2))
    folders = tmp_path / "old", tmp_path / "new"
    for folder, tokenizer in zip(folders, (old, new), strict=True):
        folder.mkdir()
        tokenizer.save(str(folder / "tokenizer.json"))
    known = old.get_vocab()
    before = torch.arange(len(known)).float()[:, None].repeat(1, 3)
    save_file({"model.embed_tokens.weight": before}, folders[0] / "model.safetensors")
    rows = torch.full((new.get_vocab_size(), 3), -7.0)
    network = {"model.embed_tokens.weight": rows}
    torch.save({"network": network, "progress": {}}, folders[1] / "b.pt")
    average(folders[0], folders[1] / "b.pt", tmp_path / "c.pt", share=0.0)
    found = torch.load(tmp_path / "c.pt", weights_only=True)["network"][next(iter(network))]
    assert found[:, 0].tolist() == [known.get(token, -7) for token in spelt(new)]
    assert -7 in found
