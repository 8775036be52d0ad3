"""Keeps bytes at the ports of an ONNX graph: TensorRT takes them in and out, and computes on none.

An image contract of bytes starts with a transposition to planes and a cast to floats, and ends the other way
round. The two change places, so that only casts touch bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_BYTE = 2  # TensorProto.UINT8


def floats_inside(model: onnx.ModelProto) -> bool:
    """Move each cast from and to bytes to its port, in place, and say whether there was one to move.

    The values stay the same.
    """
    graph = model.graph
    ports = [port.name for port in (*graph.input, *graph.output) if port.type.tensor_type.elem_type == _BYTE]
    nodes = list(graph.node)
    changed = set()
    for a, b in _pairs(nodes):
        first, second = nodes[a], nodes[b]
        entering = (first.op_type, second.op_type) == ("Transpose", "Cast") and first.input[0] in ports
        leaving = (first.op_type, second.op_type) == ("Cast", "Transpose") and second.output[0] in ports
        if entering or leaving:
            source, between, result = first.input[0], first.output[0], second.output[0]
            second.input[0], second.output[0] = source, between
            first.input[0], first.output[0] = between, result
            nodes[a], nodes[b] = second, first
            changed |= {between, result}
    if not changed:
        return False
    ordered = [type(node).FromString(node.SerializeToString()) for node in nodes]
    kept = [value for value in graph.value_info if value.name not in changed]
    values = [type(value).FromString(value.SerializeToString()) for value in kept]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(ordered)
    graph.value_info.extend(values)
    return True


def _pairs(nodes: list[Any]) -> list[tuple[int, int]]:
    """Return the places of each node and the one node that reads it, if it is read once."""
    readers: dict[str, list[int]] = {}
    for place, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(place)
    readers_of = [(place, readers.get(node.output[0], [])) for place, node in enumerate(nodes) if node.output]
    return [(place, after[0]) for place, after in readers_of if len(after) == 1]
