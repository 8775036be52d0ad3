"""A lowered program in float16, but for the nodes that a calibration table keeps in float32.

The program keeps its inputs and outputs. Between them every float is float16; casts stand where a float32
node begins and ends. Comparisons read float32, as a threshold that is rounded can change a result, and so
does GELU, for which XNNPACK (ExecuTorch 1.5) has no float16 kernel.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from ..aten import base_name

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

aten = torch.ops.aten

IN_FLOAT32 = frozenset(["eq", "ge", "gelu", "gt", "le", "lt", "ne"])
"""Operators that read and make float32 always."""


def half_program(lowered: LoweredProgram, table: CalibrationTable) -> tuple[ExportedProgram, dict[str, int]]:
    """Return a copy of the program in float16, and how many operators compute in which type.

    Raises:
        CalibrationError: the table was made for another program or profile.
    """
    kept = table.section(lowered.key).half.float32_layers
    module: Any = lowered.program.module()
    program = _Half(module, set(kept))
    with torch.no_grad():
        result = torch.export.export(program, lowered.program.example_inputs[0])
    for node in list(result.graph.nodes):
        # A check of each cast's operand. It would keep the float32 constants in the file.
        if node.target is aten._assert_tensor_metadata.default:
            result.graph.erase_node(node)
    return result, _census(result)


class _Half(nn.Module):
    def __init__(self, module: fx.GraphModule, kept: Collection[str]) -> None:
        super().__init__()
        self.module = module
        self.kept = kept

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the program: outputs have its types."""
        return _Caster(self.module, self.kept).run(*inputs)


class _Caster(fx.Interpreter):
    """Runs a program with casts in front of what each node reads."""

    def __init__(self, module: fx.GraphModule, kept: Collection[str]) -> None:
        super().__init__(module)
        self.kept = kept
        self._casts: dict[tuple[fx.Node, torch.dtype], Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node in the type that it has."""
        if n.op in ("placeholder", "get_attr"):
            return super().run_node(n)
        wide = n.op == "output" or n.name in self.kept or base_name(n.target) in IN_FLOAT32
        dtype = torch.float32 if wide else torch.float16

        def read(source: fx.Node) -> Any:
            value = self.env[source]
            floats = isinstance(value, Tensor) and value.is_floating_point()
            if not floats or value.dtype == dtype or value.dtype == torch.float64:
                return value
            if (source, dtype) not in self._casts:
                self._casts[source, dtype] = aten.to.dtype(value, dtype)
            return self._casts[source, dtype]

        args, kwargs = fx.map_arg((n.args, n.kwargs), read)
        result: Any = getattr(self, n.op)(n.target, args, kwargs)
        return result


def _census(program: ExportedProgram) -> dict[str, int]:
    counts = {"float16": 0, "float32": 0, "casts": 0}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor):
            continue
        if base_name(node.target) == "to":
            counts["casts"] += any(source.op == "call_function" for source in node.all_input_nodes)
        elif value.dtype in (torch.float16, torch.float32):
            counts[str(value.dtype).removeprefix("torch.")] += 1
    return counts
