"""Read an ExecuTorch program (``.pte``) without trusting it, before native code does.

A program is a FlatBuffer with a header of its own behind the identifier, and segments behind it: constants,
and what each delegate was given. The runtime follows the indices and sizes in it, and ends the process where
some are wrong. Here every index, size and offset is held against what it refers to. XNNPACK's parts are read
too: which operators they compute, and whether their values and constants exist. Formats:
``schema/program.fbs``, ``schema/extended_header.cpp`` and ``backends/xnnpack`` of ExecuTorch 1.5.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass, field

from .flatbuffer import Flatbuffer, Table
from .xnnpack import LAYERS, read_xnnpack

IDENTIFIER = b"ET12"
METHOD = "forward"
DESCRIPTION = "fdikp_edge"
"""The method that returns what the file says of itself, as JSON text."""
XNNPACK = "XnnpackBackend"
MAX_RANK = 16
MAX_TEXT = 1024**2
MAX_PLANNED = 64 * 2**30
"""Bytes of memory that a program may plan for its values."""

_HEADER = struct.Struct("<4sIQQQ")
_BYTES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 11: 1}
DTYPES = {
    **dict(enumerate(("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"))),
    11: "bool",
}
"""``ScalarType`` -> the name NumPy has for it."""
_TENSOR, _TEXT, _OPTIONAL = 5, 6, 11
"""Kinds of values: the last is a list of tensors of which some are left out."""
_INDEX_LISTS = {7: "q", 10: "i", _OPTIONAL: "i"}
"""Kinds that are lists of numbers of values, one of integers among them."""
_LISTS = {8: 8, 9: 1}
"""Kinds that are lists of numbers -> the bytes of each."""
_KERNEL, _DELEGATE, _MOVE, _FREE = 1, 2, 3, 5


@dataclass(frozen=True)
class PteTensor:
    """A tensor at the program's end: shape and dtype."""

    shape: tuple[int, ...]
    dtype: str


@dataclass
class PteProgram:
    """What a checked program holds.

    ``delegates`` has the name of each part's backend, ``kernels`` how often the runtime itself calls which
    operator, ``delegated`` how often XNNPACK computes which, and ``rounded`` for how many of these the result
    has 8 bits. ``quantised_layers`` counts the operators with weights that read and make 8 bits, ``calls``
    the calls of delegates.
    """

    inputs: list[PteTensor] = field(default_factory=list)
    outputs: list[PteTensor] = field(default_factory=list)
    delegates: list[str] = field(default_factory=list)
    calls: int = 0
    kernels: Counter[str] = field(default_factory=Counter)
    delegated: Counter[str] = field(default_factory=Counter)
    rounded: Counter[str] = field(default_factory=Counter)
    quantised_layers: int = 0
    planned_bytes: int = 0


