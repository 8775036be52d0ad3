"""Small windows filtered in the frequency domain, with channels as the fastest index from end to end.

The pattern is a window partition, ``rfft2`` of each window, real and imaginary part stacked as channels, 1x1
convolutions and pointwise functions, ``irfft2``, and the windows put back. Written in the network's order it
costs a six-dimensional permute of the whole map on each side and a change of layout around every convolution.
With channels fastest, a window is a [64, C] block: one product with an [80, 64] matrix from the left is the
transform, its rows ordered (frequency, part) leave real and imaginary channels side by side, and the 1x1
convolutions are products from the right. No intermediate has more than five dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx

from ..graph import arguments, shape_of
from ..sites import Site, describe
from ..strategies.dense import LARGEST_FLAT, flat_parts
from ..twiddles import ConstantBank, Matrix
from .base import RESHAPES, Fused, emit, only_reader
from .stacked import emit_pointwise, fft_args, pointwise_chain, single_user, stacked_parts, way_back

GRID_BESIDE_WINDOW = [0, 1, 2, 4, 3, 5]
"""[1, C, rows, p, columns, q] to [1, C, rows, columns, p, q]; its own inverse."""


@dataclass(frozen=True)
class WindowTransform(Fused):
    """Forward: [1, C, H, W] to [windows * frequencies, 2 C]. Inverse: the same backwards."""

    operator: str
    norm: str | None
    window: tuple[int, int]
    grid: tuple[int, int]
    channels: int
    __name__ = "window_transform"

    @property
    def inverse(self) -> bool:
        """Whether this is the transform back to the image."""
        return "irfft" in self.operator

    def site(self, name: str, module_path: str) -> Site:
        """One transform per channel and window."""
        p, q = self.window
        shape = (1, self.channels, *self.grid, p, q // 2 + 1 if self.inverse else q)
        args = (list(self.window) if self.inverse else None, [-2, -1], self.norm)
        return describe(name, module_path, self.operator, shape, not self.inverse, args)

    def matrix(self) -> Matrix:
        """[(frequency, part), point] forward, [point, (frequency, part)] inverse."""
        cos, sin = flat_parts(self.site("", ""))
        if self.inverse:
            return np.ascontiguousarray(np.stack([cos, sin], axis=1).reshape(-1, cos.shape[1]).T)
        return np.stack([cos.T, sin.T], axis=1).reshape(-1, cos.shape[0])

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Transform all windows by one batched product."""
        (x,) = inputs
        (p, q), (rows, columns), c = self.window, self.grid, self.channels
        key = f"window_{'inverse' if self.inverse else 'forward'}_{p}x{q}_{self.norm}"
        matrix = bank.get(key, self.matrix, x.dtype)
        if not self.inverse:
            blocks = x.permute(0, 2, 3, 1).reshape(rows, p, columns, q, c).permute(0, 2, 1, 3, 4)
            return (matrix @ blocks.reshape(rows * columns, p * q, c)).reshape(-1, 2 * c)
        blocks = (matrix @ x.reshape(rows * columns, -1, c)).reshape(rows, columns, p, q, c)
        return blocks.permute(0, 2, 1, 3, 4).reshape(1, rows * p, columns * q, c).permute(0, 3, 1, 2)


def rewrite_windows(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Replace the block that starts at a forward window transform; the new last node, ``None`` for no fit.

    Numbered preconditions: (1) the transform reads a window partition of [1, C, H, W]; (2) its real and
    imaginary part are only stacked as channels; (3) only reshapes, 1x1 convolutions and pointwise functions
    follow, each read once; (4) the result is split into parts again and transformed back; (5) the windows are
    put back in place.
    """
    if str(node.target) != "aten.fft_rfft2.default":
        return None
    partition = _partition(node)  # (1)
    stacked = stacked_parts(node)  # (2)
    if partition is None or stacked is None:
        return None
    image, forward = partition
    chain, end = pointwise_chain(stacked)  # (3)
    inverse = way_back(end)  # (4)
    tail = None if inverse is None else _put_back(inverse, forward)  # (5)
    if inverse is None or tail is None:
        return None
    back, last = tail
    with graph.inserting_before(last):
        value = emit(graph, forward, (image,), node)
        for step in chain:
            value = emit_pointwise(graph, step, value)
        value = emit(graph, back, (value,), inverse)
    last.replace_all_uses_with(value)
    return value


def _partition(transform: fx.Node) -> tuple[fx.Node, WindowTransform] | None:
    permute = only_reader(arguments(transform)[0], "aten.permute.default")
    reshape = only_reader(arguments(permute)[0], *RESHAPES) if permute is not None else None
    if permute is None or reshape is None or arguments(permute)[1] != GRID_BESIDE_WINDOW:
        return None
    image: fx.Node = arguments(reshape)[0]
    shape = shape_of(reshape)
    if len(shape) != 6 or shape[0] != 1 or len(shape_of(image)) != 4:
        return None
    _, c, rows, p, columns, q = shape
    if shape_of(image) != (1, c, rows * p, columns * q) or p * q > LARGEST_FLAT // 4:
        return None
    size, dims, norm = fft_args(transform)
    if size not in (None, [p, q]) or [d % 6 for d in dims] != [4, 5]:
        return None
    return image, WindowTransform(str(transform.target), norm, (p, q), (rows, columns), c)


def _put_back(inverse: fx.Node, forward: WindowTransform) -> tuple[WindowTransform, fx.Node] | None:
    """``irfft2`` -> permute -> reshape to [1, C', H, W]."""
    permute = single_user(inverse, "aten.permute.default")
    copied = single_user(permute, "aten.clone.default") or permute
    last = single_user(copied, *RESHAPES)
    if permute is None or last is None or arguments(permute)[1] != GRID_BESIDE_WINDOW:
        return None
    (p, q), (rows, columns) = forward.window, forward.grid
    size, dims, norm = fft_args(inverse)
    _, channels, *frequencies = shape_of(arguments(inverse)[0])
    if frequencies != [rows, columns, p, q // 2 + 1] or size != [p, q] or [d % 6 for d in dims] != [4, 5]:
        return None
    if shape_of(last) != (1, channels, rows * p, columns * q):
        return None
    return WindowTransform(str(inverse.target), norm, (p, q), (rows, columns), channels), last
