"""Read a ``.tflite`` file before native code does, and refuse one that a converter would not have written.

LiteRT follows the offsets of such a file without looking at most of them, so a damaged file can end the
process. This reader visits every table and list that LiteRT visits, by :mod:`.flatbuffer`, and then checks
what the numbers mean: places of tensors, buffers and operators, sizes of constants, the order of operators,
steps of quantised values. Field numbers and codes are those of LiteRT's schema (``schema.fbs``, version 3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .flatbuffer import Buffer, Flatbuffer, Table

PADDING = bytes(64)
"""To put behind the bytes of a file before LiteRT gets them: a field of the file's last table may be declared
shorter here than the eight bytes that LiteRT may read."""
MAX_TENSOR_BYTES = 16 * 1024**3
MAX_RANK = 8

_TYPES: Mapping[int, tuple[str, int]] = {
    0: ("float32", 4),
    1: ("float16", 2),
    2: ("int32", 4),
    3: ("uint8", 1),
    4: ("int64", 8),
    6: ("bool", 1),
    7: ("int16", 2),
    9: ("int8", 1),
}
"""``TensorType`` -> name, bytes."""

OPERATORS: Mapping[int, str] = {
    code: name
    for start, names in (
        (0, "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE"),
        (8, "FLOOR FULLY_CONNECTED"),
        (11, "L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC"),
        (17, "MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR"),
        (25, "SOFTMAX SPACE_TO_DEPTH"),
        (28, "TANH"),
        (34, "PAD"),
        (36, "GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE"),
        (45, "STRIDED_SLICE"),
        (47, "EXP TOPK_V2 SPLIT LOG_SOFTMAX"),
        (53, "CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT"),
        (65, "SLICE SIN TRANSPOSE_CONV"),
        (69, "TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN"),
        (81, "REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN"),
        (90, "FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR"),
        (98, "LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V"),
        (104, "CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU"),
        (114, "QUANTIZE"),
        (116, "ROUND HARD_SWISH"),
        (122, "SCATTER_ND SELECT_V2"),
        (126, "BATCH_MATMUL"),
        (128, "CUMSUM"),
        (130, "BROADCAST_TO"),
        (132, "CONV_3D"),
        (140, "REDUCE_ALL CONV_3D_TRANSPOSE"),
        (145, "BROADCAST_ARGS"),
        (150, "GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1"),
        (156, "ATAN2"),
        (158, "SIGN BITCAST BITWISE_XOR RIGHT_SHIFT"),
    )
    for code, name in enumerate(names.split(), start)
}
"""Operators that a file may hold, ``BuiltinOperator`` -> name. None of them calls another graph, keeps a
state, draws random numbers, names a file, or is somebody's own."""

_LAST_OPTIONS = 126
_LISTS_IN_OPTIONS: Mapping[int, Mapping[int, int]] = {8: {5: 1}, 17: {0: 4}, 30: {0: 4}}
"""``BuiltinOptions`` -> field -> bytes of the values of its list; the other options have plain numbers."""
_REFUSED_OPTIONS = {3, 111, 115}  # lists and texts, of operators that are refused


@dataclass(frozen=True)
class Tensor:
    """A tensor: ``constant`` says where its bytes lie in the file, ``None`` for one that is computed.

    ``scales`` are the steps of a quantised tensor, one or one for each place along ``axis``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: tuple[int, int] | None
    scales: tuple[float, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class Operator:
    """An operator: its name in the schema, and the places of its tensors. An input may be absent (-1)."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteModel:
    """What a file holds. ``inputs`` and ``outputs`` map the names of its signature to places of tensors."""

    description: str
    signature: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    metadata: Mapping[str, bytes]

    @property
    def census(self) -> Counter[str]:
        """How many operators of each name there are."""
        return Counter(operator.name for operator in self.operators)


