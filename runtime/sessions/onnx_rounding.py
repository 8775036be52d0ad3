"""Writes a model with float16 or bfloat16 values as one in float32 that rounds where the other does.

Processors compute float16 operators in float32, ONNX Runtime leaves out pairs of casts between them, and has
no bfloat16 kernels at all. In the model that is written here each narrow value is a float32 value that was
cast to the narrow type and back; sums inside an operator are in float32, as matrix units keep them. Run it
with graph optimisations off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TargetUnavailableError

if TYPE_CHECKING:
    import onnx

ROUNDED = "bf16"
"""The precision whose files ONNX Runtime runs on a processor only when they are rewritten."""
CAVEAT = "emulation of bfloat16 in float32 (every value rounded)"
_FLOAT = 1
_NARROW = (10, 16)
"""float16 and bfloat16, as ONNX numbers its types."""


def round_values(model: onnx.ModelProto) -> int:
    """Rewrite a model in place, and return how many values are rounded.

    ``model``: shapes inferable, and float32 at its ports.
    """
    import onnx
    from onnx import helper, numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    graph, nodes, count = model.graph, [], 0
    for tensor in graph.initializer:
        if tensor.data_type in _NARROW:
            tensor.CopyFrom(_widened(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _NARROW:
                attribute.i = _FLOAT
            if attribute.HasField("t") and attribute.t.data_type in _NARROW:
                attribute.t.CopyFrom(
                    numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32))
                )
        nodes.append(node)
        for place, name in enumerate(node.output):
            if kinds.get(name) not in _NARROW:
                continue
            count += 1
            node.output[place] = f"{name}_exact"
            nodes += [
                helper.make_node("Cast", [f"{name}_exact"], [f"{name}_rounded"], to=kinds[name]),
                helper.make_node("Cast", [f"{name}_rounded"], [name], to=_FLOAT),
            ]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return count


def rounded_file(data: bytes) -> bytes:
    """Return the bytes of an ONNX file with every narrow value as a rounded float32 value.

    Raises:
        TargetUnavailableError: the package ``onnx`` is not installed, which rewrites the file.
    """
    try:
        import onnx
    except ImportError as error:
        raise TargetUnavailableError(
            "ONNX Runtime has no bfloat16 kernels for processors, and the package onnx, which emulates them, "
            "is not installed: pip install onnx, or run the artifact on a GPU"
        ) from error
    model = onnx.load_from_string(data)
    round_values(model)
    rewritten: bytes = model.SerializeToString()
    return rewritten


def _widened(tensor: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
