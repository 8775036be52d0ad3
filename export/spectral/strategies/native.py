"""The runtime's own transform, left as a complex operator. Only by request: few runtimes take it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pairs import Pair
from ..sites import Kind, Site
from ..twiddles import ConstantBank
from .base import Cost, Strategy, crop


class Native(Strategy):
    """Keep a ``torch.fft`` operator between ``torch.complex`` and ``view_as_real``.

    Backends disagree on a half spectrum that is not Hermitian (pytorch issue 154496), and most reject or
    crawl through the operator, so the planner picks this strategy only for profiles that say so, and there
    only where all of a runtime's precisions have it: TensorRT's float16 transform (11.2, cuFFT's limit) takes
    powers of two.
    """

    name = "native"

    def declines(self, site: Site) -> str | None:
        """Only a pruned site: torch itself takes every other."""
        if any(axis.is_pruned for axis in site.axes):
            return "only some of its modes are computed, and a runtime's own transform computes all"
        return None

    def advised(self, site: Site) -> bool:
        """Every axis a power of two, whole: nothing cropped, nothing padded."""
        return all(_is_power_of_two(axis.length) and axis.taken >= axis.length // 2 + 1 for axis in site.axes)

    def cost(self, site: Site) -> Cost:
        """No products; every element moved about twice per axis and direction."""
        elements = site.batch
        for axis in site.axes:
            elements *= axis.length
        return Cost(0, 4 * elements * len(site.axes), 3)

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """As a fast transform: two terms per halving of the length."""
        return tuple(2 for axis in site.axes for _ in range(max(1, axis.length.bit_length() - 1)))

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Transform, then scale by the product of the axes' shares of the norm."""
        forward = site.sign < 0
        # A forward c2r is the inverse one of the conjugate, an inverse r2c the conjugate of the forward one.
        turned = site.kind is Kind.C2R and forward
        if isinstance(value, Pair):
            whole = torch.complex(value.re, -value.im if turned else value.im)
        else:
            whole = value
        dims = [axis.dim for axis in site.axes]
        sizes = [axis.length for axis in site.axes]
        scale = 1.0
        for axis in site.axes:
            whole = crop(whole, axis)
            scale *= axis.scale
        if site.kind is Kind.C2R:
            signal: Tensor = torch.fft.irfftn(whole, sizes, dims, norm="forward") * scale
            return signal
        if site.kind is Kind.R2C:
            both = torch.view_as_real(torch.fft.rfftn(whole, sizes, dims))
            return Pair(both[..., 0] * scale, both[..., 1] * (scale if forward else -scale))
        if forward:
            both = torch.view_as_real(torch.fft.fftn(whole, sizes, dims))
        else:
            both = torch.view_as_real(torch.fft.ifftn(whole, sizes, dims, norm="forward"))
        return Pair(both[..., 0] * scale, both[..., 1] * scale)


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0
