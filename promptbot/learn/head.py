"""A checkpoint's classification head: what it reads, and where it starts.

Heads read the first token, as BERT was trained. sentence-transformers mostly puts what a text says
into the mean of its tokens; the head of such a checkpoint reads that mean. A head starts where a
regression on what it reads ends: a random one would first pull the features to itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptbot.errors import ModelError
from promptbot.learn.probe import INVERSE_PENALTY, fit_regression
from promptbot.models.encoder import mean_over_tokens

POOLING_FILE = Path("1_Pooling") / "config.json"
"""Where sentence-transformers says what becomes of a text's tokens."""
MEAN, OWN = "mean", "as the architecture does"
N_TOGETHER = 64
"""Texts that are read at once before training."""


def pooling_of(folder: Path) -> str:
    """Return `MEAN` where a checkpoint says that it was trained by the mean, else `OWN`."""
    try:
        said = json.loads((folder / POOLING_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return OWN
    if not isinstance(said, dict):
        return OWN
    mode = said.get("pooling_mode")
    if mode is None:  # as earlier versions wrote it
        chosen = [
            name for name, value in said.items() if name.startswith("pooling_mode_") and value
        ]
        mode = MEAN if chosen == ["pooling_mode_mean_tokens"] else None
    return MEAN if mode in (MEAN, [MEAN]) else OWN


def load_with_head(base: Path, labels: Sequence[str], place: str) -> tuple[Any, Any]:
    """Return a checkpoint with a head for these labels, in this order, and its tokenizer.

    Raises:
        ModelError: It cannot carry such a head, or has one for other labels.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    from promptbot.models.transformers import quiet

    try:
        with quiet():
            config = AutoConfig.from_pretrained(base, trust_remote_code=False)
            _check_labels(config, labels, base, place)
            tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
            model = AutoModelForSequenceClassification.from_pretrained(
                base,
                id2label=dict(enumerate(labels)),
                label2id={label: i for i, label in enumerate(labels)},
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=False,
            )
    except ModelError:
        raise
    except Exception as error:  # Transformers lets through whatever its parsers raise
        first = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{base.name} cannot be trained to sort texts ({first}).",
            place=place,
            expected="A checkpoint in safetensors of an architecture with a classification head.",
            hint="Use model: teacher, or an encoder as hf:bert-base-uncased.",
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if pooling_of(base) == MEAN:
        _read_the_mean(model)
    return model, tokenizer


def save_pooling(folder: Path, pooling: str) -> None:
    """Write what `pooling_of` reads, beside a checkpoint that was trained so."""
    if pooling == MEAN:
        path = folder / POOLING_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"pooling_mode_mean_tokens": True}) + "\n", encoding="utf-8")


def _read_the_mean(model: Any) -> None:
    """Put the mean over a text's tokens in the place of whatever a model's head reads.

    Heads differ in what they read: a pooler's output, the first token, the last one. Each token of
    the last layer becomes the mean, so that all of them find it.
    """
    import torch

    body = model.base_model
    if getattr(body, "pooler", None) is not None:
        body.pooler = torch.nn.Identity()  # its weights, made for the first token, have no use

    def mean(_: Any, given: tuple[Any, ...], named: Mapping[str, Any], outputs: Any) -> Any:
        hidden = outputs.last_hidden_state  # (n_texts, n_tokens, width)
        mask = named.get("attention_mask")
        pooled = hidden.mean(1) if mask is None else mean_over_tokens(hidden, mask)
        outputs.last_hidden_state = pooled[:, None].expand(hidden.shape)
        if "pooler_output" in outputs:
            outputs.pooler_output = pooled
        return outputs

    body.register_forward_hook(mean, with_kwargs=True)


def start_from_regression(
    model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], targets: Sequence[int]
) -> bool:
    """Start a head where a logistic regression on what it reads ends; tell whether it did.

    It does not where a head reads more than one vector a text, or some label has no example.

    Args:
        model: With a head that starts at random.
        tokenizer: Fills texts of a batch up.
        rows: Tokens of the training examples.
        targets: Their labels' numbers.

    Source:
        Kumar et al. (2022), arXiv:2202.10054: linear probing, then fine-tuning.
    """
    import numpy as np
    import torch

    layer = _last_layer(model)
    if layer is None or len(set(targets)) < model.config.num_labels:
        return False
    vectors = _inputs_of(layer, model, tokenizer, rows)
    if vectors.ndim != 2:
        return False
    # The penalty is that of unit vectors; the head reads vectors of any length. It is not chosen
    # by cross-validation: training goes on from here in any case.
    length = float(np.sqrt((vectors**2).sum(axis=1).mean()))
    names = np.array([f"{target:09d}" for target in targets])  # in the order of the numbers
    found = fit_regression(vectors / length, names, INVERSE_PENALTY)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.weights / length))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(found.bias))
    return True


def _last_layer(model: Any) -> Any:
    """Return the layer that gives a head's scores; None where there is no such one."""
    import torch

    of_body = {id(module) for module in model.base_model.modules()}
    found = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
        and id(module) not in of_body
        and module.out_features == model.config.num_labels
    ]
    return found[-1] if found else None


def _inputs_of(layer: Any, model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return what a layer reads of each text.  # (n_texts, width)"""
    import numpy as np
    import torch

    read: list[Any] = []
    watch = layer.register_forward_pre_hook(lambda _, given: read.append(given[0].float().cpu()))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), N_TOGETHER):
                chosen = [rows[i] for i in order[start : start + N_TOGETHER]]
                model(**tokenizer.pad(chosen, return_tensors="pt").to(model.device))
    finally:
        watch.remove()
        model.train(was_training)
    vectors = torch.cat(read).numpy()
    return vectors[np.argsort(order)]


def _check_labels(config: Any, labels: Sequence[str], base: Path, place: str) -> None:
    """Refuse a checkpoint whose head was trained for other labels, or for these in another order.

    Where only their number agreed, its head would begin with answers to another question.
    """
    if not has_head(config):
        return
    known = [str(config.id2label[i]) for i in sorted(config.id2label)]
    if known == list(labels):
        return
    missing, other = sorted(set(labels) - set(known)), sorted(set(known) - set(labels))
    what = (
        f"{len(other)} other labels ({_few(other)})"
        if other
        else f"fewer labels ({_few(missing)} missing)"
        if missing
        else "the same labels in another order"
    )
    raise ModelError(
        f"the head of {base.name} was trained for {what}.",
        place=place,
        expected=f"Expected a checkpoint without a head, or one for: {_few(labels)}.",
        hint="Use the checkpoint that it was made from, or model: teacher.",
    )


def has_head(config: Any) -> bool:
    """Tell whether a checkpoint of this configuration holds a trained classification head."""
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
