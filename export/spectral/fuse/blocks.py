"""Convolutions whose kernels the network makes, as one product of blocks of the image by banded matrices.

A product for a filter of one channel has few columns (one for each kernel), and reads a copy of the image for
each tap. So a block of neighbouring results is computed at once: what they read together is one row of the
left matrix, and the right one has each kernel at every place of the block, and zeros between. With 4x8
results and 5x5 taps the copies are 3 times the image instead of 25 times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..twiddles import ConstantBank
from .base import Fused

BAND = "blocks_band"
"""What the names of constants begin with that kernels are multiplied by."""
MOST_ZEROS = 8
"""Values of a window for each tap up to which blocks pay; with more, nearly all products are by zero."""
ROWS, COLUMNS = 4, 8
"""Results of a block, at most. Larger ones multiply by more zeros, smaller ones copy more of the image."""


@dataclass(frozen=True)
class Blocks:
    """How the results [h, w] of a filter with ``taps`` and ``dilation`` are cut into blocks.

    Rows that lie ``dilation`` apart make a block, so that the rows between them belong to blocks of their own
    (``phases``): a wider filter reads no more rows. Along columns, what lies between is read and multiplied
    by zero.
    """

    taps: tuple[int, int]
    dilation: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, taps: Sequence[int], dilation: Sequence[int], size: Sequence[int]) -> Blocks:
        """Return the blocks of a filter; each argument holds rows and columns."""
        (high, long), (down, across), (h, w) = taps, dilation, size
        return cls((high, long), (down, across), (h, w))

    @property
    def pay(self) -> bool:
        """Whether enough of the products are not by zero: not for single taps, nor a few far apart."""
        return math.prod(self.window) <= MOST_ZEROS * math.prod(self.taps)

    @property
    def phases(self) -> int:
        """How many blocks of rows lie within each other."""
        return self.dilation[0]

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of the results of a block."""
        return min(ROWS, -(-self.size[0] // self.phases)), min(COLUMNS, self.size[1])

    @property
    def counts(self) -> tuple[int, int]:
        """Blocks along rows, without the phases, and along columns."""
        (h, w), (rows, columns) = self.size, self.block
        return -(-h // (rows * self.phases)), -(-w // columns)

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the image that a block reads."""
        (high, long), (rows, columns) = self.taps, self.block
        return rows + high - 1, columns + self.dilation[1] * (long - 1)

    def gather(self, image: Tensor) -> Tensor:
        """Return what each block reads: [G, H, W] to [G, blocks, values of a window]."""
        (rows, columns), (down, across), (tall, wide) = self.block, self.counts, self.window
        groups = image.shape[0]
        height = rows * self.phases * (down + -(-(tall - rows) // rows))
        width = columns * (across + -(-(wide - columns) // columns))
        below, right = height - image.shape[1], width - image.shape[2]
        if below > 0 or right > 0:
            image = F.pad(image, (0, max(0, right), 0, max(0, below)))
        parts = []
        for start in range(0, wide, columns):
            part = image[:, :height, start : start + columns * across]
            part = part.reshape(groups, height, across, columns)
            parts.append(part[..., : min(columns, wide - start)])
        cut = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        cut = cut.reshape(groups, height // (rows * self.phases), rows, self.phases * across * wide)
        lines = [cut[:, place // rows : place // rows + down, place % rows] for place in range(tall)]
        return torch.cat([line.reshape(groups, -1, wide) for line in lines], dim=-1)

    def correlate(self, bank: ConstantBank, image: Tensor, kernels: Tensor) -> Tensor:
        """Filter image [1, G, H, W] by kernels [G n, 1, k, l]: [G, blocks, n rows columns]."""
        groups = image.shape[1]
        return torch.matmul(self.gather(image[0]), self.matrices(bank, kernels, groups))

    def matrices(self, bank: ConstantBank, kernels: Tensor, groups: int) -> Tensor:
        """Return the banded matrices [G, values of a window, n rows columns] of kernels [G n, 1, k, l]."""
        (high, long), (rows, columns), (tall, wide) = self.taps, self.block, self.window
        n = kernels.shape[0] // groups
        step = self.dilation[1]
        across = bank.get(
            f"{BAND}_{long}_{columns}x{step}", lambda: _band(long, columns, step), kernels.dtype
        )
        down = bank.get(f"{BAND}_{high}_{rows}x1", lambda: _band(high, rows, 1), kernels.dtype)
        wider = torch.matmul(kernels.reshape(groups * n * high, long), across).reshape(groups * n, high, -1)
        whole = torch.matmul(wider.transpose(1, 2).reshape(-1, high), down)
        whole = whole.reshape(groups, n, wide, columns, tall, rows)
        return whole.permute(0, 4, 2, 1, 5, 3).reshape(groups, tall * wide, n * rows * columns)

    def scatter(self, values: Tensor) -> Tensor:
        """Return [N, h, w] from blocks [N, blocks, rows columns]."""
        (rows, columns), (down, across), (h, w) = self.block, self.counts, self.size
        values = values.reshape(-1, self.phases * across, rows, columns).permute(0, 2, 1, 3)
        return values.reshape(-1, down * rows * self.phases, across * columns)[:, :h, :w]

    def cut(self, maps: Tensor) -> Tensor:
        """Return [N, n, h, w] in blocks: [N, blocks, n rows columns]."""
        (rows, columns), (down, across), (h, w) = self.block, self.counts, self.size
        below, right = down * rows * self.phases - h, across * columns - w
        if below or right:
            maps = F.pad(maps, (0, right, 0, below))
        lead, n = maps.shape[:2]
        maps = maps.reshape(lead, n, down, rows, self.phases * across, columns).permute(0, 2, 4, 1, 3, 5)
        return maps.reshape(lead, -1, n * rows * columns)


@dataclass(frozen=True)
class BlockConvolution(Fused):
    """A convolution of each channel by kernels of its own: image [1, G, H, W], padded before, and kernels
    [G n, 1, k, l]; returns [1, G n, h, w]."""

    blocks: Blocks
    __name__ = "block_convolution"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply blocks by banded matrices."""
        image, kernels = inputs
        groups, cut = image.shape[1], math.prod(self.blocks.block)
        results = self.blocks.correlate(bank, image, kernels)
        maps = results.reshape(groups, results.shape[1], -1, cut).transpose(1, 2)
        return self.blocks.scatter(maps.reshape(kernels.shape[0], -1, cut))[None]


@dataclass(frozen=True)
class BlockMixture(Fused):
    """Filter with n kernels made at run time, weigh per pixel, add up: in blocks until the sum.

    ``image`` [1, G, H, W] was padded before, ``kernels`` [G n, 1, k, l] (kernel fastest), ``shares`` [1, ...,
    n, h, w] with leading sizes ``lead`` that broadcast against ``groups``; returns [1, *groups, h, w].
    """

    blocks: Blocks
    groups: tuple[int, ...]
    lead: tuple[int, ...]
    mixed: int
    __name__ = "block_mixture"

    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Multiply blocks by banded matrices, then by the shares in blocks, and add up."""
        image, kernels, shares = inputs
        blocks, cut = self.blocks, math.prod(self.blocks.block)
        results = blocks.correlate(bank, image, kernels)
        weights = blocks.cut(shares.reshape(math.prod(self.lead), self.mixed, *blocks.size))
        product = results.reshape(*self.groups, *results.shape[1:])
        product = product * weights.reshape(*self.lead, *weights.shape[1:])
        add = bank.get(
            f"blocks_add_{self.mixed}x{cut}", lambda: np.tile(np.eye(cut), (self.mixed, 1)), image.dtype
        )
        sums = torch.matmul(product.reshape(results.shape), add)
        return blocks.scatter(sums).reshape(1, *self.groups, *blocks.size)


def _band(taps: int, places: int, step: int) -> NDArray[np.float64]:
    """[taps, window * places]: 1 where a result at a place reads a value of the window with a tap."""
    band = np.zeros((taps, places + step * (taps - 1), places))
    for tap in range(taps):
        for place in range(places):
            band[tap, place + step * tap, place] = 1
    return band.reshape(taps, -1)
