"""A MIL program as plain values, read from its protobuf bytes (coremltools' ``MIL.proto``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..outside.protobuf import Buffer, fields, signed
from .immediate import Array, Span, immediate, text

DTYPES = {
    1: "bool",
    2: "string",
    10: "float16",
    11: "float32",
    12: "float64",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
}
"""Number in ``MIL.proto`` -> NumPy's name (and ``string``)."""

MAX_RANK = 5
MAX_ELEMENTS = 2**29
MAX_OPERATIONS = 200_000


@dataclass(frozen=True)
class TensorType:
    """Element type and sizes of a value; a list of strings is a ``string`` of one axis."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Return ``float16[1, 3, 8, 8]``."""
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class Stored:
    """A constant kept in the weight file: its name relative to the model, and where it starts there."""

    file: str
    offset: int


@dataclass(frozen=True)
class Value:
    """A constant: an array, a text, or where an array is stored."""

    type: TensorType
    content: Array | str | Stored


@dataclass(frozen=True)
class Operation:
    """One step: what it does, on which values (names, or constants in place), and what it yields."""

    type: str
    inputs: dict[str, tuple[str | Value, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    attributes: dict[str, Value]

    def __str__(self) -> str:
        """Return the operation and the name of its first result, for messages."""
        return f"{self.type} {self.outputs[0][0]!r}" if self.outputs else self.type


@dataclass(frozen=True)
class Program:
    """The ``main`` function: typed inputs, operations in order, names of the outputs."""

    opset: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]


def read_program(data: Buffer, span: Span) -> Program:
    """Read the ``Program`` message in ``data[span]``.

    Raises:
        ValueError: cut short, of another version, or holding what this reader does not know; says what.
    """
    version, functions = 0, {}
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 0:
            version = first
        elif number == 2 and wire == 2:
            key, value = _entry(data, (first, last))
            functions[key] = value
    if version != 1:
        raise ValueError(f"MIL program version {version}; this release reads 1")
    if set(functions) != {"main"}:
        raise ValueError(f"expected the one function 'main', found {sorted(functions)!r:.80}")
    return _function(data, functions["main"])


def _function(data: Buffer, span: Span) -> Program:
    inputs, opset, blocks = [], "", {}
    for number, wire, first, last in fields(data, *span):
        if wire != 2:
            continue
        if number == 1:
            inputs.append(_named_type(data, (first, last)))
        elif number == 2:
            opset = text(data, (first, last))
        elif number == 3:
            key, value = _entry(data, (first, last))
            blocks[key] = value
    if opset not in blocks:
        raise ValueError(f"no block for the operation set {opset!r:.80}")
    outputs, operations = [], []
    for number, wire, first, last in fields(data, *blocks[opset]):
        if number == 2 and wire == 2:
            outputs.append(text(data, (first, last)))
        elif number == 3 and wire == 2:
            operations.append(_operation(data, (first, last)))
            if len(operations) > MAX_OPERATIONS:
                raise ValueError(f"more than {MAX_OPERATIONS} operations")
    return Program(opset, tuple(inputs), tuple(outputs), tuple(operations))


def _operation(data: Buffer, span: Span) -> Operation:
    kind, outputs = "", []
    inputs: dict[str, tuple[str | Value, ...]] = {}
    attributes: dict[str, Value] = {}
    for number, wire, first, last in fields(data, *span):
        if wire != 2:
            continue
        if number == 1:
            kind = text(data, (first, last))
        elif number == 2:
            key, value = _entry(data, (first, last))
            inputs[key] = tuple(
                _binding(data, (a, b)) for n, w, a, b in fields(data, *value) if n == 1 and w == 2
            )
        elif number == 3:
            outputs.append(_named_type(data, (first, last)))
        elif number == 4:
            raise ValueError(f"{kind or 'an operation'} holds a block: control flow at run time")
        elif number == 5:
            key, value = _entry(data, (first, last))
            attributes[key] = _value(data, value)
    return Operation(kind, inputs, tuple(outputs), attributes)


def _binding(data: Buffer, span: Span) -> str | Value:
    for number, wire, first, last in fields(data, *span):
        if wire == 2:
            return text(data, (first, last)) if number == 1 else _value(data, (first, last))
    raise ValueError("an argument that is neither a name nor a value")


def _value(data: Buffer, span: Span) -> Value:
    kind: TensorType | None = None
    content: Span | None = None
    stored: Span | None = None
    for number, wire, first, last in fields(data, *span):
        if wire == 2 and number == 2:
            kind = _type(data, (first, last))
        elif wire == 2 and number == 3:
            content = (first, last)
        elif wire == 2 and number == 5:
            stored = (first, last)
    if kind is None:
        raise ValueError("a constant without a type")
    if stored is not None:
        return Value(kind, _stored(data, stored))
    if content is None:
        raise ValueError("a constant without a value")
    return Value(kind, immediate(data, content, kind.dtype, kind.shape))


def _stored(data: Buffer, span: Span) -> Stored:
    file, offset = "", 0
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 2:
            file = text(data, (first, last))
        elif number == 2 and wire == 0:
            offset = first
    return Stored(file, offset)


def _named_type(data: Buffer, span: Span) -> tuple[str, TensorType]:
    name, kind = "", None
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 2:
            name = text(data, (first, last))
        elif number == 2 and wire == 2:
            kind = _type(data, (first, last))
    if kind is None:
        raise ValueError(f"{name!r:.80} has no type")
    return name, kind


def _type(data: Buffer, span: Span) -> TensorType:
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 2:
            return _tensor_type(data, (first, last))
    raise ValueError("a value that is no tensor (a list, tuple, dictionary or state)")


def _tensor_type(data: Buffer, span: Span) -> TensorType:
    dtype, rank, shape = 0, 0, []
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 0:
            dtype = first
        elif number == 2 and wire == 0:
            rank = signed(first)
        elif number == 3 and wire == 2:
            shape.append(_dimension(data, (first, last)))
    if dtype not in DTYPES:
        raise ValueError(f"the element type number {dtype} is unknown to this release")
    if rank != len(shape) or rank > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"a tensor of the sizes {shape!r:.80}; Core ML takes {MAX_RANK} axes")
    return TensorType(DTYPES[dtype], tuple(shape))


def _dimension(data: Buffer, span: Span) -> int:
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 2:
            sizes = [a for n, w, a, _ in fields(data, first, last) if n == 1 and w == 0]
            return sizes[0] if sizes else 0
    raise ValueError("a size that is not fixed")


def _entry(data: Buffer, span: Span) -> tuple[str, Span]:
    """Read one entry of a protobuf map: its key, and where its value is."""
    key, value = "", (span[0], span[0])
    for number, wire, first, last in fields(data, *span):
        if number == 1 and wire == 2:
            key = text(data, (first, last))
        elif number == 2 and wire == 2:
            value = (first, last)
    return key, value
