"""What ONNX Runtime Web computes wrongly on WebGPU, written in another form with the same values.

**Convolutions over 6, 9, 15, ... channels.** In 1.30.0, where the channels of the input are a multiple of 3
and not of 4, and those of the output one of 4, the kernel reads three channels at a time, from the wrong
place: it divides the channel's number by 4, as if four were packed into one value
(``onnxruntime/core/providers/webgpu/nn/conv2d_mm.cc``; microsoft/onnxruntime issue 29651 has this symptom).
Three channels alone are right: their number is 0. Groups, and 1x1 kernels without stride, have other kernels.
Here channels of zeros make the number a multiple of 4; products with them add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..onnx.functions import inlined

if TYPE_CHECKING:
    import onnx

PACKED = 4
"""Channels that the right kernel reads at a time."""

_Shapes = dict[str, tuple[int | None, ...]]


def avoid_wrong_kernels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Change a model so that WebGPU computes nothing of it wrongly; return it and notes on what changed.

    A convolution of unknown shape stays as it is, and a note says how many there are.
    """
    if any(node.op_type == "Conv" for function in model.functions for node in function.node):
        model = inlined(model)
    padded, unknown = _Padding(model).run()
    notes = []
    if padded:
        notes.append(
            f"{padded} convolutions read channels of zeros beside their own, to a multiple of {PACKED}: "
            "WebGPU of ONNX Runtime Web 1.30.0 computes them wrongly without"
        )
    if unknown:
        notes.append(
            f"{unknown} convolutions have an unknown number of channels; WebGPU of ONNX Runtime Web 1.30.0 "
            "is wrong for some numbers: verify the artifact"
        )
    return model, notes


class _Padding:
    """One pass over a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.names = set(_all_names(model.graph))
        self.weights: dict[str, str] = {}
        """Stored weight -> the one with more channels."""
        self.amounts: dict[tuple[int, ...], str] = {}
        """Widths of a padding, as Pad takes them -> the constant that holds them."""
        self.padded = self.unknown = 0

    def run(self) -> tuple[int, int]:
        import onnx

        inferred = onnx.shape_inference.infer_shapes(self.model)
        self._graph(self.model.graph, _shapes(inferred.graph))
        used = set(_used(self.model.graph))
        kept = [t for t in self.model.graph.initializer if t.name in used or t.name not in self.weights]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)
        return self.padded, self.unknown

    def _graph(self, graph: onnx.GraphProto, shapes: _Shapes) -> None:
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for inner in _subgraphs(node):
                self._graph(inner, {**shapes, **_shapes(inner)})
            if node.op_type == "Conv" and node.domain in ("", "ai.onnx"):
                nodes += self._convolution(node, shapes.get(node.input[1]))
            nodes.append(node)
        del graph.node[:]
        graph.node.extend(nodes)

    def _convolution(
        self, node: onnx.NodeProto, weight: tuple[int | None, ...] | None
    ) -> list[onnx.NodeProto]:
        """Change one node if it must be; return the nodes that go before it."""
        attributes = _attributes(node)
        if attributes.get("group", 1) != 1:
            return []
        if weight is None or None in weight:
            self.unknown += 1
            return []
        shape = tuple(size or 0 for size in weight)
        if not is_wrong(shape, attributes):
            return []
        self.padded += 1
        more = -shape[1] % PACKED
        widths = tuple(more if axis == len(shape) + 1 else 0 for axis in range(2 * len(shape)))
        before: list[onnx.NodeProto] = []
        node.input[0] = self._pad_value(node, node.input[0], widths, before)
        if (stored := self._pad_stored(node.input[1], widths)) is not None:
            node.input[1] = stored
        else:
            node.input[1] = self._pad_value(node, node.input[1], widths, before)
        return before

    def _pad_stored(self, name: str, widths: Sequence[int]) -> str | None:
        """Return the name of a stored weight with more channels; ``None`` if it is no initializer."""
        import numpy as np
        from onnx import numpy_helper

        if name not in self.weights:
            tensor = next((t for t in self.model.graph.initializer if t.name == name), None)
            if tensor is None:
                return None
            half = len(widths) // 2
            ends = list(zip(widths[:half], widths[half:], strict=True))
            wider = np.pad(numpy_helper.to_array(tensor), ends)
            self.weights[name] = self._name(f"{name}_padded")
            self.model.graph.initializer.append(numpy_helper.from_array(wider, self.weights[name]))
        return self.weights[name]

    def _pad_value(
        self, reader: onnx.NodeProto, name: str, widths: tuple[int, ...], before: list[onnx.NodeProto]
    ) -> str:
        """Add the node that pads a value with zeros; return the name of its result."""
        import numpy as np
        from onnx import helper, numpy_helper

        if widths not in self.amounts:
            self.amounts[widths] = self._name("channels_of_zeros")
            constant = numpy_helper.from_array(np.array(widths, np.int64), self.amounts[widths])
            self.model.graph.initializer.append(constant)
        result = self._name(f"{name}_padded")
        pad = helper.make_node(
            "Pad", [name, self.amounts[widths]], [result], name=self._name(f"pad_{result}")
        )
        pad.metadata_props.extend(reader.metadata_props)
        before.append(pad)
        return result

    def _name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name


def is_wrong(weight: Sequence[int], attributes: dict[str, Any]) -> bool:
    """Whether WebGPU computes a convolution without groups wrongly.

    Args:
        weight: shape of its weight, (output channels, input channels, sides of the kernel).
        attributes: of the node, by name.
    """
    outputs, channels, *kernel = weight
    if len(kernel) > 2 or channels <= 3 or channels % 3 or not channels % PACKED or outputs % PACKED:
        return False
    plain = not any(attributes.get("pads", ())) and math.prod(attributes.get("strides", (1,))) == 1
    return not (plain and math.prod(kernel) == 1)  # a product of matrices, with another kernel


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _shapes(graph: onnx.GraphProto) -> _Shapes:
    shapes: _Shapes = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.HasField("shape"):
            sizes = value.type.tensor_type.shape.dim
            shapes[value.name] = tuple(
                size.dim_value if size.HasField("dim_value") else None for size in sizes
            )
    return {**shapes, **{tensor.name: tuple(tensor.dims) for tensor in graph.initializer}}


def _used(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (port.name for port in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in _subgraphs(node):
            yield from _used(inner)


def _all_names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield node.name
        yield from node.output
        for inner in _subgraphs(node):
            yield from _all_names(inner)
