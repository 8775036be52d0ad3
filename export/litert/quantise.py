"""Puts pairs of quantise and dequantise operators into a program, as a calibration table specifies.

litert-torch turns a convolution between such pairs into LiteRT's 8-bit one, whose result has 8 bits too, and
whose bias it rounds to 32-bit integers by itself. Layers whose weights alone the table stores in 8 bits stay
in floats. Steps are symmetric: by tensor for values, by output channel for weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.export import ExportedProgram

from ...calibration.emulate import weight_scales
from ...calibration.layers import constant_behind, kind_of, stored_tensors
from ...calibration.levels import LEVELS
from ...runtime.errors import LoweringError

if TYPE_CHECKING:
    from ...calibration.layers import Layer
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

_LOWEST = -LEVELS - 1


def quantised_program(lowered: LoweredProgram, table: CalibrationTable) -> ExportedProgram:
    """Return a copy of the program in which the table's layers read and make values of 8 bits.

    Raises:
        CalibrationError: the table was made for another program or profile.
        LoweringError: a layer of the table is not in the program, or its weights are not stored.
    """
    import torch.ao.quantization.fx._decomposed  # registers the operators below

    section = table.section(lowered.key)
    scales = {name: table.scale(lowered.key, name) for name in section.tensors}
    module: Any = lowered.program.module()
    inserter = _Inserter(module, lowered.program, scales)
    for layer in section.quantised():
        inserter.layer(layer)
    module.graph.lint()
    module.recompile()
    with torch.no_grad():
        return torch.export.export(module, lowered.program.example_inputs[0])


class _Inserter:
    def __init__(self, module: Any, program: ExportedProgram, scales: dict[str, float]) -> None:
        self.module = module
        self.graph: fx.Graph = module.graph
        self.scales = scales
        self.stored = stored_tensors(program)
        self.originals = {node.name: node for node in program.graph.nodes}
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.rounded: dict[tuple[str, float], fx.Node] = {}
        self.weights: dict[tuple[str, int], fx.Node] = {}
        self.last = set(map(str, program.graph_signature.user_outputs))

    def layer(self, layer: Layer) -> None:
        """Round what a layer reads, its weights, and what it makes."""
        node, original = self.nodes.get(layer.node), self.originals.get(layer.node)
        kind = None if original is None else kind_of(original, self.stored)
        if node is None or kind is None:
            raise LoweringError(f"layer {layer.label} of the calibration table is not in the program")
        source, weight = node.args[kind.data], node.args[kind.weight]
        value = None if original is None else constant_behind(original.args[kind.weight], self.stored)
        if not isinstance(source, fx.Node) or not isinstance(weight, fx.Node) or value is None:
            raise LoweringError(f"the weights of layer {layer.label} are not stored in the program")
        node.update_arg(kind.data, self._round(source, self.scales[layer.input]))
        node.update_arg(kind.weight, self._weight(weight, value, kind.channels))
        if kind.is_convolution and layer.node not in self.last:
            readers = list(node.users)
            rounded = self._round(node, self.scales[layer.node])
            for reader in readers:
                reader.replace_input_with(node, rounded)

    def _round(self, node: fx.Node, scale: float) -> fx.Node:
        """Return a value rounded to 8 bits; the pair of operators is shared by all that read it."""
        key = (node.name, scale)
        if node in self.rounded.values():  # what a layer before made, which is rounded by the same step
            return node
        if key not in self.rounded:
            operators = torch.ops.quantized_decomposed
            steps = (scale, 0, _LOWEST, LEVELS, torch.int8)
            with self.graph.inserting_after(node):
                narrow = self.graph.call_function(operators.quantize_per_tensor.default, (node, *steps))
            with self.graph.inserting_after(narrow):
                back = self.graph.call_function(operators.dequantize_per_tensor.default, (narrow, *steps))
            self.rounded[key] = back
        return self.rounded[key]

    def _weight(self, node: fx.Node, value: torch.Tensor, axis: int) -> fx.Node:
        """Return stored weights rounded to 8 bits by output channel."""
        key = (node.name, axis)
        if key not in self.weights:
            operators = torch.ops.quantized_decomposed
            steps = weight_scales(value.detach(), LEVELS, axis).flatten()
            name = f"fdikp_edge_steps_{len(self.weights)}"
            self.module.register_buffer(name, steps)
            self.module.register_buffer(f"{name}_zero", torch.zeros(steps.shape, dtype=torch.int64))
            with self.graph.inserting_after(node):
                scale = self.graph.get_attr(name)
            with self.graph.inserting_after(scale):
                zero = self.graph.get_attr(f"{name}_zero")
            rest = (scale, zero, axis, -LEVELS, LEVELS, torch.int8)
            with self.graph.inserting_after(zero):
                narrow = self.graph.call_function(operators.quantize_per_channel.default, (node, *rest))
            with self.graph.inserting_after(narrow):
                back = self.graph.call_function(operators.dequantize_per_channel.default, (narrow, *rest))
            self.weights[key] = back
        return self.weights[key]
