"""Which layers to compute in int8: the best selection that meets a bound.

Layers are ranked by what they alone lose in the picture (emulated, on photos, in the order of the program)
per millisecond they save. The search starts with every layer in 8 bits and gives floats back to the layers
with the largest loss per millisecond, one after the other, those that save nothing before all others; each
mixture on the way is emulated whole, since losses do not add up exactly. Answers name modules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch.export import ExportedProgram

from ..runtime.errors import CheckFailedError
from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from ..runtime.progress import Progress
from .emulate import Int8Runner
from .evaluation_pairs import EvaluationPairs
from .layers import Layer
from .levels import LEVELS
from .mixed_precision import Bounds, LayerTime, MixedPrecision, Point, Times, Trial
from .runner import Runner
from .table import CalibrationTable, ProgramKey

CURVE = 14
"""Mixtures that are emulated whatever the bound, evenly from all layers in 8 bits to one."""
RANKED = 3
"""Photos that each layer is tried on by itself, evenly over those of the evaluation pairs."""
STEPS = 1000
NO_TIME = "int8 saves no time in it, as timed for mixed precision"
COSTLY = "mixed precision: its PSNR loss does not fit the bound"


def search(
    program: ExportedProgram,
    table: CalibrationTable,
    key: ProgramKey,
    pairs: EvaluationPairs,
    times: Times,
    bounds: Bounds,
    *,
    rounded_results: bool = False,
    weight_levels: int = LEVELS,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Move layers to float until the bounds are met, and return the resulting table.

    With a bound on the PSNR loss, the fastest selection within it is taken; with a bound on speed alone,
    the one with the smallest loss that is fast enough. The table's section holds the
    :class:`.mixed_precision.MixedPrecision`, and each layer that went back says why.

    Args:
        program: the lowered program.
        table: ranges, with every layer that may be quantised.
        key: of its section in the table.
        pairs: blurred photos and what each should become.
        times: of the network, whole and by layer.
        bounds: what to keep.
        rounded_results: whether the target rounds the results of layers too.
        weight_levels: the largest 8-bit value of a weight in the target's files.
        progress: called with (steps done, maximum steps, message).

    Raises:
        CheckFailedError: the bounds cannot be met; the message gives the best result.
    """
    bench = _Bench(program, table, key, pairs, rounded_results, weight_levels)
    layers = table.section(key).quantised()
    if not layers:
        raise CheckFailedError("no int8 layers to choose from: the table keeps all layers in float")
    saved = times.saved_ms([layer.node for layer in layers])
    trials = [
        Trial(layer.node, layer.module, psnr, took.float_ms, took.int8_ms, saved[layer.node])
        for layer, psnr in bench.alone(layers, _part(progress, 0))
        for took in [times.layers.get(layer.node, LayerTime(0.0, 0.0))]
    ]
    # Of the layers that save nothing, the order of the program decides.
    ranking = sorted(trials, key=lambda trial: -trial.cost)
    points = _curve(bench, ranking, times.float_ms, bounds, _part(progress, STEPS))
    chosen = _choose(points, bounds)
    kept = {trial.node: _reason(trial) for trial in ranking[: points[chosen].in_floats]}
    whole = dataclasses.replace(times, layers={})
    mixture = MixedPrecision(bounds, pairs.words, whole, ranking, points, chosen)
    return table.to_float(key, kept, mixture)


def _part(progress: Progress | None, start: int) -> Callable[[float, str], None]:
    """Return a callback for the progress of one half of the work, from 0 to 1."""

    def told(share: float, what: str) -> None:
        if progress is not None:
            progress(start + round(share * STEPS), 2 * STEPS, what)

    return told


