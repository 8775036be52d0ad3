"""What values each tensor takes on photos, and the range that 8 bits should cover.

Ranges are symmetric (-range to range onto -127 to 127), which every runtime takes. Four ways to choose one:

- ``minmax``: the largest magnitude seen; nothing is clipped.
- ``percentile``: the magnitude that 99.97 % of values do not exceed.
- ``mse``: the range with the smallest mean square error of rounding and clipping together.
- ``entropy``: the range whose quantised histogram has the smallest Kullback-Leibler divergence from the true
  one (Migacz, "8-bit Inference with TensorRT", 2017).

Everything is computed from one histogram of magnitudes per tensor, whose range doubles by merging bins when a
larger value turns up, so that the photos are run once and the order of photos does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.errors import CalibrationError
from .layers import module_of
from .levels import LEVELS
from .runner import Feed, Runner

SCHEMES = ("minmax", "percentile", "mse", "entropy")
DEFAULT_SCHEME = "percentile"
"""What keeps most of the picture, on pairs of photos: layers that follow forgive a clipped value sooner than
coarser steps for all others."""
BINS = 2048
PERCENTILE = 0.9997
"""Measured: with 99.99 % steps are coarser than they need to be on pairs of photos, with 99.95 % photos in
focus are clipped."""
SAMPLED = 1 << 16
"""Values of a tensor that are counted in each run, at least where it has as many."""


@dataclass(frozen=True)
class Statistics:
    """What was seen of one tensor: extremes, moments, and the symmetric range of each scheme.

    ``sqnr_db``: energy of the tensor over that of the error which 8 bits at the ``mse`` range make in it.
    """

    minimum: float
    maximum: float
    mean: float
    rms: float
    count: int
    ranges: Mapping[str, float]
    sqnr_db: float

    @property
    def peak(self) -> float:
        """The largest magnitude."""
        return max(abs(self.minimum), abs(self.maximum))


class Histogram:
    """Magnitudes of one tensor over many runs."""

    def __init__(self) -> None:
        """Start empty."""
        self.counts = np.zeros(BINS)
        self.top = 0.0
        self.minimum, self.maximum = math.inf, -math.inf
        self.total = self.squares = 0.0
        self.count = 0

    def add(self, value: Tensor) -> None:
        """Count the values of a finite float tensor."""
        low, high = (float(end) for end in torch.aminmax(value))
        # Extremes come from every value, shares from every n-th: an odd stride walks through all columns.
        step = 1 if value.numel() <= SAMPLED else 2 * (value.numel() // SAMPLED // 2) + 1
        value = value.flatten()[::step]
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.total += float(value.double().sum())
        self.squares += float(value.double().square().sum())
        self.count += value.numel()
        peak = max(-low, high)
        if peak == 0:
            self.counts[0] += value.numel()
            return
        if self.top == 0:
            # A power of two, so that the bins do not depend on which photo came first.
            self.top = 2.0 ** math.ceil(math.log2(peak))
        while peak > self.top:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([pairs, np.zeros(BINS // 2)])
            self.top *= 2
        self.counts += torch.histc(value.abs(), BINS, 0, self.top).double().numpy()

    def statistics(self) -> Statistics:
        """Return figures and ranges of what was counted."""
        peak = max(abs(self.minimum), abs(self.maximum))
        ranges = dict.fromkeys(SCHEMES, peak)
        error = 0.0
        if peak > 0:
            ranges["percentile"] = min(peak, self._percentile())
            ranges["mse"], error = self._least_squares(peak)
            ranges["entropy"] = self._least_divergence(peak)
        signal = self.squares / self.count
        sqnr = 10 * math.log10(signal / error) if error > 0 and signal > 0 else 200.0
        return Statistics(
            minimum=self.minimum,
            maximum=self.maximum,
            mean=self.total / self.count,
            rms=math.sqrt(signal),
            count=self.count,
            ranges=ranges,
            sqnr_db=min(200.0, sqnr),
        )

    def _percentile(self) -> float:
        cumulative = np.cumsum(self.counts) / self.counts.sum()
        return float((np.searchsorted(cumulative, PERCENTILE) + 1) * self.top / BINS)

    def _least_squares(self, peak: float) -> tuple[float, float]:
        """(range, mean square error): rounding errs by step²/12, clipping by the distance to the range."""
        centres = (np.arange(BINS) + 0.5) * self.top / BINS
        share = self.counts / self.counts.sum()
        best = (peak, math.inf)
        for limit in peak * np.linspace(0.3, 1.0, 71):
            step = limit / LEVELS
            clipped = np.maximum(centres - limit, 0)
            # Values below half a step are rounded to zero: their own square is the error.
            inside = np.minimum(centres**2, step**2 / 12)
            error = float((share * np.where(clipped > 0, clipped**2, inside)).sum())
            if error < best[1]:
                best = (float(limit), error)
        return best

    def _least_divergence(self, peak: float) -> float:
        counts = self.counts.copy()
        counts[0] = counts[1]  # exact zeros say nothing about the range
        best, least = peak, math.inf
        for end in range(2 * (LEVELS + 1), BINS + 1, 16):
            limit = end * self.top / BINS
            if limit > peak * (1 + 1 / 64):
                break
            reference = counts[:end].copy()
            if not reference.any():
                continue
            reference[-1] += counts[end:].sum()
            groups = np.minimum((np.arange(end) * (LEVELS + 1)) // end, LEVELS)
            used = counts[:end] > 0
            total = np.bincount(groups, counts[:end], LEVELS + 1)
            filled = np.maximum(np.bincount(groups, used, LEVELS + 1), 1)
            candidate = np.where(used, (total / filled)[groups], 0) + 1e-12
            p, q = reference / reference.sum(), candidate / candidate.sum()
            divergence = float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())
            if divergence < least:
                best, least = min(limit, peak), divergence
        return best


def collect(
    program: ExportedProgram,
    tensors: Sequence[str],
    inputs: Sequence[Feed],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Statistics]:
    """Run a program on inputs and return statistics of the tensors (names of nodes).

    Raises:
        CalibrationError: a tensor holds NaN or infinity; names it, its module and the input.
    """
    wanted = set(tensors)
    histograms: dict[str, Histogram] = {}
    index = 0

    def watch(node: fx.Node, value: Tensor) -> Tensor:
        if node.name in wanted:
            # NaN and infinity show in the extremes, which are found faster than each value is looked at.
            if not all(math.isfinite(float(end)) for end in torch.aminmax(value)):
                where = f" of module {path!r}" if (path := module_of(node)) else ""
                raise CalibrationError(
                    f"tensor {node.name!r}{where} holds NaN or infinity on calibration tile {index}: the "
                    "network or its weights are broken, so no range would be valid"
                )
            histograms.setdefault(node.name, Histogram()).add(value)
        return value

    runner = Runner(program, watch)
    for index, array in enumerate(inputs):
        if progress is not None:
            progress(index, len(inputs))
        runner.outputs(array)
    if missing := sorted(wanted - set(histograms)):
        raise CalibrationError(f"the program has no tensor {missing[0]!r}")
    return {name: histograms[name].statistics() for name in tensors}
