"""Every timed call of every artifact on one axis, one lane each: which is faster, and how steadily.

Across, places are percent of the drawing's width, so that a phone and a desk show the same; down, pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .charts import Axis, Tick, short

HEIGHT = 46
_TOP, _BOTTOM = 7, 39
_LEFT, _RIGHT = 1.5, 98.5

MOST_DOTS = 240
"""More calls than this are thinned out evenly, the slowest ones always kept."""


@dataclass(frozen=True)
class Dot:
    """One call: the earlier, the higher up."""

    x: float
    y: float


@dataclass(frozen=True)
class Lane:
    """The calls of one artifact, its percentiles by name, and PyTorch's median in the same run."""

    dots: tuple[Dot, ...]
    marks: tuple[tuple[str, float], ...]
    eager: float | None
    count: int


@dataclass(frozen=True)
class Lanes:
    """One lane for each row; ``None`` for a row that was not timed."""

    lanes: tuple[Lane | None, ...]
    ticks: tuple[Tick, ...]
    logarithmic: bool


def lanes(rows: Sequence[tuple[Sequence[float], Mapping[str, float]]]) -> Lanes | None:
    """Lay out the calls of several artifacts.

    Args:
        rows: samples in the order they were taken, and figures by name (``p50``, ``p90``, ``p99``,
            ``eager_p50``), all in milliseconds; nothing for what was not timed.

    Returns:
        ``None`` where nothing was timed.
    """
    shown = [[*samples, *figures.values()] for samples, figures in rows]
    values = [value for row in shown for value in row]
    if not values or min(values) < 0:
        return None
    axis = Axis.over(values)

    def place(value: float) -> float:
        return _LEFT + axis.part(value) * (_RIGHT - _LEFT)

    drawn: list[Lane | None] = []
    for (samples, figures), row in zip(rows, shown, strict=True):
        if not row:
            drawn.append(None)
            continue
        step = (_BOTTOM - _TOP) / max(1, len(samples) - 1)
        dots = tuple(Dot(place(samples[i]), _TOP + i * step) for i in _kept(samples))
        marks = tuple((name, place(figures[name])) for name in ("p50", "p90", "p99") if name in figures)
        eager = place(figures["eager_p50"]) if "eager_p50" in figures else None
        drawn.append(Lane(dots, marks, eager, len(samples)))
    ticks = tuple(Tick(place(value), short(value)) for value in axis.ticks())
    return Lanes(tuple(drawn), ticks, axis.logarithmic)


def _kept(samples: Sequence[float]) -> list[int]:
    """Return which samples are drawn, in their order."""
    if len(samples) <= MOST_DOTS:
        return list(range(len(samples)))
    slowest = sorted(range(len(samples)), key=lambda i: -samples[i])[: MOST_DOTS // 8]
    every = math.ceil(len(samples) / (MOST_DOTS - len(slowest)))
    return sorted({*slowest, *range(0, len(samples), every)})