def read_tflite(data: Buffer) -> TfliteModel:
    """Read and check a file.

    Raises:
        ValueError: damaged, or holds what no file of this toolkit does; says what.
    """
    file = Flatbuffer(data)
    root = file.root(b"TFL3")
    if root.number(0, "I") != 3:
        raise ValueError("is not of version 3 of the format")
    if root.has(8) or root.has(9):
        raise ValueError("keeps weights in other files")
    buffers = [_buffer(table) for table in root.tables(4)]
    codes = [_code(table) for table in root.tables(1)]
    graphs = list(root.tables(2))
    signatures = list(root.tables(7))
    if len(graphs) != 1 or len(signatures) != 1:
        raise ValueError(f"has {len(graphs)} graphs and {len(signatures)} signatures; expected one of each")
    (graph,) = graphs
    tensors = tuple(_tensor(table, buffers) for table in graph.tables(0))
    operators = tuple(_operator(table, codes, len(tensors)) for table in graph.tables(3))
    taken = _places(graph.numbers(1), len(tensors), "the graph's inputs")
    given = _places(graph.numbers(2), len(tensors), "the graph's outputs")
    graph.text(4)
    _check_order(tensors, operators, taken, given)
    (signature,) = signatures
    if signature.number(4, "I") != 0:
        raise ValueError("has a signature of a graph that does not exist")
    for place in root.numbers(5):
        _index(place, len(buffers), "buffer")
    return TfliteModel(
        description=root.text(3),
        signature=signature.text(2),
        tensors=tensors,
        operators=operators,
        inputs=_ends(signature.tables(0), taken, "input"),
        outputs=_ends(signature.tables(1), given, "output"),
        metadata={
            table.text(0): _bytes(data, buffers[_index(table.number(1, "I"), len(buffers), "buffer")])
            for table in root.tables(6)
        },
    )


def _buffer(table: Table) -> tuple[int, int]:
    if table.number(1, "Q") > 1 or table.number(2, "Q") > 1:
        raise ValueError("keeps a buffer behind the end of its tables")
    return table.span(0, 1)


def _bytes(data: Buffer, span: tuple[int, int]) -> bytes:
    return bytes(data[span[0] : span[0] + span[1]])


def _code(table: Table) -> str:
    # Files of old converters have the first field only; the larger of the two is the code.
    code = max(table.number(0, "b"), table.number(3, "i"))
    if table.has(1) and table.text(1):
        raise ValueError(f"needs an operator of somebody's own ({table.text(1)!r:.60})")
    if code not in OPERATORS:
        raise ValueError(f"has an operator with the code {code}, which no file of this toolkit needs")
    if not 1 <= table.number(2, "i", 1) <= 64:
        raise ValueError(f"has an operator {OPERATORS[code]} of an unknown version")
    return OPERATORS[code]


def _tensor(table: Table, buffers: list[tuple[int, int]]) -> Tensor:
    name = table.text(3)
    shape = table.numbers(0)
    kind = table.number(1, "b")
    if kind not in _TYPES:
        raise ValueError(f"tensor {name!r:.60} has a type with the code {kind}")
    dtype, size = _TYPES[kind]
    if len(shape) > MAX_RANK or any(extent < 1 for extent in (*shape, *table.numbers(7))):
        raise ValueError(f"tensor {name!r:.60} has the shape {list(shape)!s:.80}")
    needed = math.prod(shape) * size
    if needed > MAX_TENSOR_BYTES:
        raise ValueError(f"tensor {name!r:.60} would take {needed / 1e9:.3g} GB")
    if table.number(5, "B") or table.has(6) or table.has(9) or table.number(10, "I"):
        raise ValueError(f"tensor {name!r:.60} is a variable, sparse, or kept elsewhere")
    span = buffers[_index(table.number(2, "I"), len(buffers), "buffer")]
    if span[1] and span[1] != needed:
        raise ValueError(f"tensor {name!r:.60} needs {needed} bytes, and the file has {span[1]} for it")
    scales, axis = _steps(table.table(4), name, shape)
    return Tensor(name, dtype, shape, span if span[1] else None, scales, axis)


