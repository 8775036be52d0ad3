"""Puts pairs of quantise and dequantise operators into a program, as a calibration table specifies.

XNNPACK computes a convolution between such pairs in 8 bits, with a result of 8 bits too; ExecuTorch rounds
the bias to 32-bit integers by itself. Layers whose weights alone the table stores in 8 bits stay in floats.
Steps are symmetric: by tensor for values, by output channel for weights.
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

    Args:
        lowered: the program.
        table: its calibration table.

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
    inserter.separate()
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
        self.steps: dict[tuple[str, int], str] = {}
        self.last = set(map(str, program.graph_signature.user_outputs))

    def layer(self, layer: Layer) -> None:
        """Round what a layer reads, its weights, and what it makes.

        One that makes a result of the program stays in floats: XNNPACK has no convolution that reads 8 bits
        and makes floats.
        """
        if layer.node in self.last:
            return
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
        self._own_bias(node, original)
        if kind.is_convolution:
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
        """Return weights that are stored in 8 bits, by output channel."""
        key = (node.name, axis)
        if key not in self.steps:
            steps = weight_scales(value.detach(), LEVELS, axis).flatten()
            name = f"fdikp_edge_steps_{len(self.steps)}"
            self.module.register_buffer(name, steps)
            self.module.register_buffer(f"{name}_zero", torch.zeros(steps.shape, dtype=torch.int64))
            self.module.register_buffer(f"{name}_weight", narrowed(value, steps, axis))
            self.steps[key] = name
        name, operators = self.steps[key], torch.ops.quantized_decomposed
        # They are dequantised for each layer: ExecuTorch keeps all readers of one in one part.
        with self.graph.inserting_after(node):
            scale = self.graph.get_attr(name)
        with self.graph.inserting_after(scale):
            zero = self.graph.get_attr(f"{name}_zero")
        rest = (scale, zero, axis, -LEVELS, LEVELS, torch.int8)
        with self.graph.inserting_after(zero):
            narrow = self.graph.get_attr(f"{name}_weight")
        with self.graph.inserting_after(narrow):
            return self.graph.call_function(operators.dequantize_per_channel.default, (narrow, *rest))

    def _own_bias(self, node: fx.Node, original: fx.Node | None) -> None:
        """Store the bias again: ExecuTorch rounds one once, for the steps of the first layer reading it."""
        bias = node.args[2] if len(node.args) > 2 else None
        value = None if original is None else constant_behind(original.args[2], self.stored) if bias else None
        if isinstance(bias, fx.Node) and value is not None:
            name = f"fdikp_edge_bias_{node.name}"
            self.module.register_buffer(name, value.detach().clone())
            with self.graph.inserting_before(node):
                node.update_arg(2, self.graph.get_attr(name))

    def separate(self) -> None:
        """Give each reader of a rounded value a dequantisation of its own, which goes into its part."""
        for pair in list(self.rounded.values()):
            for reader in list(pair.users)[1:]:
                with self.graph.inserting_after(pair):
                    own = self.graph.call_function(pair.target, pair.args)  # type: ignore[arg-type]
                reader.replace_input_with(pair, own)


def narrowed(value: torch.Tensor, steps: torch.Tensor, axis: int) -> torch.Tensor:
    """Return weights in 8 bits; ``steps`` is worth one step, by channel along ``axis``."""
    shape = [1] * value.dim()
    shape[axis] = -1
    levels = torch.round(value.detach() / steps.reshape(shape))
    return levels.clamp(-LEVELS, LEVELS).to(torch.int8).contiguous()
