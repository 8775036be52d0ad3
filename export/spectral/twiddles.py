"""Transform matrices, built in float64 with the angle reduced modulo N, and the bank that stores them once.

``cos(2 pi n k / N)`` with a large product ``n k`` loses digits in the argument; ``(n k) mod N`` is exact in
integers (runtime twiddle accuracy: Schatzman, "Accuracy of the Discrete Fourier Transform and the Fast
Fourier Transform", SIAM J. Sci. Comput. 17, 1996).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from .sites import Axis

Matrix: TypeAlias = NDArray[np.float64]


def circle(length: int) -> tuple[Matrix, Matrix]:
    """(cos, sin) of ``2 pi k / length`` for k from 0 to length - 1.

    Quarter turns are exact: a coefficient that is real for every real signal must get an imaginary part of
    exactly 0, or the phase of a negative one would be -pi as often as pi.
    """
    steps = np.arange(length)
    table = 2.0 * np.pi * steps / length
    cos = np.where((4 * steps) % (2 * length) == length, 0.0, np.cos(table))
    sin = np.where((2 * steps) % length == 0, 0.0, np.sin(table))
    return cos, sin


def rotation(rows: NDArray[np.int64], columns: NDArray[np.int64], length: int) -> tuple[Matrix, Matrix]:
    """(cos, sin) of ``2 pi r c / length`` for all rows and columns, shape [len(rows), len(columns)]."""
    reduced = np.outer(rows, columns) % length
    cos, sin = circle(length)
    return cos[reduced], sin[reduced]


def _places(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the inputs and of the outputs of an axis."""
    entering = range(axis.taken) if axis.entering is None else axis.entering
    leaving = range(axis.kept) if axis.leaving is None else axis.leaving
    return np.array(entering, np.int64), np.array(leaving, np.int64)


def pruned_key(axis: Axis) -> str:
    """Part of a matrix's key that says which places it has; empty for the first ones."""
    if not axis.is_pruned:
        return ""
    return "_of_" + hashlib.sha256(f"{axis.entering} {axis.leaving}".encode()).hexdigest()[:12]


def forward_parts(axis: Axis) -> tuple[Matrix, Matrix]:
    """(C, S) with shape [taken, kept]: ``X = x C + i sign x S`` along one axis, scale included."""
    cos, sin = rotation(*_places(axis), axis.length)
    return cos * axis.scale, sin * axis.scale


def half_inverse_parts(axis: Axis) -> tuple[Matrix, Matrix]:
    """(C, S) with shape [taken, kept] from a half spectrum to a real signal.

    ``x = re C - sign im S``; columns 0 and N/2 count once, the others twice, for the mirrored half. The sine
    rows of columns 0 and N/2 are exactly zero: imaginary parts there never reach the signal, which is the
    projection that torch's CPU transform applies to a half spectrum that is not Hermitian.
    """
    bins, samples = _places(axis)
    cos, sin = rotation(bins, samples, axis.length)
    own_mirror = (bins == 0) | (2 * bins == axis.length)
    weight = np.where(own_mirror, 1.0, 2.0)[:, None] * axis.scale
    return weight * cos, np.where(own_mirror[:, None], 0.0, weight * sin)


class ConstantBank(nn.Module):
    """Constants of a lowered program, each stored once as a buffer.

    Keys say what a constant is (``dft64_c``), so that tracing finds it again without looking at values;
    constants with different keys but equal content share one buffer.
    """

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._buffer_of_key: dict[str, str] = {}
        self._buffer_of_content: dict[str, str] = {}

    def get(self, key: str, build: Callable[[], NDArray[Any]], dtype: torch.dtype) -> Tensor:
        """The constant ``key`` in ``dtype``, built (in float64 or int64) the first time it is asked for."""
        full_key = f"{key}_{str(dtype).removeprefix('torch.')}"
        if full_key not in self._buffer_of_key:
            with torch.no_grad(), unset_fake_temporarily():
                # Adding zero turns -0.0, which the sign of an exponent leaves in a sine matrix, into 0.0.
                self.add(full_key, torch.from_numpy(np.ascontiguousarray(build() + 0)).to(dtype))
        return self.stored(full_key)

    def add(self, key: str, value: Tensor) -> None:
        """Store a tensor under ``key``; equal content stored before is shared."""
        value = value.detach().contiguous().clone()
        digest = hashlib.sha256(value.numpy().tobytes()).hexdigest()
        content = f"{value.dtype}:{tuple(value.shape)}:{digest}"
        if content not in self._buffer_of_content:
            stem = re.sub(r"\W", "_", key)
            name, count = stem, 1
            while name in self._buffers:  # "+1" and "-1" have the same letters
                name, count = f"{stem}_{count}", count + 1
            self.register_buffer(name, value)
            self._buffer_of_content[content] = name
        self._buffer_of_key[key] = self._buffer_of_content[content]

    def stored(self, key: str) -> Tensor:
        """The buffer of a key that was added before."""
        buffer = getattr(self, self._buffer_of_key[key])
        assert isinstance(buffer, Tensor)
        return buffer
