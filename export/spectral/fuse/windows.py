"""Small windows filtered in the frequency domain, with channels as the fastest index from end to end.

The pattern is a window partition, ``rfft2`` of each window, real and imaginary part stacked as channels, 1x1
convolutions and pointwise functions, ``irfft2``, and the windows put back. Written in the network's order it
costs a six-dimensional permute of the whole map on each side and a change of layout around every convolution.
With channels fastest, a window is a [64, C] block: one product with an [80, 64] matrix from the left is the
transform, its rows ordered (frequency, part) leave real and imaginary channels side by side, and the 1x1
convolutions are products from the right. No intermediate has more than five dimensions.

Whether a block that fits is rewritten is the planner's choice of the strategy ``window`` for both its ends.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor, fx

from ..graph import arguments, module_path, shape_of, site_name
from ..sites import Site, describe
from ..strategies import Window
from ..strategies.dense import LARGEST_FLAT
from ..twiddles import ConstantBank
from .base import RESHAPES, Declined, Fused, emit, only_reader
from .stacked import emit_pointwise, fft_args, pointwise_chain, single_user, stacked_parts, way_back

GRID_BESIDE_WINDOW = [0, 1, 2, 4, 3, 5]
"""[1, C, rows, p, columns, q] to [1, C, rows, columns, p, q]; its own inverse."""
MOST_POINTS = LARGEST_FLAT // 4
"""Points of a window: one product with twice as many rows must stay small."""


@dataclass(frozen=True)
class WindowTransform(Fused):
    """One end of a block: [1, C, H, W] to [windows * frequencies, 2 C], or the same backwards."""

    site: Site
    __name__ = "window_transform"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Transform all windows; see :class:`~..strategies.window.Window`."""
        (x,) = inputs
        return Window().apply(self.site, x, bank)


@dataclass(frozen=True)
class WindowBlock:
    """A block that fits: what it reads, its transforms, the layers between, and the node that ends it."""

    image: fx.Node
    forward: Site
    inverse: Site
    start: fx.Node
    chain: tuple[fx.Node, ...]
    end: fx.Node
    last: fx.Node


def match_windows(node: fx.Node) -> WindowBlock | Declined:
    """Find the block that starts at the forward transform ``node``.

    Numbered preconditions: (1) the transform reads a window partition of [1, C, H, W]; (2) its real and
    imaginary part are only stacked as channels; (3) only reshapes, 1x1 convolutions and pointwise functions
    follow, each read once; (4) the result is split into parts again and transformed back; (5) the windows are
    put back in place.
    """
    image = _partitioned(node)  # (1)
    if isinstance(image, Declined):
        return image
    stacked = stacked_parts(node)  # (2)
    if stacked is None:
        return Declined("its real and imaginary part are not only stacked as channels")
    chain, end = pointwise_chain(stacked)  # (3)
    inverse = way_back(end)  # (4)
    if inverse is None:
        return Declined(
            f"what follows {end.name} in its block is neither a 1x1 convolution or a pointwise function, nor "
            "the two halves transformed back"
        )
    last = _put_back(inverse, node)  # (5)
    if isinstance(last, Declined):
        return last
    ends = [_describe(n) for n in (node, inverse)]
    forward, back = (
        dataclasses.replace(site, partner=other.name)
        for site, other in zip(ends, reversed(ends), strict=True)
    )
    return WindowBlock(image, forward, back, node, tuple(chain), inverse, last)


def rewrite_windows(graph: fx.Graph, block: WindowBlock) -> fx.Node:
    """Replace a block; returns the new last node."""
    with graph.inserting_before(block.last):
        value = emit(graph, WindowTransform(block.forward), (block.image,), block.start)
        for step in block.chain:
            value = emit_pointwise(graph, step, value)
        value = emit(graph, WindowTransform(block.inverse), (value,), block.end)
    block.last.replace_all_uses_with(value)
    return value


def _describe(node: fx.Node) -> Site:
    source, *args = arguments(node)
    forward = "irfft" not in str(node.target)
    return describe(
        site_name(node), module_path(node), str(node.target), shape_of(source), forward, tuple(args)
    )


def _partitioned(transform: fx.Node) -> fx.Node | Declined:
    """The image whose windows the transform reads."""
    permute = only_reader(arguments(transform)[0], "aten.permute.default")
    reshape = only_reader(arguments(permute)[0], *RESHAPES) if permute is not None else None
    if permute is None or reshape is None or arguments(permute)[1] != GRID_BESIDE_WINDOW:
        return Declined(
            "it reads no partition into windows: a reshape of [1, C, H, W] to [1, C, rows, p, columns, q], "
            "then permute(0, 1, 2, 4, 3, 5), each read once"
        )
    image: fx.Node = arguments(reshape)[0]
    shape = shape_of(reshape)
    if len(shape) != 6 or shape[0] != 1 or len(shape_of(image)) != 4:
        return Declined(f"its windows are cut from {list(shape_of(image))}, not from one image [1, C, H, W]")
    _, c, rows, p, columns, q = shape
    if shape_of(image) != (1, c, rows * p, columns * q):
        return Declined(f"its windows {list(shape)} are not cut row by row from {list(shape_of(image))}")
    if p * q > MOST_POINTS:
        return Declined(f"a window of {p * q} points is more than {MOST_POINTS}")
    size, dims, _ = fft_args(transform)
    if size not in (None, [p, q]) or [d % 6 for d in dims] != [4, 5]:
        return Declined("it transforms other axes than a window's two, or crops or pads them")
    return image


def _put_back(inverse: fx.Node, forward: fx.Node) -> fx.Node | Declined:
    """``irfft2`` -> permute -> reshape to [1, C', H, W]; the reshape."""
    permute = single_user(inverse, "aten.permute.default")
    copied = single_user(permute, "aten.clone.default") or permute
    last = single_user(copied, *RESHAPES)
    if permute is None or last is None or arguments(permute)[1] != GRID_BESIDE_WINDOW:
        return Declined(
            f"the windows that {inverse.name} makes are not put back at once: permute(0, 1, 2, 4, 3, 5), "
            "then a reshape, each read once"
        )
    rows, columns, p, q = shape_of(arguments(forward)[0])[2:]
    size, dims, _ = fft_args(inverse)
    _, channels, *frequencies = shape_of(arguments(inverse)[0])
    if frequencies != [rows, columns, p, q // 2 + 1] or size != [p, q] or [d % 6 for d in dims] != [4, 5]:
        return Declined(f"{inverse.name} does not make windows of {p} x {q} from all their frequencies")
    if shape_of(last) != (1, channels, rows * p, columns * q):
        return Declined(f"the windows that {inverse.name} makes are put together to {list(shape_of(last))}")
    return last