def read_pte(data: bytes) -> PteProgram:
    """Check a program and return what it holds.

    Raises:
        ValueError: it is damaged, or holds what no artifact of this toolkit does; says what.
    """
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.file = Flatbuffer(data)
        self.segments: list[tuple[int, int]] = []
        self.constants: list[int] = []
        self.constants_end = 0
        self.result = PteProgram()

    def read(self) -> PteProgram:
        root = self.file.root(IDENTIFIER)
        self._segments(root)
        self._constants(root)
        self._named_data(root)
        methods = [(plan.text(0), plan) for plan in root.tables(1)]
        names = [name for name, _ in methods]
        if names.count(METHOD) != 1:
            raise ValueError(f"has the methods {', '.join(names)[:200]}; expected one called {METHOD}")
        for name, plan in methods:
            self._plan(plan, is_network=name == METHOD)
        return self.result

    def _segments(self, root: Table) -> None:
        size = base = held = 0
        if self.data[8:12] == b"eh00":
            if len(self.data) < 8 + _HEADER.size:
                raise ValueError("is cut short in its header")
            _, length, size, base, held = _HEADER.unpack_from(self.data, 8)
            if length < _HEADER.size or size > len(self.data):
                raise ValueError("has a header that does not fit the file")
            if base and (base < size or base + held > len(self.data)):
                raise ValueError("has segments that do not lie in the file: it is cut short or damaged")
        for segment in root.tables(4):
            offset, count = segment.number(0, "Q"), segment.number(1, "Q")
            if not base or offset + count > held:
                raise ValueError("has a segment that does not lie in the file: it is cut short or damaged")
            self.segments.append((base + offset, count))

    def _constants(self, root: Table) -> None:
        if root.span(2, 4)[1] or root.span(6, 4)[1]:
            raise ValueError("keeps constants or state as no artifact of this toolkit does")
        table = root.table(5)
        if table is None:
            return
        offsets = list(table.numbers(1, "Q"))
        if offsets:
            index = table.number(0, "I")
            if index >= len(self.segments):
                raise ValueError("keeps constants in a segment that does not exist")
            self.constants, self.constants_end = offsets, self.segments[index][1]

    def _named_data(self, root: Table) -> None:
        self.named: dict[str, int] = {}
        for entry in root.tables(7):
            index = entry.number(1, "I")
            if index >= len(self.segments):
                raise ValueError("names data in a segment that does not exist")
            self.named[entry.text(0)] = self.segments[index][1]
        self.inline = [table.span(0, 1) for table in root.tables(3)]

    def _plan(self, plan: Table, *, is_network: bool) -> None:
        planned = plan.numbers(8, "q")
        if any(size < 0 for size in planned) or sum(planned) > MAX_PLANNED:
            raise ValueError("plans an impossible amount of memory")
        if plan.span(9, 4)[1]:
            raise ValueError("plans memory on another device than the processor")
        limit = plan.span(2, 4)[1]
        values = [self._value(value, planned, limit) for value in plan.tables(2)]
        ends = [plan.numbers(3), plan.numbers(4)]
        operators = [f"{op.text(0)}.{op.text(1)}".rstrip(".") for op in plan.tables(6)]
        delegates = [self._delegate(delegate) for delegate in plan.tables(7)]
        for numbers in ends:
            self._within(numbers, len(values))
        for chain in plan.tables(5):
            for instruction in chain.tables(2):
                self._instruction(instruction, len(values), operators, len(delegates))
        if not is_network:
            return
        self.result.planned_bytes = sum(planned)
        for numbers, tensors in zip(ends, (self.result.inputs, self.result.outputs), strict=True):
            for index in numbers:
                tensor = values[index]
                if tensor is None:
                    raise ValueError("takes or returns something that is no tensor")
                tensors.append(tensor)

    def _value(self, value: Table, planned: tuple[int, ...], limit: int) -> PteTensor | None:
        kind = value.number(0, "B")
        if not 1 <= kind <= 11:
            raise ValueError(f"has a value of the unknown kind {kind}")
        inner = value.table(1)
        if inner is None:
            raise ValueError("has a value without contents")
        if kind in _INDEX_LISTS:
            indices = inner.numbers(0, _INDEX_LISTS[kind])
            self._within([index for index in indices if index != -1 or kind != _OPTIONAL], limit)
        elif kind in _LISTS:
            inner.span(0, _LISTS[kind])
        elif kind == _TEXT:
            inner.text(0, MAX_TEXT)
        return self._tensor(inner, planned) if kind == _TENSOR else None

    def _tensor(self, tensor: Table, planned: tuple[int, ...]) -> PteTensor:
        scalar, sizes = tensor.number(0, "b"), tensor.numbers(2)
        order = tensor.numbers(3, "B")
        if scalar not in DTYPES or tensor.number(1, "i"):
            raise ValueError("has a tensor of an unknown type, or one that starts inside of another")
        if len(sizes) > MAX_RANK or any(side < 0 for side in sizes):
            raise ValueError("has a tensor of an impossible shape")
        if sorted(order) != list(range(len(sizes))):
            raise ValueError("has a tensor whose order of axes is none")
        extra = tensor.table(9)
        if extra is not None and (extra.number(2, "b") or extra.number(3, "b")):
            raise ValueError("has a tensor whose values are outside of the file")
        count = math.prod(sizes) * _BYTES[scalar]
        place, stored = tensor.table(6), tensor.number(5, "I")
        if place is not None:
            memory, low, high = (place.number(index, "I") for index in range(3))
            if stored or not 0 < memory < len(planned) or low + (high << 32) + count > planned[memory]:
                raise ValueError("has a tensor outside of the memory that it plans")
        elif stored and (
            stored >= len(self.constants) or self.constants[stored] + count > self.constants_end
        ):
            raise ValueError("has a constant outside of its segment")
        return PteTensor(tuple(sizes), DTYPES[scalar])

    def _delegate(self, delegate: Table) -> str:
        name, place = delegate.text(0), delegate.table(1)
        if place is None:
            raise ValueError("has a delegate without data")
        index, in_segment = place.number(1, "I"), place.number(0, "b") == 1
        places = self.segments if in_segment else self.inline
        if index >= len(places):
            raise ValueError("has a delegate whose data do not exist")
        start, count = places[index]
        for spec in delegate.tables(2):
            spec.text(0), spec.span(1, 1)
        if name == XNNPACK:
            part = read_xnnpack(self.data[start : start + count], self.named)
            self.result.delegated += part.operators
            self.result.rounded += part.rounded
            self.result.quantised_layers += sum(part.quantised[layer] for layer in LAYERS)
        self.result.delegates.append(name)
        return name

    def _instruction(self, instruction: Table, values: int, operators: list[str], delegates: int) -> None:
        kind, call = instruction.number(0, "B"), instruction.table(1)
        if call is None:
            raise ValueError("has an instruction without contents")
        if kind in (_KERNEL, _DELEGATE):
            index, limit = call.number(0, "i"), len(operators) if kind == _KERNEL else delegates
            self._within((index,), limit)
            self._within(call.numbers(1), values)
            if kind == _KERNEL:
                self.result.kernels[operators[index]] += 1
            else:
                self.result.calls += 1
        elif kind in (_MOVE, _FREE):
            self._within([call.number(index, "i") for index in range(2 if kind == _MOVE else 1)], values)
        else:
            raise ValueError("has a jump, which no artifact of this toolkit does")

    @staticmethod
    def _within(indices: tuple[int, ...] | list[int], limit: int) -> None:
        if any(not 0 <= index < limit for index in indices):
            raise ValueError("refers to a value, an operator or a delegate that does not exist")
