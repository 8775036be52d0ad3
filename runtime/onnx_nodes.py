"""Which module of the network each node of an ONNX file came from, read without the ``onnx`` package.

The ``onnx`` exporter writes the path of the torch module into each node's metadata; TensorRT names its layers
and its refusals by node. This joins the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .outside.protobuf import MAX_DEPTH, Buffer, fields

MODULE_KEY = "module"
"""Key of a node's metadata that holds the dotted path of the torch module it came from."""

_GRAPH, _FUNCTION = 7, 25  # ModelProto
_NODES = {_GRAPH: 1, _FUNCTION: 7}  # GraphProto.node, FunctionProto.node
_NAME, _OPERATOR, _ATTRIBUTE, _METADATA = 3, 4, 5, 9  # NodeProto
_SUBGRAPHS = (6, 11)  # AttributeProto.g, .graphs


@dataclass(frozen=True)
class OnnxNode:
    """A node's operator and the module it came from; the module is empty where the file does not say."""

    operator: str
    module: str


def onnx_nodes(data: Buffer) -> Mapping[str, OnnxNode]:
    """Return name -> node for every node of a file that has a name, those of subgraphs included.

    Raises:
        ValueError: not an ONNX file, or cut short.
    """
    nodes: dict[str, OnnxNode] = {}
    for number, wire, first, last in fields(data, 0, len(data)):
        if wire == 2 and number in _NODES:
            _collect(data, first, last, _NODES[number], nodes, 0)
    return nodes


def _collect(
    data: Buffer, start: int, end: int, node_field: int, nodes: dict[str, OnnxNode], depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    for number, wire, first, last in fields(data, start, end):
        if wire != 2 or number != node_field:
            continue
        name = operator = module = ""
        for part, kind, a, b in fields(data, first, last):
            if kind != 2:
                continue
            if part == _NAME:
                name = _text(data, a, b)
            elif part == _OPERATOR:
                operator = _text(data, a, b)
            elif part == _METADATA:
                entry = {n: _text(data, x, y) for n, k, x, y in fields(data, a, b) if k == 2}
                module = entry.get(2, "") if entry.get(1) == MODULE_KEY else module
            elif part == _ATTRIBUTE:
                for graph in _graphs(data, a, b):
                    _collect(data, *graph, _NODES[_GRAPH], nodes, depth + 1)
        if name:
            nodes[name] = OnnxNode(operator, module)


def _graphs(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int]]:
    for number, wire, first, last in fields(data, start, end):
        if wire == 2 and number in _SUBGRAPHS:
            yield first, last


def _text(data: Buffer, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", errors="replace")
