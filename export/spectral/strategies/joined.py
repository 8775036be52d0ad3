"""Dense products that compute the real and the imaginary part at once.

The half axis keeps both parts behind each other, ``[re | im]``, so that its transform is one product with
``[C | S]`` that reads the signal once, and the way back one product with ``[C; S]`` that writes it once.
Every other axis is one product with ``[C; S]`` as well: its four quadrants are ``C re``, ``C im``, ``S re``
and ``S im``, and two sums of quadrants are the result. The multiply-adds are those of
:class:`~.dense.Separable`. What is saved is reading and writing the signal; what it costs is cutting the
quadrants, which are small where few modes are kept.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..pairs import Pair
from ..sites import Axis, Kind, Site
from ..twiddles import ConstantBank, Matrix, forward_parts, half_inverse_parts, pruned_key
from .base import Cost, Strategy, along, crop_all, shapes_before, stages
from .dense import Separable


class Joined(Strategy):
    """One product per axis, both parts in it."""

    name = "joined"

    def declines(self, site: Site) -> str | None:
        """Real signals and their half spectra, of which both parts are there."""
        if site.kind is Kind.C2C or site.input_is_real != (site.kind is Kind.R2C):
            return "only a transform between a real signal and both parts of its half spectrum joins them"
        return None

    def advised(self, site: Site) -> bool:
        """Where the half axis keeps so few modes that quadrants are small beside the signal.

        Measured on two runtimes: for whole spectra it gains nothing over separate products.
        """
        assert site.half is not None
        modes = site.half.kept if site.kind is Kind.R2C else site.half.taken
        return 4 * modes <= site.half.length

    def cost(self, site: Site) -> Cost:
        """The products of the separable strategy, one operator each, and joining and cutting the parts."""
        total = Cost(Separable().cost(site).macs, 0, 0)
        for (axis, kind, _), shape in zip(stages(site), shapes_before(site), strict=True):
            lines = math.prod(shape) // shape[axis.dim]
            if kind is Kind.R2C:
                alone = len(site.axes) == 1
                total += Cost(0, 4 * lines * axis.kept if alone else 0, 3 if alone else 1)
            elif kind is Kind.C2R:
                total += Cost(0, 4 * lines * axis.taken, 2)
            else:
                total += Cost(0, lines * (4 * axis.taken + 14 * axis.kept), 8)
        return total

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """Those of the separable strategy: the order of the sums differs, not their lengths."""
        return Separable().summation_lengths(site)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Stage after stage, with both parts along the half axis in between."""
        half = site.half
        assert half is not None
        value = crop_all(value, site)
        both: Tensor | None = None
        parts: Pair | None = None
        if site.kind is Kind.R2C:
            assert isinstance(value, Tensor)
            both = along(value, half.dim, _matrix(half, site, value.dtype, bank))
            width = half.kept
        else:
            assert isinstance(value, Pair)
            width, parts = half.taken, value
        for axis in site.running_order:
            if axis is half:
                continue
            if both is None:
                assert parts is not None
                both = _join(parts, half.dim)
            quadrants = along(both, axis.dim, _matrix(axis, site, both.dtype, bank))
            parts, both = _sums(quadrants, axis, half.dim, width), None
        if site.kind is Kind.R2C:
            if parts is None:
                assert both is not None
                parts = Pair(both.narrow(half.dim, 0, width), both.narrow(half.dim, width, width))
            return parts
        assert parts is not None
        return along(_join(parts, half.dim), half.dim, _matrix(half, site, parts.re.dtype, bank))


def _join(parts: Pair, dim: int) -> Tensor:
    return torch.cat([parts.re, parts.im], dim)


def _sums(quadrants: Tensor, axis: Axis, half: int, width: int) -> Pair:
    """``C re - S im`` and ``C im + S re``, where ``S`` has the exponent's sign."""

    def quadrant(sine: int, imaginary: int) -> Tensor:
        rows = quadrants.narrow(axis.dim, sine * axis.kept, axis.kept)
        return rows.narrow(half, imaginary * width, width)

    return Pair(quadrant(0, 0) - quadrant(1, 1), quadrant(0, 1) + quadrant(1, 0))


def _matrix(axis: Axis, site: Site, dtype: torch.dtype, bank: ConstantBank) -> Tensor:
    """The matrix of one axis with both parts, as :func:`~.base.along` wants it."""
    on_right = axis.dim == len(site.input_shape) - 1
    back = site.kind is Kind.C2R and axis is site.half
    kind = site.kind if axis is site.half else Kind.C2C
    key = f"dft_joined_{kind.value}_{site.sign:+d}_{axis.length}_{axis.taken}x{axis.kept}_{axis.scale:.6g}"

    def build() -> Matrix:
        cos, sin = half_inverse_parts(axis) if back else forward_parts(axis)
        sin = sin * (-site.sign if back else site.sign)
        joined = np.concatenate([cos, sin], axis=0 if back else 1)
        return joined if on_right else joined.T

    return bank.get(key + ("" if on_right else "_t") + pruned_key(axis), build, dtype)
