"""The layers of a program that the converted file shall compute in 8 bits, as the worker reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibration.layer_kinds import CONV2D
from ...runtime.errors import LoweringError

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram


@dataclass
class Int8Layers:
    """``rows`` are JSON objects: ``node``, ``channels``, and what one step of ``input`` and ``result`` is
    worth. ``biases`` and ``labels`` lie beside them, float32 and text."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    biases: list[np.ndarray[Any, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, lowered: LoweredProgram, table: CalibrationTable) -> Int8Layers:
        """Return the layers that a table quantises.

        Raises:
            CalibrationError: the table was made for another program or profile.
            LoweringError: a layer of the table is not in the program, or is none that has 8 bits here.
        """
        from ...calibration.layers import constant_behind, kind_of, stored_tensors

        section = table.section(lowered.key)
        stored = stored_tensors(lowered.program)
        nodes = {node.name: node for node in lowered.program.graph.nodes}
        layers = cls()
        for layer in section.quantised():
            node = nodes.get(layer.node)
            kind = None if node is None else kind_of(node, stored)
            if node is None or kind is None or kind.name != CONV2D:
                raise LoweringError(
                    f"layer {layer.label} of the calibration table is no convolution of the program"
                )
            weight = constant_behind(node.args[1], stored)
            bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
            value = None if bias is None else constant_behind(bias, stored)
            if weight is None or (bias is not None and value is None) or "bias" in node.kwargs:
                raise LoweringError(f"weights or bias of layer {layer.label} are not stored in the program")
            channels = int(weight.shape[0])
            row = {
                "node": layer.node,
                "channels": channels,
                "input": table.scale(lowered.key, layer.input),
                "result": table.scale(lowered.key, layer.node),
            }
            layers.rows.append(row)
            layers.biases.append(
                np.zeros(channels, np.float32)
                if value is None
                else value.detach().cpu().numpy().astype(np.float32)
            )
            layers.labels.append(layer.label)
        return layers

    def write(self, path: Path) -> None:
        """Write the biases, by place of their layer."""
        if self.rows:
            np.savez(path, **{str(place): bias for place, bias in enumerate(self.biases)})  # type: ignore[arg-type]
