"""A long transform as two shorter products: N = N1 N2, with every twiddle inside the first matrices.

With ``n = N2 n1 + n2`` and ``k = k1 + N1 k2`` (Cooley and Tukey 1965; the "four-step" form of Bailey, "FFTs
in external or hierarchical memory", 1990)::

    X[k1 + N1 k2] = sum_n2  w_N2^(n2 k2)  sum_n1  w_N^((N2 n1 + n2) k1)  x[N2 n1 + n2]

the inner sum is one product for each n2, with a matrix [N1, N1] of its own; the outer sum is one product
with one matrix [N2, N2]. Work and constants fall from N² to about N (N1 + N2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...spectral.strategies.factored import factors
from ...spectral.twiddles import circle
from .products import Array, Transform

SHORTEST = 2048
"""Points from which a transform is split. The six reorderings cost more than they save for shorter ones."""
LEAST_GAIN = 4
"""How many times fewer multiply-adds a split must need."""


@dataclass(frozen=True)
class Split:
    """The two products of a transform of ``n1 * n2`` points."""

    transform: Transform
    n1: int
    n2: int

    @property
    def bytes(self) -> int:
        """Size of both constants in float32."""
        whole = self.transform
        first = self.n2 * self.n1 * whole.parts_in * self.n1 * 2
        return 4 * (first + self.n2 * 2 * self.n2 * whole.parts_out)

    @property
    def work(self) -> int:
        """Multiply-adds for one signal."""
        whole = self.transform
        return whole.length * (self.n1 * whole.parts_in * 2 + self.n2 * 2 * whole.parts_out)

    def first(self) -> Array:
        """Return the inner matrices, float32 [n2, n1 * parts, n1 * 2].

        Factors of the whole are inside: 1/N of an inverse, and, where the output is real, the weights of the
        mirrored half spectrum, zero beyond it.
        """
        whole, sign = self.transform, 1.0 if self.transform.inverse else -1.0
        places = self.n2 * np.arange(self.n1)[None, :] + np.arange(self.n2)[:, None]
        cos, sin = circle(whole.length)
        angle = places[:, :, None] * np.arange(self.n1)[None, None, :] % whole.length
        real, imaginary = self._weights(places)
        result = np.zeros((self.n2, self.n1, whole.parts_in, self.n1, 2))
        result[:, :, 0, :, 0] = real * cos[angle]
        result[:, :, 0, :, 1] = real * sign * sin[angle]
        if whole.parts_in == 2:
            result[:, :, 1, :, 0] = -imaginary * sign * sin[angle]
            result[:, :, 1, :, 1] = imaginary * cos[angle]
        flat = result.reshape(self.n2, self.n1 * whole.parts_in, self.n1 * 2)
        return (flat + 0.0).astype(np.float32)  # no negative zeros

    def second(self) -> Array:
        """Return the outer matrix, float32 [n2 * 2, n2 * parts]."""
        ends, sign = self.transform.parts_out, 1.0 if self.transform.inverse else -1.0
        cos, sin = circle(self.n2)
        angle = np.outer(np.arange(self.n2), np.arange(self.n2)) % self.n2
        result = np.zeros((self.n2, 2, self.n2, ends))
        result[:, 0, :, 0] = cos[angle]
        result[:, 1, :, 0] = -sign * sin[angle]
        if ends == 2:
            result[:, 0, :, 1] = sign * sin[angle]
            result[:, 1, :, 1] = cos[angle]
        return (result.reshape(self.n2 * 2, self.n2 * ends) + 0.0).astype(np.float32)

    def _weights(self, places: Array) -> tuple[Array, Array]:
        """Return the factors of real and imaginary parts by place, each [n2, n1, 1]."""
        whole = self.transform
        scale = 1.0 / whole.length if whole.inverse else 1.0
        if whole.parts_out == 2:
            plain = np.full(places.shape, scale)[:, :, None]
            return plain, plain
        own_mirror = (places == 0) | (2 * places == whole.length)
        inside = places <= whole.length // 2
        real = np.where(inside, np.where(own_mirror, scale, 2 * scale), 0.0)
        imaginary = np.where(inside & ~own_mirror, 2 * scale, 0.0)
        return real[:, :, None], imaginary[:, :, None]


def plan_split(transform: Transform, leading: Sequence[int | None]) -> Split | None:
    """Return how a long transform is split; ``None`` leaves it one product.

    ``leading`` are the sizes of the other dimensions, of which at most one may be open.
    """
    pair = factors(transform.length) if transform.length >= SHORTEST else None
    if pair is None or sum(size is None for size in leading) > 1 or 0 in leading:
        return None
    split = Split(transform, *pair)
    dense = transform.taken * transform.parts_in * transform.kept * transform.parts_out
    return split if split.work * LEAST_GAIN <= dense else None
