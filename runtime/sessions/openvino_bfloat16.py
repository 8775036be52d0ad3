"""bfloat16 in OpenVINO: what a processor has, and an emulation for processors that lack it.

OpenVINO takes the hint ``bf16`` everywhere. Without the instructions it computes in float32 without a word,
and removes conversions to bfloat16 from a model. So the emulation rounds by arithmetic: with
c = (2^16 + 1) x, c - (c - x) is x rounded to the nearest number of 8 significant bits (T. J. Dekker, "A
floating-point technique for extending the available precision", 1971). Values above 2^111 overflow in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CAVEAT = "emulation of bfloat16 in float32 (every value rounded), since this processor has no bfloat16"
_SPLIT = np.float32(2**16 + 1)
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "StridedSlice", "Slice", "Split"}
_MOVES |= {"VariadicSplit", "Broadcast", "Tile", "Gather", "Result"}
"""Operators that compute nothing: what they read is rounded already."""
_SIZES = {"Interpolate", "Range", "FakeQuantize"}
"""Operators whose constants are no values of the network."""


def has_bfloat16(core: Any) -> bool:
    """Whether OpenVINO has kernels in bfloat16 for this processor."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def round_to_bfloat16(model: Any) -> int:
    """Round every float32 value of an ``openvino.Model`` to bfloat16, in place; return how many."""
    from openvino import opset13

    split = opset13.constant(_SPLIT)
    rounded = 0
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind in _MOVES:
            continue
        for output in op.outputs():
            readers = [
                reader
                for reader in output.get_target_inputs()
                if kind != "Constant" or reader.get_node().get_type_name() not in _SIZES
            ]
            if output.get_element_type().get_type_name() != "f32" or not readers:
                continue
            large = opset13.multiply(output, split)
            value = opset13.subtract(large, opset13.subtract(large, output)).output(0)
            for reader in readers:
                reader.replace_source_output(value)
            if kind != "Parameter":
                value.get_tensor().set_names(output.get_tensor().get_names())
                output.get_tensor().set_names(set())
            rounded += 1
    return rounded
