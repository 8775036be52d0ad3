"""Spectra with their parts stacked as channels, and the pointwise layers that networks put on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from ..graph import arguments, meta_value, shape_of
from ..twiddles import ConstantBank
from .base import RESHAPES, Fused, emit

RECTIFIERS = {"relu", "relu6", "leaky_relu", "hardtanh", "elu", "gelu", "silu", "softplus"}
POINTWISE = RECTIFIERS | {"sigmoid", "tanh", "abs", "neg", "clone"}


@dataclass(frozen=True)
class PointwiseConvolution(Fused):
    """A 1x1 convolution on [..., channels]: weights [out, in, 1, 1], bias [out] or none.

    ``rows`` takes a range of the output channels only.
    """

    rows: tuple[int, int] | None = None
    __name__ = "pointwise_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply by the weights from the right."""
        x, *weights = inputs
        weight, *bias = weights if self.rows is None else [w[self.rows[0] : self.rows[1]] for w in weights]
        return F.linear(x, weight.flatten(1), *bias)


@dataclass(frozen=True)
class StackedConvolution(Fused):
    """A 1x1 convolution on a spectrum's parts as if they were stacked: ``W [re; im] = W_re re + W_im im``."""

    __name__ = "stacked_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply each part [..., C] by its half of the weights [out, 2 C, 1, 1]."""
        re, im, weight, *bias = inputs
        of_re, of_im = weight.flatten(1).chunk(2, dim=1)
        return F.linear(re, of_re, *bias) + F.linear(im, of_im)


def weights_of(convolution: fx.Node) -> tuple[Any, ...]:
    """Weight, and bias if there is one."""
    return tuple(arg for arg in arguments(convolution)[1:3] if arg is not None)


def emit_pointwise(graph: fx.Graph, step: fx.Node, value: fx.Node) -> fx.Node:
    """Emit one step of a chain on channels-last data."""
    if str(step.target) == "aten.conv2d.default":
        return emit(graph, PointwiseConvolution(), (value, *weights_of(step)), step)
    operator: Any = step.target
    return emit(graph, operator, (value, *step.args[1:]), step, **step.kwargs)


def fft_args(node: fx.Node) -> tuple[Any, list[int], str | None]:
    """(sizes or ``None``, dims, norm) of a two-dimensional transform."""
    _, size, dims, norm = arguments(node)
    return (None if size is None else list(size)), list(dims), norm


def stacked_parts(transform: fx.Node) -> fx.Node | None:
    """The ``cat([z.real, z.imag], 1)`` that alone reads a spectrum."""
    selects: dict[int, fx.Node] = {}
    for view in transform.users:
        if str(view.target) != "aten.view_as_real.default":
            return None
        for select in view.users:
            if str(select.target) != "aten.select.int" or len(select.users) != 1:
                return None
            _, dim, index = arguments(select)
            if dim not in (-1, len(shape_of(view)) - 1):
                return None
            selects[index] = select
    if set(selects) != {0, 1}:
        return None
    (cat,) = selects[0].users
    joined = str(cat.target) == "aten.cat.default" and arguments(cat) == [[selects[0], selects[1]], 1]
    return cat if joined else None


def pointwise_chain(start: fx.Node) -> tuple[list[fx.Node], fx.Node]:
    """The 1x1 convolutions and pointwise functions after ``start``, and the last node before the split."""
    chain: list[fx.Node] = []
    node = start
    while len(node.users) == 1:
        (user,) = node.users
        name = str(user.target)
        if name in RESHAPES:
            if shape_of(user)[:2] != shape_of(node)[:2]:
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
    image, weight, _, stride, padding, _, groups = arguments(convolution)
    if image is not x or shape_of(weight)[2:] != (1, 1):
        return False
    return all(s == 1 for s in stride) and not any(padding) and groups == 1


def way_back(end: fx.Node) -> fx.Node | None:
    """The ``irfft2`` of the two halves of ``end``'s channels as real and imaginary part.

    ``None`` where ``end`` is not split in halves, or anything else reads them.
    """
    split = single_user(end, "aten.split.Tensor", "aten.chunk.default")
    channels = shape_of(end)[1]
    if split is None or len(split.users) != 2:
        return None
    if [2 * half.shape[1] for half in meta_value(split)] != [channels, channels]:
        return None
    halves = sorted(split.users, key=lambda n: int(arguments(n)[1]))
    joined = single_user(halves[0], "aten.complex.default")
    if joined is None or arguments(joined) != halves or len(halves[1].users) != 1:
        return None
    return single_user(joined, "aten.fft_irfft2.default")


def single_user(node: fx.Node | None, *operators: str) -> fx.Node | None:
    """The one node that reads ``node``, if it is one of the operators."""
    if node is None or len(node.users) != 1:
        return None
    (user,) = node.users
    return user if str(user.target) in operators else None
