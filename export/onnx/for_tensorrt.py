"""What a device with TensorRT takes in place of the file for ONNX Runtime: plain constants, casts at
the ports, signed 8-bit values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .byte_ports import floats_inside
from .floats_between import floats_between_layers
from .signed_weights import signed
from .storage import restore

if TYPE_CHECKING:
    import onnx


def change(model: onnx.ModelProto, precision: str) -> list[str]:
    """Change a model in place; see :class:`~fdikp_edge.export.target.OnnxChange`."""
    notes = []
    if restored := restore(model):
        notes.append(
            f"{restored} compressed constants of the artifact are stored uncompressed here, because "
            "TensorRT releases differ in how they handle such nodes"
        )
    if floats_inside(model):
        notes.append("only casts touch bytes at the ports, because TensorRT computes on no unsigned bytes")
    if precision.startswith("int8"):
        readers, layers = floats_between_layers(model)
        if readers or layers:
            notes.append(
                f"int8 as TensorRT takes it: {readers} readers get unrounded values, {layers} layers of few "
                "channels per group, or beside shifted parts, compute in floats"
            )
        signed(model)
        notes.append("8-bit values are stored signed, as TensorRT requires; they represent the same numbers")
    return notes
