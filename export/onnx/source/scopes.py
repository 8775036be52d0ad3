"""Types and shapes of all values of an ONNX model, graph by graph, from ONNX's own inference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ....runtime.errors import BadInputError
from .constants import Scope, TensorType

if TYPE_CHECKING:
    import onnx

SMALL_TENSOR = 4096
"""Bytes up to which inference sees the numbers of a tensor, as it needs them for shapes."""
MOST_NESTED = 32
"""How deeply graphs may lie in each other."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard's operators that a model uses; 0 if it uses none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes, in order."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def infer(model: onnx.ModelProto) -> onnx.GraphProto:
    """Return the graph without its large tensors, and with what inference says of its values.

    Nodes are those of ``model.graph``, in the same order, in subgraphs too.

    Raises:
        BadInputError: the sizes in the file contradict each other.
    """
    import onnx

    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    inputs = {port.name for port in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() <= SMALL_TENSOR:
            light.graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    try:
        return onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception as error:  # InferenceError and RuntimeError
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
        raise BadInputError(f"not valid ONNX: {lines[0]}") from error


def scope_of(graph: onnx.GraphProto, inferred: onnx.GraphProto, opset: int, above: Scope | None) -> Scope:
    """Return the values of one graph; ``inferred`` is its counterpart from :func:`infer`."""
    types = {tensor.name: TensorType(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}
    for info in (*inferred.value_info, *inferred.input, *inferred.output):
        if info.type.HasField("tensor_type"):
            types[info.name] = _type(info.type.tensor_type)
    return Scope(
        types,
        opset,
        above,
        {tensor.name: tensor for tensor in graph.initializer},
        {name: node for node in graph.node for name in node.output if name},
        {port.name for port in graph.input},
    )


def check_depth(graph: onnx.GraphProto) -> None:
    """Check that graphs do not lie in each other without end.

    Raises:
        BadInputError: more than :data:`MOST_NESTED` levels.
    """
    waiting: list[tuple[Any, int]] = [(graph, 0)]
    while waiting:
        current, depth = waiting.pop()
        if depth > MOST_NESTED:
            raise BadInputError(f"graphs lie in each other more than {MOST_NESTED} levels deep")
        waiting += [(inner, depth + 1) for node in current.node for inner in subgraphs(node)]


def _type(tensor: Any) -> TensorType:
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    sizes = (dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in tensor.shape.dim)
    return TensorType(tensor.elem_type, tuple(sizes))
