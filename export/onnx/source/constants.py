"""What an ONNX graph knows before it runs: constants, and what small nodes make of them.

Lengths and axes of transforms are inputs of their nodes. Exporters write them as constants, or compute them
from shapes that are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

_MOVING = ("Constant", "Identity", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Reshape", "Cast")
FOLDED = frozenset((*_MOVING, "Add", "Sub", "Mul", "Div", "Mod", "Neg", "Floor", "Ceil", "Min", "Max"))
"""Operators that sizes are computed with."""
WINDOWS = ("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")
MOST_ELEMENTS = 4096
"""Elements of an operand of :data:`FOLDED`; what is larger is data, not a size."""
LARGEST_WINDOW = 1 << 22
"""Elements of a window or a matrix that is made here."""
DEEPEST = 64
"""How many nodes one value may depend on in a row."""


@dataclass(frozen=True)
class TensorType:
    """Element type (0: unknown) and shape of a value; ``None``: a size or a rank that is not known."""

    kind: int = 0
    shape: tuple[int | None, ...] | None = None


@dataclass
class Scope:
    """The values of one graph; ``above`` is the graph that holds it, whose values it may read."""

    types: Mapping[str, TensorType]
    opset: int
    above: Scope | None = None
    stored: dict[str, onnx.TensorProto] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    fed: set[str] = field(default_factory=set)
    _known: dict[str, Array | None] = field(default_factory=dict)

    def type_of(self, name: str) -> TensorType:
        """Return what is known of a value here or above."""
        if name in self.types:
            return self.types[name]
        return TensorType() if self.above is None else self.above.type_of(name)

    def value(self, name: str, depth: int = 0) -> Array | None:
        """Return a value that does not depend on any input of the model; ``None`` for all others."""
        here = name in self.stored or name in self.makers or name in self.fed
        if not here and self.above is not None:
            return self.above.value(name, depth)
        if depth > DEEPEST or name in self.fed:
            return None
        if name not in self._known:
            self._known[name] = None  # while it is computed: a hostile graph may go round in a circle
            self._known[name] = self._computed(name, depth)
        return self._known[name]

    def _computed(self, name: str, depth: int) -> Array | None:
        from onnx import numpy_helper

        if name in self.stored:
            try:
                return numpy_helper.to_array(self.stored[name])
            except (ValueError, TypeError):  # not as many bytes as its shape needs
                return None
        node = self.makers.get(name)
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in ("Shape", "Size"):
            return self._of_shape(node)
        values = [self.value(entry, depth + 1) if entry else None for entry in node.input]
        if any(value is None and entry for value, entry in zip(values, node.input, strict=True)):
            return None
        if node.op_type in WINDOWS:
            return window(node, [value for value in values if value is not None])
        if node.op_type not in FOLDED or len(node.output) != 1:
            return None
        return _evaluate(node, values, self.opset)

    def _of_shape(self, node: onnx.NodeProto) -> Array | None:
        shape = self.type_of(node.input[0]).shape
        if shape is None or any(size is None for size in shape):
            return None
        sizes = np.array(shape, np.int64)
        if node.op_type == "Size":
            return np.array(math.prod(int(size) for size in sizes), np.int64)
        options = {entry.name: int(entry.i) for entry in node.attribute}
        return sizes[options.get("start", 0) : options.get("end", len(sizes))]


def attributes(node: onnx.NodeProto) -> dict[str, int]:
    """Return the whole-number attributes of a node."""
    return {entry.name: int(entry.i) for entry in node.attribute}


def _evaluate(node: onnx.NodeProto, values: list[Array | None], opset: int) -> Array | None:
    """Return what the ONNX reference makes of one small node."""
    if any(value is not None and value.size > MOST_ELEMENTS for value in values):
        return None
    try:
        (result,) = _run(node, values, opset)
    except Exception:  # whatever the reference makes of operands that fit no definition
        return None
    return result if result.size <= MOST_ELEMENTS or node.op_type == "Constant" else None


def _run(node: onnx.NodeProto, values: list[Array | None], opset: int) -> Iterator[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [f"x{place}" if value is not None else "" for place, value in enumerate(values)]
    alone = helper.make_node(node.op_type, names, ["y"])
    alone.attribute.extend(node.attribute)
    given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    graph = helper.make_graph([alone], "one", ports, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    for result in ReferenceEvaluator(model).run(None, given):
        yield np.asarray(result)


def window(node: onnx.NodeProto, values: list[Array]) -> Array | None:
    """Return the values of a window operator, or of a mel matrix; ``None`` leaves it to the runtime.

    The definitions of the ONNX standard (opset 17), computed in float64. A symmetric window of one point
    divides by zero there, and is left alone.
    """
    from onnx import TensorProto, helper

    options = attributes(node)
    kind = options.get("output_datatype", TensorProto.FLOAT)
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
    if kind not in floats or any(value.size != 1 for value in values):
        return None
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    size = int(values[0].ravel()[0])
    if node.op_type == "MelWeightMatrix":
        bins = int(values[1].ravel()[0]) // 2 + 1 if len(values) == 5 else 0
        if min(size, bins) < 1 or size * bins > LARGEST_WINDOW:
            return None
        try:
            (matrix,) = _run(node, list(values), 17)
        except Exception:  # edges beyond half the sample rate leave the matrix
            return None
        return matrix.astype(dtype)
    span = size if options.get("periodic", 1) else size - 1
    if not (0 < size <= LARGEST_WINDOW and span > 0):
        return None
    angle = 2 * np.pi * np.arange(size) / span
    if node.op_type == "HannWindow":
        samples = 0.5 - 0.5 * np.cos(angle)
    elif node.op_type == "HammingWindow":
        samples = 25 / 46 - 21 / 46 * np.cos(angle)
    else:
        samples = 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)
    return samples.astype(dtype)