def _steps(table: Table | None, name: str, shape: tuple[int, ...]) -> tuple[tuple[float, ...], int]:
    """Return the steps of a quantised tensor and their axis; none if it holds plain numbers."""
    if table is None:
        return (), 0
    if table.number(4, "B") or table.has(5):
        raise ValueError(f"tensor {name!r:.60} is quantised in another way than by steps")
    for field in (0, 1):
        table.numbers(field, "f")
    scales, zeros, axis = table.numbers(2, "f"), table.numbers(3, "q"), table.number(6, "i")
    if not scales and not zeros:
        return (), 0
    by_channel = len(scales) > 1
    if by_channel and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
        raise ValueError(f"tensor {name!r:.60} has {len(scales)} steps for the shape {list(shape)}")
    if len(zeros) not in (1, len(scales)) or not all(0 < step < math.inf for step in scales):
        raise ValueError(f"tensor {name!r:.60} has steps that make no sense")
    if any(not -(2**15) <= zero < 2**16 for zero in zeros):
        raise ValueError(f"tensor {name!r:.60} has a zero point outside of its type")
    return tuple(map(float, scales)), axis


def _operator(table: Table, codes: list[str], tensors: int) -> Operator:
    name = codes[_index(table.number(0, "I"), len(codes), "operator code")]
    if any(table.span(field, 1)[1] for field in (5, 7)) or table.numbers(8) or table.number(9, "Q"):
        raise ValueError(f"an operator {name} has a state or options of somebody's own")
    if table.number(11, "B") or table.has(12):
        raise ValueError(f"an operator {name} has options of another kind")
    _check_options(table, name)
    inputs = _places(table.numbers(1), tensors, name, absent=True)
    return Operator(name, inputs, _places(table.numbers(2), tensors, name))


def _check_options(table: Table, name: str) -> None:
    kind = table.number(3, "B")
    if kind > _LAST_OPTIONS or kind in _REFUSED_OPTIONS:
        raise ValueError(f"an operator {name} has options with the code {kind}")
    options = table.table(4)
    if options is not None:
        for field, size in _LISTS_IN_OPTIONS.get(kind, {}).items():
            options.span(field, size)


def _check_order(
    tensors: tuple[Tensor, ...],
    operators: Iterable[Operator],
    taken: tuple[int, ...],
    given: tuple[int, ...],
) -> None:
    """Check that every tensor is made once, before it is read."""
    known = {place for place, tensor in enumerate(tensors) if tensor.constant is not None}
    if known & set(taken):
        raise ValueError("has an input that is a constant")
    known |= set(taken)
    for operator in operators:
        if not {place for place in operator.inputs if place >= 0} <= known:
            raise ValueError(f"an operator {operator.name} reads a tensor that nothing has made")
        if known & set(operator.outputs) or len(set(operator.outputs)) != len(operator.outputs):
            raise ValueError(f"an operator {operator.name} writes a tensor that exists")
        known |= set(operator.outputs)
    if not set(given) <= known:
        raise ValueError("has an output that nothing makes")


def _ends(tables: Iterable[Table], graph: tuple[int, ...], kind: str) -> dict[str, int]:
    ends: dict[str, int] = {}
    for table in tables:
        name, place = table.text(0), table.number(1, "I")
        if name in ends or place not in graph:
            raise ValueError(f"has a signature whose {kind} {name!r:.60} is none of the graph's")
        ends[name] = place
    if set(ends.values()) != set(graph):
        raise ValueError(f"has a signature that lacks an {kind} of the graph")
    return ends


def _places(values: tuple[int, ...], count: int, where: str, *, absent: bool = False) -> tuple[int, ...]:
    if any(not (0 <= value < count or (absent and value == -1)) for value in values):
        raise ValueError(f"{where} refers to a tensor that does not exist")
    return values


def _index(value: int, count: int, kind: str) -> int:
    if not 0 <= value < count:
        raise ValueError(f"refers to a {kind} that does not exist")
    return value
