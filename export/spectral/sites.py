"""One transform in a program, described so that strategies and the planner need nothing else.

Every ``torch.fft`` function is brought to one of three kinds (:class:`Kind`) over axes that carry their own
length, crop or zero padding and scale, as defined in the torch.fft reference.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any


class Kind(enum.Enum):
    """What goes in and what comes out."""

    C2C = "c2c"
    R2C = "r2c"  # real signal to half spectrum along the last listed axis
    C2R = "c2r"  # half spectrum to real signal along the last listed axis


@dataclass(frozen=True)
class Axis:
    """One axis of a transform.

    ``dim`` counts from the front; ``length`` is the signal length N of the transform; ``taken`` is how many
    of the input's elements enter it (fewer than N: zero padding; the rest of a longer input is cropped);
    ``kept`` is how many outputs are produced; ``scale`` multiplies the result (this axis' share of the norm).
    ``entering`` names the places of the inputs, ``leaving`` those of the outputs; ``None``: the first ones.
    """

    dim: int
    length: int
    taken: int
    kept: int
    scale: float
    entering: tuple[int, ...] | None = None
    leaving: tuple[int, ...] | None = None

    @property
    def is_pruned(self) -> bool:
        """Whether only some places enter or leave, which :attr:`entering` and :attr:`leaving` name."""
        return self.entering is not None or self.leaving is not None


@dataclass(frozen=True)
class Site:
    """A transform at one place of the program; ``sign`` is the exponent's (-1 forward, +1 inverse).

    ``partner`` names the transform at the other end of a block of windows that can be computed as a whole
    (see :mod:`.fuse.windows`); where it is ``None``, ``unfused`` says why there is no such block.
    """

    name: str
    module_path: str
    operator: str
    kind: Kind
    sign: int
    input_shape: tuple[int, ...]
    input_is_real: bool
    axes: tuple[Axis, ...]
    norm: str = "backward"
    partner: str | None = None
    unfused: str = "it is not part of a block of windows"

    @property
    def half(self) -> Axis | None:
        """The axis along which the spectrum is a half spectrum."""
        return None if self.kind is Kind.C2C else self.axes[-1]

    @property
    def batch(self) -> int:
        """How many independent transforms the site computes."""
        dims = {axis.dim for axis in self.axes}
        return math.prod(size for dim, size in enumerate(self.input_shape) if dim not in dims)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result (of each part, where it is complex)."""
        shape = list(self.input_shape)
        for axis in self.axes:
            shape[axis.dim] = axis.kept
        return tuple(shape)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Signal lengths, in the order of ``axes``."""
        return tuple(axis.length for axis in self.axes)

    @property
    def gain(self) -> float:
        """Largest possible ``max|output| / max|input|`` (sum of absolute matrix entries, axis by axis)."""
        return self.gains[-1]

    @property
    def gains(self) -> tuple[float, ...]:
        """Largest possible ``max|value| / max|input|`` after each axis of :attr:`running_order`."""
        gain, gains = 1.0, []
        for axis in self.running_order:
            mirrored = self.kind is Kind.C2R and axis is self.half
            gain *= axis.scale * (min(axis.length, 2 * axis.taken) if mirrored else axis.taken)
            gains.append(gain)
        return tuple(gains)

    @property
    def running_order(self) -> tuple[Axis, ...]:
        """The axes as they are computed: the half axis first or last, where its data are real."""
        return self.axes if self.kind is Kind.C2R else self.axes[::-1]


_FORWARD = {"fft": True, "ifft": False, "rfft": True, "irfft": False, "hfft": True, "ihfft": False}


def _family(operator: str) -> tuple[str, int | None]:
    """``aten.fft_irfft2.default`` -> ("irfft", 2); ``None`` for the n-dimensional form."""
    name = operator.split(".")[1].removeprefix("fft_")
    if name.endswith("2"):
        return name[:-1], 2
    if name.endswith("n"):
        return name[:-1], None
    return name, 1


_RAW = {"_fft_c2c": Kind.C2C, "_fft_r2c": Kind.R2C, "_fft_c2r": Kind.C2R}
"""What ``torch.fft`` itself calls; batching and differentiating a transform leave these in a graph."""


def is_transform(operator: str) -> bool:
    """True for every transform operator of ``torch.fft``; its shifts and frequencies are none."""
    if operator.startswith("aten._fft_"):
        return operator.split(".")[1] in _RAW
    if not operator.startswith("aten.fft_"):
        return False
    return _family(operator)[0] in _FORWARD


def describe(
    name: str, module_path: str, operator: str, shape: tuple[int, ...], is_real: bool, args: tuple[Any, ...]
) -> Site:
    """Read an operator's arguments (after the input: n or s, dim, norm) into a :class:`Site`."""
    if operator.startswith("aten._fft_"):
        return _describe_raw(name, module_path, operator, shape, is_real, args)
    family, rank = _family(operator)
    forward = _FORWARD[family]
    kind = {"f": Kind.C2C, "r": Kind.R2C, "h": Kind.C2R}[family.removeprefix("i")[0]]
    if not forward and kind is not Kind.C2C:  # irfft is c2r, ihfft is r2c
        kind = Kind.C2R if kind is Kind.R2C else Kind.R2C
    sizes, dims, norm = _read_arguments(rank, shape, args)
    axes = []
    for position, (dim, size) in enumerate(zip(dims, sizes, strict=True)):
        here = shape[dim]
        last = position == len(dims) - 1
        if kind is Kind.C2R and last:
            length = 2 * (here - 1) if size is None else size
            taken, kept = min(here, length // 2 + 1), length
        else:
            length = here if size is None else size
            taken = min(here, length)
            kept = length // 2 + 1 if kind is Kind.R2C and last else length
        axes.append(Axis(dim, length, taken, kept, _scale(norm, forward, length)))
    sign = -1 if forward else 1
    return Site(name, module_path, operator, kind, sign, shape, is_real, tuple(axes), norm)


def _describe_raw(
    name: str, module_path: str, operator: str, shape: tuple[int, ...], is_real: bool, args: tuple[Any, ...]
) -> Site:
    """A :class:`Site` of ``_fft_c2c(dim, norm, forward)``, ``_fft_r2c(dim, norm, onesided)`` or
    ``_fft_c2r(dim, norm, last size)``; norm is 0 for none, 1 for ``1/sqrt(N)``, 2 for ``1/N``."""
    kind = _RAW[operator.split(".")[1]]
    dims, norm, last = args[:3]
    if kind is Kind.R2C and not last:
        kind = Kind.C2C  # the whole spectrum of a real signal
    forward = bool(last) if operator.startswith("aten._fft_c2c") else kind is not Kind.C2R
    axes = []
    for position, dim in enumerate(d % len(shape) for d in dims):
        is_half = kind is not Kind.C2C and position == len(dims) - 1
        length = int(last) if is_half and kind is Kind.C2R else shape[dim]
        taken = min(shape[dim], length // 2 + 1) if is_half and kind is Kind.C2R else length
        kept = length // 2 + 1 if is_half and kind is Kind.R2C else length
        axes.append(Axis(dim, length, taken, kept, {0: 1.0, 1: length**-0.5, 2: 1.0 / length}[int(norm)]))
    return Site(name, module_path, operator, kind, -1 if forward else 1, shape, is_real, tuple(axes))


def _read_arguments(
    rank: int | None, shape: tuple[int, ...], args: tuple[Any, ...]
) -> tuple[list[int | None], list[int], str]:
    values = [*args, None, None, None][:3]
    size, dim, norm = values
    if rank == 1:
        dims = [-1 if dim is None else int(dim)]
        sizes: list[int | None] = [size]
    else:
        if dim is None:
            count = 2 if rank == 2 else (len(size) if size is not None else len(shape))
            dims = list(range(-count, 0))
        else:
            dims = [int(d) for d in dim]
        sizes = [None] * len(dims) if size is None else [None if s == -1 else int(s) for s in size]
    return sizes, [d % len(shape) for d in dims], norm or "backward"


def _scale(norm: str, forward: bool, length: int) -> float:
    if norm == "ortho":
        return 1.0 / math.sqrt(length)
    scaled = forward if norm == "forward" else not forward
    return 1.0 / length if scaled else 1.0
