"""Named operators, ``fdikp_edge::rfft2`` and ``irfft2``, for runtimes that have a kernel of that name.

The operator takes the matrices of :class:`~.dense.Separable` beside the data, so that its definition is four
or six products, which any runtime can run that has no kernel; a kernel needs ``scale`` alone.

- ``re, im = rfft2(x, row_cos, row_sin, column_cos, column_sin, scale)``: x [..., H, W], re and im
  [..., H, W/2+1], ``row_*`` [W, W/2+1], ``column_*`` [H, H].
- ``x = irfft2(re, im, row_cos, row_sin, column_cos, column_sin, scale)``: the way back, ``row_*``
  [W/2+1, W]. The imaginary parts of column 0 and, where W is even, of column W/2 count for nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..pairs import Pair
from ..sites import Kind, Site
from ..twiddles import ConstantBank, forward_parts, half_inverse_parts
from .base import Cost, Strategy
from .dense import Separable

NAMESPACE = "fdikp_edge"


@torch.library.custom_op(f"{NAMESPACE}::rfft2", mutates_args=())
def rfft2(
    x: Tensor, row_cos: Tensor, row_sin: Tensor, column_cos: Tensor, column_sin: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Real [..., H, W] to its half spectrum; the module says how the matrices are laid out."""
    re, im = x @ row_cos, x @ row_sin
    return column_cos @ re - column_sin @ im, column_sin @ re + column_cos @ im


@torch.library.custom_op(f"{NAMESPACE}::irfft2", mutates_args=())
def irfft2(
    re: Tensor,
    im: Tensor,
    row_cos: Tensor,
    row_sin: Tensor,
    column_cos: Tensor,
    column_sin: Tensor,
    scale: float,
) -> Tensor:
    """Half spectrum to real [..., H, W]; the module says how the matrices are laid out."""
    a = column_cos @ re - column_sin @ im
    b = column_sin @ re + column_cos @ im
    return a @ row_cos + b @ row_sin


@rfft2.register_fake
def _(
    x: Tensor, row_cos: Tensor, row_sin: Tensor, column_cos: Tensor, column_sin: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    shape = (*x.shape[:-1], row_cos.shape[1])
    return x.new_empty(shape), x.new_empty(shape)


@irfft2.register_fake
def _(
    re: Tensor,
    im: Tensor,
    row_cos: Tensor,
    row_sin: Tensor,
    column_cos: Tensor,
    column_sin: Tensor,
    scale: float,
) -> Tensor:
    return re.new_empty((*re.shape[:-1], row_cos.shape[1]))


class CustomOp(Strategy):
    """One operator of the domain ``fdikp_edge`` for a whole two-dimensional real transform."""

    name = "custom-op"

    def declines(self, site: Site) -> str | None:
        """Only ``rfft2`` and ``irfft2`` over the last two axes, whole."""
        rank = len(site.input_shape)
        if any(axis.is_pruned for axis in site.axes):
            return "only some of its modes are computed, and the operator computes all"
        if site.kind is Kind.C2C or tuple(axis.dim for axis in site.axes) != (rank - 2, rank - 1):
            return "only a real transform over the last two axes has an operator"
        if (site.kind is Kind.R2C) != (site.sign < 0):
            return "only the forward transform of a signal and the inverse one to a signal have an operator"
        rows, half = site.axes
        whole = half.length // 2 + 1 if site.kind is Kind.C2R else half.length
        if site.input_shape[-2:] != (rows.length, whole):
            return "the operator neither crops nor pads"
        if site.input_is_real != (site.kind is Kind.R2C):
            return "the operator takes both parts of a spectrum"
        return None

    def cost(self, site: Site) -> Cost:
        """No products where there is a kernel: two passes of an FFT, two that join and part halves."""
        elements = site.batch * math.prod(axis.length for axis in site.axes)
        return Cost(0, 6 * elements, 4)

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """Those of the definition, which a runtime without a kernel computes."""
        return Separable().summation_lengths(site)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Trace the operator with its matrices, which carry each axis' share of the norm."""
        rows, half = site.axes
        dtype = value.re.dtype if isinstance(value, Pair) else value.dtype
        inverse = site.kind is Kind.C2R
        parts = half_inverse_parts(half) if inverse else forward_parts(half)
        # In C2R the real part of (a + ib)(cos + i sign sin) is a cos - sign b sin.
        sign = -site.sign if inverse else site.sign
        key = f"custom_{site.kind.value}_{site.sign:+d}"
        row = f"{key}_{half.length}_{half.scale:.6g}"
        column = f"{key}_{rows.length}_{rows.scale:.6g}_t"
        columns = forward_parts(rows)
        matrices = (
            bank.get(f"{row}_cos", lambda: parts[0], dtype),
            bank.get(f"{row}_sin", lambda: parts[1] * sign, dtype),
            bank.get(f"{column}_cos", lambda: columns[0].T, dtype),
            bank.get(f"{column}_sin", lambda: columns[1].T * site.sign, dtype),
        )
        scale = rows.scale * half.scale
        if isinstance(value, Pair):
            signal: Tensor = irfft2(value.re, value.im, *matrices, scale)
            return signal
        re, im = rfft2(value, *matrices, scale)
        return Pair(re, im)
