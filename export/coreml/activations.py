"""Eight-bit activations in a Core ML program: what a calibration table says, as pairs of operations.

A convolution whose input passes through ``quantize`` and ``dequantize`` (iOS 17, macOS 14) and whose weights
are stored in 8 bits computes in 8 bits where the hardware can, and in floats that were rounded elsewhere.
coremltools has a pass that puts such pairs in, but it takes ranges by running the program on a Mac; this one
takes them from the table. Steps are symmetric and by tensor.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

_CAST = re.compile(r"(_cast)?(_to)?_fp(16|32)(_\d+)?$|_cast$")
SMALLEST_HALF = 2.0**-24


def round_inputs(model: Any, lowered: LoweredProgram, table: CalibrationTable) -> tuple[Any, int]:
    """Return a converted model with the inputs of the table's convolutions rounded, and how many those are.

    Args:
        model: a converted ``MLModel`` of the program.
        lowered: the program.
        table: its calibration table.

    Raises:
        CalibrationError: the table was made for another program or profile.
    """
    from coremltools import _SPECIFICATION_VERSION_IOS_17
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.models.utils import _apply_graph_pass

    section = table.section(lowered.key)
    quantised = {layer.node: layer.input for layer in section.quantised()}
    wide = {layer.node for layer in section.layers if layer.reason}
    wide_inputs = {layer.input for layer in section.layers if layer.reason}
    scales = {name: table.scale(lowered.key, name) for name in set(quantised.values())}
    nodes = map(str, lowered.program.graph_signature.user_inputs)
    ends = dict(zip(lowered.input_names, nodes, strict=True))
    rounded = 0

    def scale_of(produced: str, read: str) -> float | None:
        """The step for what a convolution reads, ``None`` if it stays in floats."""
        node, tensor = plain(produced), plain(read)
        tensor = ends.get(tensor, tensor)
        if node in quantised:
            return scales[quantised[node]] if tensor == quantised[node] else None
        # The converter may have fused what follows, and called it by that.
        return None if node in wide or tensor in wide_inputs else scales.get(tensor)

    class RoundInputs(AbstractGraphPass):  # type: ignore[misc]
        """Puts a pair in front of each of the convolutions."""

        def apply(self, prog: Any) -> None:
            nonlocal rounded
            for block in prog.functions.values():
                for op in [op for op in block.operations if op.op_type == "conv"]:
                    x = op.inputs["x"]
                    scale = scale_of(op.outputs[0].name, x.name)
                    if scale is None:
                        continue
                    half = x.dtype == types.fp16
                    step = np.float16(max(scale, SMALLEST_HALF)) if half else np.float32(scale)
                    with block:
                        narrow = mb.quantize(input=x, scale=step, output_dtype="int8", before_op=op)
                        back = mb.dequantize(input=narrow, scale=step, before_op=op)
                    block.replace_uses_of_var_after_op(anchor_op=back.op, old_var=x, new_var=back, end_op=op)
                    rounded += 1

    changed = _apply_graph_pass(
        model, RoundInputs(), spec_version=_SPECIFICATION_VERSION_IOS_17, skip_model_load=True
    )
    return changed, rounded


def plain(name: str) -> str:
    """Return the name of a value without what the converter's casts put behind it."""
    while (shorter := _CAST.sub("", name)) != name:
        name = shorter
    return name
