"""Writes a model with float16 values as one in float32 that rounds where the other does.

Processors compute float16 operators in float32, and ONNX Runtime leaves out pairs of casts between them, so
that the results of such a file there are better than a device's. In the file that is written here each
float16 value is a float32 value that was cast to float16 and back; sums inside an operator are in float32,
as matrix units keep them. Run it with graph optimisations off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .half import FLOAT, HALF

if TYPE_CHECKING:
    import onnx


def emulate_half(model: onnx.ModelProto) -> int:
    """Rewrite a model in place, and return how many values are rounded.

    ``model``: shapes inferable, and float32 at its ports.
    """
    import onnx
    from onnx import helper, numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    half = {value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type == HALF}
    graph, nodes, count = model.graph, [], 0
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(_widened(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
                attribute.i = FLOAT
            if attribute.HasField("t") and attribute.t.data_type == HALF:
                attribute.t.CopyFrom(
                    numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32))
                )
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name not in half:
                continue
            count += 1
            node.output[place] = f"{name}_exact"
            nodes += [
                helper.make_node("Cast", [f"{name}_exact"], [f"{name}_rounded"], to=HALF),
                helper.make_node("Cast", [f"{name}_rounded"], [name], to=FLOAT),
            ]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return count


def _widened(tensor: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
