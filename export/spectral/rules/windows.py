"""Windows over an image that edge runtimes lack: the places of largest values, and overlapped adding.

TensorRT has neither the second result of ``MaxPool`` nor ``Col2Im``, coremltools takes neither operator.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv_transpose2d, max_pool2d, pad

from ..pairs import Pair
from .registry import Context, complex_rule, real_rule


@real_rule("max_pool2d_with_indices")
def _max_pool(
    context: Context,
    x: Tensor,
    kernel: list[int],
    stride: list[int] | None = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """The largest values, and where something reads them their places: the first of each window's samples."""
    kernel, padding, dilation = _two(kernel), _two(padding), _two(dilation)
    stride = _two(stride) if stride else kernel
    values, places = context.produced
    largest = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    if not any(user.args[1:] == (1,) for user in context.node.users):
        return largest, torch.zeros_like(largest, dtype=places.dtype)
    height, width = values.shape[-2:]
    reach = [
        (size - 1) * s + d * (k - 1) + 1
        for size, s, d, k in zip((height, width), stride, dilation, kernel, strict=True)
    ]
    beyond = [max(0, r - n - p) for r, n, p in zip(reach, x.shape[-2:], padding, strict=True)]
    padded = pad(x, (padding[1], beyond[1], padding[0], beyond[0]), value=torch.finfo(x.dtype).min)
    taps = [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]
    samples = [
        padded[
            ...,
            i * dilation[0] : i * dilation[0] + (height - 1) * stride[0] + 1 : stride[0],
            j * dilation[1] : j * dilation[1] + (width - 1) * stride[1] + 1 : stride[1],
        ]
        for i, j in taps
    ]
    tap = torch.argmax(torch.stack(samples), 0)
    columns = x.shape[-1]

    def taps_places() -> Any:
        return np.array([i * dilation[0] * columns + j * dilation[1] for i, j in taps])

    def corner_places() -> Any:
        rows = np.arange(height) * stride[0] - padding[0]
        return rows[:, None] * columns + np.arange(width) * stride[1] - padding[1]

    name = "_".join(map(str, (*kernel, *stride, *padding, *dilation, *x.shape[-2:])))
    stored_offsets = context.bank.get(f"taps_{name}", taps_places, torch.int64)
    stored_corners = context.bank.get(f"corners_{name}", corner_places, torch.int64)
    flat = torch.index_select(stored_offsets, 0, tap.reshape(-1)).reshape(tap.shape)
    return largest, flat + stored_corners


@real_rule("col2im")
def _overlap_add(
    context: Context, x: Tensor, size: list[int], kernel: list[int], dilation: Any, padding: Any, stride: Any
) -> Tensor:
    """A transposed convolution whose kernels put each sample of a window in its place."""
    kernel, dilation, padding, stride = _two(kernel), _two(dilation), _two(padding), _two(stride)
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    ]
    taps = math.prod(kernel)
    whole = [
        (c - 1) * s - 2 * p + d * (k - 1) + 1
        for c, s, p, d, k in zip(counts, stride, padding, dilation, kernel, strict=True)
    ]

    def places() -> Any:
        return np.eye(taps).reshape(taps, 1, *kernel)

    kernels = context.bank.get(f"places_{kernel[0]}_{kernel[1]}", places, x.dtype)
    windows = x.reshape(-1, taps, *counts)
    extra = [n - w for n, w in zip(size, whole, strict=True)]  # what no window reaches
    signal = conv_transpose2d(windows, kernels, None, stride, padding, extra, 1, dilation)
    return signal.reshape(context.produced.shape)


@complex_rule("col2im")
def _complex_overlap_add(context: Context, z: Pair, *args: Any) -> Pair:
    return z.map(lambda part: _overlap_add(context, part, *args))


def _two(value: Any) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * 2 if len(given) == 1 else given
