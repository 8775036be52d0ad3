"""Small windows filtered in the frequency domain, with channels as the fastest index from end to end.

The pattern is a window partition, ``rfft2`` of each window, real and imaginary part stacked as channels, 1x1
convolutions and pointwise functions, ``irfft2``, and the windows put back. Written in the network's order it costs a
six-dimensional permute of the whole map on each side and a change of layout around every convolution. With
channels fastest, a window is a [64, C] block: one product with an [80, 64] matrix from the left is the transform, its
rows ordered (frequency, part) leave real and imaginary channels side by side, and the 1x1 convolutions are products
from the right. No intermediate has more than five dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, fx

from ..sites import Site, describe
from ..strategies.dense import LARGEST_FLAT, flat_parts
from ..twiddles import ConstantBank, Matrix
from .base import RESHAPES, Fused, emit, only_reader

POINTWISE = frozenset("leaky_relu relu gelu silu sigmoid tanh elu hardtanh relu6 softplus abs neg clone".split())


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
            return np.stack([cos, sin], axis=1).reshape(-1, cos.shape[1]).T
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


@dataclass(frozen=True)
class PointwiseConvolution(Fused):
    """A 1x1 convolution on [positions, channels]: weights [out, in, 1, 1], bias [out] or none."""

    __name__ = "pointwise_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply by the weights from the right."""
        x, weight, *bias = inputs
        return F.linear(x, weight.flatten(1), *bias)


