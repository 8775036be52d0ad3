"""The 8-bit values of an ONNX file as TensorRT takes them: int8 around zero, not uint8 around 128.

``round(x / s) + 128`` in 0 to 255 and ``round(x / s)`` in -128 to 127 stand for the same numbers, so the file
computes the same. ONNX Runtime on x86 is faster with the first, TensorRT refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...runtime.errors import LoweringError

if TYPE_CHECKING:
    import onnx

_UNSIGNED_ZERO = 128
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def signed(model: onnx.ModelProto) -> int:
    """Rewrite a model in place, and return how many nodes changed; none in a model that has no uint8.

    Raises:
        LoweringError: a zero point other than 128, or 8-bit values that something else reads too.
    """
    from onnx import TensorProto, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    changed = [
        node
        for node in model.graph.node
        if node.op_type in _QUANTISING
        and len(node.input) > 2
        and node.input[2] in constants
        and constants[node.input[2]].data_type == TensorProto.UINT8
    ]
    quantised = {node.output[0] for node in changed if node.op_type == "QuantizeLinear"}
    for node in changed:
        zero = numpy_helper.to_array(constants[node.input[2]])
        if (zero != _UNSIGNED_ZERO).any():
            raise LoweringError(
                f"model.onnx: {node.name} has the zero point {zero.tolist()}; TensorRT requires 0"
            )
        if node.op_type == "DequantizeLinear" and node.input[0] not in quantised:
            raise LoweringError(f"model.onnx: {node.name} reads 8-bit values that are stored unsigned")
    touched = {id(node) for node in changed}
    for node in model.graph.node:
        if id(node) not in touched and quantised & set(node.input):
            raise LoweringError(f"model.onnx: {node.name} reads 8-bit values as they are")
    for name in {node.input[2] for node in changed}:
        zeros = np.zeros(tuple(constants[name].dims), np.int8)
        constants[name].CopyFrom(numpy_helper.from_array(zeros, name))
    # Shapes inferred for the rounded values name their type; whoever wants them infers them again.
    for value in [value for value in model.graph.value_info if value.name in quantised]:
        model.graph.value_info.remove(value)
    return len(changed)
