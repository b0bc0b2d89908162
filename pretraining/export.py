"""Write a training checkpoint as the folder that promptbot ships and plain Transformers loads.

    python -m pretraining.export

The weights are rounded to bfloat16 and split into files under 20 MB; the ONNX graph, which reads
the same weights, is written beside them. `card.json` holds size and SHA-256 of every file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SHARD = "16MB"
FOLDER = Path("promptbot/models/embedded")


def export(
    work: Path, folder: Path, checkpoint: Path | None = None, name: str = "promptbot-embedded"
) -> None:
    """Write config, weights, tokenizer, ONNX graph and card of a checkpoint, or `work`'s own."""
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    from pretraining import model, tokenizer
    from promptbot.models.export import export_onnx
    from promptbot.models.weights import CARD, checksums, digest, load_tensors

    state = torch.load((checkpoint or work / "checkpoint.pt"), weights_only=True)
    embeddings = state["network"]["model.embed_tokens.weight"]
    size = next(s for s in model.SIZES.values() if s.width == embeddings.shape[1])
    network: Any = model.build(size, torch.randn(embeddings.shape))
    network.load_state_dict(state["network"])
    network = network.to(torch.bfloat16)
    settings: Any = GenerationConfig
    network.generation_config = settings(
        eos_token_id=tokenizer.END, pad_token_id=tokenizer.PAD, do_sample=False, max_new_tokens=120
    )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    network.save_pretrained(folder, max_shard_size=SHARD, safe_serialization=True)
    make_tokenizer: Any = PreTrainedTokenizerFast
    vocabulary = make_tokenizer(
        tokenizer_object=tokenizer.load(work),
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        model_max_length=network.config.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )
    vocabulary.chat_template = tokenizer.CHAT_TEMPLATE
    vocabulary.save_pretrained(folder)
    export_onnx(folder)
    card = {
        "name": name,
        "revision": digest(load_tensors(folder)),
        "language": ["en", "zh"],
        "parameters": sum(p.numel() for p in network.parameters()),
        "training_tokens": state["progress"]["tokens"],
        "training_steps": state["progress"]["step"],
        "files": checksums(folder, [p.name for p in folder.iterdir() if p.is_file()]),
    }
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(f"{folder}: {card['revision']}, {card['training_tokens']:,} tokens")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Export the embedded chat model.")
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--checkpoint", type=Path, help="by default that of the work folder")
    options = parser.parse_args()
    export(options.work, options.folder, options.checkpoint)
