"""Stores the constants of an ONNX file as :mod:`..storage` says, and undoes it.

A constant keeps its name, as the result of the nodes that make it, so that those that read it stay as they
are. Integers that are there twice (zero points, shapes) are stored once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.errors import BadInputError
from ..storage import Stored, choose

if TYPE_CHECKING:
    import onnx

_MAKERS = {"Cast": "/cast", "Gather": "/gather", "ConstantOfShape": "/fill"}
"""Operators that make a constant -> how the names of such nodes end."""
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
LARGEST = 2**31
"""Bytes of all constants that :func:`restore` makes: more than an ONNX file in one piece may hold."""


def store(model: onnx.ModelProto) -> list[Stored]:
    """Store constants (initializers) of a finished model smaller, in place; return how each of those was."""
    from onnx import numpy_helper

    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept, nodes, records = [], [], []
    for tensor in model.graph.initializer:
        reading = readers.get(tensor.name, [])
        # Scales and what a kernel of a runtime's own reads must be there before anything is folded.
        pinned = any(n.op_type in _QUANTISING or n.domain not in ("", "ai.onnx") for n in reading)
        stored = None if pinned else choose(numpy_helper.to_array(tensor))
        if stored is None:
            kept.append(tensor)
            continue
        tensors, restoring = _nodes(tensor.name, stored)
        kept += tensors
        nodes += restoring
        records.append(stored)
    _rewrite(model, kept, [*nodes, *model.graph.node])
    _share_integers(model)
    return records


def restore(model: onnx.ModelProto) -> int:
    """Put each constant back as an initializer, in place, and return how many were stored otherwise.

    Raises:
        BadInputError: a file from elsewhere whose constants cannot be made, or are of more than
            :data:`LARGEST` bytes.
    """
    from onnx import numpy_helper

    known = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Any] = {}
    restored: set[str] = set()
    total = 0

    def value(name: str) -> Any:
        return values[name] if name in values else numpy_helper.to_array(known[name])

    nodes = []
    for node in model.graph.node:
        if total > LARGEST:
            raise BadInputError(f"its constants are of more than {LARGEST >> 20} MB")
        ours = node.op_type in _MAKERS and node.name.endswith(_MAKERS[node.op_type])
        if not ours or not all(name in known or name in values for name in node.input):
            nodes.append(node)
            continue
        try:
            result = _value(node, [value(name) for name in node.input])
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise BadInputError(f"constant {node.output[0]!r} cannot be made: {error}") from error
        total += result.nbytes
        values[node.output[0]] = result
        restored.add(node.output[0])
    if not restored:
        return 0
    read = {name for node in nodes for name in node.input} | {port.name for port in model.graph.output}
    back = [numpy_helper.from_array(values[name], name) for name in values if name in read]
    # Only what nobody but a maker read goes: the file's own constants stay, in their order.
    taken = {name for node in model.graph.node if node.output[0] in restored for name in node.input}
    kept = [tensor for name, tensor in known.items() if name in read or name not in taken]
    _rewrite(model, [*kept, *back], nodes)
    return len(back)


def _value(node: Any, inputs: list[Any]) -> Any:
    """Return the constant that a node makes of others; a shape is checked before it is filled."""
    from onnx import helper, numpy_helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "Cast":
        return inputs[0].astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
    if node.op_type == "Gather":
        if inputs[1].size * inputs[0][:1].nbytes > LARGEST:
            raise ValueError("it is too large")
        return np.take(inputs[0], inputs[1], axis=0)
    shape = tuple(int(n) for n in inputs[0])
    fill = numpy_helper.to_array(attributes["value"])
    if math.prod(shape) * fill.itemsize > LARGEST:
        raise ValueError(f"a shape of {shape} is too large")
    return np.full(shape, fill[0])


def _nodes(name: str, stored: Stored) -> tuple[list[Any], list[Any]]:
    """Return the initializers and the nodes that make the constant called ``name``."""
    from onnx import TensorProto, helper, numpy_helper

    def tensor(value: Any, word: str) -> Any:
        return numpy_helper.from_array(np.ascontiguousarray(value), f"{name}/{word}")

    kind = helper.np_dtype_to_tensor_dtype(stored.dtype)
    if stored.form == "same":
        shape = tensor(np.array(stored.shape, np.int64), "shape")
        fill = numpy_helper.from_array(stored.data.reshape(1), "")
        return [shape], [
            helper.make_node("ConstantOfShape", [shape.name], [name], f"{name}/fill", value=fill)
        ]
    if stored.table is None:
        source = tensor(stored.data, "whole")
        return [source], [helper.make_node("Cast", [source.name], [name], f"{name}/cast", to=kind)]
    places, table = tensor(stored.data, "places"), tensor(stored.table, "table")
    wide = f"{name}/index"
    return [places, table], [
        helper.make_node("Cast", [places.name], [wide], f"{name}/cast", to=TensorProto.INT32),
        helper.make_node("Gather", [table.name, wide], [name], f"{name}/gather"),
    ]


def _share_integers(model: onnx.ModelProto) -> None:
    """Let all read the first of equal integers. Floats that are equal are still two parameters."""
    from onnx import TensorProto, numpy_helper

    kinds = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64)
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    ports = {port.name for port in model.graph.output}  # whose names stand
    for tensor in model.graph.initializer:
        if tensor.data_type in kinds and tensor.name not in ports:
            key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
            renamed[tensor.name] = first.setdefault(key, tensor.name)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    kept = [t for t in model.graph.initializer if renamed.get(t.name, t.name) == t.name]
    _rewrite(model, kept, list(model.graph.node))


def _rewrite(model: onnx.ModelProto, tensors: list[Any], nodes: list[Any]) -> None:
    # Copies: what is in a repeated field dies with it.
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors]
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend(nodes)
