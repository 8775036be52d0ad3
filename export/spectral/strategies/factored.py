"""Mixed radix N = N1 N2 with every twiddle inside a matrix and every reordering a gather of whole rows.

With ``n = N2 n1 + n2`` and ``k = k1 + N1 k2``::

    X[k1 + N1 k2] = sum_n2  w_N^(n2 k1) w_N2^(n2 k2)  sum_n1  w_N1^(n1 k1)  x[N2 n1 + n2]

the inner sum is one product with an [N1, N1] matrix (n1 is the slow index, so no transpose), the outer sum
one batched product with a matrix per k1 that has the twiddle ``w_N^(n2 k1)`` multiplied in (Cooley and Tukey
1965; the "four-step" form of Bailey, "FFTs in external or hierarchical memory", 1990). Real and imaginary
parts are rows of the same matrices. A real signal needs only the residues ``k1 <= N1/2``: the bins of the
others are conjugates, their sign a row's sign in the matrix. Results come out in ``(k1, k2)`` order and are
gathered, row by row, into natural order; the inverse to a real signal is the transpose of all this. Work
falls from N² to about N (N1 + N2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pairs import Pair, promote
from ..sites import Axis, Kind, Site
from ..twiddles import ConstantBank, Matrix, circle, rotation
from .base import Cost, Strategy, shapes_before, stages
from .dense import dense_stage, stage_cost

SHORTEST = 96  # below this the short products cost more than the dense one (measured at 64 and 128)
LONGEST_DENSE_LAST_AXIS = 256  # a last axis needs two transposes of the data; dense wins up to about here


def factors(length: int) -> tuple[int, int] | None:
    """The factor pair (N1, N2) nearest to each other, both above 2, or ``None``.

    N1 is the larger one, unless only the larger one is even: with N2 even, bin N/2 has residue 0 and its
    imaginary part comes out as exactly 0 where the signal is real.
    """
    for small in range(math.isqrt(length), 2, -1):
        if length % small == 0:
            large = length // small
            return (small, large) if small % 2 and not large % 2 else (large, small)
    return None


def plan_stage(axis: Axis, kind: Kind, rank: int) -> tuple[int, int] | None:
    """Factors for a stage that is worth splitting; ``None`` leaves it dense."""
    padded = axis.taken != (axis.length // 2 + 1 if kind is Kind.C2R else axis.length)
    is_last = axis.dim == rank - 1
    if padded or axis.is_pruned or axis.length < (LONGEST_DENSE_LAST_AXIS if is_last else SHORTEST):
        return None
    return factors(axis.length)


@dataclass(frozen=True)
class Split:
    """The matrices of one split stage, for the forward direction of ``sign``.

    Slots are the rows ``(k1, part, k2)`` that the outer product yields, ``residues`` counts the k1 computed.
    """

    axis: Axis
    sign: int
    n1: int
    n2: int
    hermitian: bool

    @property
    def residues(self) -> int:
        """How many k1 are computed: all, or those up to N1/2 of a real signal."""
        return self.n1 // 2 + 1 if self.hermitian else self.n1

    def inner(self) -> tuple[Matrix, Matrix]:
        """Rows (k1, part) from a real input [N1], and the same from an imaginary one."""
        cos, sin = rotation(np.arange(self.residues), np.arange(self.n1), self.n1)
        sin = sin * self.sign
        from_re = np.stack([cos, sin], axis=1).reshape(-1, self.n1)
        from_im = np.stack([-sin, cos], axis=1).reshape(-1, self.n1)
        return from_re, from_im

    def outer(self) -> Matrix:
        """[k1, (part', k2), (part, n2)]: the second sum with the twiddle and the norm's scale inside."""
        length = self.axis.length
        n2 = np.arange(self.n2)
        k = np.arange(self.residues)[:, None] + self.n1 * np.arange(self.n2)[None, :]
        reduced = (k[:, :, None] * n2[None, None, :]) % length
        cos, sin = (part[reduced] for part in circle(length))
        sin = self.sign * sin
        top = np.concatenate([cos, -sin], axis=2)
        bottom = np.concatenate([sin, cos], axis=2)
        return np.concatenate([top, bottom], axis=1) * self.axis.scale

    def slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Matrix]:
        """For each wanted bin: the slot of its real part, of its imaginary part, and the latter's sign."""
        bins = np.arange(self.axis.length // 2 + 1 if self.hermitian else self.axis.length)
        mirrored = (bins % self.n1) >= self.residues
        source = np.where(mirrored, (self.axis.length - bins) % self.axis.length, bins)
        k1, k2 = source % self.n1, source // self.n1
        re = k1 * 2 * self.n2 + k2
        return re, re + self.n2, np.where(mirrored, -1.0, 1.0)

    def signed_outer(self) -> Matrix:
        """:meth:`outer` with the sign of each imaginary slot's bin in its row."""
        matrix = self.outer().reshape(self.residues * 2 * self.n2, 2 * self.n2)
        _, im, sign = self.slots()
        matrix[im] *= sign[:, None]
        return matrix.reshape(self.residues, 2 * self.n2, 2 * self.n2)

    def transposed_outer(self) -> Matrix:
        """[k1, (part, n2), (part', k2)] for the half spectrum to signal direction.

        The half spectrum's mirror weights (1 for bins 0 and N/2, else 2) and the unused slots' zeros are in
        it.
        """
        matrix = self.signed_outer().reshape(self.residues * 2 * self.n2, 2 * self.n2)
        re, im, _ = self.slots()
        bins = np.arange(len(re))
        own_mirror = (bins == 0) | (2 * bins == self.axis.length)
        weight = np.zeros(len(matrix))
        weight[re] = np.where(own_mirror, 1.0, 2.0)
        weight[im] = np.where(own_mirror, 0.0, 2.0)
        weighted: Matrix = (matrix * weight[:, None]).reshape(self.residues, 2 * self.n2, 2 * self.n2)
        return np.swapaxes(weighted, 1, 2)

    def bins_of_slots(self) -> NDArray[np.int64]:
        """For each slot (k1, k2) the bin it is filled from; bin 0 for slots whose weight is 0."""
        re, _, _ = self.slots()
        flat = (re // (2 * self.n2)) * self.n2 + re % self.n2
        bins = np.zeros(self.residues * self.n2, dtype=np.int64)
        bins[flat] = np.arange(len(re))
        return bins


def split_stage(
    value: Pair | Tensor, axis: Axis, kind: Kind, sign: int, radix: tuple[int, int], bank: ConstantBank
) -> Pair | Tensor:
    """One 1-D transform along ``axis`` in two short products."""
    sample = value.re if isinstance(value, Pair) else value
    if axis.dim == sample.dim() - 1:  # rows must be contiguous blocks: work on the transpose
        swapped = Axis(axis.dim - 1, axis.length, axis.taken, axis.kept, axis.scale)
        turned = value.map(_swap) if isinstance(value, Pair) else _swap(value)
        result = split_stage(turned, swapped, kind, sign, radix, bank)
        return result.map(_swap) if isinstance(result, Pair) else _swap(result)
    # The inverse to a real signal is the transpose of the forward transform with the opposite imaginary sign.
    hermitian = kind is not Kind.C2C
    split = Split(axis, -sign if kind is Kind.C2R else sign, *radix, hermitian)
    before, after = sample.shape[: axis.dim], sample.shape[axis.dim + 1 :]
    width = math.prod(after)
    spectrum = "half" if hermitian else "full"
    key = f"split_{axis.length}_{radix[0]}x{radix[1]}_{split.sign:+d}_{spectrum}_{axis.scale:.6g}"

    def constant(name: str, build: Any) -> Tensor:
        return bank.get(f"{key}_{name}", build, sample.dtype)

    def index(name: str, build: Any) -> Tensor:
        return bank.get(f"{key}_{name}", build, torch.int64)

    if kind is Kind.C2R:
        value = promote(value)  # a real half spectrum is rare enough not to deserve products of its own
        order = index("bins", split.bins_of_slots)
        slots = [
            p.narrow(axis.dim, 0, axis.taken).reshape(*before, axis.taken, width)
            for p in (value.re, value.im)
        ]
        filled = [
            p.index_select(axis.dim, order).reshape(*before, split.residues, split.n2, width) for p in slots
        ]
        back = split.transposed_outer
        half = constant("back_re", lambda: back()[:, :, : split.n2]) @ filled[0]
        half = half + constant("back_im", lambda: back()[:, :, split.n2 :]) @ filled[1]
        rows = half.reshape(*before, split.residues * 2, split.n2 * width)
        signal = constant("inner_t", lambda: split.inner()[0].T) @ rows
        return signal.reshape(*before, axis.length, *after)

    def inner(part: Tensor, which: int) -> Tensor:
        part = part.narrow(axis.dim, 0, axis.taken) if part.shape[axis.dim] != axis.taken else part
        return constant(f"inner_{which}", lambda: split.inner()[which]) @ part.reshape(
            *before, radix[0], radix[1] * width
        )

    first = inner(value, 0) if isinstance(value, Tensor) else inner(value.re, 0) + inner(value.im, 1)
    second = constant("outer", split.signed_outer) @ first.reshape(
        *before, split.residues, 2 * split.n2, width
    )
    rows = second.reshape(*before, split.residues * 2 * split.n2, width)

    def gather(name: str, which: int) -> Tensor:
        picked = rows.index_select(axis.dim, index(name, lambda: split.slots()[which]))
        return picked.reshape(*before, axis.kept, *after)

    return Pair(gather("slots_re", 0), gather("slots_im", 1))


def _swap(part: Tensor) -> Tensor:
    return part.transpose(-1, -2)


def split_cost(axis: Axis, kind: Kind, is_real: bool, shape: tuple[int, ...], radix: tuple[int, int]) -> Cost:
    """Work of one split stage on data of ``shape``."""
    lines = math.prod(shape) // shape[axis.dim]
    n1, n2 = radix
    residues = n1 if kind is Kind.C2C else n1 // 2 + 1
    parts = 1 if is_real or kind is Kind.C2R else 2
    macs = lines * (parts * 2 * residues * n1 * n2 + residues * 4 * n2 * n2)
    moved = lines * axis.length * (6 + (4 if axis.dim == len(shape) - 1 else 0))
    return Cost(macs, moved, 6)


class Factored(Strategy):
    """Two short products per long axis; axes too short or prime stay dense."""

    name = "factored"

    def declines(self, site: Site) -> str | None:
        """At least one axis must be worth splitting."""
        rank = len(site.input_shape)
        if all(plan_stage(axis, kind, rank) is None for axis, kind, _ in stages(site)):
            return "no axis is long, composite and unpadded enough to split"
        return None

    def cost(self, site: Site) -> Cost:
        """Sum of split and dense stages."""
        total = Cost(0, 0, 0)
        rank = len(site.input_shape)
        for (axis, kind, is_real), shape in zip(stages(site), shapes_before(site), strict=True):
            radix = plan_stage(axis, kind, rank)
            total += (
                stage_cost(axis, kind, is_real, shape)
                if radix is None
                else split_cost(axis, kind, is_real, shape, radix)
            )
        return total

    def summation_lengths(self, site: Site) -> tuple[int, ...]:
        """Two sums per split axis."""
        rank, lengths = len(site.input_shape), []
        for axis, kind, is_real in stages(site):
            radix = plan_stage(axis, kind, rank)
            parts = 1 if is_real else 2
            lengths += [axis.taken * parts] if radix is None else [radix[0] * parts, 2 * radix[1]]
        return tuple(lengths)

    def apply(self, site: Site, value: Pair | Tensor, bank: ConstantBank) -> Pair | Tensor:
        """Stage after stage, split where it pays."""
        rank = len(site.input_shape)
        for axis, kind, _ in stages(site):
            radix = plan_stage(axis, kind, rank)
            if radix is None:
                value = dense_stage(value, axis, kind, site.sign, bank)
            else:
                value = split_stage(value, axis, kind, site.sign, radix, bank)
        return value
