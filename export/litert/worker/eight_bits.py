"""Writes layers into a converted file that compute in 8 bits.

Convolutions lie between operators that round and widen, as LiteRT defines them: values from -128 to 127 with
one step for a tensor, weights from -127 to 127 with one step for each output channel, biases in 32 bits whose
step is the product of both. All zero points are 0. Products have weights of the same kind, and read and make
floats: LiteRT rounds each row of what they read by a step of its own, when it runs.
"""

from typing import Any

import numpy as np

from .graph import Array, Graph
from .marks import marked_operators

LEVELS = 127
_BIAS_MOST = 2**30
"""Largest bias in steps: products and sums of a convolution need the rest of 32 bits."""
_VERSIONS = {"CONV_2D": (3, 5), "DEPTHWISE_CONV_2D": (3, 6), "FULLY_CONNECTED": (12, 12)}
"""Operator -> versions of its definition: values in 8 bits, and floats with weights in 8 bits."""
_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operator -> axis of its weights along which output channels lie."""


def write_layers(graph: Graph, layers: list[dict[str, Any]], biases: dict[int, Array]) -> list[int]:
    """Let the marked operators compute in 8 bits, and return those that cannot.

    Args:
        graph: as converted, with marks for the biases of layers (:mod:`.marks`).
        layers: ``input`` and ``result`` are what one step of what a convolution reads and makes is worth.
        biases: the biases, by place of a layer.
    """
    writer = _Writer(graph)
    operators = marked_operators(graph, range(len(layers)))
    return [
        place
        for place, (operator,) in operators.items()
        if not writer.layer(operator, layers[place], biases[place])
    ]


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rounded: dict[tuple[int, float], int] = {}
        self.weights: dict[tuple[int, int], tuple[int, Array]] = {}

    def layer(self, operator: Any, layer: dict[str, Any], bias: Array) -> bool:
        """Rewrite one operator; ``False`` if it stays in floats because its bias is too large."""
        graph, kind = self.graph, self.graph.kind(operator)
        source, stored, marked = (int(place) for place in operator.inputs[:3])
        weight, steps = self._weight(stored, _CHANNELS[kind])
        wide_bias = graph.add_constant(marked, "_float32", bias.astype(np.float32))
        version = _VERSIONS[kind]["input" not in layer]
        if "input" not in layer:
            operator.inputs = [source, weight, wide_bias]
            operator.opcodeIndex = graph.code(kind, max(version, graph.version(operator)))
            operator.builtinOptions.asymmetricQuantizeInputs = kind == "FULLY_CONNECTED"
            return True
        products = layer["input"] * steps.astype(np.float64)
        levels = np.rint(bias.astype(np.float64) / products)
        if not np.abs(levels).max(initial=0) <= _BIAS_MOST:
            operator.inputs = [source, stored, wide_bias]
            return False
        narrow_bias = graph.add_constant(marked, "_int32", levels.astype(np.int32), products)
        operator.inputs = [self._round(source, layer["input"]), weight, narrow_bias]
        operator.opcodeIndex = graph.code(kind, max(version, graph.version(operator)))
        (result,) = operator.outputs
        narrow = graph.add_tensor(int(result), "_int8", "INT8", layer["result"])
        operator.outputs = [narrow]
        graph.operators.append(graph.operator("DEQUANTIZE", 2, narrow, int(result)))
        return True

    def _weight(self, place: int, axis: int) -> tuple[int, Array]:
        """Return stored weights in 8 bits, and their steps; layers that share weights share them."""
        if (place, axis) not in self.weights:
            values = self.graph.constant(place)
            assert values is not None
            peaks = np.abs(values).max(axis=tuple(other for other in range(values.ndim) if other != axis))
            steps = np.where(peaks > 0, peaks / np.float32(LEVELS), np.float32(1)).astype(np.float32)
            shape = [-1 if other == axis else 1 for other in range(values.ndim)]
            narrow = np.clip(np.rint(values / steps.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
            self.weights[place, axis] = self.graph.add_constant(place, "_int8", narrow, steps, axis), steps
        return self.weights[place, axis]

    def _round(self, place: int, step: float) -> int:
        """Return a tensor rounded to 8 bits; it is shared by all that read it."""
        if (place, step) not in self.rounded:
            narrow = self.graph.add_tensor(place, "_int8", "INT8", step)
            self.graph.operators.append(self.graph.operator("QUANTIZE", 1, place, narrow))
            self.rounded[place, step] = narrow
        return self.rounded[place, step]
