"""Baselines whose weights are trained: a whole checkpoint, a LoRA adapter, or an encoder by pairs.

Training is Hugging Face's `Trainer` (sentence-transformers' for pairs), on the CPU, one GPU, or
several under ``accelerate launch``. A folder of checkpoints lives beside the cache while it runs,
so a training that was killed goes on where it stood.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import MissingExtra, ModelError
from promptbot.learn.head import (
    has_head,
    load_with_head,
    pooling_of,
    save_pooling,
    start_from_regression,
)
from promptbot.learn.probe import LinearProbe, fit_probe, load_probe
from promptbot.learn.spec import CAUSAL
from promptbot.models.encoder import TransformersEncoder, whole_characters
from promptbot.types import Example, Prediction, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_TOKENS = 256
"""Of a text; what is longer is cut."""
PER_LABEL_FOR_DEV = 20
"""Examples a label from which on a fifth is held out to stop early; fewer are all trained on, since
with ten a label those that are held out are worth more than a better moment to stop."""
DEV_SHARE = 0.2
PATIENCE = 4
"""Epochs without a better dev loss after which training stops."""
WEIGHT_DECAY = 0.01
LORA_DROPOUT = 0.05
BYTES_PER_PARAMETER = 16
"""Float32 weight, gradient and Adam's two moments."""
BYTES_OF_LIBRARIES = 150_000_000
"""What a first training takes besides: the architecture's code, buffers."""
WAY_BACK = 1.75
"""Activations at their peak, by what the source of `memory_needed` counts: the gradients of the
layer that the way back is in, and what the allocator cannot use again, come on top."""
WAY_BACK_OF_ADAPTERS = 2.5
"""The same with LoRA: every adapted layer keeps its input after dropout, and what was dropped."""
N_LIKELY = 50
"""Texts with the most characters, among which the one with the most tokens is looked for."""
LABELS = "labels.json"
ENCODER = "encoder"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a checkpoint is trained."""

    learning_rate: float
    """Of the checkpoint's weights, or of the adapter's."""
    head_learning_rate: float
    """Of the classification head."""
    batch_size: int
    """Examples of a step."""
    epochs: int
    """Times that each example is seen at most."""
    warmup_steps: int
    """Steps in which the rate rises; from there on it falls to zero."""
    rank: int = 0
    """Of an adapter's matrices; 0 where every weight is trained."""


