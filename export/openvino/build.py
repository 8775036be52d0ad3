"""The ``openvino`` target: OpenVINO IR from the same ONNX graph that the ``onnx`` target ships.

The way through ONNX was chosen by measurement over OpenVINO's own ``torch.export`` front end. It is three
times faster to convert, gives a fully static graph of fewer nodes, runs at the same speed and is as exact;
and quantised graphs (Q/DQ) need no second recipe.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import LoweringError
from ..forbidden import check_census
from ..forbidden import table as counted
from ..onnx import build as onnx_target
from ..onnx.checks import source_node
from ..onnx.quantise import census as layers_census
from ..onnx.quantise import describe_weights
from ..options import weight_levels
from ..storage import describe
from ..target import BuildResult
from .activations import rewrite_tanh
from .kernels import separate_kernels
from .storage import save, store
from .target import OPENVINO

if TYPE_CHECKING:
    import openvino

    from ...calibration.table import CalibrationTable
    from ..onnx.source.program import OnnxProgram
    from ..spectral import LoweredProgram

NODES = "nodes"
"""Key under ``fdikp_edge`` in the model's runtime information: names of values -> nodes of the program."""

_MADE_UP = re.compile(r"[A-Z]\w*_\d+")
# Kept in the file although no arithmetic happens in them.
_SILENT = {"Constant", "Parameter", "Result"}


def build(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write ``model.xml`` and ``model.bin`` into ``folder``; see :class:`~fdikp_edge.export.target.Builder`.

    Weights are stored in the precision asked for, or in fewer bytes where these stand for the same numbers
    (see :mod:`.storage`). The file of ``bf16`` is that of ``fp32``: the session asks OpenVINO for
    bfloat16. ``options``: as :func:`..onnx.build.build` takes them.
    """
    import openvino

    name = OPENVINO.model_file
    levels = weight_levels(options)
    stored = "fp32" if precision == "bf16" else precision
    graph, notes = onnx_target.convert_to(lowered, stored, table, weight_levels=levels)
    notes += describe_weights(precision, levels)
    model = convert(onnx_target.serialise(graph, name))
    facts = {**(provenance or {}), "precision": precision, "program_sha256": lowered.sha256}
    facts[NODES] = json.dumps(
        {value: source_node(node) for node in graph.graph.node if source_node(node) for value in node.output}
    )
    for key, value in sorted(facts.items()):
        model.set_rt_info(str(value), ["fdikp_edge", key])
    computed = precisions(model)  # what only makes constants computes nothing in a call
    notes += describe(store(model))
    census = check(model)
    save(model, folder / name)
    versions = {**onnx_target.toolchain(), "openvino": str(openvino.__version__)}
    counts = {**computed, **layers_census(table, lowered.key, precision, levels)}
    return BuildResult(name, versions, census, counts, notes)


def convert(data: bytes) -> openvino.Model:
    """Return the OpenVINO model of an ONNX file's bytes, with OpenVINO's common optimisations applied.

    ``openvino.convert_model`` would do the same, but sends what it was asked to convert, and how that went,
    over the network unless the user opted out.

    Raises:
        LoweringError: OpenVINO cannot read it.
    """
    from openvino._offline_transformations import apply_moc_transformations

    try:
        model = _read(data)
        rewrite_tanh(model)
        separate_kernels(model)
        # What the runtime does when it loads a model leaves 40 % more operators than this, and is 8 % slower.
        apply_moc_transformations(model, cf=True, smart_reshape=True)
    except Exception as error:  # RuntimeError, or a front end's own
        lines = [line for line in str(error).strip().splitlines() if line] or ["no message"]
        raise LoweringError(f"OpenVINO cannot convert the lowered program: {lines[-1]}") from error
    model.set_friendly_name("main")
    for index, op in enumerate(model.get_ordered_ops()):
        # Names made up by OpenVINO count from the start of the process; these make equal models equal files.
        if _MADE_UP.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}.{index}")
    return model


def _read(data: bytes) -> openvino.Model:
    """Read an ONNX file's bytes, from a file: from memory, inputs that the network ignores get lost."""
    import openvino

    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return core.read_model(str(path))


def check(model: openvino.Model) -> dict[str, int]:
    """Check a converted model and return its operators by type, most frequent first.

    Raises:
        LoweringError: a transform, a complex value, control flow, or a size that is not fixed.
    """
    census = counted(Counter(op.get_type_name() for op in model.get_ops()))
    check_census(census, "model.xml")
    for op in model.get_ops():
        for port in op.outputs():
            if port.get_partial_shape().is_dynamic:
                raise LoweringError(f"model.xml: the size of {op.get_friendly_name()!r} is not fixed")
    return census


def precisions(model: openvino.Model) -> dict[str, int]:
    """Return how many operators compute in each element type, by the type of their first output."""
    names: dict[str, str] = {"f32": "float", "f16": "float16", "i8": "int8", "u8": "uint8", "i64": "int64"}
    counts: Counter[str] = Counter()
    for op in model.get_ops():
        if op.get_type_name() not in _SILENT:
            kind: Any = op.output(0).get_element_type().get_type_name()
            counts[names.get(kind, kind)] += 1
    return counted(counts)
