"""Measure what cutting a photo into tiles did to the result."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..photo import Array
from ..pixels import psnr_db
from .tiling import Axis, Grid


@dataclasses.dataclass(frozen=True)
class SeamReport:
    """How a tiled result differs from one that has no seams in the same places; all values from 0 to 1.

    Attributes:
        seams: number of blends between neighbouring tiles, along both axes.
        mean_abs, max_abs: difference over the whole photo: how much the result depends on where tiles lie.
        psnr_db: the same as a ratio to white (``inf`` when equal).
        at_seams, elsewhere: mean difference within the blends, and outside them.
        step_at_seams, step_elsewhere: mean change of the difference from a pixel to the next, across the
            blends and elsewhere. Eyes see steps, not slow drifts: where the two are alike, no seam shows.
    """

    seams: int
    mean_abs: float
    max_abs: float
    psnr_db: float
    at_seams: float
    elsewhere: float
    step_at_seams: float
    step_elsewhere: float

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers for a report; an infinite ratio becomes 200 dB, which JSON can hold."""
        return dataclasses.asdict(self)


def compare(tiled: Array, reference: Array, grid: Grid) -> SeamReport:
    """Compare a tiled result with a reference.

    Args:
        tiled: height x width x channels, float from 0 to 1, blended over ``grid``.
        reference: the same photo over the shifted grid, or in one pass of a larger network.
        grid: where the seams of ``tiled`` are.
    """
    difference = tiled.astype(np.float64) - reference
    size = np.abs(difference).mean(axis=2)
    down = _blends(grid.rows)
    right = _blends(grid.columns)
    inside = down[:, None] | right[None, :]
    steps_down = np.abs(np.diff(difference, axis=0)).mean(axis=2)
    steps_right = np.abs(np.diff(difference, axis=1)).mean(axis=2)
    at = np.concatenate([steps_down[down[1:]].ravel(), steps_right[:, right[1:]].ravel()])
    off = np.concatenate([steps_down[~down[1:]].ravel(), steps_right[:, ~right[1:]].ravel()])
    return SeamReport(
        seams=len(grid.rows.ramps) + len(grid.columns.ramps),
        mean_abs=float(size.mean()),
        max_abs=float(np.abs(difference).max()),
        psnr_db=psnr_db(tiled, reference),
        at_seams=_mean(size[inside]),
        elsewhere=_mean(size[~inside]),
        step_at_seams=_mean(at),
        step_elsewhere=_mean(off),
    )


def _blends(axis: Axis) -> Array:
    """Say of each position whether two tiles meet there; with no halo, the first pixel of the next tile."""
    inside = np.zeros(axis.length, bool)
    for ramp in axis.ramps:
        inside[max(ramp, 0) : ramp + max(2 * axis.halo, 1)] = True
    return inside


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else 0.0
