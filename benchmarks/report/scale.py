"""The colour scale of the error maps, laid out; across in percent of the drawing's width, down in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..accuracy import error_map
from .charts import Mark, Tick

ROW = 15
"""Height of one row of marks above the colours."""


@dataclass(frozen=True)
class Cell:
    """One colour."""

    x: float
    width: float
    colour: str


@dataclass(frozen=True)
class Scale:
    """Colours, powers of ten below them, and marks above them, one row each."""

    cells: tuple[Cell, ...]
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


def scale(marks: Sequence[tuple[str, float]]) -> Scale:
    """Lay out the scale with a mark at half an 8-bit step, and at each error given (with white at 1)."""
    colours = error_map.palette()
    width = 100 / len(colours)
    cells = tuple(
        Cell(i * width, width + 0.05, f"#{r:02x}{g:02x}{b:02x}") for i, (r, g, b) in enumerate(colours)
    )
    powers = range(math.ceil(math.log10(error_map.LOWEST)), math.floor(math.log10(error_map.HIGHEST)) + 1)
    ticks = tuple(Tick(_percent(10.0**power, width), f"1e{power}" if power else "1") for power in powers)
    named = sorted([("half an 8-bit step", error_map.HALF_STEP), *marks], key=lambda mark: mark[1])
    drawn = (
        Mark(at, row, "start" if at < 50 else "end", text)
        for row, (text, error) in enumerate(named)
        for at in [_percent(error, width)]
    )
    return Scale(cells, ticks, tuple(drawn))


def _percent(error: float, first: float) -> float:
    """Where an error lies, the colour for everything below the scale coming first."""
    return first + error_map.place(error) * (100 - first)
