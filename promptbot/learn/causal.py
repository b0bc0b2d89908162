"""Baselines of the model that the prompts steer: its weights, trained on the bot's own examples.

Each example is one training text: the prompt that the bot's template makes of its input, without
other examples, then the wanted answer. Afterwards the same bot asks the trained model in the same
way, so that such a baseline is a `Chain` and answers for chat bots as for classify bots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.bot.folder import Bot
from promptbot.chain import Chain, load_chain
from promptbot.errors import ContextOverflow, DataError, ModelError
from promptbot.learn import tuned
from promptbot.models.encoder import checkpoint_folder
from promptbot.models.registry import EMBEDDED, load_model

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder
    from promptbot.models.local import LocalChatModel

NO_LOSS = -100
"""The target of tokens that nothing is learned from."""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One example as the model reads it in training."""

    prompt: tuple[int, ...]
    """Tokens that are read, and not learned."""
    answer: tuple[int, ...]
    """Tokens that are learned; the last one ends the assistant's message."""


def trainable_model(spec: str, place: str) -> tuple[LocalChatModel, Path]:
    """Return the model that a spec names, and the folder of the checkpoint that can be trained.

    Raises:
        ModelError: It runs elsewhere, or is no causal model.
    """
    from promptbot.models.causal import CausalEngine
    from promptbot.models.local import LocalChatModel

    if spec == "embedded":
        folder = EMBEDDED
    elif spec.startswith("hf:") or Path(spec).expanduser().is_dir():
        folder = checkpoint_folder(spec, place)
    else:
        raise _untrainable(spec, place)
    model = load_model(spec)
    if not isinstance(model, LocalChatModel) or not isinstance(model.engine, CausalEngine):
        raise _untrainable(spec, place)
    return model, folder


def _untrainable(spec: str, place: str) -> ModelError:
    return ModelError(
        f"{spec} is no model whose weights can be trained here.",
        place=place,
        expected="Expected embedded, the folder of a causal checkpoint, or hf:owner/name.",
        hint="Give one of these as the baseline's model, or leave the baseline out.",
    )


def without_examples(bot: Bot) -> Bot:
    """Return a bot whose prompts show no examples: what they teach is in the weights."""
    if bot.spec.examples is None:
        return bot
    shown = bot.spec.examples.model_copy(update={"k": 0})
    return replace(bot, spec=bot.spec.model_copy(update={"examples": shown}))


def training_texts(
    bot: Bot, model: LocalChatModel, encoder: Encoder | None, seed: int
) -> list[TrainingText]:
    """Return a bot's examples as its own template renders them for a model.

    Raises:
        DataError: The bot has no examples, or none fits into the model's context.
    """
    chain = load_chain(without_examples(bot), model=model, encoder=encoder, seed=seed)
    chat_format = model.engine.chat_format
    found = []
    for example in bot.examples:
        answer = tuple(chat_format.encode_answer(example.output, end_of_turn=True))
        try:
            prompt = chain.compose(example.input)
        except ContextOverflow:
            continue
        ids = tuple(chat_format.encode(prompt.messages).ids)
        if model.context_tokens is None or len(ids) + len(answer) <= model.context_tokens:
            found.append(TrainingText(ids, answer))
    if not found:
        raise DataError(
            f"none of {len(bot.examples)} examples can be trained on.",
            place=str(bot.folder),
            expected="Expected examples that fit into the model's context.",
            hint="Add examples to the bot.",
        )
    return sorted(found, key=lambda text: (text.prompt, text.answer))


def fit_causal(
    texts: Sequence[TrainingText],
    base: Path,
    folder: Path,
    work: Path,
    *,
    method: str,
    seed: int,
    place: str,
    settings: tuned.Recipe | None = None,
) -> None:
    """Train a causal checkpoint and keep it in a folder: all of it, or with LoRA an adapter.

    The loss is that of the answers' tokens alone.

    Args:
        texts: What it learns.
        base: The checkpoint to start from; it stays as it is.
        folder: Where the result goes.
        work: Where checkpoints of the training go; what stands there is gone on from.
        method: ``causal_lm`` or ``causal_lora``.
        seed: Of the order of texts and an adapter's start.
        place: The file that asks, for errors.
        settings: In place of the method's own.

    Raises:
        MissingExtra: A package of `promptbot[finetune]` is not installed.
        ModelError: Memory does not suffice.
    """
    tuned.need("torch", "transformers", "accelerate", *(["peft"] * (method == "causal_lora")))
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        base, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    model.config.use_cache = False  # of no use in training
    settings = settings or tuned.recipe(method, len(texts))
    if settings.rank:
        model = tuned.with_adapter(model, settings.rank, "CAUSAL_LM")
    arguments = TrainingArguments(
        **tuned.arguments_of(settings, work, seed),
        weight_decay=tuned.WEIGHT_DECAY,
        train_sampling_strategy="group_by_length",  # little padding
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=padded,
        train_dataset=[
            {
                "input_ids": [*text.prompt, *text.answer],
                "labels": [NO_LOSS] * len(text.prompt) + list(text.answer),
            }
            for text in texts
        ],
    )
    trainer.remove_callback(PrinterCallback)
    tuned.train_to_end(trainer, work, method, place)
    trained: Any = trainer.model
    if not settings.rank:
        trained.config.use_cache = True
    trained.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def padded(rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """Return texts as one batch; what only fills it is neither read nor learned.  # (n, longest)"""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def filled(values: list[int], with_what: int) -> list[int]:
        return values + [with_what] * (longest - len(values))

    return {
        "input_ids": torch.tensor([filled(row["input_ids"], 0) for row in rows]),
        "labels": torch.tensor([filled(row["labels"], NO_LOSS) for row in rows]),
        "attention_mask": torch.tensor([filled([1] * len(row["input_ids"]), 0) for row in rows]),
    }


def loss_of_answers(folder: Path, texts: Sequence[TrainingText]) -> float:
    """Return the mean loss of the answers' tokens, in nats, of the model kept in a folder."""
    from promptbot.models.transformers import load_transformers

    engine = load_transformers(str(folder), str(folder)).engine
    logprobs = [
        logprob for text in texts for logprob in engine.score(text.prompt, [text.answer])[0]
    ]
    return -float(sum(logprobs)) / len(logprobs)


def load_causal(folder: Path, bot: Bot, encoder: Encoder | None, seed: int) -> Chain:
    """Return the bot with the model that `fit_causal` kept in a folder."""
    from promptbot.models.transformers import load_transformers

    model = load_transformers(str(folder), str(folder))
    return load_chain(without_examples(bot), model=model, encoder=encoder, seed=seed)
