"""Casts an ONNX graph to float16 but for the islands that stay float32.

The precision is in the file, not in a flag: a strongly typed TensorRT network, ONNX Runtime and OpenVINO read
the same casts. Ports keep their types.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import source_node

if TYPE_CHECKING:
    import onnx

FLOAT, HALF = 1, 10
# Inputs that the standard types as float32 whatever the data: Resize's region and factors.
_FIXED = {"Resize": (1, 2)}


def narrow(model: onnx.ModelProto, float32_layers: Collection[str]) -> dict[str, int]:
    """Turn a float32 model into float16 in place.

    Args:
        model: float32, shapes inferable.
        float32_layers: names of nodes of the program that stay in float32.

    Returns:
        How many nodes compute in float16 and in float32, and how many casts stand between.
    """
    return _Caster(model, set(float32_layers)).run()


class _Caster:
    def __init__(self, model: onnx.ModelProto, float32_layers: set[str]) -> None:
        import onnx

        self.model = model
        self.graph = model.graph
        self.float32_layers = float32_layers
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model)
        values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
        self.kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self.home: dict[str, int] = {value.name: FLOAT for value in self.graph.input}
        self.converted: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []
        self.fixed: set[str] = set()

    def run(self) -> dict[str, int]:
        nodes, counts = list(self.graph.node), {"float16": 0, "float32": 0, "casts": 0}
        for node in nodes:
            floats = [name for name in node.output if self.kinds.get(name) == FLOAT]
            # Runtimes that have a transform of their own have it in float32, and not all of them in float16.
            transform = node.op_type == "DFT" or node.domain not in ("", "ai.onnx")
            kind = FLOAT if transform or source_node(node) in self.float32_layers else HALF
            if floats:
                counts["float32" if kind == FLOAT else "float16"] += 1
                self._inputs(node, kind)
            if node.op_type == "Cast" and kind == HALF:
                for attribute in node.attribute:
                    if attribute.name == "to" and attribute.i == FLOAT:
                        attribute.i = HALF
            self.home |= dict.fromkeys(floats, kind)
            self.nodes.append(node)
        before = len(nodes)
        for output in self.graph.output:
            if self.kinds.get(output.name) == FLOAT and self.home[output.name] == HALF:
                self._restore_output(output.name)
        counts["casts"] = len(self.nodes) - before
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        return counts

    def _inputs(self, node: Any, kind: int) -> None:
        for place, name in enumerate(node.input):
            if place in _FIXED.get(node.op_type, ()):
                self.fixed.add(name)
            elif name in self.constants:
                if self.constants[name].data_type == FLOAT and kind == HALF:
                    node.input[place] = self._constant(name)
            elif self.kinds.get(name) == FLOAT and self.home.get(name, FLOAT) != kind:
                node.input[place] = self._cast(name, kind)

    def _constant(self, name: str) -> str:
        from onnx import numpy_helper

        if (name, HALF) not in self.converted:
            self.converted[name, HALF] = f"{name}_half"
            value = numpy_helper.to_array(self.constants[name]).astype(np.float16)
            self.graph.initializer.append(numpy_helper.from_array(value, f"{name}_half"))
        return self.converted[name, HALF]

    def _cast(self, name: str, kind: int) -> str:
        from onnx import helper

        if (name, kind) not in self.converted:
            cast = f"{name}_{'half' if kind == HALF else 'wide'}"
            self.nodes.append(helper.make_node("Cast", [name], [cast], name=f"{cast}_cast", to=kind))
            self.converted[name, kind] = cast
        return self.converted[name, kind]

    def _restore_output(self, name: str) -> None:
        """Give the last value another name, and cast it to what the port is called."""
        from onnx import helper

        inner = f"{name}_half"
        for node in self.nodes:
            node.output[:] = [inner if output == name else output for output in node.output]
            node.input[:] = [inner if read == name else read for read in node.input]
        self.nodes.append(helper.make_node("Cast", [inner], [name], name=f"{inner}_cast", to=FLOAT))
