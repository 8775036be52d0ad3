"""What a device with TensorRT takes in place of the file for ONNX Runtime: plain constants, signed bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .signed_weights import signed
from .storage import restore

if TYPE_CHECKING:
    import onnx


def change(model: onnx.ModelProto, precision: str) -> list[str]:
    """Change a model in place; see :class:`~fdikp_edge.export.target.OnnxChange`."""
    notes = []
    if restored := restore(model):
        notes.append(
            f"{restored} constants that the artifact stores in fewer bytes are plain here: releases of "
            "TensorRT differ in what they make of such nodes"
        )
    if precision.startswith("int8"):
        signed(model)
        notes.append("8-bit values are signed here, which TensorRT wants; they stand for the same numbers")
    return notes
