"""Input of weakly typed builds (TensorRT 8.6 to 10) besides the float32 file: ranges and float32 layers.

Ranges travel as TensorRT's own calibration cache, made from our table; layers that must not be narrowed as a
list of names. Strongly typed builds need neither: there the types are in the file.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.device.build import CACHE_FILE, FLOAT32_LAYERS_FILE
from ..onnx.checks import source_node

if TYPE_CHECKING:
    import onnx

    from ...calibration.table import CalibrationTable, ProgramKey


def legacy_files(model: onnx.ModelProto, table: CalibrationTable, key: ProgramKey) -> dict[str, bytes]:
    """Return file name -> bytes for a float32 model of the program of a section of ``table``."""
    section = table.section(key)
    nodes = [(source_node(node), node) for node in model.graph.node]
    # Where a node of the program became several of the file, its value is that of the last.
    names = {source: node.output[0] for source, node in nodes if source}
    inputs = [name for name in section.tensors if name not in names]
    if len(inputs) == 1:  # the one value that no node makes
        names[inputs[0]] = model.graph.input[0].name
    float32_layers = [node.name for source, node in nodes if source in section.half.float32_layers]
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-cache-") as folder:
        file = Path(folder) / CACHE_FILE
        table.write_tensorrt_cache(file, key, names)
        cache = file.read_bytes()
    return {CACHE_FILE: cache, FLOAT32_LAYERS_FILE: json.dumps(float32_layers, indent=0).encode("ascii")}
