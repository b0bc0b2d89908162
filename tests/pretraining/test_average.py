"""The average of two checkpoints lies between them and keeps the second's progress."""

from __future__ import annotations

from pathlib import Path

import torch

from pretraining.average import average


def test_weights_lie_between_and_progress_is_the_seconds(tmp_path: Path) -> None:
    for name, value, tokens in (("a.pt", 0.0, 1), ("b.pt", 4.0, 2)):
        network = {"w": torch.full((2,), value)}
        torch.save({"network": network, "progress": {"tokens": tokens}}, tmp_path / name)
    average(tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt", share=0.25)
    found = torch.load(tmp_path / "c.pt", weights_only=True)
    assert found["network"]["w"].tolist() == [1.0, 1.0]
    assert found["progress"] == {"tokens": 2}
