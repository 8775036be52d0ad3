"""Read what an ExecuTorch program hands to XNNPACK, without trusting it: see :mod:`.pte`.

Format: ``backends/xnnpack/serialization/schema.fbs`` and ``XNNHeader`` of ExecuTorch 1.5.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from .flatbuffer import Flatbuffer

_HEADER = struct.Struct("<4s4sHIIIQ")
_IDENTIFIERS = (b"XN00", b"XN01")
_QUANTISED = 2
_NONE = 2**32 - 1
"""The number of a value that is not there, such as the bias of a layer without one."""
LAYERS = ("Conv2d", "DepthwiseConv2d", "ConvTranspose2d", "FullyConnected")
"""Operators with weights."""

NODES = (
    *("Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div"),
    *("StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d"),
    *("MaxPooling2d", "Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d", "StaticReshape"),
    *("ArgMaxPooling2d", "SquareRoot", "Ceiling", "Hardswish", "LeakyReLU", "Maximum", "Negate", "Square"),
    *("ELU", "Abs", "PReLU", "Concatenate2", "Concatenate3", "Concatenate4", "StaticSlice"),
    *("ScaledDotProductAttention", "BatchMatrixMultiply", "Concatenate5", "ConvTranspose2d"),
    *("ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp", "Sin", "Copy", "Cos"),
)
"""Operators by their number in ``XNodeUnion``, which counts from one."""

_BINARY = ("Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply")
_VALUES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(_BINARY, (0, 1, 2)),
    "FullyConnected": (0, 1, 2, 3),
    **dict.fromkeys(("Conv2d", "DepthwiseConv2d", "ConvTranspose2d"), (15, 16, 17, 18)),
    **dict.fromkeys(("StaticTranspose", "StaticResizeBilinear2D", "StaticReshape"), (2, 3)),
    **dict.fromkeys(("StaticConstantPad", "StaticSlice"), (3, 4)),
    **dict.fromkeys(("AvgPooling2d", "MaxPooling2d"), (10, 11)),
    "ArgMaxPooling2d": (6, 7, 8),
    **dict.fromkeys(("LeakyReLU", "ELU"), (1, 2)),
    "Concatenate2": (1, 2, 5),
    "Concatenate3": (1, 2, 3, 5),
    "Concatenate4": (1, 2, 3, 4, 5),
    "Concatenate5": (1, 2, 3, 4, 5, 7),
    "ScaledDotProductAttention": (0, 1, 2, 3, 4, 5),
}
"""Operator -> the fields that hold numbers of values: what it reads first, and last what it makes."""
_ONE_TO_ONE = (0, 1)
_LISTS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "StaticReshape": (0, (1,)),
    "StaticTranspose": (0, (1,)),
    "StaticSlice": (0, (1, 2)),
}
"""Operator -> the field of its rank, and the lists that must have as many numbers."""


@dataclass(frozen=True)
class Part:
    """The operators of a part, counted: all, those whose result has 8 bits, and those whose first input has
    8 bits as well."""

    operators: Counter[str]
    rounded: Counter[str]
    quantised: Counter[str]


def read_xnnpack(data: bytes, named: Mapping[str, int]) -> Part:
    """Check a part of a program and return its operators.

    Args:
        data: the header, the FlatBuffer of the graph and its constants.
        named: names of the program's stored data -> their bytes.

    Raises:
        ValueError: damaged, or something that is no part for XNNPACK.
    """
    if len(data) < _HEADER.size or data[4:8] != b"XH00":
        raise ValueError("has a delegate's data without XNNPACK's header")
    _, _, length, offset, size, constants, constants_size = _HEADER.unpack_from(data)
    if length < _HEADER.size or offset + size > len(data) or constants + constants_size > len(data):
        raise ValueError("has a delegate's data that are cut short")
    graph = Flatbuffer(data[offset : offset + size])
    identifier = graph.data[4:8]
    if identifier not in _IDENTIFIERS:
        raise ValueError("has a delegate's data of another format than XNNPACK's")
    root = graph.root(bytes(identifier))
    places = 0
    for place in root.tables(8):
        places += 1
        key, start, count = place.text(2), place.number(0, "Q"), place.number(1, "Q")
        if key and count > named.get(key, -1):
            raise ValueError("has a delegate's constant that does not exist")
        if not key and start + count > constants_size:
            raise ValueError("has a delegate's constant outside of its data")
    numbers, bytes_wide = set[int](), set[int]()
    for value in root.tables(2):
        tensor, quantised = value.table(1), value.number(0, "B") == _QUANTISED
        if tensor is not None and quantised:
            tensor = tensor.table(0)
        if tensor is None or tensor.number(3, "I") >= max(1, places):
            raise ValueError("has a delegate's value without contents, or whose constant does not exist")
        if tensor.span(2, 4)[1] != tensor.number(1, "I"):
            raise ValueError("has a delegate's value whose shape is not of its rank")
        numbers.add(tensor.number(6, "I"))
        if quantised:
            bytes_wide.add(tensor.number(6, "I"))
    numbers.add(_NONE)
    part = Part(Counter(), Counter(), Counter())
    for node in root.tables(1):
        kind, inner = node.number(0, "B"), node.table(1)
        if not 1 <= kind <= len(NODES) or inner is None:
            raise ValueError(f"has a delegate's operator of the unknown kind {kind}")
        name = NODES[kind - 1]
        values = [inner.number(field, "I") for field in _VALUES.get(name, _ONE_TO_ONE)]
        if not numbers.issuperset(values):
            raise ValueError(f"has a delegate's operator ({name}) of values that do not exist")
        rank, lists = _LISTS.get(name, (0, ()))
        if any(inner.span(field, 4)[1] != inner.number(rank, "I") for field in lists):
            raise ValueError(f"has a delegate's operator ({name}) whose lists are not of its rank")
        part.operators[name] += 1
        part.rounded[name] += values[-1] in bytes_wide
        part.quantised[name] += bytes_wide.issuperset((values[0], values[-1]))
    if any(number not in numbers for field in (4, 5) for number in root.numbers(field, "I")):
        raise ValueError("has a delegate's end that does not exist")
    return part
