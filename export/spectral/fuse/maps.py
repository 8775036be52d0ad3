"""Whole maps filtered in the frequency domain, with channels as the fastest index from end to end.

The pattern of :mod:`.windows` without windows: ``rfft2`` of the map, real and imaginary part stacked as
channels, 1x1 convolutions and pointwise functions, ``irfft2``. Transforming the axes of [1, H, W, C] needs no
transpose: along W it is one product per row with C columns, along H one product with W C columns, and the 1x1
convolutions are products from the right, on each part with its own half of the weights, so that nothing is
ever stacked or split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import fx

from ....runtime.errors import LoweringError
from ..graph import SITE_NAME, arguments, module_path, shape_of, site_name
from ..sites import Site, describe
from .base import Declined, emit
from .stacked import (
    PointwiseConvolution,
    StackedConvolution,
    emit_pointwise,
    fft_args,
    pointwise_chain,
    stacked_parts,
    way_back,
    weights_of,
)

aten = torch.ops.aten


def rewrite_maps(
    graph: fx.Graph, node: fx.Node, choose: Callable[[Sequence[Site]], object]
) -> fx.Node | Declined:
    """Replace the block that starts at the forward map transform ``node``; the new last node.

    ``choose`` plans transforms, and raises where a strategy was asked for that one of them cannot take.

    Numbered preconditions: (1) the transform is over the last two axes of [1, C, H, W]; (2) its parts are
    only stacked as channels; (3) a chain of 1x1 convolutions and pointwise functions follows that begins and
    ends with a convolution; (4) the result is split into parts again and transformed back over the same axes;
    (5) the strategies asked for can transform axes that are not the last.
    """
    image: fx.Node = arguments(node)[0]
    size, dims, norm = fft_args(node)
    if len(shape_of(image)) != 4 or shape_of(image)[0] != 1 or [d % 4 for d in dims] != [2, 3]:  # (1)
        return Declined("it does not transform the last two axes of [1, C, H, W]")
    stacked = stacked_parts(node)  # (2)
    if stacked is None:
        return Declined("its real and imaginary part are not only stacked as channels")
    chain, end = pointwise_chain(stacked)  # (3)
    convolutions = [step for step in chain if str(step.target) == "aten.conv2d.default"]
    if len(convolutions) < 2 or chain[0] is not convolutions[0] or chain[-1] is not convolutions[-1]:
        return Declined("no chain of pointwise layers follows that begins and ends with a 1x1 convolution")
    inverse = way_back(end)  # (4)
    if inverse is None or [d % 4 for d in fft_args(inverse)[1]] != [2, 3]:
        return Declined(f"the halves of {end.name} are not transformed back over the same axes")
    try:
        choose([_turned(node), _turned(inverse)])  # (5)
    except LoweringError as error:
        return Declined(f"with channels as the fastest index, {error}")
    channels = shape_of(end)[1] // 2
    with graph.inserting_before(inverse):
        value = emit(graph, aten.permute.default, (image, [0, 2, 3, 1]), node)
        spectrum = emit(graph, aten.fft_rfft2.default, (value, size, [1, 2], norm), node)
        spectrum.meta[SITE_NAME] = site_name(node)
        parts = [_part(graph, spectrum, which, node) for which in (0, 1)]
        value = emit(graph, StackedConvolution(), (*parts, *weights_of(chain[0])), chain[0])
        for step in chain[1:-1]:
            value = emit_pointwise(graph, step, value)
        last = (value, *weights_of(chain[-1]))
        rows = ((0, channels), (channels, 2 * channels))
        mixed = tuple(emit(graph, PointwiseConvolution(part), last, chain[-1]) for part in rows)
        joined = emit(graph, aten.complex.default, mixed, inverse)
        back_size, _, back_norm = fft_args(inverse)
        result = emit(graph, aten.fft_irfft2.default, (joined, back_size, [1, 2], back_norm), inverse)
        result.meta[SITE_NAME] = site_name(inverse)
        result = emit(graph, aten.permute.default, (result, [0, 3, 1, 2]), inverse)
    inverse.replace_all_uses_with(result)
    return result


def _turned(node: fx.Node) -> Site:
    """The site that a transform of [1, C, H, W] becomes on [1, H, W, C]."""
    source = arguments(node)[0]
    _, channels, height, width = shape_of(source)
    size, _, norm = fft_args(node)
    forward = "irfft" not in str(node.target)
    shape = (1, height, width, channels)
    args = (size, [1, 2], norm)
    return describe(site_name(node), module_path(node), str(node.target), shape, forward, args)


def _part(graph: fx.Graph, spectrum: fx.Node, which: int, like: fx.Node) -> fx.Node:
    both = emit(graph, aten.view_as_real.default, (spectrum,), like)
    return emit(graph, aten.select.int, (both, 4, which), like)