def recipe(method: str, n_examples: int) -> Recipe:
    """Return the settings for a method and a number of training examples.

    Few examples want many epochs, and a LoRA adapter or a head ten times the rate of the whole
    model. Chosen on held-out training examples with all-MiniLM-L6-v2; see docs/baseline.md.
    """
    few = n_examples < 2_000
    rate, head_rate, rank, batch, steps, fewest, most = {
        "sequence_classification": (1e-4, 1e-3, 0, 32, 100, 8 if few else 3, 20),
        "lora": (1e-3, 1e-3, 16, 32, 100, 8 if few else 3, 20),
        # Each step compares all pairs of a batch, so that few suffice.
        "contrastive": (5e-5, 5e-5, 0, 64, 150, 6, 12),
        # Such a model speaks already; the same few texts many times over make it repeat them.
        "causal_lm": (2e-4, 2e-4, 0, 8, 200, 3, 20),
        "causal_lora": (1e-3, 1e-3, 16, 8, 200, 3, 20),
    }[method]
    per_epoch = max(1, -(-n_examples // batch))
    epochs = min(most, max(fewest, round(steps / per_epoch)))
    return Recipe(rate, head_rate, batch, epochs, max(1, per_epoch * epochs // 10), rank)


def constants() -> dict[str, Any]:
    """Return what else decides the result of a training, for its key in the cache."""
    return {
        "max_tokens": MAX_TOKENS,
        "per_label_for_dev": PER_LABEL_FOR_DEV,
        "dev_share": DEV_SHARE,
        "patience": PATIENCE,
        "weight_decay": WEIGHT_DECAY,
        "lora_dropout": LORA_DROPOUT,
    }


@dataclass(frozen=True)
class TunedClassifier:
    """A predictor of labels: a trained checkpoint with a classification head."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    """In the order of the head's outputs."""

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""
        return int(self.model.get_memory_footprint())  # type: ignore[no-untyped-call]

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Return one label per sample, with the log-probability of every label in nats."""
        import torch

        found: dict[int, Prediction] = {}
        order = sorted(range(len(samples)), key=lambda i: len(samples[i].input))
        for start in range(0, len(order), 64):
            chosen = order[start : start + 64]
            inputs = self.tokenizer(
                whole_characters([samples[i].input for i in chosen]),
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                rows = self.model(**inputs).logits.float().log_softmax(-1).tolist()
            for i, row in zip(chosen, rows, strict=True):
                values = dict(zip(self.labels, row, strict=True))
                label = max(values, key=values.__getitem__)
                found[i] = Prediction(text=label, label=label, label_logprobs=values)
        return [found[i] for i in range(len(samples))]


def fit_classifier(
    examples: Sequence[Example],
    base: Path,
    folder: Path,
    work: Path,
    *,
    method: str,
    seed: int,
    place: str,
    settings: Recipe | None = None,
) -> TunedClassifier:
    """Train a checkpoint with a classification head, keep it in a folder, and return it.

    Labels weigh alike, however many examples each has. With `PER_LABEL_FOR_DEV` examples a label
    (median) a fifth is held out, and the epoch with the lowest loss there is kept. The head of a
    checkpoint that was trained by the mean of its tokens reads that mean, others what their
    architecture says; it starts from a regression on that.

    Args:
        examples: Each with a label.
        base: The checkpoint to start from.
        folder: Where the result goes: a checkpoint, or with `lora` an adapter.
        work: Where checkpoints of the training go; what stands there is gone on from.
        method: ``sequence_classification`` or ``lora``.
        seed: Of the head's start and of the order of examples.
        place: The file that asks, for errors.
        settings: In place of the method's own.

    Raises:
        MissingExtra: A package of `promptbot[finetune]` is not installed.
        ModelError: The checkpoint cannot carry such a head, or memory does not suffice.

    Source:
        Devlin et al. (2019), arXiv:1810.04805; Hu et al. (2021), arXiv:2106.09685; the head's
        start: Kumar et al. (2022), arXiv:2202.10054.
    """
    need("torch", "transformers", "accelerate", *(["peft"] if method == "lora" else []))
    import numpy as np
    import torch
    from transformers import (
        DataCollatorWithPadding,
        EarlyStoppingCallback,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    labels = tuple(sorted({str(example.label) for example in examples}))
    set_seed(seed)
    model, tokenizer = load_with_head(base, labels, place)
    pooling = pooling_of(base)
    number = {label: i for i, label in enumerate(labels)}
    targets = np.array([number[str(example.label)] for example in examples])
    train, dev = _split(targets, seed)
    texts = tokenizer(
        whole_characters([example.input for example in examples]),
        truncation=True,
        max_length=MAX_TOKENS,
    )
    rows = [{name: values[i] for name, values in texts.items()} for i in range(len(examples))]
    settings = settings or recipe(method, len(train))
    if not has_head(model.config):
        start_from_regression(model, tokenizer, [rows[i] for i in train], targets[train].tolist())
    for row, target in zip(rows, targets.tolist(), strict=True):
        row["labels"] = target
    if settings.rank:
        model = with_adapter(model, settings.rank)
    counts = np.bincount(targets[train], minlength=len(labels)).clip(min=1)
    weights = torch.tensor(len(train) / (len(labels) * counts), dtype=torch.float32)

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        return torch.nn.functional.cross_entropy(
            outputs.logits.float(), labels, weights.to(outputs.logits.device)
        )

    arguments = TrainingArguments(
        **arguments_of(settings, work, seed),
        per_device_eval_batch_size=64,
        train_sampling_strategy="group_by_length",  # little padding
        eval_strategy="epoch" if len(dev) else "no",
        load_best_model_at_end=bool(len(dev)),
        metric_for_best_model="eval_loss" if len(dev) else None,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=[rows[i] for i in train],
        eval_dataset=[rows[i] for i in dev] if len(dev) else None,
        compute_loss_func=loss,
        callbacks=[EarlyStoppingCallback(PATIENCE)] if len(dev) else [],
        optimizer_cls_and_kwargs=(
            torch.optim.AdamW,
            # Fused as in Trainer itself: a loop over parameters is a quarter of a small step.
            {"params": _groups(model, settings), "fused": True},
        ),
    )
    trainer.remove_callback(PrinterCallback)
    train_to_end(trainer, work, method, place)
    trained: Any = trainer.model
    trained.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / LABELS).write_text(json.dumps(labels), encoding="utf-8")
    save_pooling(folder, pooling)
    if method == "lora":
        trained = trained.merge_and_unload()
    return TunedClassifier(trained.eval().requires_grad_(False), tokenizer, labels)


def load_classifier(folder: Path, base: Path, method: str) -> TunedClassifier:
    """Return the classifier that `fit_classifier` kept in a folder."""
    need("torch", "transformers", *(["peft"] if method == "lora" else []))
    labels = tuple(json.loads((folder / LABELS).read_text(encoding="utf-8")))
    if method == "lora":
        from peft import PeftModel

        model, tokenizer = load_with_head(base, labels, str(folder))
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    else:
        model, tokenizer = load_with_head(folder, labels, str(folder))
    return TunedClassifier(model.eval().requires_grad_(False), tokenizer, labels)


def fit_contrastive(
    examples: Sequence[Example],
    base: Path,
    folder: Path,
    work: Path,
    *,
    seed: int,
    place: str,
    settings: Recipe | None = None,
) -> LinearProbe:
    """Train an encoder to set the labels apart, then a linear head on its vectors.

    `settings` stand in place of the method's own.

    Raises:
        MissingExtra: A package of `promptbot[finetune]` is not installed.
        ModelError: Memory does not suffice.

    Source:
        As SetFit (Tunstall et al. 2022, arXiv:2209.11055), with the batch-hard soft margin triplet
        loss (Hermans et al. 2017, arXiv:1703.07737) over all pairs of a batch.
    """
    need("torch", "transformers", "accelerate", "sentence_transformers", "datasets", "sklearn")
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import BatchHardSoftMarginTripletLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import PrinterCallback, set_seed

    set_seed(seed)
    labels = sorted({str(example.label) for example in examples})
    number = {label: i for i, label in enumerate(labels)}
    model = SentenceTransformer(str(base), trust_remote_code=False, local_files_only=True)
    # Where it has none, it looks for examples for a card that is never written, and shows a bar.
    model.model_card_data.widget = [{"text": ""}]
    settings = settings or recipe("contrastive", len(examples))
    arguments = SentenceTransformerTrainingArguments(
        **arguments_of(settings, work, seed, at_most=len(examples)),
        batch_sampler=BatchSamplers.GROUP_BY_LABEL,
    )
    rows = Dataset.from_dict(
        {
            "sentence": whole_characters([example.input for example in examples]),
            "label": [number[str(example.label)] for example in examples],
        }
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        loss=BatchHardSoftMarginTripletLoss(model),
    )
    trainer.remove_callback(PrinterCallback)
    counts = [sum(str(e.label) == label for e in examples) for label in labels]
    if sum(count > 1 for count in counts) > 1:  # pairs need two examples of a label
        train_to_end(trainer, work, "contrastive", place)
    transformer: Any = model[0]
    transformer.auto_model.save_pretrained(folder / ENCODER)
    model.tokenizer.save_pretrained(folder / ENCODER)
    probe = fit_probe(examples, TransformersEncoder(folder / ENCODER))
    probe.save(folder)
    return probe


def load_contrastive(folder: Path) -> LinearProbe:
    """Return the probe that `fit_contrastive` kept in a folder, on its own encoder."""
    return load_probe(folder, TransformersEncoder(folder / ENCODER))


def longest(base: Path, texts: Sequence[str]) -> int:
    """Return the tokens of the longest text, as a checkpoint's tokenizer cuts it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    likely = whole_characters(sorted(texts, key=len)[-N_LIKELY:])
    found = tokenizer(likely, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return max(map(len, found), default=0)


def memory_needed(base: Path, method: str, n_examples: int, n_tokens: int) -> int:
    """Return about how many bytes training a checkpoint takes: weights and activations.

    The whole model has gradients and two moments; a LoRA adapter's are a few percent of that. What
    a layer keeps of a token for the way back is counted in float32, with every attention weight,
    for a batch of the longest texts. `BYTES_OF_LIBRARIES` and the factors of the way back bound
    what ten trainings took, of all five methods, from all-MiniLM-L6-v2 and the embedded model.

    Args:
        base: The checkpoint's folder.
        method: A method that trains weights.
        n_examples: How many are trained on; they decide the batch.
        n_tokens: Tokens of the longest.

    Source:
        Korthikanti et al. (2022), arXiv:2205.05198, equation 1, in float32 in place of half.
    """
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    n_parameters = size // (2 if config.get("dtype") in ("bfloat16", "float16") else 4)
    settings = recipe(method, n_examples)
    weights = n_parameters * (5 if settings.rank else BYTES_PER_PARAMETER)
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    width, n_layers, n_heads = (config.get(name, 0) for name in names)
    n_texts = min(settings.batch_size, n_examples)
    a_token = 2 * (34 * width + 5 * n_heads * n_tokens)
    activations = n_layers * n_texts * n_tokens * a_token
    activations *= WAY_BACK_OF_ADAPTERS if settings.rank else WAY_BACK
    logits = 0
    if method in CAUSAL:  # as they are, as float32 for the loss, and their gradient
        logits = 3 * 4 * n_texts * n_tokens * int(config.get("vocab_size", 0))
    return int(weights + activations + logits) + BYTES_OF_LIBRARIES


def with_adapter(model: Any, rank: int, task: str = "SEQ_CLS") -> Any:
    """Return a model of which a LoRA adapter is trained, and the head where it has one."""
    from peft import LoraConfig, TaskType, get_peft_model

    options = LoraConfig(
        task_type=TaskType[task],
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=LORA_DROPOUT,
        target_modules="all-linear",
    )
    return get_peft_model(model, options)


def _groups(model: Any, settings: Recipe) -> list[dict[str, Any]]:
    """Return the trained parameters with rate and weight decay, those of the head apart.

    As in `Trainer`, biases and norms do not decay.
    """
    found: dict[tuple[bool, bool], list[Any]] = {}
    body = getattr(model, "base_model_prefix", "")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            head = "modules_to_save" in name or not ("lora_" in name or name.startswith(body))
            found.setdefault((head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.head_learning_rate if head else settings.learning_rate,
            "weight_decay": WEIGHT_DECAY if decays else 0.0,
        }
        for (head, decays), parameters in found.items()
    ]


def arguments_of(
    settings: Recipe, work: Path, seed: int, at_most: int | None = None
) -> dict[str, Any]:
    """Return what every training is told: a checkpoint an epoch, and nothing said or sent.

    Several processes share a step's examples, of which there are `at_most` so many, so that the
    settings mean the same on one and on many.
    """
    import torch

    batch = min(settings.batch_size, at_most or settings.batch_size)
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": max(1, batch // n_processes()),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "warmup_steps": settings.warmup_steps,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": not sys.stderr.isatty(),
        "seed": seed,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def _split(targets: Any, seed: int) -> tuple[Any, Any]:
    """Return the rows to train on and those to stop by; the latter are empty where few exist."""
    import numpy as np

    _, counts = np.unique(targets, return_counts=True)
    every = np.arange(len(targets))
    if np.median(counts) < PER_LABEL_FOR_DEV or counts.min() < 2:
        return every, every[:0]
    from sklearn.model_selection import train_test_split

    train, dev = train_test_split(every, test_size=DEV_SHARE, stratify=targets, random_state=seed)
    return train, dev


def n_processes() -> int:
    """Return how many processes train together, as ``accelerate launch`` says it; mostly 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def train_to_end(trainer: Any, work: Path, method: str, place: str) -> None:
    """Train to the end, from the last checkpoint where a killed training left one.

    Raises:
        ModelError: Memory does not suffice.
    """
    import torch

    last = _last_checkpoint(work)
    try:
        trainer.train(resume_from_checkpoint=last)
        # The others may still read the checkpoints, which the first to go on takes away.
        trainer.accelerator.wait_for_everyone()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(method, place) from error
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise _out_of_memory(method, place) from error


def _last_checkpoint(work: Path) -> str | None:
    """Return the newest checkpoint that is whole; what a kill left half written is passed over.

    `Trainer` writes its state last, and takes the one before away only then.
    """
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for folder in reversed(found):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(folder)
    return None


def _out_of_memory(method: str, place: str) -> ModelError:
    return ModelError(
        "the memory does not suffice for this training.",
        place=place,
        hint=(
            "Take a smaller model, or let the template show fewer notes."
            if method in CAUSAL
            else "Take method: linear_probe, or a smaller model such as teacher."
        ),
    )


def need(*packages: str) -> None:
    """Raise MissingExtra where one of these packages is not installed."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            name = {"sentence_transformers": "sentence-transformers", "sklearn": "scikit-learn"}
            raise MissingExtra("This baseline", name.get(package, package), "finetune")
