"""Average two states of one run: what the first could and what the second learnt since.

    python -m pretraining.average FIRST SECOND TARGET

Training on new kinds of episodes costs some of what was learnt before; the mean of the weights
before and after keeps most of both (Wortsman et al., arXiv 2109.01903).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


EMBEDDINGS = "model.embed_tokens.weight"


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint, or of an exported folder."""
    import torch

    from promptbot.models.weights import load_tensors

    if path.is_dir():
        return {name: torch.from_numpy(t) for name, t in load_tensors(path).items()}
    network: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["network"]
    return network


def places(first: Path, second: Path, n_before: int, n_tokens: int) -> torch.Tensor:
    """Return each token's row in the first state, or -1.  # (n_tokens,)

    By what a token spells, where both states have a tokenizer; else by its number.
    """
    import torch

    from pretraining import tokenizer

    folders = first if first.is_dir() else first.parent, second.parent
    if not all((folder / "tokenizer.json").exists() for folder in folders):
        numbers = torch.arange(n_tokens)
        return torch.where(numbers < n_before, numbers, -1)
    return torch.tensor(tokenizer.places(*map(tokenizer.load, folders)))


def average(first: Path, second: Path, target: Path, share: float = 0.5) -> None:
    """Write the second checkpoint with weights averaged with the first's; `share` is its own.

    Tokens that only the second has keep their vectors.
    """
    import torch

    before = weights(first)
    state = torch.load(second, weights_only=True)
    network, output = state["network"], "lm_head.weight"
    for name in network.keys() - {output}:
        old, new = before[name].to(network[name].dtype), network[name]
        if name == EMBEDDINGS:
            row = places(first, second, len(old), len(new))
            mixed = new.clone()
            mixed[row >= 0] = torch.lerp(old[row[row >= 0]], new[row >= 0], share)
        else:
            mixed = torch.lerp(old, new, share)
        network[name] = mixed
    if output in network:  # the same matrix, which an exported folder has once
        network[output] = network[EMBEDDINGS]
    torch.save(state, target)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Average two states of one run.")
    parser.add_argument("first", type=Path, help="a checkpoint or an exported folder")
    parser.add_argument("second", type=Path, help="a checkpoint")
    parser.add_argument("target", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    options = parser.parse_args()
    average(options.first, options.second, options.target, options.share)