def rewrite_windows(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Replace the block that starts at a forward window transform; the new last node, ``None`` where it does not fit.

    Numbered preconditions: (1) the transform reads a window partition of [1, C, H, W]; (2) its real and imaginary
    part are only stacked as channels; (3) only reshapes, 1x1 convolutions and pointwise functions follow, each read
    once; (4) the result is split into parts again and transformed back; (5) the windows are put back in place.
    """
    if str(node.target) != "aten.fft_rfft2.default":
        return None
    partition = _partition(node)  # (1)
    stacked = _stacked_parts(node)  # (2)
    if partition is None or stacked is None:
        return None
    image, forward = partition
    chain, end = _pointwise_chain(stacked)  # (3)
    tail = _way_back(end, forward)  # (4), (5)
    if tail is None:
        return None
    back, inverse, last = tail
    with graph.inserting_before(last):
        value = emit(graph, forward, (image,), node)
        for step in chain:
            if str(step.target) == "aten.conv2d.default":
                weights = tuple(arg for arg in step.args[1:3] if arg is not None)
                value = emit(graph, PointwiseConvolution(), (value, *weights), step)
            else:
                value = emit(graph, step.target, (value, *step.args[1:]), step)  # type: ignore[arg-type]
        value = emit(graph, back, (value,), inverse)
    last.replace_all_uses_with(value)
    return value


def _partition(transform: fx.Node) -> tuple[fx.Node, WindowTransform] | None:
    permute = only_reader(transform.args[0], "aten.permute.default")
    reshape = only_reader(permute.args[0], *RESHAPES) if permute is not None else None
    if permute is None or reshape is None or list(permute.args[1]) != [0, 1, 2, 4, 3, 5]:  # type: ignore[arg-type]
        return None
    image = reshape.args[0]
    shape = reshape.meta["val"].shape
    if not isinstance(image, fx.Node) or len(shape) != 6 or shape[0] != 1 or image.meta["val"].dim() != 4:
        return None
    _, c, rows, p, columns, q = shape
    if tuple(image.meta["val"].shape) != (1, c, rows * p, columns * q) or p * q > LARGEST_FLAT // 4:
        return None
    size, dims, norm = _fft_args(transform)
    if size not in (None, [p, q]) or [d % 6 for d in dims] != [4, 5]:
        return None
    return image, WindowTransform(str(transform.target), norm, (p, q), (rows, columns), c)


def _fft_args(node: fx.Node) -> tuple[Any, list[int], str | None]:
    args = [*node.args[1:], *[None] * 3][:3]
    size, dims, norm = args
    return (None if size is None else list(size)), ([-2, -1] if dims is None else list(dims)), norm  # type: ignore[call-overload, return-value]


def _stacked_parts(transform: fx.Node) -> fx.Node | None:
    """The ``cat([z.real, z.imag], 1)`` that alone reads a spectrum."""
    selects: dict[int, fx.Node] = {}
    for view in transform.users:
        if str(view.target) != "aten.view_as_real.default":
            return None
        for select in view.users:
            last_dim = select.args[1] in (-1, view.meta["val"].dim() - 1)
            if str(select.target) != "aten.select.int" or not last_dim or len(select.users) != 1:
                return None
            selects[int(select.args[2])] = select  # type: ignore[arg-type]
    if set(selects) != {0, 1}:
        return None
    (cat,) = selects[0].users
    joined = str(cat.target) == "aten.cat.default" and list(cat.args[0]) == [selects[0], selects[1]]  # type: ignore[arg-type]
    return cat if joined and cat.args[1:] == (1,) else None


def _pointwise_chain(start: fx.Node) -> tuple[list[fx.Node], fx.Node]:
    """The 1x1 convolutions and pointwise functions after ``start``, and the last node before the split."""
    chain: list[fx.Node] = []
    node = start
    while len(node.users) == 1:
        (user,) = node.users
        name = str(user.target)
        if name in RESHAPES:
            if user.meta["val"].shape[:2] != node.meta["val"].shape[:2]:
                break
        elif name == "aten.conv2d.default":
            if not _is_pointwise(user, node):
                break
            chain.append(user)
        elif name.startswith("aten.") and name.split(".")[1] in POINTWISE:
            chain.append(user)
        else:
            break
        node = user
    return chain, node


def _is_pointwise(convolution: fx.Node, x: fx.Node) -> bool:
    weight = convolution.args[1]
    if convolution.args[0] is not x or not isinstance(weight, fx.Node) or tuple(weight.meta["val"].shape[2:]) != (1, 1):
        return False
    stride, padding, _, groups = [*convolution.args[3:], *([1, 1], [0, 0], [1, 1], 1)[len(convolution.args[3:]) :]]
    return all(s == 1 for s in stride) and not any(padding) and groups == 1  # type: ignore[union-attr, arg-type]


def _way_back(end: fx.Node, forward: WindowTransform) -> tuple[WindowTransform, fx.Node, fx.Node] | None:
    """split in two -> complex -> irfft2 -> permute -> reshape to [1, C', H, W]."""
    (p, q), (rows, columns) = forward.window, forward.grid
    shape = end.meta["val"].shape
    split = _single_user(end, "aten.split.Tensor", "aten.chunk.default")
    if split is None or tuple(shape[2:]) != (rows, columns, p, q // 2 + 1) or shape[1] % 2 or len(split.users) != 2:
        return None
    channels = shape[1] // 2
    if [tuple(part.shape[1:2]) for part in split.meta["val"]] != [(channels,), (channels,)]:
        return None
    parts = sorted(split.users, key=lambda n: int(n.args[1]))  # type: ignore[arg-type]
    joined = _single_user(parts[0], "aten.complex.default")
    if joined is None or list(joined.args) != parts or len(parts[1].users) != 1:
        return None
    inverse = _single_user(joined, "aten.fft_irfft2.default")
    permute = _single_user(inverse, "aten.permute.default")
    copied = _single_user(permute, "aten.clone.default") or permute
    last = _single_user(copied, *RESHAPES)
    if inverse is None or permute is None or last is None or list(permute.args[1]) != [0, 1, 2, 4, 3, 5]:  # type: ignore[arg-type]
        return None
    size, dims, norm = _fft_args(inverse)
    if size != [p, q] or [d % 6 for d in dims] != [4, 5]:
        return None
    if tuple(last.meta["val"].shape) != (1, channels, rows * p, columns * q):
        return None
    return WindowTransform(str(inverse.target), norm, (p, q), (rows, columns), channels), inverse, last


def _single_user(node: fx.Node | None, *operators: str) -> fx.Node | None:
    if node is None or len(node.users) != 1:
        return None
    (user,) = node.users
    return user if str(user.target) in operators else None
