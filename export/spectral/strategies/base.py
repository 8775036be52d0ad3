"""What a strategy is, and the products along one axis that all of them are made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ..pairs import Pair
from ..sites import Axis, Kind, Site
from ..twiddles import ConstantBank


@dataclass(frozen=True)
class Cost:
    """Work of one site: multiply-adds in matrix products, elements moved otherwise, and operators."""

    macs: int
    moved: int
    operators: int

    def __add__(self, other: Cost) -> Cost:
        """Work of doing both."""
        return Cost(self.macs + other.macs, self.moved + other.moved, self.operators + other.operators)


class Strategy(ABC):
    """One way to compute a site. Stateless; constants live in the program's bank."""

    name: str
    product: str = ""
    """The strategy whose products these are, in another layout; empty where they are its own."""

    @abstractmethod
    def declines(self, site: Site) -> str | None:
        """Why this strategy cannot compute the site, in words; ``None`` if it can."""

    def advised(self, site: Site) -> bool:
        """Whether the planner may pick it for this site by itself, where a profile allows the strategy."""
        return True

    @abstractmethod
    def cost(self, site: Site) -> Cost:
        """Work of the site under this strategy."""

    @abstractmethod
    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """Lengths of the sums that a value passes through: they set the rounding error bound."""

    @abstractmethod
    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Trace the transform of a real tensor or pair of ``site.input_shape``, to ``site.output_shape``."""

    def error_bound(self, site: Site, unit_roundoff: float) -> float:
        """Bound on ``max|error| / (gain max|input|)``: the sums' ``n u / (1 - n u)`` added up.

        Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1 (gamma_n); one
        more rounding per stage is for the stored matrix entry.
        """
        return sum(
            (n + 1) * unit_roundoff / (1 - (n + 1) * unit_roundoff) for n in self.summation_lengths(site)
        )


def along(value: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """Multiply along one axis: ``matrix`` is [taken, kept] for the last axis and [kept, taken] for any other.

    A product with a constant on the right (last axis) or on the left (any other axis, the rest flattened
    behind it) needs no transpose of the data.
    """
    if dim == value.dim() - 1:
        return value @ matrix
    if dim == value.dim() - 2:
        return matrix @ value
    shape = value.shape
    rows = value.reshape(*shape[: dim + 1], math.prod(shape[dim + 1 :]))
    return (matrix @ rows).reshape(*shape[:dim], matrix.shape[0], *shape[dim + 1 :])


def crop(value: Tensor, axis: Axis) -> Tensor:
    """Drop what a shorter ``n`` or ``s`` leaves out."""
    return value if value.shape[axis.dim] == axis.taken else value.narrow(axis.dim, 0, axis.taken)


def stages(site: Site) -> list[tuple[Axis, Kind, bool]]:
    """(axis, kind of the 1-D stage, is its input real) in running order."""
    ordered = site.running_order
    if site.kind is Kind.C2R:
        return [(a, Kind.C2C, False) for a in ordered[:-1]] + [(ordered[-1], Kind.C2R, False)]
    first = Kind.R2C if site.kind is Kind.R2C else Kind.C2C
    head = [(ordered[0], first, site.input_is_real)]
    return head + [(axis, Kind.C2C, False) for axis in ordered[1:]]


def shapes_before(site: Site) -> list[tuple[int, ...]]:
    """The data's shape when each stage of :func:`stages` starts, cropped to what that stage takes."""
    shape = list(site.input_shape)
    for axis in site.axes:
        shape[axis.dim] = min(shape[axis.dim], axis.taken)
    shapes = []
    for axis, _, _ in stages(site):
        shapes.append(tuple(shape))
        shape[axis.dim] = axis.kept
    return shapes
