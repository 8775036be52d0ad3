"""How the constants of a finished file are stored, where fewer bytes stand for the same numbers.

A runtime folds what follows from constants alone when it loads a file, once. So a constant may be kept as
something smaller with an operator or two behind it that make the constant of it:

- ``same``: one value, repeated (an empty memory of zeros);
- ``whole``: whole numbers of 8 bits, with a cast (identities, sums and copies of channels);
- ``few``: a table of the values that occur, and for each element its place in it (a matrix of a transform holds
  some twenty values over and over);
- ``half``: float16, with a cast.

The first three give the constant back bit for bit, at every precision. The last rounds: it is for int8 files
only, whose layers are rounded far more coarsely, and for what float16 holds well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Form = Literal["same", "whole", "few", "half"]

LEAST_SAVED = 2048
"""Bytes under which it is left alone: an operator takes up to a kilobyte of text in OpenVINO's files."""
LEAST_HALVED = 8192
"""The same for what is rounded. That costs next to nothing, but for a few kilobytes nothing is worth more: a
result that float16 moves by one step of int8 is another picture."""
LOSS = 2.0**-11
"""Largest rounding of float16, of a value that it holds as a normal number."""
_SAMPLE = 4096
_WORDS = {2: np.uint16, 4: np.uint32}
_SAID = {
    "same": "{} as one value",
    "whole": "{} as whole numbers of 8 bits",
    "few": "{} as a table of values and places in it",
}


@dataclass(frozen=True)
class Stored:
    """A constant as it is stored.

    ``shape`` and ``dtype`` (float32 or float16) are the constant's. ``data``: the one value, without a shape
    (``same``); int8 (``whole``), places in ``table`` as uint8 or uint16 (``few``) or float16 (``half``), of the
    constant's shape. ``table`` is one-dimensional, of the constant's type, and only there for ``few``.
    """

    form: Form
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Array
    table: Array | None = None

    @property
    def saved(self) -> int:
        """Bytes that this takes less than the constant as it is."""
        plain = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        return plain - self.data.nbytes - (0 if self.table is None else self.table.nbytes)

    def value(self) -> Array:
        """Return the constant that a runtime makes of it."""
        if self.form == "same":
            return np.full(self.shape, self.data)
        if self.table is not None:
            return self.table[self.data]
        return self.data.astype(self.dtype)


def choose(value: Array, *, rounded: bool = False) -> Stored | None:
    """Return the smallest form for a constant, or ``None`` where it is best left as it is.

    Args:
        value: of any shape and type; only float32 and float16 are ever stored otherwise.
        rounded: whether float16 may be stored for float32, where it rounds no more than :data:`LOSS`.
    """
    if value.dtype not in (np.float32, np.float16) or value.nbytes < LEAST_SAVED:
        return None
    found = [stored for stored in (_same(value), _whole(value), _few(value)) if stored]
    # Of equals the first, which takes the fewest operators.
    best = max(found, key=lambda stored: stored.saved, default=None)
    if best is not None and best.saved >= LEAST_SAVED:
        return best
    half = _half(value) if rounded else None
    return half if half is not None and half.saved >= LEAST_HALVED else None


def describe(stored: Sequence[Stored]) -> list[str]:
    """Say how many constants are stored how, and what that saves."""
    exact = [entry for entry in stored if entry.form != "half"]
    notes = []
    if exact:
        counts = Counter(entry.form for entry in exact)
        parts = ", ".join(words.format(counts[form]) for form, words in _SAID.items() if form in counts)
        notes.append(
            f"storage: {_constants(exact)} for the same numbers to the bit ({parts}), "
            "which the runtime makes of them when it loads the file"
        )
    if halves := [entry for entry in stored if entry.form == "half"]:
        notes.append(
            f"storage: {_constants(halves)} as float16, rounded by at most 1/{1 / LOSS:.0f} of the largest value "
            "beside it; computed in float32"
        )
    return notes


def _constants(stored: Sequence[Stored]) -> str:
    count, saved = len(stored), sum(entry.saved for entry in stored)
    return f"{count} constant{'s' if count != 1 else ''} in {saved / 1000:.0f} kB less"


def _bits(value: Array) -> Array:
    """Return the bits of floats: equal only where nothing differs, the sign of zero and NaNs included."""
    return np.ascontiguousarray(value).view(_WORDS[value.dtype.itemsize])


def _same(value: Array) -> Stored | None:
    bits = _bits(value)
    if (bits != bits.flat[0]).any():
        return None
    return Stored("same", value.shape, value.dtype, value.reshape(-1)[0:1].copy().reshape(()))


def _whole(value: Array) -> Stored | None:
    if not (np.abs(value) <= 127).all():  # NaN among them
        return None
    stored = Stored("whole", value.shape, value.dtype, value.astype(np.int8))
    return stored if np.array_equal(_bits(stored.value()), _bits(value)) else None


def _few(value: Array) -> Stored | None:
    bits = _bits(value).reshape(-1)
    sample = bits[:: max(1, bits.size // _SAMPLE)]
    if np.unique(sample).size > sample.size // 2:
        return None  # weights: sorting millions of them would tell no more
    table, places = np.unique(bits, return_inverse=True)
    if table.size > 2**16:
        return None
    codes = places.reshape(value.shape).astype(np.uint8 if table.size <= 2**8 else np.uint16)
    return Stored("few", value.shape, value.dtype, codes, table.view(value.dtype))


def _half(value: Array) -> Stored | None:
    """Return float16, if no row of the tensor, along any of its axes, loses more than ``LOSS`` of its peak.

    Rows, because a channel as a whole may be small; what is small beside a larger weight of the same sum does
    not matter.
    """
    if value.dtype != np.float32 or not (np.abs(value) <= np.finfo(np.float16).max).all():
        return None
    half = value.astype(np.float16)
    lost, size = np.abs(half.astype(np.float32) - value), np.abs(value)
    for axis in range(value.ndim):
        others = tuple(i for i in range(value.ndim) if i != axis)
        if (lost.max(axis=others) > LOSS * size.max(axis=others)).any():
            return None
    return Stored("half", value.shape, value.dtype, half)
