"""Dense products with the real and the imaginary part as one axis of rows.

The transform of a signal along the half axis is one product with two matrices, ``[C, S]``, that stand behind
each other as a batch: its result ``[2, H, K]`` is already the stack ``[2 H, K]``. The other axis is then one
product per part with ``[C, -S]`` and ``[S, C]`` [H, 2 H], which adds up inside the product what
:class:`~.dense.Separable` adds up afterwards, in two passes over the data. The multiply-adds are the same.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..pairs import Pair
from ..sites import Axis, Kind, Site
from ..twiddles import ConstantBank, Matrix, forward_parts, pruned_key
from .base import Cost, Strategy, along, crop_all, shapes_before
from .dense import Separable, dense_stage


class Stacked(Strategy):
    """Two axes next to each other, both parts as rows of the first."""

    name = "stacked"

    def declines(self, site: Site) -> str | None:
        """Real signals and both parts of their half spectra, over two neighbouring axes."""
        if site.kind is Kind.C2C or site.input_is_real != (site.kind is Kind.R2C):
            return "only a transform between a real signal and both parts of its half spectrum stacks them"
        if len(site.axes) != 2 or site.axes[1].dim != site.axes[0].dim + 1:
            return "it is not over two axes next to each other, the half axis last"
        return None

    def cost(self, site: Site) -> Cost:
        """The products of the separable strategy in fewer operators, and the stack of a spectrum's parts."""
        macs, first = Separable().cost(site).macs, shapes_before(site)[0]
        if site.kind is Kind.R2C:
            return Cost(macs, math.prod(first), 3)
        return Cost(macs, 4 * math.prod(first) + 3 * math.prod(site.output_shape), 6)

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """Those of the separable strategy: the order of the sums differs, not their lengths."""
        return Separable().summation_lengths(site)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Half axis and other axis, or the other way round."""
        rows, half = site.axes
        value = crop_all(value, site)
        if site.kind is Kind.R2C:
            assert isinstance(value, Tensor)
            signal = value.unsqueeze(rows.dim)
            both = _batched(signal, half, site, bank)  # [..., 2, H, K, ...]
            stack = both.reshape(*both.shape[: rows.dim], 2 * rows.taken, *both.shape[rows.dim + 2 :])
            return self._rows(stack, rows, site.sign, bank)
        assert isinstance(value, Pair)
        stack = torch.cat([value.re, value.im], rows.dim)
        return dense_stage(self._rows(stack, rows, site.sign, bank), half, Kind.C2R, site.sign, bank)

    @staticmethod
    def _rows(stack: Tensor, axis: Axis, sign: int, bank: ConstantBank) -> Pair:
        """Both parts of the other axis' transform of ``[re; im]``."""
        key = f"dft_stacked_{axis.length}_{axis.taken}x{axis.kept}_{axis.scale:.6g}_{sign:+d}"
        key += pruned_key(axis)

        def part(imaginary: bool) -> Tensor:
            def build() -> Matrix:
                cos, sin = (each.T for each in forward_parts(axis))
                return np.concatenate([sign * sin, cos] if imaginary else [cos, -sign * sin], axis=1)

            name = f"{key}_{'im' if imaginary else 're'}"
            return along(stack, axis.dim, bank.get(name, build, stack.dtype))

        return Pair(part(False), part(True))


def _batched(signal: Tensor, half: Axis, site: Site, bank: ConstantBank) -> Tensor:
    """[..., 1, H, W, rest] to [..., 2, H, K, rest] in one product; rest has one axis or none."""
    on_right = half.dim == len(site.input_shape) - 1
    key = f"dft_stacked_half_{half.length}_{half.taken}x{half.kept}_{half.scale:.6g}_{site.sign:+d}"

    def build() -> Matrix:
        cos, sin = forward_parts(half)
        both = np.stack([cos, site.sign * sin])
        return both if on_right else np.swapaxes(both, 1, 2)[:, None]

    matrix = bank.get(f"{key}{'' if on_right else '_t'}{pruned_key(half)}", build, signal.dtype)
    if on_right:
        return signal @ matrix
    rest = signal.shape[half.dim + 2 :]
    flat = signal.reshape(*signal.shape[: half.dim + 2], math.prod(rest))
    product = matrix @ flat
    return product.reshape(*product.shape[:-1], *rest)
