"""Mixed precision of a lowered model: hands :mod:`fdikp_edge.calibration` what only the export knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..calibration import exams
from ..calibration.mixture import Bounds, LayerTime, Mixture, Times
from ..calibration.samples import Samples, choose, shipped_photos
from ..calibration.sensitivity import search, times_by_work
from ..calibration.table import CalibrationTable
from .build import LoweredModel
from .targets import Target

__all__ = ["Bounds", "LayerTime", "Mixture", "Samples", "Times", "estimated", "in_file", "mix"]

_FUSED_INTO = {"Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
"""What runtimes compute together with the layer before it, and then call by this node's name."""
ESTIMATE = "an estimate by multiply-adds, not measured"


def mix(
    model: LoweredModel,
    table: CalibrationTable,
    bounds: Bounds,
    target: Target,
    times: Times,
    *,
    samples: Samples | None = None,
    pairs: str | Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> CalibrationTable:
    """Return the table with the layers in floats that the bounds ask for; see :func:`.sensitivity.search`.

    Args:
        model: lowered for the target.
        table: its calibration table.
        bounds: what to keep.
        target: whose int8 files are emulated.
        times: of its float and int8 files.
        samples: tiles to defocus and restore, where there are no pairs; of the shipped photos when ``None``.
        pairs: a folder of pairs of photos, see :func:`.exams.of_pairs`.
        progress: told (steps done, steps in all, what is being done).

    Raises:
        CheckFailedError: no mixture meets the bounds.
        CalibrationError: the table is of another program or profile, or the pairs do not fit.
    """
    dtype = model.contracts[0].dtype
    if pairs is not None:
        chosen = exams.of_pairs(pairs, model.size, dtype=dtype)
    else:
        chosen = exams.of_samples(samples or choose(shipped_photos(), model.size), dtype=dtype)
    return search(
        model.lowered.program,
        table,
        model.lowered.key,
        chosen,
        times,
        bounds,
        rounded_results=target.rounds_results,
        weight_levels=target.weight_levels,
        progress=progress,
    )


def estimated(model: LoweredModel, table: CalibrationTable, times: Times) -> Times:
    """Return times with an estimate by layer, where the runtime does not tell any."""
    section = table.section(model.lowered.key)
    nodes = [layer.node for layer in section.quantised()]
    return Times(**{**vars(times), "source": ESTIMATE, "layers": times_by_work(section.layers, nodes, times)})


def in_file(model: LoweredModel) -> Mapping[str, str]:
    """Return what a layer may be called in files and by runtimes -> its node of the program.

    A layer is called by its node of the ONNX graph, by that node's output, or, where a runtime fuses it with
    what follows, by names of that.
    """
    from .onnx import convert
    from .onnx_checks import source_node

    found: dict[str, str] = {}
    for as_calibrated in (False, True):  # float files, int8 files
        graph, _ = convert(model.lowered.program, as_calibrated=as_calibrated)
        nodes = list(graph.graph.node)
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(nodes):
            for name in node.input:
                readers.setdefault(name, []).append(index)
        for node in nodes:
            if node.op_type not in ("Conv", "Gemm", "MatMul") or not (layer := source_node(node)):
                continue
            names = [node.name, node.output[0]]
            follows = node
            for _ in range(2):
                after = readers.get(follows.output[0], [])
                if len(after) != 1 or nodes[after[0]].op_type not in _FUSED_INTO:
                    break
                follows = nodes[after[0]]
                names += [follows.name, follows.output[0]]
            for name in names:
                found.setdefault(name, layer)
    return found


def plain_name(name: str) -> str:
    """Return a runtime's name of an operator without what the runtime put around it."""
    name = re.sub(r"^fused |/.*$|_kernel_time$", "", name)
    return re.sub(r"_nchwc$|_token_\d+$", "", name)
