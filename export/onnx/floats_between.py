"""Takes the roundings out of an int8 ONNX file that only ONNX Runtime wants, for TensorRT.

The ``onnx`` target rounds the results of convolutions too and has every layer of its table in 8 bits, which
is fast in ONNX Runtime on x86. In TensorRT each rounding that no 8-bit layer reads is a kernel of its own,
and convolutions of few channels per group are padded with stored zeros (see :mod:`..tensorrt.build`). What
is left computes the same with fewer roundings: steps and 8-bit weights stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_CUTS = ("Slice", "Split")
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PADDED_TO = 4


def floats_between_layers(model: onnx.ModelProto) -> tuple[int, int]:
    """Rewrite a model in place.

    Returns:
        How many readers get a value unrounded now, and how many layers compute in floats instead of 8 bits.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    plain = {
        node.output[0]: makers[node.input[0]].input[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and (maker := makers.get(node.input[0])) is not None
        and maker.op_type == "QuantizeLinear"
    }
    weights = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }

    def unrounded(name: str) -> str:
        while name in plain:
            name = plain[name]
        return name

    cut = {unrounded(node.input[0]) for node in graph.node if node.op_type in _CUTS}
    in_float = readers = 0
    for node in graph.node:
        data = [place for place, name in enumerate(node.input) if name in plain]
        stored = [place for place, name in enumerate(node.input) if name in weights]
        is_layer = node.op_type in _LAYERS and bool(data) and bool(stored)
        to_float = is_layer and (
            _is_padded(node, weights, constants) or unrounded(node.input[data[0]]) in cut
        )
        in_float += to_float
        if is_layer and not to_float:
            continue
        for place in data:
            if node.op_type != "QuantizeLinear" or node.input[place] != unrounded(node.input[place]):
                node.input[place] = unrounded(node.input[place])
                readers += not to_float
        for place in stored if to_float else ():
            node.input[place] = _as_floats(graph, weights[node.input[place]], constants)
    _drop_unread(graph)
    return readers, in_float


def _is_padded(node: Any, weights: dict[str, Any], constants: dict[str, Any]) -> bool:
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    per_group = constants[weights[node.input[1]].input[0]].dims[1] if node.input[1] in weights else 0
    return node.op_type == "Conv" and groups > 1 and per_group % _PADDED_TO != 0


def _as_floats(graph: Any, node: Any, constants: dict[str, Any]) -> str:
    """Store what a dequantising node makes of its constant, and return the name of that."""
    from onnx import numpy_helper

    name = f"{node.output[0]}_float"
    if name not in constants:
        whole, step = (numpy_helper.to_array(constants[node.input[place]]) for place in (0, 1))
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
        shape = [-1 if place == axis else 1 for place in range(whole.ndim)]
        # In one multiplication of float32, as the runtime does it; zero points of weights are 0.
        values = whole.astype(np.float32) * step.astype(np.float32).reshape(shape if step.ndim else ())
        constants[name] = numpy_helper.from_array(values, name)
        graph.initializer.append(constants[name])
    return name


def _drop_unread(graph: Any) -> None:
    outputs = {port.name for port in graph.output}
    while True:
        read = {name for node in graph.node for name in node.input} | outputs
        kept = [node for node in graph.node if read & set(node.output)]
        if len(kept) == len(graph.node):
            break
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
    tensors = [type(t).FromString(t.SerializeToString()) for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    named = {name for node in graph.node for name in node.output}
    values = [type(v).FromString(v.SerializeToString()) for v in graph.value_info if v.name in named]
    del graph.value_info[:]
    graph.value_info.extend(values)
