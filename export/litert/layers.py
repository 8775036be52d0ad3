"""The layers of a program that the converted file shall compute in 8 bits, as the worker reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibration.layer_kinds import CONV2D, PRODUCT
from ...runtime.errors import LoweringError

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...calibration.layers import Layer
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

_BIAS_PLACES = {"aten.linear.default": 2, "aten.addmm.default": 0}
"""Product -> place of the bias among its arguments. Other products have none."""


@dataclass
class Int8Layers:
    """What the worker needs to know of each layer.

    ``rows`` are JSON objects: ``node``, ``channels`` (of its result), ``bias`` (its place among the arguments
    of the node), and for most convolutions what one step of ``input`` and ``result`` is worth. Products and
    the convolution that makes the picture have neither: their results are floats, and LiteRT rounds what they
    read by steps that it chooses when it runs. ``biases`` (float32) and ``labels`` lie beside the rows.
    ``kept`` are labels of layers that stay in floats.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    biases: list[np.ndarray[Any, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, lowered: LoweredProgram, table: CalibrationTable) -> Int8Layers:
        """Return the layers that a table quantises.

        Raises:
            CalibrationError: the table was made for another program or profile.
            LoweringError: a layer of the table is not in the program, or its weights are not stored.
        """
        from ...calibration.layers import stored_tensors
        from ..roles import ends

        section = table.section(lowered.key)
        stored = stored_tensors(lowered.program)
        last = ends(lowered, first=False, last=True)
        nodes = {node.name: node for node in lowered.program.graph.nodes}
        layers = cls()
        for layer in section.quantised():
            steps = {
                "input": table.scale(lowered.key, layer.input),
                "result": table.scale(lowered.key, layer.node),
            }
            layers._add(layer, nodes.get(layer.node), stored, {} if layer.node in last else steps)
        return layers

    def _add(
        self, layer: Layer, node: fx.Node | None, stored: dict[str, Tensor], steps: dict[str, float]
    ) -> None:
        from ...calibration.layers import constant_behind, kind_of

        kind = None if node is None else kind_of(node, stored)
        weight = None if node is None or kind is None else constant_behind(node.args[kind.weight], stored)
        if node is None or kind is None or weight is None:
            raise LoweringError(f"layer {layer.label} of the calibration table is not in the program")
        place = 2 if kind.name == CONV2D else _BIAS_PLACES.get(str(node.target), -1)
        bias = node.args[place] if 0 <= place < len(node.args) else node.kwargs.get("bias")
        value = None if bias is None else constant_behind(bias, stored)
        channels = int(weight.shape[kind.channels])
        known = bias is None or (value is not None and tuple(value.shape) == (channels,))
        if kind.name not in (CONV2D, PRODUCT) or place < 0 or not known or "bias" in node.kwargs:
            self.kept.append(layer.label)
            return
        row = {"node": layer.node, "channels": channels, "bias": place}
        self.rows.append({**row, **(steps if kind.name == CONV2D else {})})
        zeros = np.zeros(channels, np.float32)
        self.biases.append(zeros if value is None else value.detach().cpu().numpy().astype(np.float32))
        self.labels.append(layer.label)

    def write(self, path: Path) -> None:
        """Write the biases, by place of their layer."""
        if self.rows:
            arrays: Any = {str(place): bias for place, bias in enumerate(self.biases)}
            np.savez(path, **arrays)
