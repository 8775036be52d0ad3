"""Read the protobuf wire format: enough for ONNX and Core ML files, on a device that has no protobuf.

Nothing is copied that the caller does not ask for, so weights inside a file cost nothing. Every length is
held against the message it is in, so a hostile file ends in a ``ValueError``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

Buffer = bytes | mmap.mmap
MAX_DEPTH = 64
"""How deeply messages may nest; the caller counts."""


def fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, first, last) of each field of the message in ``data[start:end]``.

    For wire type 0 (a number) ``first`` is its value and ``last`` 0; for 1, 2 and 5 (eight bytes,
    length-delimited, four bytes) they are where its bytes start and end.

    Raises:
        ValueError: cut short, or a wire type that protobuf 3 does not use.
    """
    at = start
    while at < end:
        key, at = varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at, end)
            yield number, wire, value, 0
            continue
        if wire == 2:
            length, at = varint(data, at, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} does not occur in such a file")
        if length > end - at:
            raise ValueError("cut short")
        yield number, wire, at, at + length
        at += length


def varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """Return the number that starts at ``at``, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise ValueError("cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")


def signed(value: int) -> int:
    """Return what a varint means as a 64-bit signed integer."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
