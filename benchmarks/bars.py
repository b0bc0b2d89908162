"""A measured figure beside what it has to reach, as a row of a Markdown table."""

from __future__ import annotations

from dataclasses import dataclass

HEADER = "| work | promptbot | beside | figure | bar | met |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Bar:
    """One measured figure beside what it has to reach."""

    work: str
    """What was done."""
    ours: str
    """What promptbot took, with its unit."""
    beside: str
    """What it is compared with, and what that took."""
    value: float
    """What the bar is about: a ratio, seconds or MB."""
    bar: float
    """What it has to reach."""
    at_most: bool = False
    """Whether smaller is better."""
    unit: str = "times"

    @property
    def is_met(self) -> bool:
        """Whether the bar is reached."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    @property
    def beyond(self) -> float:
        """How many times better than the bar."""
        return self.bar / self.value if self.at_most else self.value / self.bar

    def row(self) -> str:
        """Return a line of a Markdown table."""
        limit = f"{'at most' if self.at_most else 'at least'} {self.bar:g} {self.unit}"
        met = "yes" if self.is_met else "**no**"
        return (
            f"| {self.work} | {self.ours} | {self.beside} | {self.value:.3g} {self.unit} "
            f"| {limit} | {met} |"
        )
