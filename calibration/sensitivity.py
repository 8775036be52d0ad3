"""Which layers are worth their 8 bits, and the best mixture that meets a bound.

Layers are ranked by what they alone lose in the picture (emulated, on photos, in the order of the program)
per time they save. The search starts with every layer in 8 bits and gives floats back to the layers with the
largest loss per millisecond, one after the other; each step is emulated whole, since losses do not add up
exactly. Answers name modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch.export import ExportedProgram

from ..runtime.errors import CheckFailedError
from ..runtime.photo import Array
from .emulate import Int8Runner, psnr_db
from .layers import Layer
from .program import Runner
from .table import CalibrationTable


@dataclass(frozen=True)
class Sensitivity:
    """One layer: ``psnr_db`` with only this layer in 8 bits, and ``saved_ms`` by it."""

    layer: Layer
    psnr_db: float
    saved_ms: float

    @property
    def cost(self) -> float:
        """Mean square error per millisecond saved; infinite where 8 bits save nothing."""
        return math.inf if self.saved_ms <= 0 else 10 ** (-self.psnr_db / 10) / self.saved_ms


@dataclass(frozen=True)
class Point:
    """One step of the search: layers in floats so far, the picture, and the time of the whole network."""

    widened: str
    in_floats: int
    psnr_db: float
    drop_db: float
    total_ms: float
    speedup: float


@dataclass(frozen=True)
class Mixture:
    """The answer: the table to build with, and the curve that led there."""

    table: CalibrationTable
    points: Sequence[Point]
    ranking: Sequence[Sensitivity]

    def summary(self) -> str:
        """Say in one line what stays in floats."""
        modules = [point.widened for point in self.points[1:]]
        named = ", ".join(dict.fromkeys(modules)) or "no layer"
        last = self.points[-1]
        return (
            f"{named} back in floats: {last.psnr_db:.1f} dB, {last.drop_db:.3f} dB lost, "
            f"{last.speedup:.2f} times the speed"
        )


def rank(
    program: ExportedProgram,
    table: CalibrationTable,
    program_sha256: str,
    arrays: Sequence[Array],
    saved_ms: Mapping[str, float],
) -> list[Sensitivity]:
    """Return every quantised layer with what it alone loses and saves, the most costly first."""
    expected = [Runner(program)(array) for array in arrays]
    scales = _scales(table, program_sha256)
    found = []
    for layer in table.section(program_sha256).quantised():
        psnr = _emulate(program, [layer], scales, arrays, expected)
        found.append(Sensitivity(layer, psnr, saved_ms.get(layer.node, 0.0)))
    return sorted(found, key=lambda entry: -entry.cost)


def search(
    program: ExportedProgram,
    table: CalibrationTable,
    program_sha256: str,
    arrays: Sequence[Array],
    sharp: Sequence[Array],
    *,
    float_ms: float,
    saved_ms: Mapping[str, float],
    max_drop_db: float | None = None,
    min_speedup: float | None = None,
    step: Callable[[Point], None] | None = None,
) -> Mixture:
    """Give layers back to floats until the picture loses no more than ``max_drop_db``.

    Args:
        program: the lowered program.
        table: ranges, with every layer that may be quantised.
        program_sha256: of the program.
        arrays: photos as the program takes them.
        sharp: what each should become; the loss is against this. The float program's own results, where there
            is no sharp photo.
        float_ms: time of the whole network in floats.
        saved_ms: time that each layer saves in 8 bits, by node.
        max_drop_db: most decibels that may be lost against the sharp photos; stop as soon as it is met.
        min_speedup: least speed-up; the search never goes below.
        step: told each point.

    Raises:
        CheckFailedError: no mixture meets both bounds; says the nearest.
    """
    expected = [Runner(program)(array) for array in arrays]
    scales = _scales(table, program_sha256)
    base = min(psnr_db(found, right) for found, right in zip(expected, sharp, strict=True))
    ranking = rank(program, table, program_sha256, arrays, saved_ms)
    active = [entry.layer for entry in ranking]
    widened: dict[str, str] = {}
    points: list[Point] = []
    for last in [None, *ranking]:
        if last is not None:
            active.remove(last.layer)
            widened[last.layer.node] = f"costs {last.psnr_db:.1f} dB alone for {last.saved_ms:.2f} ms saved"
        runner = Int8Runner(program, active, scales)
        results = [runner(array) for array in arrays]
        psnr = min(psnr_db(found, right) for found, right in zip(results, expected, strict=True))
        drop = base - min(psnr_db(found, right) for found, right in zip(results, sharp, strict=True))
        total = float_ms - sum(saved_ms.get(layer.node, 0.0) for layer in active)
        name = last.layer.label if last is not None else ""
        point = Point(name, len(widened), psnr, drop, total, float_ms / max(total, 1e-9))
        fast = min_speedup is None or point.speedup >= min_speedup
        if not fast:
            if max_drop_db is None and points:
                widened.pop(last.layer.node if last is not None else "", None)
                break
            nearest = points[-1] if points else point
            raise CheckFailedError(
                f"no mixture loses at most {max_drop_db} dB at {min_speedup} times the speed: the nearest "
                f"loses {nearest.drop_db:.3f} dB at {nearest.speedup:.2f} times"
            )
        points.append(point)
        if step is not None:
            step(point)
        if max_drop_db is not None and drop <= max_drop_db:
            break
    return Mixture(table.to_float(widened), points, ranking)


def saved_by_work(layers: Sequence[Layer], float_ms: float, share: float, faster: float) -> dict[str, float]:
    """Return an estimate of what each layer saves, where nothing was measured.

    Args:
        layers: all layers.
        float_ms: time of the whole network in floats.
        share: part of it that is spent in layers.
        faster: how many times faster a layer is in 8 bits.
    """
    total = sum(layer.macs for layer in layers) or 1
    return {layer.node: float_ms * share * (1 - 1 / faster) * layer.macs / total for layer in layers}


def _scales(table: CalibrationTable, program_sha256: str) -> dict[str, float]:
    return {name: table.scale(program_sha256, name) for name in table.section(program_sha256).tensors}


def _emulate(
    program: ExportedProgram,
    layers: Sequence[Layer],
    scales: Mapping[str, float],
    arrays: Sequence[Array],
    expected: Sequence[Array],
) -> float:
    runner = Int8Runner(program, layers, scales)
    return min(psnr_db(runner(array), right) for array, right in zip(arrays, expected, strict=True))
