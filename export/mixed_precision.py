"""Chooses the int8 layers that go back to float, and names layers as files and runtimes do, to time them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..calibration import evaluation_pairs
from ..calibration.mixed_precision import Bounds, LayerTime, MixedPrecision, Times
from ..calibration.mixed_precision_search import search, times_by_work
from ..calibration.samples import Samples, choose, shipped_photos
from ..calibration.table import CalibrationTable
from ..runtime.errors import CalibrationError
from ..runtime.progress import Progress
from ..runtime.tensors import described
from .lowered import LoweredModel
from .target import Target

__all__ = [
    "Bounds",
    "LayerTime",
    "MixedPrecision",
    "Times",
    "choose_mixed_precision",
    "estimated",
    "in_file",
    "plain_name",
]

_FUSED_INTO = {"Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
"""What runtimes compute together with the layer before it, and then call by this node's name."""
ESTIMATE = "an estimate by multiply-adds, not measured"


def choose_mixed_precision(
    model: LoweredModel,
    table: CalibrationTable,
    bounds: Bounds,
    target: Target,
    times: Times,
    *,
    samples: Samples | None = None,
    pairs: str | Path | None = None,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Return the table with as many layers in float as the bounds require.

    See :func:`fdikp_edge.calibration.mixed_precision_search.search`.

    Args:
        model: lowered for the target.
        table: its calibration table.
        bounds: what to keep.
        target: whose int8 files are emulated.
        times: of its float and int8 files.
        samples: tiles to defocus and restore, where there are no pairs; of the shipped photos when ``None``.
        pairs: a folder of pairs of photos, see :func:`..calibration.evaluation_pairs.of_pairs`.
        progress: called with (steps done, steps in total, message).

    Raises:
        CheckFailedError: the bounds cannot be met.
        CalibrationError: the table is of another program or profile, or the pairs do not fit.
    """
    if not model.takes_photos or [end.shape for end in model.outputs] != [model.inputs[0].shape]:
        raise CalibrationError(
            "bounds on mixed precision are judged on photos: they need a network from one picture in colours "
            f"to one of the same size; this one takes {described(model.inputs)} and returns "
            f"{described(model.outputs)}"
        )
    dtype = model.inputs[0].dtype
    if pairs is not None:
        chosen = evaluation_pairs.of_pairs(pairs, model.inputs[0].size, dtype=dtype)
    else:
        tiles = samples or choose(shipped_photos(), model.inputs[0].size)
        chosen = evaluation_pairs.of_samples(tiles, dtype=dtype)
    return search(
        model.lowered.program,
        table,
        model.lowered.key,
        chosen,
        times,
        bounds,
        rounded_results=target.costs.rounds_results,
        weight_levels=target.weight_levels,
        progress=progress,
    )


def estimated(model: LoweredModel, table: CalibrationTable, times: Times) -> Times:
    """Return times with an estimate per layer, for runtimes that report none."""
    section = table.section(model.lowered.key)
    nodes = [layer.node for layer in section.quantised()]
    return Times(**{**vars(times), "source": ESTIMATE, "layers": times_by_work(section.layers, nodes, times)})


def in_file(model: LoweredModel) -> Mapping[str, str]:
    """Return what a layer may be called in files and by runtimes -> its node of the program.

    A layer is called by its node of the ONNX graph, by that node's output, or, where a runtime fuses it with
    what follows, by names of that.
    """
    from .onnx.build import convert
    from .onnx.checks import LAYERS, source_node

    layers: dict[str, str] = {}
    for as_calibrated in (False, True):  # float files, int8 files
        lowered = model.lowered
        graph, _ = convert(
            lowered.program, as_calibrated=as_calibrated, names=(lowered.input_names, lowered.output_names)
        )
        nodes = list(graph.graph.node)
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(nodes):
            for name in node.input:
                readers.setdefault(name, []).append(index)
        for node in nodes:
            if node.op_type not in LAYERS or not (layer := source_node(node)):
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
                layers.setdefault(name, layer)
    return layers


def plain_name(name: str) -> str:
    """Return a runtime's name of an operator without what the runtime put around it."""
    name = re.sub(r"^fused |/.*$|_kernel_time$", "", name)
    return re.sub(r"_nchwc$|_token_\d+$", "", name)
