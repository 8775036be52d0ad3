"""Where the marks of the report's charts go, in the units of their SVG; no drawing, no colours.

The template draws what these functions return, so that every string still passes its escaping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 182
LEFT, RIGHT, TOP, BOTTOM = 44, 352, 44, 146
"""The drawing, and the plot area inside it; the space above the area is for the labels of the marks."""

BANDS_TOP = 10
"""Where the area begins in a chart without marks."""

LOG_FROM = 4.0
"""A latency axis is logarithmic where its end is more than this many times its start."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One bar; ``text`` is what it says to a pointer or a screen reader."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A vertical line with a label, which grows to the left (``end``) or to the right (``start``) of it."""

    x: float
    row: int
    anchor: str
    text: str


@dataclass(frozen=True)
class Dot:
    """One point of a curve; ``chosen`` if it is the one that was taken."""

    x: float
    y: float
    text: str
    chosen: bool


@dataclass(frozen=True)
class Chart:
    """Bars, marks and the dots of a curve over a labelled axis."""

    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    logarithmic: bool = False
    count: int = 0
    dots: tuple[Dot, ...] = ()


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return about ``wanted`` round numbers (1, 2, 2.5, 5 times a power of ten) from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


LONGEST_MS = 1e15
"""Beyond it a report of somebody else's holds no time, and an axis would leave the range of a float."""
_FACTORS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1,))
"""What powers of ten are multiplied by for the ticks of a logarithmic axis, the densest choice first."""


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in _FACTORS:
        inside = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(inside) <= 7:
            break
    return inside


@dataclass(frozen=True)
class Axis:
    """An axis of milliseconds, logarithmic where the values spread far."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float]) -> Axis:
        """Return one that holds all of ``values``, which are not negative."""
        low, high = min(values), max(values)
        if low > 0 and high / low > LOG_FROM:
            return cls(low, high, True)
        margin = (high - low) * 0.04 or max(high * 0.05, 1e-6)
        return cls(max(0.0, low - margin), high + margin, False)

    def part(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end."""
        if self.logarithmic:
            low = math.log(self.low)  # a quotient could leave the range of a float
            return (math.log(value) - low) / (math.log(self.high) - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, wanted: int = 4) -> list[float]:
        """Return round values along it."""
        if self.logarithmic:
            return _log_ticks(self.low, self.high)
        return nice_ticks(self.low, self.high, wanted)


def latency(samples: Sequence[float], percentiles: Sequence[tuple[str, float]]) -> Chart | None:
    """Lay out a histogram of ``samples`` with the percentiles over it, all in milliseconds.

    All samples are drawn, the slowest too; the axis becomes logarithmic where they spread far. Without
    samples the chart holds the percentiles alone.

    Returns:
        ``None`` where there is nothing to draw.
    """
    values = [*samples, *(value for _, value in percentiles)]
    if not values or min(values) < 0 or max(values) > LONGEST_MS:
        return None
    axis = Axis.over(values)

    def place(value: float) -> float:
        return LEFT + axis.part(value) * (RIGHT - LEFT)

    bars: list[Bar] = []
    y_ticks: list[Tick] = []
    if samples:
        bins = min(36, max(8, math.isqrt(len(samples))))
        step = (RIGHT - LEFT) / bins
        counts = [0] * bins
        for value in samples:
            counts[min(bins - 1, int((place(value) - LEFT) / step))] += 1
        scale = (BOTTOM - TOP) / max(counts)
        bars = [
            Bar(
                LEFT + i * step + 0.5,
                BOTTOM - n * scale,
                step - 1,
                n * scale,
                f"{n} of {len(samples)} samples",
            )
            for i, n in enumerate(counts)
            if n
        ]
        y_ticks = [Tick(BOTTOM - n * scale, str(n)) for n in (0, max(counts))]
    marks = [
        Mark(
            place(value),
            row,
            "start" if place(value) < (LEFT + RIGHT) / 2 else "end",
            f"{name} {short(value)} ms",
        )
        for row, (name, value) in enumerate(percentiles)
    ]
    x_ticks = [Tick(place(value), short(value)) for value in axis.ticks()]
    return Chart(tuple(bars), tuple(marks), tuple(x_ticks), tuple(y_ticks), axis.logarithmic, len(samples))


def short(value: float) -> str:
    """Write a number with three significant digits, and no exponent from 0.001 to a million."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    text = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def decibel_axis(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis for ``values`` in decibels: multiples of 20, 0 included, room below."""
    finite = [value for value in values if math.isfinite(value)] or [-20.0]
    return 20.0 * (math.floor(min(finite) / 20) - 1), max(0.0, 20.0 * math.ceil(max(finite) / 20))


def bands(rows: Sequence[tuple[float, float, float]], axis: tuple[float, float]) -> Chart:
    """Lay out one bar per radial frequency band.

    Args:
        rows: low edge, high edge, and error in decibels: minus infinity where there is none (no bar).
        axis: what :func:`decibel_axis` said for all charts that shall be compared.
    """
    low, high = axis

    def place(decibels: float) -> float:
        return BOTTOM - (min(max(decibels, low), high) - low) / (high - low) * (BOTTOM - BANDS_TOP)

    step = (RIGHT - LEFT) / max(1, len(rows))
    bars = [
        Bar(LEFT + i * step + 1, place(error), max(step - 2, 0.5), BOTTOM - place(error), text)
        for i, (start, end, error) in enumerate(rows)
        for text in [f"{short(start)} to {short(end)}: {error:.1f} dB"]
    ]
    every = max(1, math.ceil(len(rows) / 6))
    x_ticks = [Tick(LEFT + i * step, short(rows[i][0])) for i in range(0, len(rows), every)]
    if rows:
        if len(rows) % every and len(x_ticks) > 1:
            x_ticks.pop()
        x_ticks.append(Tick(RIGHT, short(rows[-1][1])))
    gap = 20 * max(1, math.ceil((high - low) / 20 / 5))
    y_ticks = [Tick(place(value), f"{value:.0f}") for value in range(int(high), int(low) - 1, -gap)]
    return Chart(tuple(bars), (), tuple(x_ticks), tuple(y_ticks), count=len(rows))


def curve(points: Sequence[tuple[float, float, str]], chosen: int) -> Chart | None:
    """Lay out points joined by a line, such as decibels lost over milliseconds saved.

    Args:
        points: what lies across, what lies up, and what to say of the point.
        chosen: index of the one that was taken.

    Returns:
        ``None`` where there is nothing to draw.
    """
    if not points:
        return None
    saved, lost = [x for x, _, _ in points], [y for _, y, _ in points]
    left, right = min(0.0, *saved), max(saved) if max(saved) > min(0.0, *saved) else 1.0
    low, high = min(0.0, *lost), max(lost) if max(lost) > min(0.0, *lost) else 1.0

    def across(value: float) -> float:
        return LEFT + (value - left) / (right - left) * (RIGHT - LEFT)

    def down(value: float) -> float:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - BANDS_TOP)

    dots = [Dot(across(x), down(y), text, index == chosen) for index, (x, y, text) in enumerate(points)]
    return Chart(
        (),
        (),
        tuple(Tick(across(value), short(value)) for value in nice_ticks(left, right)),
        tuple(Tick(down(value), short(value)) for value in nice_ticks(low, high, 4)),
        count=len(points),
        dots=tuple(dots),
    )
