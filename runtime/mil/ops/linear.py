"""Sums of products: matrix products and convolutions.

With wide accumulation (float32, which is what the Neural Engine does) float16 operands are multiplied and
added in float32 and the sum is rounded once. Narrow accumulation rounds to float16 after every addition, in
the order of the summed index: the pessimist's float16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..immediate import Array
from .registry import Call, Result, operation

_CHUNK_BYTES = 1 << 25
"""How much of an image is unrolled at a time, so that it stays near the processor."""


@operation("linear")
def _linear(call: Call) -> Result:
    x, weight = call.array("x"), call.array("weight")
    call.expect(x.shape[:-1] + weight.shape[:1])
    y = product(x, weight.T, call.narrow)
    bias = call.arguments.get("bias")
    return y if bias is None else y + bias


@operation("matmul")
def _matmul(call: Call) -> Result:
    x, y = call.array("x"), call.array("y")
    if call.flag("transpose_x", False):
        x = np.swapaxes(x, -1, -2)
    if call.flag("transpose_y", False):
        y = np.swapaxes(y, -1, -2)
    if x.ndim > 1 and y.ndim > 1:
        lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        call.expect((*lead, x.shape[-2], y.shape[-1]))
    return product(x, y, call.narrow)


@operation("conv")
def _conv(call: Call) -> Result:
    x, weight = call.array("x"), call.array("weight")
    spatial = x.ndim - 2
    strides = call.numbers("strides", [1] * spatial)
    dilations = call.numbers("dilations", [1] * spatial)
    groups = call.number("groups", 1)
    kernel = weight.shape[2:]
    if min(strides) < 1 or min(dilations) < 1 or groups < 1 or weight.ndim != x.ndim:
        raise ValueError(f"strides {strides}, dilations {dilations}, {groups} groups")
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(f"kernels {list(weight.shape)} in {groups} groups on {list(x.shape)}")
    widths = padding(call, x.shape[2:], kernel, strides, dilations)
    sizes = [
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, (before, after), k, s, d in zip(x.shape[2:], widths, kernel, strides, dilations, strict=True)
    ]
    call.expect((x.shape[0], weight.shape[0], *sizes))
    if any(before or after for before, after in widths):
        x = np.pad(x, [(0, 0), (0, 0), *widths])
    y = np.empty(call.out.shape, np.result_type(x, weight))
    windows = strided_windows(x, kernel, sizes, strides, dilations)
    if weight.shape[1] == 1 and not call.narrow:
        _depthwise(y, windows, weight)
    else:
        _unrolled(y, windows, weight, groups, call.narrow)
    bias = call.arguments.get("bias")
    if bias is not None:
        y += np.asarray(bias).reshape(-1, *(1,) * spatial)
    return y


@operation("conv_transpose")
def _conv_transpose(call: Call) -> Result:
    """As a convolution of the input with zeros between its elements, the kernels turned around."""
    x, weight = call.array("x"), call.array("weight")
    spatial = x.ndim - 2
    strides = call.numbers("strides", [1] * spatial)
    dilations = call.numbers("dilations", [1] * spatial)
    groups = call.number("groups", 1)
    if min(strides) < 1 or min(dilations) < 1 or groups < 1 or weight.ndim != x.ndim:
        raise ValueError(f"strides {strides}, dilations {dilations}, {groups} groups")
    if x.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise ValueError(f"kernels {list(weight.shape)} in {groups} groups on {list(x.shape)}")
    reach = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
    cut = _cut(call, x, reach, strides)
    whole = [s * (n - 1) + r + 1 for s, n, r in zip(strides, x.shape[2:], reach, strict=True)]
    sizes = [w - before - after for w, (before, after) in zip(whole, cut, strict=True)]
    call.expect((x.shape[0], weight.shape[1] * groups, *sizes))
    spread = np.zeros(
        (*x.shape[:2], *(s * (n - 1) + 1 for s, n in zip(strides, x.shape[2:], strict=True))), x.dtype
    )
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    spread[steps] = x
    padded = np.pad(
        spread, [(0, 0), (0, 0), *((r, r + max(0, -after)) for r, (_, after) in zip(reach, cut, strict=True))]
    )
    inside = (slice(None), slice(None), *(slice(before, None) for before, _ in cut))
    padded = padded[inside]
    turned = np.flip(weight, tuple(range(2, weight.ndim)))
    own = turned.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    kernels = np.ascontiguousarray(own.reshape(-1, weight.shape[0] // groups, *weight.shape[2:]))
    y = np.empty(call.out.shape, np.result_type(x, weight))
    windows = strided_windows(padded, weight.shape[2:], sizes, [1] * spatial, dilations)
    _unrolled(y, windows, kernels, groups, call.narrow)
    bias = call.arguments.get("bias")
    if bias is not None:
        y += np.asarray(bias).reshape(-1, *(1,) * spatial)
    return y


def _cut(call: Call, x: Array, reach: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """Return how much a transposed convolution drops before and after each axis; less than 0: adds."""
    spatial = x.ndim - 2
    kind, pad = call.text("pad_type", "valid"), call.numbers("pad", [0] * 2 * spatial)
    if kind not in ("valid", "custom", "same") or len(pad) != 2 * spatial or min(pad) < 0:
        raise ValueError(f"the padding {kind!r:.40} {pad!r:.80}")
    if kind == "same":
        over = [max(0, r + 1 - s) for r, s in zip(reach, strides, strict=True)]
        cut = [(o // 2, r + 1 - s - o // 2) for o, r, s in zip(over, reach, strides, strict=True)]
    else:
        cut = list(zip(pad[::2], pad[1::2], strict=True)) if kind == "custom" else [(0, 0)] * spatial
    wanted = call.numbers("output_shape", None)
    if wanted is None:
        return cut
    whole = [s * (n - 1) + r + 1 for s, n, r in zip(strides, x.shape[2:], reach, strict=True)]
    return [(before, w - before - size) for (before, _), w, size in zip(cut, whole, wanted[2:], strict=True)]


def product(x: Array, y: Array, narrow: bool) -> Array:
    """Return ``x @ y``, rounding to float16 after every addition if ``narrow``."""
    if not narrow:
        result: Array = np.matmul(x, y)
        return result
    column, row = x.ndim == 1, y.ndim == 1
    x, y = x[None] if column else x, y[:, None] if row else y
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    total = np.zeros((*lead, x.shape[-2], y.shape[-1]), np.float32)
    for k in range(x.shape[-1]):
        # The product of two float16 is exact in float32: this is a fused multiply-add rounded to float16.
        total += x[..., :, k, None] * y[..., None, k, :]
        total = total.astype(np.float16).astype(np.float32)
    total = total[..., 0, :] if column else total
    return total[..., 0] if row else total


def padding(
    call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """Return how much the call's ``pad_type`` and ``pad`` add before and after each spatial axis."""
    kind = call.text("pad_type", "valid")
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        pad = call.numbers("pad", [0] * 2 * len(sizes))
        if len(pad) != 2 * len(sizes) or min(pad) < 0 or max(pad) > 1 << 16:
            raise ValueError(f"padding {pad!r:.80}")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if kind not in ("same", "same_lower"):
        raise ValueError(f"the padding {kind!r:.40} is unknown")
    widths = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        widths.append((less, more) if kind == "same" else (more, less))
    return widths


