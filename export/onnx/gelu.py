"""GELU in the order of operations that ONNX Runtime recognises.

The exporter writes x · (½ · (1 + erf(x / √2))). ONNX Runtime 1.31 has one kernel for the whole function, and
puts it in place of (x · (1 + erf(x / √2))) · ½ but not of the exporter's order, which it runs as five passes
over the map. A factor of one half is exact, so both orders have the same value. OpenVINO recognises either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def order_gelu(model: onnx.ModelProto) -> int:
    """Reorder each exact GELU of the main graph, in place; returns how many there were."""
    from onnx import numpy_helper

    graph = model.graph
    halves = {
        tensor.name
        for tensor in graph.initializer
        if not tensor.dims and float(numpy_helper.to_array(tensor)) == 0.5
    }
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for name in [name for node in graph.node for name in node.input] + [port.name for port in graph.output]:
        readers[name] = readers.get(name, 0) + 1

    def is_halved(name: str) -> bool:
        """Whether a value is ½ · (1 + erf(...)) and is read once."""
        halving = makers.get(name)
        if halving is None or halving.op_type != "Mul" or readers[name] != 1:
            return False
        summed = [makers.get(value) for value in halving.input if value not in halves]
        if len(summed) != 1 or summed[0] is None or summed[0].op_type != "Add":
            return False
        return any(value in makers and makers[value].op_type == "Erf" for value in summed[0].input)

    count = 0
    for last in graph.node:
        if last.op_type != "Mul" or sum(map(is_halved, last.input)) != 1:
            continue
        halved, x = sorted(last.input, key=is_halved, reverse=True)
        first = makers[halved]
        half, summed = sorted(first.input, key=halves.__contains__, reverse=True)
        first.input[:] = [x, summed]
        last.input[:] = [halved, half]
        count += 1
    return count
