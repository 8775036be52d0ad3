"""Convolutions whose kernel the network makes: per-pixel sums over neighbours, mixtures of a few kernels."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeAlias

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx

from ..graph import arguments, shape_of
from ..twiddles import ConstantBank
from .base import RESHAPES, Declined, Fused, before_reshapes, depends, only_reader
from .blocks import BlockMixture, Blocks


@dataclass(frozen=True)
class NeighbourhoodSum(Fused):
    """``(unfold(x) * weights).sum(taps)`` as one multiply-add per tap: nothing k² times the image is stored.

    ``image`` [..., H, W] was padded before; ``weights`` [..., taps, h, w] holds a weight per tap and output
    pixel.
    """

    kernel: tuple[int, int]
    dilation: tuple[int, int]
    stride: tuple[int, int]
    lead: tuple[int, ...]
    size: tuple[int, int]
    __name__ = "neighbourhood_sum"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Accumulate the taps row by row."""
        image, weights = inputs
        image = image.reshape(*self.lead, *image.shape[-2:])
        (h, w), total = self.size, None
        taps = weights.unbind(-3)
        for index, tap in enumerate(taps):
            i, j = divmod(index, self.kernel[1])
            top, left = i * self.dilation[0], j * self.dilation[1]
            shifted = image[
                ..., top : top + (h - 1) * self.stride[0] + 1, left : left + (w - 1) * self.stride[1] + 1
            ]
            if self.stride != (1, 1):
                shifted = shifted[..., :: self.stride[0], :: self.stride[1]]
            term = shifted * tap
            total = term if total is None else total + term
        assert total is not None
        return total


