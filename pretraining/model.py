"""The embedded model: a small Llama whose start makes copying easy to learn.

Three things differ from the usual initialisation, each measured to matter at this size:

- tokens stay visible in the residual stream: embeddings of RMS 1 (warm-started from the teacher's
  word pieces), attention and feed-forward outputs a tenth of the usual size, and a final norm
  of .05 so that the tied logits stay small;
- the copying heads (four heads of the last layer but one) write what they read: their value and
  output matrices are a projection on the main directions of the embeddings;
- a rotary base of 500,000, so that content is matched over hundreds of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pretraining import teacher, tokenizer

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

COPY_HEADS = 4
NORM_START = 0.05


@dataclass(frozen=True)
class Size:
    """The shape of a model."""

    width: int = 384
    layers: int = 5
    heads: int = 6
    inner: int = 1024

    @property
    def copy_layer(self) -> int:
        """The layer (from 0) whose first heads copy."""
        return self.layers - 2

    @property
    def tap_layer(self) -> int:
        """The layer (from 0) whose output the sentence summary is read from."""
        return self.layers // 2 - 1

    @property
    def copy_width(self) -> int:
        """Rows of the query, key and value matrices that belong to the copying heads."""
        return COPY_HEADS * self.width // self.heads


SMALL = Size(width=96, layers=3, heads=6, inner=256)
"""About 2.8 million parameters: what the larger sizes are compared with."""
CPU = Size()
"""19 million parameters, half of them embeddings: what two cores train in hours."""
GPU = Size(width=512, layers=8, heads=8, inner=1408)
"""About 39 million parameters, for machines with a GPU; the same recipe."""
SIZES = {"small": SMALL, "cpu": CPU, "gpu": GPU}


def config(size: Size, vocabulary: int = tokenizer.VOCABULARY) -> LlamaConfig:
    """Return the Transformers configuration of a model of this size."""
    from transformers import LlamaConfig

    options: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.PAD,
        "bos_token_id": None,
        "eos_token_id": tokenizer.END,
    }
    return LlamaConfig(**options)


def teacher_embeddings(vocabulary: Tokenizer, width: int) -> torch.Tensor:
    """Return start embeddings (n_tokens, width): each token the mean of the teacher's pieces.

    Where the width is not the teacher's, its main directions are kept and the rest is noise.
    """
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    folder = teacher.model_path()
    weights = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pieces.no_padding()
    pieces.no_truncation()
    mean = weights.mean(0)
    weights = (weights - mean) / (weights - mean).std()
    n_tokens = vocabulary.get_vocab_size()
    result = torch.randn(n_tokens, width)
    known = min(width, weights.shape[1])
    if width < weights.shape[1]:
        weights = weights @ torch.linalg.svd(weights, full_matrices=False).Vh.T
    for i in range(len(tokenizer.SPECIAL), n_tokens):
        word = vocabulary.decode([i])
        ids = pieces.encode(word, add_special_tokens=False).ids
        if word.isalpha() and not word[0].isupper():  # a capital opens a word, in quotes or a line
            inside = pieces.token_to_id("##" + word.lower())
            ids = ids if inside is None else [inside]
        if ids:
            result[i, :known] = weights[ids].mean(0)[:known] + 0.1 * torch.randn(known)
    start = len(tokenizer.SPECIAL)
    result[start:] /= result[start:].pow(2).mean().sqrt()
    return separate(result)


def mixed_with_noise(
    embeddings: torch.Tensor, kept: torch.Tensor | float, seed: int
) -> torch.Tensor:
    """Return embeddings of which a share is kept and the rest is noise of each one's own size.

    Args:
        embeddings: The vectors.  # (n, width)
        kept: Share of the squared length that stays, 0 to 1, one or each vector's.  # (n, 1)
        seed: Of the noise.
    """
    import torch

    kept = torch.as_tensor(kept)
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(seed))
    noise *= embeddings.pow(2).mean(-1, keepdim=True).sqrt()
    return kept.sqrt() * embeddings + (1.0 - kept).sqrt() * noise


def separate(embeddings: torch.Tensor, most: float = 0.7, seed: int = 0) -> torch.Tensor:
    """Return embeddings in which no two tokens are (nearly) the same vector.

    The teacher reads lower case, so "Please" and "please" start as one vector, and a head that
    copies embeddings cannot tell which of them it copies. Every token whose nearest other token
    has a cosine above `most` is mixed with noise of its own until about `most` remains.
    """
    import torch

    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    nearest = torch.cat([(part @ unit.T).topk(2).values[:, 1] for part in unit.split(1024)])
    return mixed_with_noise(embeddings, (most / nearest.clamp(min=most))[:, None], seed)


def extended(
    start: torch.Tensor, trained: torch.Tensor, places: torch.Tensor, twins: torch.Tensor
) -> torch.Tensor:
    """Return the embeddings of a vocabulary of which a trained model knows a part.

    Args:
        start: Its start embeddings, made as the trained ones' were.  # (n_tokens, width)
        trained: The trained embeddings.  # (n_trained, width)
        places: Each token's row among the trained ones, or -1.  # (n_tokens,)
        twins: That of the same word after a space, or -1.  # (n_tokens,)

    Of those that are not known, one whose twin is starts as this; what training did to the known
    ones is done to the others, as far as it is linear (least squares). No two become one vector.
    """
    import torch

    known = places >= 0
    goal = trained[places[known]]
    result = start.clone()
    if not known.all():
        x = start[known]
        ridge = 0.1 * len(x) * x.pow(2).mean() * torch.eye(x.shape[1])
        change = torch.linalg.solve(x.T @ x + ridge, x.T @ goal)
        new = start[~known] @ change
        new = new * (goal.pow(2).mean() / new.pow(2).mean()).sqrt()
        result[~known] = new
    # Nearer to its twin, it was copied in its place ("the smallestUnits of life").
    result[twins >= 0] = mixed_with_noise(trained[twins[twins >= 0]], 0.5, seed=1)
    result[known] = goal
    apart = separate(result)
    apart[known] = goal
    return apart


def build(size: Size, embeddings: torch.Tensor, seed: int = 0) -> LlamaForCausalLM:
    """Return an untrained model with the start described at the head of this module."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(config(size, embeddings.shape[0]))
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(embeddings)
        model.model.norm.weight.fill_(NORM_START)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(0.1)
            layer.mlp.down_proj.weight.mul_(0.1)
        n = size.copy_width
        main = torch.linalg.svd(embeddings[len(tokenizer.SPECIAL) :], full_matrices=False).Vh[
            :n
        ]  # (n, width)
        attention = model.model.layers[size.copy_layer].self_attn
        attention.v_proj.weight[:n] = main
        attention.o_proj.weight[:, :n] = 2.0 * main.T
    return model
