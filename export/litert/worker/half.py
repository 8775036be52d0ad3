"""Stores constants in float16."""

import numpy as np

from .graph import Graph

HALF_LEAST, HALF_MOST = 64, 65504.0
"""Constants of fewer values stay in float32, and those with larger values."""


def halve(graph: Graph) -> int:
    """Store constants in float16, each with an operator behind it that LiteRT runs once, when it loads.

    Returns how many there are.
    """
    float32 = graph.schema.TensorType.FLOAT32
    behind = []
    for place, tensor in enumerate(list(graph.graph.tensors)):
        values = graph.constant(place) if tensor.type == float32 else None
        if values is None or values.size < HALF_LEAST or not np.abs(values).max() <= HALF_MOST:
            continue
        small = graph.add_constant(place, "_float16", values.astype(np.float16))
        tensor.buffer = 0
        behind.append(graph.operator("DEQUANTIZE", 2, small, place))
    graph.graph.operators = [*behind, *graph.operators]
    return len(behind)
