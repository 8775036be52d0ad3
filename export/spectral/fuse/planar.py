"""Maps that leave a convolution to be cut up, on runtimes whose convolutions keep channels fastest.

A reshape or a transform that treats the axes of a map one by one wants it planar, each channel in one piece.
Left to itself a runtime reorders the map before it, value by value: OpenVINO takes 26 ms for 24 maps of
512x512 on one core. A product with an identity matrix whose right operand is read transposed moves the same
values, exactly, at the speed of a small product: 3 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, fx

from ..graph import arguments, shape_of
from ..twiddles import ConstantBank
from .base import RESHAPES, Declined, Fused, emit

MOST_CHANNELS = 256
"""The product costs channels squared a pixel; beyond this the runtime's own way is as fast."""


@dataclass(frozen=True)
class PlanarCopy(Fused):
    """[1, C, H, W] to the same, each channel in one piece."""

    __name__ = "planar_copy"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply by an identity matrix."""
        (x,) = inputs
        _, c, h, w = x.shape
        identity = bank.get(f"identity_{c}", lambda: np.eye(c), x.dtype)
        pixels = x.permute(0, 2, 3, 1).reshape(1, h * w, c)
        return (identity @ pixels.transpose(1, 2)).reshape(1, c, h, w)


def rewrite_planar(graph: fx.Graph, node: fx.Node) -> fx.Node | Declined:
    """Let ``node`` read a planar copy, where that is faster; run after the patterns that look for a reshape.

    Returns ``node``.

    Numbered preconditions: (1) a reshape that changes the shape, or a transform; (2) of one image's maps,
    of more than one channel and not too many, (3) as a convolution left them.
    """
    name = str(node.target)
    maps = arguments(node)[0]
    shape = shape_of(maps)
    if name in RESHAPES and shape_of(node) == shape:  # (1)
        return Declined("it keeps the shape")
    if len(shape) != 4 or shape[0] != 1 or not 1 < shape[1] <= MOST_CHANNELS:  # (2)
        return Declined(f"it does not read one image's 2 to {MOST_CHANNELS} maps")
    if str(maps.target) != "aten.conv2d.default":  # (3)
        return Declined("no convolution made the maps that it reads")
    copy = next((user for user in maps.users if isinstance(user.target, PlanarCopy)), None)
    if copy is None:
        with graph.inserting_before(node):
            copy = emit(graph, PlanarCopy(), (maps,), maps)
    node.replace_input_with(maps, copy)
    return node
