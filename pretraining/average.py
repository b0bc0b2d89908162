"""Average two checkpoints of one run: what the first could and what the second learnt since.

    python -m pretraining.average FIRST SECOND TARGET

Training on new kinds of episodes costs some of what was learnt before; the mean of the weights
before and after keeps most of both (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

from pathlib import Path


def average(first: Path, second: Path, target: Path, share: float = 0.5) -> None:
    """Write the second checkpoint with weights averaged with the first's; `share` is its own."""
    import torch

    before = torch.load(first, weights_only=True)["network"]
    state = torch.load(second, weights_only=True)
    for name, weights in state["network"].items():
        state["network"][name] = torch.lerp(before[name], weights, share)
    torch.save(state, target)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Average two checkpoints.")
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    options = parser.parse_args()
    average(options.first, options.second, options.target, options.share)