def strided_windows(
    x: Array, kernel: tuple[int, ...], sizes: list[int], strides: list[int], dilations: list[int]
) -> Array:
    """Return a view [N, C, *kernel, *sizes]: what each tap of the kernel sees, without a copy."""
    step = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *kernel, *sizes),
        (
            *x.strides[:2],
            *(a * d for a, d in zip(step, dilations, strict=True)),
            *(a * s for a, s in zip(step, strides, strict=True)),
        ),
        writeable=False,
    )


def _depthwise(y: Array, windows: Array, weight: Array) -> None:
    """One input channel per kernel: a multiply-add per tap."""
    spatial = weight.ndim - 2
    repeat = weight.shape[0] // windows.shape[1]
    shaped = y.reshape(y.shape[0], windows.shape[1], repeat, *y.shape[2:])
    shaped[...] = 0
    for tap in np.ndindex(*weight.shape[2:]):
        of_weight: Any = (slice(None), 0, *tap)
        of_windows: Any = (slice(None), slice(None), *tap)
        factor = weight[of_weight].reshape(windows.shape[1], repeat, *(1,) * spatial)
        shaped += windows[of_windows][:, :, None] * factor


def _unrolled(y: Array, windows: Array, weight: Array, groups: int, narrow: bool) -> None:
    """Copies of the image per tap as the columns of a matrix, some rows of the image at a time."""
    n, channels = windows.shape[:2]
    taps, own = math.prod(weight.shape[2:]), channels // groups
    rows = weight.reshape(groups, weight.shape[0] // groups, own * taps)
    first = 2 + weight.ndim - 2  # the first spatial axis of the windows
    height, rest = y.shape[2], math.prod(y.shape[3:])
    lines = max(1, _CHUNK_BYTES // (channels * taps * rest * y.itemsize))
    for image in range(n):
        for top in range(0, height, lines):
            part = windows[image][(slice(None),) * (first - 1) + (slice(top, top + lines),)]
            columns = np.ascontiguousarray(part).reshape(groups, own * taps, -1)
            products = product(rows, columns, narrow)
            y[image, :, top : top + lines] = products.reshape(weight.shape[0], -1, *y.shape[3:])
