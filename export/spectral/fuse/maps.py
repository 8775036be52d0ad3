"""Whole maps filtered in the frequency domain, with channels as the fastest index from end to end.

The pattern of :mod:`.windows` without windows: ``rfft2`` of the map, real and imaginary part stacked as channels, 1x1
convolutions and pointwise functions, ``irfft2``. Transforming the axes of [1, H, W, C] needs no transpose: along W it
is one product per row with C columns, along H one product with W C columns, and the 1x1 convolutions are products
from the right, on each part with its own half of the weights, so that nothing is ever stacked or split.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .base import emit
from .stacked import (
    PointwiseConvolution,
    StackedConvolution,
    emit_pointwise,
    fft_args,
    pointwise_chain,
    single_user,
    stacked_parts,
    weights_of,
)

aten = torch.ops.aten


def rewrite_maps(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Replace the block that starts at a forward map transform; the new last node, ``None`` where it does not fit.

    Preconditions: (1) the transform is over the last two axes of [1, C, H, W]; (2) its parts are only stacked as
    channels; (3) a chain of 1x1 convolutions and pointwise functions follows that begins and ends with a
    convolution; (4) the result is split into parts again and transformed back over the same axes.
    """
    if str(node.target) != "aten.fft_rfft2.default" or not isinstance(node.args[0], fx.Node):
        return None
    image = node.args[0]
    size, dims, norm = fft_args(node)
    if (
        image.meta["val"].dim() != 4 or image.meta["val"].shape[0] != 1 or [d % 4 for d in dims] != [2, 3]
    ):  # (1)
        return None
    stacked = stacked_parts(node)  # (2)
    if stacked is None:
        return None
    chain, end = pointwise_chain(stacked)  # (3)
    convolutions = [step for step in chain if str(step.target) == "aten.conv2d.default"]
    if len(convolutions) < 2 or chain[0] is not convolutions[0] or chain[-1] is not convolutions[-1]:
        return None
    inverse = _way_back(end)  # (4)
    if inverse is None:
        return None
    channels = end.meta["val"].shape[1] // 2
    with graph.inserting_before(inverse):
        value = emit(graph, aten.permute.default, (image, [0, 2, 3, 1]), node)
        spectrum = emit(graph, aten.fft_rfft2.default, (value, size, [1, 2], norm), node)
        parts = [_part(graph, spectrum, which, node) for which in (0, 1)]
        value = emit(graph, StackedConvolution(), (*parts, *weights_of(chain[0])), chain[0])
        for step in chain[1:-1]:
            value = emit_pointwise(graph, step, value)
        mixed = [
            emit(
                graph,
                PointwiseConvolution((k * channels, (k + 1) * channels)),
                (value, *weights_of(chain[-1])),
                chain[-1],
            )
            for k in (0, 1)
        ]
        joined = emit(graph, aten.complex.default, tuple(mixed), inverse)
        back_size, _, back_norm = fft_args(inverse)
        result = emit(graph, aten.fft_irfft2.default, (joined, back_size, [1, 2], back_norm), inverse)
        result = emit(graph, aten.permute.default, (result, [0, 3, 1, 2]), inverse)
    inverse.replace_all_uses_with(result)
    return result


def _part(graph: fx.Graph, spectrum: fx.Node, which: int, like: fx.Node) -> fx.Node:
    both = emit(graph, aten.view_as_real.default, (spectrum,), like)
    return emit(graph, aten.select.int, (both, 4, which), like)


def _way_back(end: fx.Node) -> fx.Node | None:
    """split in two -> complex -> irfft2 over the last two axes."""
    split = single_user(end, "aten.split.Tensor", "aten.chunk.default")
    shape = end.meta["val"].shape
    if split is None or len(shape) != 4 or shape[1] % 2 or len(split.users) != 2:
        return None
    pieces: list[Any] = split.meta["val"]
    if [piece.shape[1] for piece in pieces] != [shape[1] // 2] * 2:
        return None
    parts = sorted(split.users, key=lambda n: int(n.args[1]))  # type: ignore[arg-type]
    joined = single_user(parts[0], "aten.complex.default")
    if joined is None or list(joined.args) != parts or len(parts[1].users) != 1:
        return None
    inverse = single_user(joined, "aten.fft_irfft2.default")
    if inverse is None or [d % 4 for d in fft_args(inverse)[1]] != [2, 3]:
        return None
    return inverse
