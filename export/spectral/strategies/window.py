"""A transform inside a block of windows that is computed as a whole, channels as the fastest index.

The block is found and rewritten by :mod:`..fuse.windows`, which says why a transform is in none. Both ends of
a block take this strategy, or neither does.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..pairs import Pair
from ..sites import Kind, Site
from ..twiddles import ConstantBank, Matrix
from .base import Cost, Strategy
from .dense import Flat, flat_parts


def window_matrix(site: Site) -> Matrix:
    """[(frequency, part), point] forward, [point, (frequency, part)] inverse: the flat matrices, joined."""
    cos, sin = flat_parts(site)
    if site.kind is Kind.C2R:
        return np.ascontiguousarray(np.stack([cos, sin], axis=1).reshape(-1, cos.shape[1]).T)
    return np.stack([cos.T, sin.T], axis=1).reshape(-1, cos.shape[0])


class Window(Strategy):
    """One product from the left for all windows of a block, with real and imaginary rows side by side."""

    name = "window"
    product = Flat.name

    def declines(self, site: Site) -> str | None:
        """The transform must be at one end of a block."""
        return None if site.partner is not None else site.unfused

    def cost(self, site: Site) -> Cost:
        """The product of :class:`.dense.Flat` in one operator, and the windows' own two permutes."""
        return Cost(Flat().cost(site).macs, 2 * math.prod(site.input_shape), 3)

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """One sum over the whole window."""
        return Flat().summation_lengths(site)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Tensor:
        """Transform all windows of a block by one batched product.

        ``site.input_shape`` is [1, C, rows, columns, p, q]. Forward: ``value`` is the image
        [1, C, rows p, columns q], the result [windows * frequencies, 2 C]. Inverse: the same backwards.
        """
        assert isinstance(value, Tensor)
        _, c, rows, columns, *_ = site.input_shape
        p, q = site.lengths
        inverse = site.kind is Kind.C2R
        key = f"window_{'inverse' if inverse else 'forward'}_{p}x{q}_{site.norm}"
        matrix = bank.get(key, lambda: window_matrix(site), value.dtype)
        if not inverse:
            blocks = value.permute(0, 2, 3, 1).reshape(rows, p, columns, q, c).permute(0, 2, 1, 3, 4)
            return (matrix @ blocks.reshape(rows * columns, p * q, c)).reshape(-1, 2 * c)
        blocks = (matrix @ value.reshape(rows * columns, -1, c)).reshape(rows, columns, p, q, c)
        return blocks.permute(0, 2, 1, 3, 4).reshape(1, rows * p, columns * q, c).permute(0, 3, 1, 2)
