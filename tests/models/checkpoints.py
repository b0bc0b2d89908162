"""Tiny random checkpoints in published layouts, with real tokenizers trained on a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

LINES = [
    "Where is my order? I lost my card abroad.",
    "You can return a parcel within thirty days.",
    "hello world, lost card, card payment, wrong amount",
    "Übermorgen kommt das Paket. 你好，世界 🙂",
] * 10

EMBEDDED_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'].strip() + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ROLE_TOKENS = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def byte_level_tokenizer(special: list[str], *, adds_bos: str | None = None) -> Any:
    """Return a byte-level BPE tokenizer; with `adds_bos` it puts that token before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{adds_bos} $A", special_tokens=[(adds_bos, tokenizer.token_to_id(adds_bos))]
        )
    return tokenizer


def unigram_tokenizer() -> Any:
    """Return a T5-like tokenizer, in whose vocabulary the control tokens are ordinary pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return tokenizer


def save(folder: Path, model: Any, tokenizer: Any, **named: str | None) -> Path:
    """Save model and tokenizer as `save_pretrained` does; `named` are special tokens."""
    from transformers import PreTrainedTokenizerFast

    template = named.pop("chat_template", None)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    wrapped.chat_template = template
    wrapped.save_pretrained(folder)
    model.save_pretrained(folder, max_shard_size="60KB")
    return folder


def embedded_like(folder: Path) -> Path:
    """A Llama as the embedded model is: grouped heads, tied, bfloat16, sharded, role tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_level_tokenizer(ROLE_TOKENS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=4,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    return save(
        folder,
        model,
        tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=EMBEDDED_TEMPLATE,
    )


def llama3_like(folder: Path) -> Path:
    """A Llama with untied output, scaled rotary positions, BOS from template and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    special = ["<|begin|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_level_tokenizer(special, adds_bos="<|begin|>")
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.3,
    )
    return save(
        folder,
        LlamaForCausalLM(config),
        tokenizer,
        bos_token="<|begin|>",
        eos_token="<|im_end|>",
        chat_template=CHATML_TEMPLATE,
    )


def qwen_like(folder: Path, generation: int) -> Path:
    """A Qwen2 (biases) or Qwen3 (normalised heads) with ChatML and no BOS."""
    import torch
    import transformers

    tokenizer = byte_level_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    torch.manual_seed(generation)
    config = getattr(transformers, f"Qwen{generation}Config")(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=2,
        initializer_range=0.3,
    )
    if generation == 2:
        config.head_dim = 12
    model = getattr(transformers, f"Qwen{generation}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "_norm" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    template = CHATML_TEMPLATE.removeprefix("{{ bos_token }}")
    return save(folder, model, tokenizer, eos_token="<|im_end|>", chat_template=template)


def gpt2_like(folder: Path) -> Path:
    """A GPT-2: learned positions, LayerNorm, no chat template, end token that is also unknown."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = byte_level_tokenizer(["<|endoftext|>"])
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_embd=48,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    end = "<|endoftext|>"
    return save(
        folder, GPT2LMHeadModel(config), tokenizer, bos_token=end, eos_token=end, unk_token=end
    )


def t5_like(folder: Path) -> Path:
    """A T5: Unigram vocabulary, relative positions, no template."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = unigram_tokenizer()
    torch.manual_seed(4)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=48,
        d_kv=12,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return save(
        folder,
        T5ForConditionalGeneration(config),
        tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def bart_like(folder: Path) -> Path:
    """A BART: byte-level vocabulary, learned positions, BOS and EOS around each text."""
    import torch
    from tokenizers import processors
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = byte_level_tokenizer(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    torch.manual_seed(5)
    config = BartConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=48,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        init_std=0.3,
    )
    return save(
        folder,
        BartForConditionalGeneration(config),
        tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
OTHER_CAUSAL: dict[str, dict[str, Any]] = {
    "Mistral": {**SIZES, "num_key_value_heads": 2, "sliding_window": None},
    "Gemma": {**SIZES, "num_key_value_heads": 1, "head_dim": 16},
    "Phi": SIZES,
    "GPTNeoX": SIZES,
    "OPT": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "init_std": 0.3,
    },
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
    "GPTNeo": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
    },
    "Mixtral": {
        **SIZES,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
}
"""Sizes of causal layouts without a maker of their own, by the beginning of their class names."""


def other_causal(folder: Path, name: str) -> Path:
    """One of `OTHER_CAUSAL`, whose tokenizer has no BOS, no padding token and no template."""
    import torch
    import transformers

    tokenizer = byte_level_tokenizer(["</s>"])
    torch.manual_seed(6)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=tokenizer.get_vocab_size(),
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None if name != "OPT" else 1,
        **OTHER_CAUSAL[name],
    )
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    return save(folder, model, tokenizer, eos_token="</s>")


def llama2_like(folder: Path) -> Path:
    """A Llama with a tokenizer as SentencePiece makes them: "▁" for spaces, bytes, BOS added."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    special = ["<unk>", "<s>", "</s>"]
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    # Only Latin letters are learned, so that others fall back to their bytes.
    lines = [line for line in LINES if line.isascii()]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*special, *fallback], show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [one for one in state["added_tokens"] if one["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        **SIZES,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # left to chance, it would write bytes that are no characters
        model.lm_head.weight[len(special) : len(special) + len(fallback)] = 0.0
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return save(folder, model, tokenizer, **named)


def on_processor(monkeypatch: pytest.MonkeyPatch, *, has_bfloat16: bool) -> None:
    """Let torch find a processor with or without instructions for bfloat16; skip without torch."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16})


def bert_like(folder: Path) -> Path:
    """A small BERT encoder without a head, as encoders are published."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = byte_level_tokenizer(["[PAD]", "[CLS]", "[SEP]"], adds_bos="[CLS]")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return save(folder, BertModel(config), tokenizer, pad_token="[PAD]", cls_token="[CLS]")
