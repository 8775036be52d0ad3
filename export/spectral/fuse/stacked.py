"""Spectra with real and imaginary part stacked as channels, and the pointwise layers that networks put on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from ..twiddles import ConstantBank
from .base import RESHAPES, Fused, emit

POINTWISE = frozenset(
    "leaky_relu relu gelu silu sigmoid tanh elu hardtanh relu6 softplus abs neg clone".split()
)


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
    """A 1x1 convolution on the parts of a spectrum as if they were stacked: ``W [re; im] = W_re re + W_im im``."""

    __name__ = "stacked_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply each part [..., C] by its half of the weights [out, 2 C, 1, 1]."""
        re, im, weight, *bias = inputs
        of_re, of_im = weight.flatten(1).chunk(2, dim=1)
        return F.linear(re, of_re, *bias) + F.linear(im, of_im)


def weights_of(convolution: fx.Node) -> tuple[Any, ...]:
    """Weight, and bias if there is one."""
    return tuple(arg for arg in convolution.args[1:3] if arg is not None)


def emit_pointwise(graph: fx.Graph, step: fx.Node, value: fx.Node) -> fx.Node:
    """Emit one step of a chain on channels-last data."""
    if str(step.target) == "aten.conv2d.default":
        return emit(graph, PointwiseConvolution(), (value, *weights_of(step)), step)
    return emit(graph, step.target, (value, *step.args[1:]), step)  # type: ignore[arg-type]


def fft_args(node: fx.Node) -> tuple[Any, list[int], str | None]:
    """(sizes or ``None``, dims, norm) of a two-dimensional transform."""
    args = [*node.args[1:], *[None] * 3][:3]
    size, dims, norm = args
    return (None if size is None else list(size)), ([-2, -1] if dims is None else list(dims)), norm  # type: ignore[call-overload, return-value]


def stacked_parts(transform: fx.Node) -> fx.Node | None:
    """The ``cat([z.real, z.imag], 1)`` that alone reads a spectrum."""
    selects: dict[int, fx.Node] = {}
    for view in transform.users:
        if str(view.target) != "aten.view_as_real.default":
            return None
        for select in view.users:
            if str(select.target) != "aten.select.int" or len(select.users) != 1:
                return None
            if select.args[1] not in (-1, view.meta["val"].dim() - 1):
                return None
            selects[int(select.args[2])] = select  # type: ignore[arg-type]
    if set(selects) != {0, 1}:
        return None
    (cat,) = selects[0].users
    joined = str(cat.target) == "aten.cat.default" and list(cat.args[0]) == [selects[0], selects[1]]  # type: ignore[arg-type]
    return cat if joined and cat.args[1:] == (1,) else None


def pointwise_chain(start: fx.Node) -> tuple[list[fx.Node], fx.Node]:
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
    if (
        convolution.args[0] is not x
        or not isinstance(weight, fx.Node)
        or tuple(weight.meta["val"].shape[2:]) != (1, 1)
    ):
        return False
    stride, padding, _, groups = [
        *convolution.args[3:],
        *([1, 1], [0, 0], [1, 1], 1)[len(convolution.args[3:]) :],
    ]
    return all(s == 1 for s in stride) and not any(padding) and groups == 1  # type: ignore[union-attr, arg-type]


def single_user(node: fx.Node | None, *operators: str) -> fx.Node | None:
    """The one node that reads ``node``, if it is one of the operators."""
    if node is None or len(node.users) != 1:
        return None
    (user,) = node.users
    return user if str(user.target) in operators else None
