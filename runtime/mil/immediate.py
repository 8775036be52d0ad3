"""Constants written into a program itself, in the several ways that ``MIL.proto`` has for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..outside.protobuf import Buffer, fields, signed, varint
from ..photo import Array as Array

Span = tuple[int, int]


def immediate(data: Buffer, span: Span, dtype: str, shape: tuple[int, ...]) -> Array | str:
    """Return the ``ImmediateValue`` in ``data[span]``, declared as a tensor of this type and these sizes.

    Raises:
        ValueError: no tensor, or not what is declared.
    """
    tensors = [(first, last) for number, wire, first, last in fields(data, *span) if (number, wire) == (1, 2)]
    if len(tensors) != 1:
        raise ValueError("a constant that is no tensor (a tuple, list or dictionary)")
    held = [(number, first, last) for number, wire, first, last in fields(data, *tensors[0]) if wire == 2]
    count = math.prod(shape)
    if len(held) != 1:
        # An empty repeated field may be left out altogether.
        values: Any = []
        number = 0
    else:
        number, first, last = held[0]
        if number not in _REPEATED:
            raise ValueError(f"a constant of unknown kind {number}")
        values = _REPEATED[number](data, (first, last))
    if dtype == "string":
        if count != 1 or len(values) != 1 or number != 4:
            raise ValueError("a list of strings, where one is expected")
        return str(values[0])
    if number == 7:
        values = np.frombuffer(values, np.dtype(dtype).newbyteorder("<"))
    array = np.asarray(values).astype(dtype)
    if array.size != count:
        raise ValueError(f"a constant of {array.size} elements, declared as {dtype}{list(shape)}")
    return array.reshape(shape)


def _packed(dtype: str) -> Callable[[Buffer, Span], Array]:
    def read(data: Buffer, span: Span) -> Array:
        parts = [data[a:b] for number, wire, a, b in fields(data, *span) if number == 1 and wire != 0]
        return np.frombuffer(b"".join(parts), np.dtype(dtype).newbyteorder("<"))

    return read


def integers(data: Buffer, span: Span) -> list[int]:
    """Return the repeated integers with field number 1, packed or not."""
    numbers = []
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 0:
            numbers.append(signed(first))
        elif number == 1 and wire == 2:
            while first < last:
                value, first = varint(data, first, last)
                numbers.append(signed(value))
    return numbers


def _strings(data: Buffer, span: Span) -> list[str]:
    return [text(data, (a, b)) for number, wire, a, b in fields(data, *span) if (number, wire) == (1, 2)]


def _bytes(data: Buffer, span: Span) -> bytes:
    return b"".join(data[a:b] for number, wire, a, b in fields(data, *span) if (number, wire) == (1, 2))


_REPEATED: dict[int, Callable[[Buffer, Span], Any]] = {
    1: _packed("float32"),
    2: integers,
    3: integers,
    4: _strings,
    5: integers,
    6: _packed("float64"),
    7: _bytes,
}


def text(data: Buffer, span: Span) -> str:
    """Return a name."""
    if span[1] - span[0] > 4096:
        raise ValueError("a name of more than 4096 bytes")
    return data[span[0] : span[1]].decode("utf-8")


def children(data: Buffer, span: Span, number: int) -> Iterator[Span]:
    """Yield where each sub-message with that field number is."""
    for field, wire, first, last in fields(data, *span):
        if field == number and wire == 2:
            yield first, last
