"""Largest values and means of windows over the axes behind the first two."""

from __future__ import annotations

import math

import numpy as np

from ..immediate import Array
from .linear import padding, strided_windows
from .registry import Call, Result, operation


@operation("max_pool")
def _max_pool(call: Call) -> Result:
    windows = _windows(call, call.array("x"), -np.inf)
    return windows.max(axis=tuple(range(2, 2 + (windows.ndim - 2) // 2)))


@operation("avg_pool")
def _avg_pool(call: Call) -> Result:
    x = call.array("x")
    windows = _windows(call, x, 0)
    taps = tuple(range(2, 2 + (windows.ndim - 2) // 2))
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    if call.flag("exclude_padding_from_average", False):
        count = _windows(call, counted, 0).sum(axis=taps)
    else:  # padding counts, but not what a last window reads beyond it
        count = _windows(call, counted, 0, inside=1).sum(axis=taps)
    if not call.narrow:
        return windows.sum(axis=taps) / count
    total = np.zeros((*windows.shape[:2], *windows.shape[2 + len(taps) :]), np.float32)
    for tap in np.ndindex(*windows.shape[2 : 2 + len(taps)]):
        place = (slice(None), slice(None), *tap)
        total = (total + windows[place]).astype(np.float16).astype(np.float32)
    return total / count


def _windows(call: Call, x: Array, outside: float, inside: float | None = None) -> Array:
    """Return [N, C, *kernel, *sizes]: what each window reads.

    ``outside`` stands beyond the array, ``inside`` (the same by default) in the padding that is declared.
    """
    kernel = call.numbers("kernel_sizes", [])
    spatial = x.ndim - 2
    strides = call.numbers("strides", [1] * spatial)
    if (
        len(kernel) != spatial
        or len(strides) != spatial
        or min(*kernel, *strides) < 1
        or max(kernel) > 1 << 16
    ):
        raise ValueError(f"windows {kernel!r:.80} with strides {strides!r:.80} on {list(x.shape)}")
    widths = padding(call, x.shape[2:], tuple(kernel), strides, [1] * spatial)
    sizes = []
    for n, k, s, (before, after) in zip(x.shape[2:], kernel, strides, widths, strict=True):
        room = n + before + after - k
        size = (math.ceil(room / s) if call.flag("ceil_mode", False) else room // s) + 1
        if call.flag("ceil_mode", False) and before and (size - 1) * s >= n + before:
            size -= 1  # the last window would lie in the padding alone
        sizes.append(size)
    if min(sizes) < 1 or tuple(sizes) != call.out.shape[2:]:
        raise ValueError(f"makes {sizes}, declared as {call.out}")
    value = outside if inside is None else inside
    padded = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=value)
    beyond = [
        max(0, (size - 1) * s + k - n)
        for n, k, s, size in zip(padded.shape[2:], kernel, strides, sizes, strict=True)
    ]
    padded = np.pad(padded, [(0, 0), (0, 0), *((0, b) for b in beyond)], constant_values=outside)
    return strided_windows(padded, tuple(kernel), sizes, strides, [1] * spatial)
