"""Read one .npy file (numpy.lib.format, versions 1 to 3) whose header is not believed.

NumPy evaluates the header as Python text and allocates what its shape asks for. Here the header is matched
against the one form that writers give it, and its shape is held against the size of the file before memory
is taken.
"""

from __future__ import annotations

import math
import re
import struct
from typing import IO, Any

import numpy as np

MAX_HEADER_BYTES = 10_000
MAX_RANK = 32
_MAGIC = b"\x93NUMPY"
_PAIR = re.compile(
    r"\s*(['\"])(descr|fortran_order|shape)\1\s*:\s*"
    r"(?:(['\"])(?P<descr>[<>|=]?[biufc][0-9]{1,2}|\?)\3|(?P<order>True|False)"
    r"|\((?P<shape>[0-9L, ]{0,1000})\))\s*"
)
_SIDES = re.compile(r"\s*(?:[0-9]{1,19}L?\s*(?:,\s*[0-9]{1,19}L?\s*)*,?)?\s*")

Array = np.ndarray[Any, np.dtype[Any]]


def read_npy(
    stream: IO[bytes], size: int, *, shape: tuple[int, ...] | None = None, dtype: str | None = None
) -> Array:
    """Read an array of plain numbers.

    Args:
        stream: at the beginning of the .npy file.
        size: bytes that it has.
        shape: the only shape to accept, known before any element is read; ``None`` accepts any.
        dtype: the only dtype to accept; ``None`` accepts any.

    Returns:
        An array that nothing else writes to; it may be read-only and in Fortran order.

    Raises:
        ValueError: not such a file; the message says why.
    """
    stored, fortran, kind, start = _header(stream)
    if shape is not None and stored != shape:
        raise ValueError(f"its shape is {_words(stored)}, expected {list(shape)}")
    if dtype is not None and kind != np.dtype(dtype):
        raise ValueError(f"it holds {kind}, expected {dtype}")
    needed = kind.itemsize * math.prod(stored)
    if needed != size - start:
        raise ValueError(f"its shape {_words(stored)} needs {needed:.4g} bytes and has {size - start}")
    data = stream.read(needed)
    if len(data) != needed:
        raise ValueError("it is truncated")
    return np.frombuffer(data, kind).reshape(stored, order="F" if fortran else "C")


def read_shape(stream: IO[bytes]) -> tuple[int, ...]:
    """Return the shape in the header of a .npy file; raises as :func:`read_npy`, and reads no elements."""
    return _header(stream)[0]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, dtype and where the numbers begin."""
    magic = stream.read(8)
    if magic[:6] != _MAGIC or len(magic) < 8 or magic[6] not in (1, 2, 3):
        raise ValueError("it does not begin as one")
    width = 2 if magic[6] == 1 else 4
    field = stream.read(width)
    if len(field) < width:
        raise ValueError("it is truncated")
    (length,) = struct.unpack("<H" if width == 2 else "<I", field)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {length} bytes")
    text = stream.read(length).decode("latin-1").strip()
    shape, fortran, kind = _fields(text)
    return shape, fortran, kind, 8 + width + length


def _fields(text: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError("its header is not a table")
    inner, at = text[1:-1].strip(), 0
    values: dict[str, str] = {}
    while at < len(inner):
        match = _PAIR.match(inner, at)
        if match is None:
            raise ValueError(
                "it holds other keys, records or another type that is not numbers, or a shape "
                "that is no tuple"
            )
        key = match[2]
        value = match["descr"] if key == "descr" else match["order" if key == "fortran_order" else "shape"]
        if value is None or key in values:
            raise ValueError(f"its header has no usable {key}")
        values[key] = value
        at = match.end()
        if at < len(inner) and inner[at] != ",":
            raise ValueError("its header is not a table")
        at += 1
    if len(values) != 3:
        raise ValueError("its header does not have the three keys")
    if not _SIDES.fullmatch(values["shape"]):
        raise ValueError("its shape is impossible")
    sides = tuple(int(side) for side in re.findall("[0-9]+", values["shape"]))
    if len(sides) > MAX_RANK:
        raise ValueError(f"its shape has {len(sides)} sides")
    try:
        return sides, values["fortran_order"] == "True", np.dtype(values["descr"])
    except TypeError as error:  # a width that no such number has
        raise ValueError(f"{values['descr']} is no type of number") from error


def _words(shape: tuple[int, ...]) -> str:
    return f"{list(shape)}"[:120]