def _curve(
    bench: _Bench,
    ranking: Sequence[Trial],
    float_ms: float,
    bounds: Bounds,
    told: Callable[[float, str], None],
) -> list[Point]:
    """Emulate selections from all int8 layers down to one, with smaller steps around the bound."""
    count = len(ranking)
    useless = sum(trial.saved_ms <= 0 for trial in ranking)
    points: dict[int, Point] = {}

    def at(widened: int) -> Point:
        if widened not in points:
            told(min(1.0, len(points) / (CURVE + 6)), f"{widened} of {count} layers in float")
            psnr, drop = bench.run([trial.node for trial in ranking[widened:]])
            gain = saved(widened)
            last = ranking[widened - 1].label if widened else ""
            points[widened] = Point(last, widened, psnr, drop, gain, float_ms / max(float_ms - gain, 1e-9))
        return points[widened]

    def saved(widened: int) -> float:
        return sum(trial.saved_ms for trial in ranking[widened:])

    first = min(useless, count - 1)
    for widened in {0, *np.linspace(first, count - 1, CURVE).round().astype(int).tolist()}:
        at(widened)
    if bounds.min_speedup is not None:
        most = float_ms - float_ms / bounds.min_speedup
        fast = [widened for widened in range(first, count) if saved(widened) >= most]
        if fast:
            at(fast[-1])
    if bounds.max_drop_db is not None:
        good = [w for w in sorted(points) if w >= first and points[w].drop_db <= bounds.max_drop_db]
        high = good[0] if good else 0
        low = max((w for w in points if first <= w < high), default=high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if at(middle).drop_db <= bounds.max_drop_db else (middle, high)
    return [points[widened] for widened in sorted(points)]


def _choose(points: Sequence[Point], bounds: Bounds) -> int:
    """Return the index of the point to take.

    Raises:
        CheckFailedError: none meets the bounds.
    """
    # A selection that is no faster than float is useless, whatever its accuracy.
    good = [index for index, point in enumerate(points) if bounds.met(point) and point.speedup > 1]
    if good and bounds.max_drop_db is not None:
        return max(good, key=lambda index: points[index].speedup)
    if good:
        return min(good, key=lambda index: points[index].drop_db)
    fastest = max(points, key=lambda point: point.speedup)
    fast = [point for point in points if bounds.fast(point)]
    best = min(fast or points, key=lambda point: point.drop_db)
    reach = f"the fastest reaches {fastest.speedup:.2f} times and loses {fastest.drop_db:.3f} dB"
    if bounds.max_drop_db is not None:
        reach += f"; the smallest loss{' at that speed' if fast else ''} is {best.drop_db:.3f} dB at "
        reach += f"{best.speedup:.2f} times"
    raise CheckFailedError(
        f"no selection of int8 layers {bounds.words()}: {reach}. Without int8 there is no loss, at "
        "the speed of fp32"
    )


def _reason(trial: Trial) -> str:
    return NO_TIME if trial.saved_ms <= 0 else COSTLY


def times_by_work(
    layers: Sequence[Layer], nodes: Sequence[str], times: Times, faster: float = 3.0
) -> dict[str, LayerTime]:
    """Return an estimate of layers' times, where nothing was measured by layer: by multiply-adds.

    Args:
        layers: all layers of the program.
        nodes: those that may be quantised.
        times: of the whole network.
        faster: how many times faster a layer is taken to be in 8 bits.
    """
    total = sum(layer.macs for layer in layers) or 1
    wanted = set(nodes)
    return {
        layer.node: LayerTime(part, part / faster)
        for layer in layers
        if layer.node in wanted
        for part in [times.float_ms * layer.macs / total]
    }


class _Bench:
    """Emulates selections of int8 layers on evaluation pairs and scores them."""

    def __init__(
        self,
        program: ExportedProgram,
        table: CalibrationTable,
        key: ProgramKey,
        pairs: EvaluationPairs,
        rounded_results: bool,
        weight_levels: int,
    ) -> None:
        self.program, self.pairs = program, pairs
        section = table.section(key)
        scales = {name: table.scale(key, name) for name in section.tensors}
        self.layers = {layer.node: layer for layer in section.quantised()}
        self.runner = partial(
            Int8Runner, program, scales=scales, rounded_results=rounded_results, weight_levels=weight_levels
        )
        plain = Runner(program)
        self.expected = [plain(array) for array in pairs.blurred]
        self.marks = [self._mark(f, sharp) for f, sharp in zip(self.expected, pairs.sharp, strict=True)]

    def run(self, nodes: Sequence[str]) -> tuple[float, float]:
        """Return (worst PSNR against floats, most decibels lost against the sharp photo)."""
        runner = self.runner([self.layers[node] for node in nodes])
        outputs = [runner(array) for array in self.pairs.blurred]
        worst = min(psnr_db(f, right) for f, right in zip(outputs, self.expected, strict=True))
        marks = [self._mark(f, sharp) for f, sharp in zip(outputs, self.pairs.sharp, strict=True)]
        return worst, max(plain - mark for plain, mark in zip(self.marks, marks, strict=True))

    def alone(self, layers: Sequence[Layer], told: Callable[[float, str], None]) -> list[tuple[Layer, float]]:
        """Return each layer with the worst PSNR against floats of it alone in 8 bits."""
        worst = dict.fromkeys((layer.node for layer in layers), 200.0)
        places = sorted({round(place) for place in np.linspace(0, len(self.expected) - 1, RANKED)})
        photos = len(places)
        for photo, place in enumerate(places):
            array, right = self.pairs.blurred[place], self.expected[place]
            for index, (layer, output) in enumerate(self.runner(layers).each_alone(array)):
                told((photo + index / len(layers)) / photos, f"photo {photo + 1}: {layer.label}")
                worst[layer.node] = min(worst[layer.node], psnr_db(output, right))
        return [(layer, worst[layer.node]) for layer in layers]

    def _mark(self, output: Array, sharp: Array) -> float:
        return psnr_db(output if output.dtype == "uint8" else output.clip(0, 1), sharp)
