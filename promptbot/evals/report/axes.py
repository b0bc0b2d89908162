"""Axes of a small SVG chart: round ticks, grid, captions. Colours come from the page's styles.

A report must work offline, in light and dark, on paper and in a pull request's artefacts; SVG with
the page's own colours does, in a few kilobytes, where plotting libraries bring megabytes of
script or pictures that know one background. Nor is there room for one: the core install is
bounded at 400 MB and takes 319, to which matplotlib would add about 80 (100 with its bytecode).
For the same reason the statistics are our own numpy (scipy: about 140), held to scipy's and
statsmodels' results by the tests; see `promptbot.evals.distributions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Axes:
    """A drawing area with a scale on both sides."""

    x_ticks: tuple[float, ...]
    """Round numbers from left to right; the first and last are the edges."""
    y_ticks: tuple[float, ...]
    """From the bottom up."""
    x_caption: str
    """What is drawn to the right."""
    y_caption: str
    """What is drawn upwards."""
    width: int = 460
    height: int = 320
    left: int = 56
    right: int = 16
    top: int = 16
    bottom: int = 46

    def x(self, value: float) -> float:
        """Return where a value stands from the left, in pixels."""
        low, high = self.x_ticks[0], self.x_ticks[-1]
        share = (value - low) / (high - low)
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        """Return where a value stands from the top, in pixels."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        share = (value - low) / (high - low)
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 1)

    def draw(self, label: str, inside: Iterable[Markup], tell_x: Callable[[float], str]) -> Markup:
        """Return the chart as SVG.

        Args:
            label: What it shows, for those who cannot see it.
            inside: What is drawn over the grid.
            tell_x: Writes a tick to the right; upwards they are percent.
        """
        floor, ceiling = self.y(self.y_ticks[0]), self.y(self.y_ticks[-1])
        start, end = self.x(self.x_ticks[0]), self.x(self.x_ticks[-1])
        parts = [
            Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
                self.width, self.height, label
            )
        ]
        for tick in self.x_ticks:
            parts.append(line("grid", self.x(tick), ceiling, self.x(tick), floor))
            parts.append(text("tick", self.x(tick), floor + 16, tell_x(tick), "middle"))
        for tick in self.y_ticks:
            parts.append(line("grid", start, self.y(tick), end, self.y(tick)))
            parts.append(text("tick", start - 6, self.y(tick) + 4, f"{tick:.0%}", "end"))
        parts.append(text("tick", (start + end) / 2, self.height - 8, self.x_caption, "middle"))
        parts.append(text("tick", start, ceiling - 5, self.y_caption, "start"))
        return Markup("").join([*parts, *inside, Markup("</svg>")])


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line of a kind that the page's styles know."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def text(kind: str, x: float, y: float, words: str, anchor: str) -> Markup:
    """Return words at a place: they start, end or have their middle there."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, escape(words)
    )


def shorten(name: str, most: int) -> str:
    """Return a name, cut where it is longer than `most` letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def dot(kind: str, x: float, y: float, radius: float, title: str) -> Markup:
    """Return a dot that says its title when pointed at."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        kind, x, y, round(radius, 1), title
    )


def ticks(low: float, high: float, most: int = 8) -> tuple[float, ...]:
    """Return round numbers at equal steps that cover a range."""
    span = max(high - low, 1e-9)
    step: float = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 10) for i in range(first, max(last, first + 1) + 1))
