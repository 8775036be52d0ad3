"""Convolutions whose kernels the network makes, for runtimes that want the kernels of a convolution
stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from ..graph import arguments, shape_of
from ..twiddles import ConstantBank
from .base import Declined, Fused, depends, emit
from .blocks import BlockConvolution, Blocks

aten = torch.ops.aten


@dataclass(frozen=True)
class ProductConvolution(Fused):
    """A convolution as one matrix product per group: shifted copies of the image, stacked, by the kernels.

    ``image`` [1, C, H, W] was padded before; ``kernels`` [O, C / groups, k, l]; returns [1, O, h, w].
    """

    dilation: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    __name__ = "product_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Stack a copy of the image per tap, multiply."""
        image, kernels = inputs
        out, own, *taps = kernels.shape
        axes = zip(image.shape[-2:], taps, self.dilation, self.stride, strict=True)
        h, w = ((n - d * (k - 1) - 1) // s + 1 for n, k, d, s in axes)
        copies = []
        for i in range(taps[0]):
            for j in range(taps[1]):
                top, left = i * self.dilation[0], j * self.dilation[1]
                down = slice(top, top + (h - 1) * self.stride[0] + 1, self.stride[0])
                across = slice(left, left + (w - 1) * self.stride[1] + 1, self.stride[1])
                copies.append(image[:, :, down, across])
        columns = torch.stack(copies, dim=2).reshape(self.groups, own * taps[0] * taps[1], h * w)
        rows = kernels.reshape(self.groups, out // self.groups, -1)
        return torch.matmul(rows, columns).reshape(1, out, h, w)


def rewrite_runtime_kernels(
    graph: fx.Graph,
    node: fx.Node,
    inputs: Collection[str],
    *,
    in_blocks: bool = False,
    all_kinds: bool = True,
) -> fx.Node | Declined:
    """Replace the convolution at ``node`` if its kernels depend on ``inputs``; the new last node.

    Numbered preconditions: (1) a convolution of one image over two axes; (2) its kernels are not stored, nor
    computed from stored tensors alone; (3) without ``all_kinds`` one that is computed in blocks.

    ``in_blocks``: one of each channel by itself, without a stride, becomes a product of blocks if that pays.
    """
    image, kernels, bias, stride, padding, dilation, groups = arguments(node)
    if shape_of(image)[0] != 1:  # (1)
        return Declined(f"it filters {shape_of(image)[0]} images, not one")
    if not depends(kernels, inputs):  # (2)
        return Declined("its kernels do not depend on the program's inputs")
    blocks = Blocks.of(shape_of(kernels)[-2:], dilation, shape_of(node)[-2:])
    alone = shape_of(image)[1] == groups and all(step == 1 for step in stride)
    blockwise = in_blocks and alone and blocks.pay
    if not blockwise and not all_kinds:  # (3)
        return Declined("it mixes channels, has a stride, or too few taps for its reach to multiply blocks")
    down, across = padding
    with graph.inserting_before(node):
        if down or across:
            image = emit(graph, aten.constant_pad_nd.default, (image, [across, across, down, down]), node)
        fused: Fused = ProductConvolution(tuple(dilation), tuple(stride), groups)
        if blockwise:
            fused = BlockConvolution(blocks)
        result = emit(graph, fused, (image, kernels), node)
        if bias is not None:
            column = emit(graph, aten.reshape.default, (bias, [-1, 1, 1]), node)
            result = emit(graph, aten.add.Tensor, (result, column), node)
    node.replace_all_uses_with(result)
    return result
