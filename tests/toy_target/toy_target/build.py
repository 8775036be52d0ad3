"""What builds the target's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fdikp_edge.export.onnx.build import convert, serialise, toolchain
from fdikp_edge.export.onnx.checks import census, precisions
from fdikp_edge.export.target import BuildResult

if TYPE_CHECKING:
    from fdikp_edge.calibration.table import CalibrationTable
    from fdikp_edge.export.spectral import LoweredProgram


def build(
    lowered: LoweredProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write ``network.toy`` into ``folder``."""
    model, notes = convert(lowered.program, names=(lowered.input_names, lowered.output_names))
    (folder / "network.toy").write_bytes(serialise(model, "network.toy"))
    notes.append("built by a toy")
    return BuildResult("network.toy", toolchain(), census(model), precisions(model), notes)
