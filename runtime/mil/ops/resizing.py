"""Scaling of the last two axes. Grid points follow from the sizes, whatever the factor was rounded to."""

from __future__ import annotations

import math

import numpy as np

from ..immediate import Array
from .registry import Call, Result, operation


@operation("upsample_bilinear")
def _upsample_bilinear(call: Call) -> Result:
    x = call.array("x")
    height = _scaled(x.shape[-2], call.real("scale_factor_height", 1))
    width = _scaled(x.shape[-1], call.real("scale_factor_width", 1))
    call.expect((*x.shape[:-2], height, width))
    corners = call.flag("align_corners", True)
    if not corners and not call.flag("half_pixel_centers", True):
        raise ValueError("grid points at pixel corners are unknown")
    return _interpolated(_interpolated(x, -2, height, corners), -1, width, corners)


@operation("upsample_nearest_neighbor")
def _upsample_nearest_neighbor(call: Call) -> Result:
    x = call.array("x")
    for axis, name in ((-2, "scale_factor_height"), (-1, "scale_factor_width")):
        out = _scaled(x.shape[axis], call.real(name, 1))
        x = np.take(x, np.arange(out) * x.shape[axis] // out, axis)
    return x


def _scaled(size: int, factor: np.float32) -> int:
    if not 0 < factor < 1024:
        raise ValueError(f"scales by {factor}")
    return math.floor(size * float(factor))


def _interpolated(x: Array, axis: int, out: int, corners: bool) -> Array:
    size = x.shape[axis]
    if corners:
        at = np.arange(out) * ((size - 1) / max(out - 1, 1))
    else:
        at = (np.arange(out) + 0.5) * (size / out) - 0.5
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    share = (at - low).astype(np.float32).reshape(-1, *(1,) * (-1 - axis))
    first, second = np.take(x, low, axis), np.take(x, np.minimum(low + 1, size - 1), axis)
    result: Array = first + (second - first) * share
    return result
