"""What a suite may say about its baselines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from promptbot.bot.spec import Settings, Text

Method = Literal[
    "linear_probe",
    "contrastive",
    "lora",
    "sequence_classification",
    "causal_lm",
    "causal_lora",
]
"""How a baseline learns: `linear_probe` is logistic regression on a frozen encoder, `contrastive`
trains the encoder by pairs first, `lora` an adapter, `sequence_classification` every weight;
`causal_lm` trains the model that the prompts steer, `causal_lora` an adapter of it."""

CAUSAL: tuple[Method, ...] = ("causal_lm", "causal_lora")
"""Methods that learn the bot's answers, so that chat bots have them too."""

OF_BOT = "bot"
"""The word for the model that the prompts steer."""


class BaselineSpec(Settings):
    """One baseline: the same task solved by training, on the examples that prompts may show."""

    method: Method
    """How it learns."""
    model: Text = "teacher"
    """What it starts from: teacher (all-MiniLM-L6-v2), a folder, or hf:owner/name; a linear probe
    also from embedded. Of `CAUSAL` methods ``bot``, the model that the prompts steer, if unset."""
    search: Annotated[int, Field(ge=0, le=1000)] = 0
    """Settings (rates, epochs, an adapter's rank) that are tried on examples held out of those that
    it learns from; 0 for the method's own. A linear probe always chooses its penalty so."""

    def starts_from(self, of_bot: str) -> str:
        """Return the spec of the model that it starts from; `of_bot` is what the prompts steer."""
        return of_bot if self.model == OF_BOT else self.model

    @model_validator(mode="after")
    def _searchable(self) -> BaselineSpec:
        if self.search and self.method == "linear_probe":
            raise ValueError(
                "linear_probe has nothing to search: it chooses its penalty by itself. "
                "Leave search out."
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _same_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("method") in CAUSAL:
            return {"model": OF_BOT, **values}
        return values


def named_baselines(value: object) -> object:
    """Return ``baseline:`` in its long form, ``{name: settings}``.

    A method's name, or a list of them, stands for baselines of that name with default settings.
    """
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: {"method": name} for name in names}
    return value
