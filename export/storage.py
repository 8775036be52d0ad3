"""How the constants of a finished file are stored, where fewer bytes stand for the same numbers.

A runtime folds what follows from constants alone when it loads a file, once. So a constant may be kept as
something smaller with an operator or two behind it that make the constant of it, bit for bit:

- ``same``: one value, repeated (an empty memory of zeros);
- ``whole``: whole numbers of 8 bits, with a cast (identities, sums and copies of channels);
- ``few``: a table of the values that occur, and for each element its place in it (a matrix of a transform
  holds some twenty values over and over).

Nothing is rounded for its size alone. What float32 is left in an int8 file makes DIKP's kernels, and their
inversion enlarges what rounding adds: see "Limits" in docs/precision.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Form = Literal["same", "whole", "few"]

LEAST_SAVED = 2048
"""Bytes under which it is left alone: an operator takes up to a kilobyte of text in OpenVINO's files."""
_SAMPLE = 4096
_WORDS = {2: np.uint16, 4: np.uint32}
_SAID: Mapping[Form, str] = {
    "same": "{} as one value",
    "whole": "{} as 8-bit integers",
    "few": "{} as a table of values with indices",
}


@dataclass(frozen=True)
class Stored:
    """A constant as it is stored.

    ``shape`` and ``dtype`` (float32 or float16) are the constant's. ``data``: the one value, without a shape
    (``same``); of the constant's shape, int8 (``whole``), or places in ``table`` as uint8 or uint16
    (``few``). ``table`` is one-dimensional, of the constant's type, and only there for ``few``.
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


def choose(value: Array) -> Stored | None:
    """Return the smallest form for a constant, or ``None`` where it is best left as it is.

    ``value`` may be of any shape and type; only float32 and float16 are ever stored otherwise.
    """
    if value.dtype not in (np.float32, np.float16) or value.nbytes < LEAST_SAVED:
        return None
    choices = [stored for stored in (_same(value), _whole(value), _few(value)) if stored]
    # Of equals the first, which takes the fewest operators.
    best = max(choices, key=lambda stored: stored.saved, default=None)
    return best if best is not None and best.saved >= LEAST_SAVED else None


def describe(stored: Sequence[Stored]) -> list[str]:
    """Return a note on the compressed constants and the bytes saved; empty if there are none."""
    if not stored:
        return []
    counts: Counter[Form] = Counter(entry.form for entry in stored)
    parts = ", ".join(words.format(counts[form]) for form, words in _SAID.items() if form in counts)
    saved = sum(entry.saved for entry in stored)
    return [
        f"storage: {saved / 1000:.0f} kB saved: constants stored compressed, restored bit-exactly on load "
        f"({parts})"
    ]


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
