"""The colour scale of the error maps, laid out; across in percent of the drawing's width, down in pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..accuracy import error_map
from .charts import Mark, Tick

ROW = 15
"""Height of one row of marks above the colours."""

LETTER = 1.7
"""Width of a letter in percent of the drawing, at the width of a telephone."""

MOST_PLACED = 5
"""With more marks there is no search for places; a report has four precisions at most."""


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
    return Scale(cells, ticks, _placed([(text, _percent(error, width)) for text, error in named]))


def _placed(named: Sequence[tuple[str, float]]) -> tuple[Mark, ...]:
    """Give each mark a row and a side of its line for its text, so that no line passes through a text.

    A line begins in the row of its text and goes down to the colours, through all rows below.
    """
    order = tuple(range(len(named)))
    sides = ["start" if at < 50 else "end" for _, at in named]
    if len(named) > MOST_PLACED:
        return tuple(Mark(at, row, sides[row], text) for row, (text, at) in enumerate(named))
    for rows in itertools.permutations(order):
        for chosen in itertools.product(("start", "end"), repeat=len(named)):
            marks = tuple(
                Mark(at, row, side, text) for (text, at), row, side in zip(named, rows, chosen, strict=True)
            )
            if not any(_passes(line, mark) for mark in marks for line in marks) and all(map(_fits, marks)):
                return marks
    return tuple(Mark(at, row, sides[row], text) for row, (text, at) in enumerate(named))


def _span(mark: Mark) -> tuple[float, float]:
    length = LETTER * len(mark.text) + LETTER
    return (mark.x, mark.x + length) if mark.anchor == "start" else (mark.x - length, mark.x)


def _fits(mark: Mark) -> bool:
    left, right = _span(mark)
    return left >= 0 and right <= 100


def _passes(line: Mark, mark: Mark) -> bool:
    left, right = _span(mark)
    return line is not mark and line.row < mark.row and left < line.x < right


def _percent(error: float, first: float) -> float:
    """Where an error lies, the colour for everything below the scale coming first."""
    return first + error_map.place(error) * (100 - first)
