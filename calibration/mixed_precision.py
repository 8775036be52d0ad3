"""Bounds, measurements and result of a mixed-precision search (int8 and float layers)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..runtime.errors import BadInputError


@dataclass(frozen=True)
class Bounds:
    """What a selection of layers must meet: at most ``max_drop_db`` lost against the sharp photos, at least
    ``min_speedup`` times the speed of floats; ``None`` for no bound.

    Raises:
        BadInputError: neither is given, or one is not a number that could be met.
    """

    max_drop_db: float | None = None
    min_speedup: float | None = None

    def __post_init__(self) -> None:
        """Check both."""
        drop, speedup = self.max_drop_db, self.min_speedup
        if drop is None and speedup is None:
            raise BadInputError(
                "mixed precision needs a bound: the maximum PSNR loss or the minimum speed-up"
            )
        if drop is not None and not 0 <= drop < math.inf:
            raise BadInputError(f"max_drop_db {drop}: expected 0 dB or more")
        if speedup is not None and not 0 < speedup < math.inf:
            raise BadInputError(f"min_speedup {speedup}: expected a factor above 0")

    def met(self, point: Point) -> bool:
        """Whether a selection of layers meets both bounds."""
        return (self.max_drop_db is None or point.drop_db <= self.max_drop_db) and self.fast(point)

    def fast(self, point: Point) -> bool:
        """Whether a selection of layers meets the bound on speed."""
        return self.min_speedup is None or point.speedup >= self.min_speedup

    def words(self) -> str:
        """The bounds as text."""
        drop = "" if self.max_drop_db is None else f"loses at most {self.max_drop_db:g} dB"
        speed = "" if self.min_speedup is None else f"is at least {self.min_speedup:g} times as fast as float"
        return " and ".join(filter(None, (drop, speed)))


@dataclass(frozen=True)
class LayerTime:
    """Milliseconds of one layer in float and in int8, from the runtime's own profile."""

    float_ms: float
    int8_ms: float


@dataclass(frozen=True)
class Times:
    """How long a network takes in floats and in 8 bits, whole and by layer (name of a node).

    ``source`` says where the figures by layer come from: a runtime's profile, or an estimate.
    """

    runtime: str
    machine: str
    threads: int
    source: str
    float_ms: float
    int8_ms: float
    layers: Mapping[str, LayerTime]

    def saved_ms(self, nodes: Sequence[str]) -> dict[str, float]:
        """Return what each of the quantised layers saves.

        Rounding, changes of layout and what no longer fuses cost time outside the layers. That part of the
        whole network's time, which the profile by layer does not explain, is spread over the layers by their
        time in floats, so that all of them together save what the whole network was measured to save.
        """
        plain = {node: self.layers[node].float_ms if node in self.layers else 0.0 for node in nodes}
        own = {n: plain[n] - self.layers[n].int8_ms if n in self.layers else 0.0 for n in nodes}
        rest = (self.float_ms - self.int8_ms) - sum(own.values())
        total = sum(plain.values())
        share = {n: plain[n] / total if total > 0 else 1 / len(plain) for n in nodes}
        return {n: own[n] + rest * share[n] for n in nodes}


@dataclass(frozen=True)
class Trial:
    """One layer by itself: the picture with only this layer in 8 bits, against floats, and its times."""

    node: str
    module: str
    psnr_db: float
    float_ms: float
    int8_ms: float
    saved_ms: float

    @property
    def cost(self) -> float:
        """Mean square error per millisecond saved; infinite where 8 bits save nothing."""
        return math.inf if self.saved_ms <= 0 else 10 ** (-self.psnr_db / 10) / self.saved_ms

    @property
    def label(self) -> str:
        """Module and node, as :attr:`.layers.Layer.label`."""
        return f"{self.module or 'root'} ({self.node})"


@dataclass(frozen=True)
class Point:
    """One step of a search: how many layers are in floats, the last to go there, and what came of it.

    ``psnr_db``: against the float program. ``drop_db``: lost against the sharp photo, of the photo that loses
    most. ``saved_ms``: of the whole network's time in floats.
    """

    widened: str
    in_floats: int
    psnr_db: float
    drop_db: float
    saved_ms: float
    speedup: float


@dataclass(frozen=True)
class MixedPrecision:
    """The result of a search, as stored in the calibration table.

    ``photos`` says what was measured on; ``times`` holds the figures of the whole network (those by layer
    are in ``ranking``, the most costly layer first). ``points`` is the curve, from all layers in 8 bits on;
    ``chosen`` the index of the point that the table holds. ``confirmed_speedup`` is how many times faster
    than the float model the result was, built and timed side by side; 0 if it was not timed.
    """

    bounds: Bounds
    photos: str
    times: Times
    ranking: Sequence[Trial]
    points: Sequence[Point]
    chosen: int
    confirmed_speedup: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the summary included."""
        return {**asdict(self), "summary": self.summary()}

    def summary(self) -> str:
        """Return one line: the layers kept in float, and the resulting accuracy and speed."""
        point = self.points[self.chosen]
        kept = [trial.label for trial in self.ranking[: point.in_floats]]
        more = f" and {len(kept) - 6} more" if len(kept) > 6 else ""
        what = f"{', '.join(kept[:6])}{more} kept in float" if kept else "all layers in int8"
        timed = (
            f", {self.confirmed_speedup:.2f} times measured after building" if self.confirmed_speedup else ""
        )
        return (
            f"{what}: {point.psnr_db:.1f} dB PSNR against float, {point.drop_db:.3f} dB lost on "
            f"{self.photos}, {point.speedup:.2f} times as fast as float{timed} ({self.times.runtime}, "
            f"{self.times.threads} threads, {self.times.machine}; time per layer: {self.times.source})"
        )
