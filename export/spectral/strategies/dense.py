"""Dense products: one per axis (:class:`Separable`), or one for the whole window (:class:`Flat`)."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ..pairs import Pair
from ..sites import Axis, Kind, Site
from ..twiddles import ConstantBank, Matrix, forward_parts, half_inverse_parts, pruned_key
from .base import Cost, Strategy, along, crop, shapes_before, stages

LARGEST_FLAT = 1024  # a flat matrix has (points)^2 entries: 4 MB of float32 here


def stage_cost(axis: Axis, kind: Kind, is_real: bool, shape: tuple[int, ...]) -> Cost:
    """Work of one dense 1-D stage on data of ``shape``."""
    lines = math.prod(shape) // shape[axis.dim]
    products = {Kind.R2C: 2, Kind.C2R: 2, Kind.C2C: 2 if is_real else 4}[kind]
    sums = products // 2 if kind is Kind.C2R or products == 4 else 0
    again = lines * axis.taken if is_real else 0  # the signal is read once for each part
    moved = sums * 3 * lines * axis.kept + again
    return Cost(products * lines * axis.taken * axis.kept, moved, products + sums)


def dense_stage(value: Pair | Tensor, axis: Axis, kind: Kind, sign: int, bank: ConstantBank) -> Pair | Tensor:
    """One dense 1-D transform along ``axis``."""
    sample = value.re if isinstance(value, Pair) else value
    on_right = axis.dim == sample.dim() - 1
    label = f"dft_{kind.value}_{axis.length}_{axis.taken}x{axis.kept}_{axis.scale:.6g}"
    label += ("" if on_right else "_t") + pruned_key(axis)

    def matrix(part: int) -> Tensor:
        def build() -> Matrix:
            parts = half_inverse_parts(axis) if kind is Kind.C2R else forward_parts(axis)
            # The exponent's sign sits in the sine matrix of a forward stage, its negative in an inverse one.
            signed = parts[part] if part == 0 else parts[1] * (-sign if kind is Kind.C2R else sign)
            return signed if on_right else signed.T

        return bank.get(
            f"{label}_{'cos' if part == 0 else 'sin'}{'' if part == 0 else f'_{sign:+d}'}",
            build,
            sample.dtype,
        )

    def product(part: Tensor, which: int) -> Tensor:
        return along(crop(part, axis), axis.dim, matrix(which))

    if kind is Kind.C2R:
        return product(value, 0) if isinstance(value, Tensor) else product(value.re, 0) + product(value.im, 1)
    if isinstance(value, Tensor):
        return Pair(product(value, 0), product(value, 1))
    return Pair(product(value.re, 0) - product(value.im, 1), product(value.im, 0) + product(value.re, 1))


class Separable(Strategy):
    """One dense product per axis."""

    name = "separable"

    def declines(self, site: Site) -> str | None:
        """Never: every site is a chain of dense stages."""
        return None

    def cost(self, site: Site) -> Cost:
        """Sum of the dense stages."""
        total = Cost(0, 0, 0)
        for (axis, kind, is_real), shape in zip(stages(site), shapes_before(site), strict=True):
            total += stage_cost(axis, kind, is_real, shape)
        return total

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """One sum per axis, over both parts where the stage's input is complex."""
        return tuple(axis.taken * (1 if is_real else 2) for axis, _, is_real in stages(site))

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Stage after stage."""
        for axis, kind, _ in stages(site):
            value = dense_stage(value, axis, kind, site.sign, bank)
        return value


class Flat(Strategy):
    """One product over the flattened window: two operators for a small window instead of two per axis."""

    name = "flat"

    def declines(self, site: Site) -> str | None:
        """Axes must be the trailing ones, in order, and the window small."""
        rank = len(site.input_shape)
        if tuple(axis.dim for axis in site.axes) != tuple(range(rank - len(site.axes), rank)):
            return "the transform's axes are not the last ones in order"
        points = math.prod(axis.taken for axis in site.axes)
        if max(points, math.prod(axis.kept for axis in site.axes)) > LARGEST_FLAT:
            return f"a window of {points} points is more than {LARGEST_FLAT}"
        return None

    def cost(self, site: Site) -> Cost:
        """One dense matrix per part."""
        taken = math.prod(axis.taken for axis in site.axes)
        kept = math.prod(axis.kept for axis in site.axes)
        products = 4 if site.kind is Kind.C2C and not site.input_is_real else 2
        sums = {4: 2, 2: 1 if site.kind is Kind.C2R else 0}[products]
        again = site.batch * taken if site.input_is_real else 0
        moved = 3 * sums * site.batch * kept + again
        return Cost(products * site.batch * taken * kept, moved, products + sums)

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """One sum over the whole window."""
        return (math.prod(axis.taken for axis in site.axes) * (1 if site.input_is_real else 2),)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Flatten, multiply by cosine and sine of the window's phases, and restore the shape."""
        count = len(site.axes)

        def flatten(part: Tensor) -> Tensor:
            for axis in site.axes:
                part = crop(part, axis)
            return part.reshape(*part.shape[:-count], math.prod(part.shape[-count:]))

        def product(part: Tensor, which: int) -> Tensor:
            sample_key = "_".join(
                f"{a.length}.{a.taken}.{a.kept}.{a.scale:.6g}{pruned_key(a)}" for a in site.axes
            )
            key = f"flat_{site.kind.value}_{site.sign:+d}_{sample_key}_{'cos' if which == 0 else 'sin'}"
            matrix = bank.get(key, lambda: flat_parts(site)[which], part.dtype)
            return (flatten(part) @ matrix).reshape(site.output_shape)

        if site.kind is Kind.C2R:
            return (
                product(value, 0)
                if isinstance(value, Tensor)
                else product(value.re, 0) + product(value.im, 1)
            )
        if isinstance(value, Tensor):
            return Pair(product(value, 0), product(value, 1))
        return Pair(product(value.re, 0) - product(value.im, 1), product(value.im, 0) + product(value.re, 1))


def flat_parts(site: Site) -> tuple[Matrix, Matrix]:
    """(C, S) of the whole window, shapes [prod taken, prod kept], with the exponent's sign inside S."""
    cos, sin = np.ones((1, 1)), np.zeros((1, 1))
    for position, axis in enumerate(site.axes):
        is_last = position == len(site.axes) - 1
        c, s = half_inverse_parts(axis) if site.kind is Kind.C2R and is_last else forward_parts(axis)
        # cos(a+b) and sin(a+b); the Kronecker product pairs every row of one axis with each of the next.
        cos, sin = np.kron(cos, c) - np.kron(sin, s), np.kron(sin, c) + np.kron(cos, s)
    return cos, sin * (-site.sign if site.kind is Kind.C2R else site.sign)
