"""What a suite may say about its baselines."""

from __future__ import annotations

from typing import Literal

from promptbot.bot.spec import Settings, Text

Method = Literal["linear_probe", "contrastive", "lora", "sequence_classification"]
"""How a baseline learns: `linear_probe` is logistic regression on a frozen encoder, `contrastive`
trains the encoder by pairs first, `lora` an adapter, `sequence_classification` every weight."""


class BaselineSpec(Settings):
    """One baseline: the same task solved by training, on the examples that prompts may show."""

    method: Method
    """How it learns."""
    model: Text = "teacher"
    """What it starts from: teacher (all-MiniLM-L6-v2), a folder, or hf:owner/name; a linear probe
    also from embedded."""


def named_baselines(value: object) -> object:
    """Return ``baseline:`` in its long form, ``{name: settings}``.

    A method's name, or a list of them, stands for baselines of that name with default settings.
    """
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: {"method": name} for name in names}
    return value
