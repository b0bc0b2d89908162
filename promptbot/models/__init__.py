"""Frozen models behind one interface; see `promptbot.models.registry.load_model`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptbot.interfaces import FrozenModel


def load(spec: str, *, seed: int = 0) -> FrozenModel:
    """Return the frozen model that a spec names; see `promptbot.models.registry.load_model`."""
    from promptbot.models.registry import load_model

    return load_model(spec, seed=seed)
