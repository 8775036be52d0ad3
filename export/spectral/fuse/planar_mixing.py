"""1x1 convolutions beside a transform, on runtimes whose convolutions have a layout of their own.

A neural operator adds a 1x1 convolution of its maps to their filtered spectrum. A transform reads the maps
planar, each channel in one piece, and the sum is planar too. A convolution reorders the maps to its own
layout and back, which takes longer than its arithmetic. As a product of the weights with the maps, one row
per channel, it reads and writes them as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, fx

from ..graph import arguments, meta_value, shape_of
from ..passes.prune import Pruned
from ..sites import describe, is_transform
from ..twiddles import ConstantBank
from .base import Declined, Fused, emit


@dataclass(frozen=True)
class PlanarMixing(Fused):
    """A 1x1 convolution of [B, C, H, W]: weights [out, C, 1, 1], bias [out] or none."""

    __name__ = "planar_mixing"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply by the weights from the left."""
        x, weight, *bias = inputs
        batch, channels, *size = x.shape
        mixed = weight.flatten(1) @ x.reshape(batch, channels, math.prod(size))
        for each in bias:
            mixed = mixed + each.unsqueeze(1)
        return mixed.reshape(batch, weight.shape[0], *size)


def rewrite_planar_mixing(graph: fx.Graph, node: fx.Node) -> fx.Node | Declined:
    """Replace the convolution ``node`` by a product; run after the patterns that move transforms.

    Numbered preconditions: (1) a transform reads the same maps, over their last axis; (2) a convolution of
    one pixel, without stride, padding or groups, with stored weights.
    """
    image, weight, bias, stride, padding, _, groups = arguments(node)
    if not any(_reads_planar(user) for user in image.users):  # (1)
        return Declined("no transform reads the maps that it mixes")
    plain = all(s == 1 for s in stride) and not any(padding) and groups == 1
    if shape_of(weight)[2:] != (1, 1) or not plain or weight.op != "placeholder":  # (2)
        return Declined("it is not 1x1, or has a stride, padding, groups or computed weights")
    with graph.inserting_before(node):
        inputs = (image, weight) if bias is None else (image, weight, bias)
        mixed = emit(graph, PlanarMixing(), inputs, node)
    node.replace_all_uses_with(mixed)
    return mixed


def _reads_planar(node: fx.Node) -> bool:
    if isinstance(node.target, Pruned):
        axes = node.target.site("", "").axes
        return any(axis.dim == len(node.target.shape) - 1 for axis in axes)
    if node.op != "call_function" or not is_transform(str(node.target)):
        return False
    source, *rest = arguments(node)
    shape = shape_of(source)
    site = describe("", "", str(node.target), shape, not meta_value(source).is_complex(), tuple(rest))
    return any(axis.dim == len(shape) - 1 for axis in site.axes)
