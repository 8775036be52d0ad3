"""What ONNX Runtime Web computes wrongly on WebGPU, written in another form with the same values.

**Convolutions over 6, 9, 15, ... channels.** In 1.30.0, where the channels of the input are a multiple of 3
and not of 4, and those of the output one of 4, the kernel reads three channels at a time, from the wrong
place: it divides the channel's number by 4, as if four were packed into one value
(``onnxruntime/core/providers/webgpu/nn/conv2d_mm.cc``; microsoft/onnxruntime issue 29651 has this symptom).
Three channels alone are right: their number is 0. Groups, and 1x1 kernels without stride, have other kernels.
Here channels of zeros make the number a multiple of 4; products with them add nothing.

**Softmax and LayerNormalization over more than 65535 rows.** One group of threads computes a row. WebGPU
takes 65535 groups along one axis, so the runtime lays more out as a square, which has groups to spare. The
kernels do not check for those (``math/softmax.cc``): they wrote into the last of 131072 rows of 8. Here
such a node is split into nodes of fewer rows; the values are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..onnx.functions import inlined
from .runtime_files import VERSION

if TYPE_CHECKING:
    import onnx

RUNTIME = f"ONNX Runtime Web {VERSION} on WebGPU"
PACKED = 4
"""Channels that the right kernel reads at a time."""

MOST_ROWS = 65535
"""Groups of threads that WebGPU takes along one axis."""
BY_ROW = ("Softmax", "LayerNormalization")

_Shapes = dict[str, tuple[int | None, ...]]


def avoid_wrong_kernels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Change a model so that WebGPU computes nothing of it wrongly; return it and notes on what changed.

    Nodes of unknown shape stay as they are, and a note says how many there are.
    """
    changed = ("Conv", *BY_ROW)
    if any(node.op_type in changed for function in model.functions for node in function.node):
        model = inlined(model)
    pass_ = _Pass(model)
    pass_.run()
    notes = []
    kinds = " and ".join(BY_ROW)
    if pass_.padded:
        notes.append(
            f"{pass_.padded} convolutions read channels of zeros beside their own, to a multiple of "
            f"{PACKED}: {RUNTIME} computes them wrongly without"
        )
    if pass_.split:
        notes.append(
            f"{pass_.split} nodes of {kinds} are split: {RUNTIME} computes more than {MOST_ROWS} rows wrongly"
        )
    if pass_.unknown:
        notes.append(
            f"{pass_.unknown} nodes (convolution, {kinds}) were not checked, as their shapes are unknown: "
            f"{RUNTIME} computes some shapes wrongly, so verify the artifact"
        )
    return model, notes


class _Pass:
    """One pass over a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.names = set(_all_names(model.graph))
        self.weights: dict[str, str] = {}
        """Stored weight -> the one with more channels."""
        self.amounts: dict[tuple[int, ...], str] = {}
        """Widths of a padding, as Pad takes them -> the constant that holds them."""
        self.padded = self.split = self.unknown = 0

    def run(self) -> None:
        """Change the model, and count what was changed."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(self.model)
        self._graph(self.model.graph, _shapes(inferred.graph))
        used = set(_used(self.model.graph))
        kept = [t for t in self.model.graph.initializer if t.name in used or t.name not in self.weights]
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(kept)

    def _graph(self, graph: onnx.GraphProto, shapes: _Shapes) -> None:
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            for inner in _subgraphs(node):
                self._graph(inner, {**shapes, **_shapes(inner)})
            standard = node.domain in ("", "ai.onnx")
            if standard and node.op_type == "Conv":
                nodes += [*self._convolution(node, shapes.get(node.input[1])), node]
            elif standard and node.op_type in BY_ROW:
                nodes += self._by_row(node, shapes.get(node.input[0]))
            else:
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

    def _by_row(self, node: onnx.NodeProto, shape: tuple[int | None, ...] | None) -> list[onnx.NodeProto]:
        """Return what takes the place of a node: itself, or nodes of fewer rows with their results joined."""
        import numpy as np
        from onnx import helper, numpy_helper

        opset = next(entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))
        if shape is None or None in shape or opset < 13:  # where Softmax is over several axes at once
            self.unknown += 1
            return [node]
        sizes = [size or 0 for size in shape]
        axis = _attributes(node).get("axis", -1) % len(sizes)
        normalised = [axis] if node.op_type == "Softmax" else list(range(axis, len(sizes)))
        others = [a for a in range(len(sizes)) if a not in normalised]
        rows = math.prod(sizes[a] for a in others)
        if rows <= MOST_ROWS:
            return [node]
        along = max(others, key=sizes.__getitem__)
        each = MOST_ROWS // (rows // sizes[along])
        if each < 1 or len([name for name in node.output if name]) != 1:
            self.unknown += 1
            return [node]
        self.split += 1
        count = -(-sizes[along] // each)
        lengths = [sizes[along] * (part + 1) // count - sizes[along] * part // count for part in range(count)]
        constant = self._name(f"{node.output[0]}_lengths")
        stored = numpy_helper.from_array(np.array(lengths, np.int64), constant)
        self.model.graph.initializer.append(stored)
        parts = [self._name(f"{node.output[0]}_part") for _ in lengths]
        results = [self._name(f"{node.output[0]}_result") for _ in lengths]
        cut = helper.make_node(
            "Split", [node.input[0], constant], parts, axis=along, name=self._name("split")
        )
        joined = helper.make_node("Concat", results, [node.output[0]], axis=along, name=self._name("joined"))
        computing = []
        for part, result in zip(parts, results, strict=True):
            copy = helper.make_node(
                node.op_type, [part, *node.input[1:]], [result], name=self._name(node.name)
            )
            copy.attribute.extend(node.attribute)
            computing.append(copy)
        nodes = [cut, *computing, joined]
        for each_node in nodes:
            each_node.metadata_props.extend(node.metadata_props)
        return nodes

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