@dataclass(frozen=True)
class KernelMixture(Fused):
    """Filter with N kernels made at run time, weigh per pixel, add up: all in four-dimensional form.

    Runtimes that keep channels fastest reorder the whole N-fold image to planar and back around the five- and
    six-dimensional arithmetic that a network writes here. Copying channels and adding them up by 1x1
    convolutions with zeros and ones keeps one layout throughout. ``image`` [1, G, H, W], ``kernels`` [G N, 1,
    k, k] (kernel fastest), ``shares`` [1, ..., N, h, w] with leading sizes ``lead`` that broadcast against
    ``groups``.
    """

    dilation: tuple[int, int]
    groups: tuple[int, ...]
    lead: tuple[int, ...]
    mixed: int
    __name__ = "kernel_mixture"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Return [1, *groups, h, w]."""
        image, kernels, shares = inputs
        groups, mixed, sources = math.prod(self.groups), self.mixed, math.prod(self.lead)
        key = f"mixture_{groups}x{mixed}_{'x'.join(map(str, self.lead))}"
        copy = bank.get(
            f"{key}_copy", lambda: np.tile(np.eye(groups), (mixed, 1))[:, :, None, None], image.dtype
        )
        add = bank.get(
            f"{key}_add", lambda: np.tile(np.eye(groups), (1, mixed))[:, :, None, None], image.dtype
        )
        spread = bank.get(f"{key}_spread", self._spread, image.dtype)
        taps = kernels.reshape(groups, mixed, *kernels.shape[1:]).transpose(0, 1).reshape(kernels.shape)
        filtered = F.conv2d(F.conv2d(image, copy), taps, dilation=self.dilation, groups=mixed * groups)
        shares = F.conv2d(shares.reshape(1, sources * mixed, *shares.shape[-2:]), spread)
        return F.conv2d(filtered * shares, add).reshape(1, *self.groups, *shares.shape[-2:])

    def _spread(self) -> NDArray[np.float64]:
        """[N G, shares, 1, 1]: which share goes with which filtered channel."""
        groups, mixed, sources = math.prod(self.groups), self.mixed, math.prod(self.lead)
        source = np.broadcast_to(np.arange(sources).reshape(self.lead), self.groups).reshape(-1)
        spread = np.zeros((mixed, groups, sources, mixed))
        for n in range(mixed):
            spread[n, np.arange(groups), source, n] = 1
        return spread.reshape(mixed * groups, sources * mixed, 1, 1)


def rewrite_neighbourhood_sum(graph: fx.Graph, node: fx.Node) -> fx.Node | Declined:
    """Replace ``sum(mul(reshape(im2col(x)), weights), -3)``; the new node.

    Numbered preconditions: (1) a sum over the third axis from the end of a product that only it reads; (2)
    one factor is a reshape of an ``unfold``, both read once; (3) unpadded, and reshaped to [..., taps, h, w];
    (4) the other factor has a weight per tap and pixel.
    """
    product = _summed_product(node)  # (1)
    if isinstance(product, Declined):
        return product
    matches = [_neighbourhood(*factors) for factors in permutations(arguments(product))]
    return _replace(graph, node, matches)


def rewrite_kernel_mixture(
    graph: fx.Graph, node: fx.Node, *, blocks_for: Collection[str] | None = None
) -> fx.Node | Declined:
    """Replace ``sum(mul(reshape(conv2d(x, kernels of the network's making, groups=G)), shares), -3)``.

    With ``blocks_for`` by a :class:`.blocks.BlockMixture` instead of a :class:`KernelMixture`: kernels that
    depend on these inputs of the program.

    Numbered preconditions: (1) a sum over the third axis from the end of a product that only it reads; (2)
    one factor is a reshape of a convolution, both read once; (3) plain (no bias, padding or stride), a group
    per channel, its kernels not stored; (4) of one image, reshaped to [1, ..., kernels, h, w]; (5) the other
    factor has a share per kernel and pixel; (6) in blocks, kernels that depend on the
    inputs, with enough taps.
    """
    product = _summed_product(node)  # (1)
    if isinstance(product, Declined):
        return product
    orders = permutations(arguments(product))
    return _replace(graph, node, [_mixture(*factors, blocks_for=blocks_for) for factors in orders])


_Found: TypeAlias = "tuple[Fused, tuple[fx.Node, ...]] | Declined"


def _replace(graph: fx.Graph, node: fx.Node, matches: Sequence[_Found]) -> fx.Node | Declined:
    """Replace the sum by what fits, or give the reason of the factor that came furthest."""
    fits = next((each for each in matches if not isinstance(each, Declined)), None)
    if fits is None:
        reasons = [each for each in matches if isinstance(each, Declined)]
        return next((each for each in reasons if each not in (NO_UNFOLD, NO_CONVOLUTION)), reasons[0])
    function, inputs = fits
    with graph.inserting_before(node):
        fused = graph.call_function(function, inputs)
    fused.meta = dict(node.meta)
    node.replace_all_uses_with(fused)
    return fused


NO_UNFOLD = Declined("neither factor is a reshape of an unfold, both read once")
NO_CONVOLUTION = Declined("neither factor is a reshape of a convolution, both read once")


def _neighbourhood(columns: Any, weights: Any) -> _Found:
    reshape = only_reader(columns, *RESHAPES)
    unfold = only_reader(before_reshapes(reshape), "aten.im2col.default")
    if reshape is None or unfold is None:  # (2)
        return NO_UNFOLD
    image, kernel, dilation, padding, stride = arguments(unfold)
    *lead, taps, h, w = shape_of(reshape)
    axes = zip(shape_of(image)[-2:], dilation, kernel, stride, strict=True)
    size = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in axes]
    if any(padding) or taps != math.prod(kernel) or [h, w] != size:  # (3)
        return Declined("its unfold pads, or is not reshaped to [..., taps, height, width]")
    if not isinstance(weights, fx.Node) or shape_of(weights)[-3:] != (taps, h, w):  # (4)
        return Declined(f"the other factor does not end in [{taps}, {h}, {w}], a weight per tap and pixel")
    function = NeighbourhoodSum(tuple(kernel), tuple(dilation), tuple(stride), tuple(lead), (h, w))
    return function, (image, weights)


def _mixture(columns: Any, shares: Any, *, blocks_for: Collection[str] | None) -> _Found:
    reshape = only_reader(columns, *RESHAPES)
    convolution = only_reader(before_reshapes(reshape), "aten.conv2d.default")
    if reshape is None or convolution is None:  # (2)
        return NO_CONVOLUTION
    image, kernels, bias, stride, padding, dilation, groups = arguments(convolution)
    plain = bias is None and not any(padding) and all(s == 1 for s in stride)
    if not plain or kernels.op == "placeholder" or groups == 1 or shape_of(image)[1] != groups:  # (3)
        return Declined("its convolution has stored kernels, a bias, padding, a stride, or shared channels")
    batch, *shape, mixed, h, w = shape_of(reshape)
    if batch != 1 or math.prod(shape) != groups or shape_of(kernels)[:2] != (groups * mixed, 1):  # (4)
        return Declined("its convolution is not of one image, or not reshaped to [1, ..., kernels, h, w]")
    if not isinstance(shares, fx.Node):
        return Declined("the other factor is a number")
    copies, *lead, n, height, width = shape_of(shares)
    broadcasts = len(lead) == len(shape) and all(a in (1, b) for a, b in zip(lead, shape, strict=True))
    if not broadcasts or (copies, n, height, width) != (1, mixed, h, w):  # (5)
        return Declined(f"the other factor is not [1, ..., {mixed}, {h}, {w}], a share per kernel and pixel")
    fused: Fused = KernelMixture(tuple(dilation), tuple(shape), tuple(lead), mixed)
    if blocks_for is not None:
        blocks = Blocks.of(shape_of(kernels)[-2:], dilation, (h, w))
        if not depends(kernels, blocks_for) or not blocks.pay:  # (6)
            return Declined("its kernels do not depend on the inputs, or have too few taps for their reach")
        fused = BlockMixture(blocks, tuple(shape), tuple(lead), mixed)
    return fused, (image, kernels, shares)


def _summed_product(node: fx.Node) -> fx.Node | Declined:
    """The product in ``sum(product, dim=-3)`` if only the sum reads it."""
    summand, dims, keep, _ = arguments(node)
    product = only_reader(summand, "aten.mul.Tensor")
    if product is None or keep:
        return Declined("it does not sum a product that nothing else reads, or keeps the summed axis")
    rank = len(shape_of(product))
    if [d % rank for d in dims] != [rank - 3]:
        return Declined("it sums other axes than the third from the end")
    return product
