"""The ``tensorrt-rtx`` and ``tensorrt`` targets: engines from the ONNX graph of the ``onnx`` target.

Precision is in the file (casts, Q/DQ), so the network is strongly typed and one file serves TensorRT 10, 11
and RTX. RTX builds ahead of time for compute capabilities that are named; the other builds for the processor
it runs on. Each artifact keeps the ONNX file, the builder's log and ``engine.json`` beside the engine.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ...calibration.layers import kind_of, stored_tensors
from ...runtime.device.build import CACHE_FILE, FLOAT32_LAYERS_FILE
from ...runtime.errors import BadInputError, LoweringError, TargetUnavailableError
from ...runtime.files import write_problem
from ...runtime.onnx_nodes import onnx_nodes
from ...runtime.passport import QUANTISED_LAYERS
from ...runtime.tensorrt.caches import cache_folder
from ...runtime.tensorrt.cuda import open_cuda
from ...runtime.tensorrt.engines import (
    ENGINE_FILE,
    FACTS_FILE,
    LOG_FILE,
    ONNX_FILE,
    EngineFacts,
    capability_text,
    name_places,
    parse_capability,
)
from ...runtime.tensorrt.features import Product
from ..aten import base_name
from ..onnx import build as onnx_target
from ..onnx import checks as onnx_checks
from ..onnx.byte_ports import floats_inside
from ..onnx.quantise import census as layers_census
from ..onnx.source.program import OnnxProgram
from ..target import BuildResult
from . import layer_report
from .layer_report import LAYERS_FILE, EngineLayer, engine_layers
from .log import cause, condensed, out_of_memory, warnings_in
from .unsupported import refuse_unsupported
from .weak_typing import legacy_files
from .worker import ANSWER, REQUEST, Answer, Request

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

WORKER = (sys.executable, "-m", "fdikp_edge.export.tensorrt.worker")
"""The command that builds one engine; its argument, the folder of the request, is appended."""

PADDED = "{count} per group, which {title} pads to 4 in int8, with stored zeros of the feature map's size"
"""Why a grouped convolution stays in floats: seen in engines of 1.7.1, five megabytes for one of 96 maps of
128x128, which the processor would read at every call."""

SHIFTED = (
    "its input is also cut into shifted parts, which {title} would fuse with the rounding into one kernel"
)
"""Why a layer beside them stays in floats: engines hold their kernels as source, which the device compiles;
three of these took 47 to 62 MB of it in base's (1.7.1)."""

_CUTS = ("narrow", "slice")

MAX_SECONDS = 2 * 3600.0
"""How long one engine may take; a builder that is short of memory may hang rather than fail."""

TITLES: Mapping[Product, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


def build_rtx(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str],
) -> BuildResult:
    """Write an engine for each compute capability of ``options``, in one file, on any machine.

    See :class:`~fdikp_edge.export.target.Builder`. ``options``: ``capabilities``, such as ``8.6,8.9``.

    Raises:
        BadInputError: something that is no compute capability, or one that this release does not build for.
        LoweringError: the parser or the builder refused the network; names the modules.
        TargetUnavailableError: memory ran out.
    """
    capabilities = tuple(dict.fromkeys(map(parse_capability, options["capabilities"].split(","))))
    request = Request("tensorrt-rtx", ONNX_FILE, ENGINE_FILE, precision, capabilities=capabilities)
    return _build(lowered, folder, request, table and _fitting(table, lowered), provenance)


def build_classic(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str],
) -> BuildResult:
    """Write an engine for the NVIDIA GPU of this machine; see :class:`~fdikp_edge.export.target.Builder`.

    ``options``: ``typing`` is ``strong``, or ``weak``: a float32 file, float16 and int8 by flags of the
    builder with the calibration table as its cache, as TensorRT before 11 was used. ``transforms`` is
    ``products``, or ``native``: the program may hold transforms, which TensorRT has from 11.2.

    Raises:
        LoweringError: the parser or the builder refused the network; names the modules.
        TargetUnavailableError: no GPU or driver, no weak typing or no transform here, or memory ran out.
    """
    if options["typing"] == "weak" and precision == "bf16":
        raise TargetUnavailableError(
            "target tensorrt: bf16 is in the file, not a flag; leave out typing=weak"
        )
    device = open_cuda().device()
    caches = cache_folder("tensorrt")
    timing = None if caches is None else str(caches / f"timing-{capability_text(device.capability)}.cache")
    request = Request(
        "tensorrt",
        ONNX_FILE,
        ENGINE_FILE,
        precision,
        capabilities=(device.capability,),
        weak=options["typing"] == "weak",
        native=options["transforms"] == "native",
        timing_cache=timing,
    )
    return _build(lowered, folder, request, table, provenance)


def _build(
    lowered: LoweredProgram | OnnxProgram,
    folder: Path,
    request: Request,
    table: CalibrationTable | None,
    provenance: Mapping[str, str] | None,
) -> BuildResult:
    precision, title = request.precision, TITLES[request.product]
    model, notes = onnx_target.convert_to(
        lowered,
        "fp32" if request.weak else precision,
        table,
        allowed=("DFT",) if request.native else (),
        half_remainder=True,
    )
    if floats_inside(model):
        onnx_checks.check(model, [], ("DFT",) if request.native else ())
    refuse_unsupported(model, request.product, title)
    facts = {**(provenance or {}), "precision": precision, "program_sha256": lowered.sha256}
    onnx_target.label(model, facts)
    (folder / ONNX_FILE).write_bytes(onnx_target.serialise(model, ONNX_FILE))
    extras = {}
    if request.weak and precision != "fp32" and table is not None:
        extras = legacy_files(model, table, lowered.key)
    answer, layers = _run(request, folder, extras)
    engine = EngineFacts(
        request.product, answer.version, request.capabilities, "weak" if request.weak else "strong"
    )
    (folder / FACTS_FILE).write_bytes(engine.to_json())
    capabilities = ", ".join(map(capability_text, request.capabilities))
    notes.append(f"{title}: {answer.layers} layers, compute capability {capabilities}, TF32 off")
    if request.weak:
        notes.append(f"{title}: weakly typed, {precision} by flags of the builder; {ONNX_FILE} is float32")
    outcomes: list[layer_report.LayerOutcome] = []
    if layers and table is not None:
        section = table.section(lowered.key)
        outcomes = layer_report.census(layers, model, section, precision)
        (folder / LAYERS_FILE).write_bytes(layer_report.to_json(outcomes))
        notes += layer_report.describe(outcomes, precision)
        notes += layer_report.describe_readers(layers)
    elif layers and precision != "fp32":
        notes += layer_report.describe_types(layers)
    notes += warnings_in((folder / LOG_FILE).read_text(encoding="utf-8"), title)
    versions = {
        **onnx_target.toolchain(),
        "polygraphy": importlib.metadata.version("polygraphy"),
        request.product: answer.version,
    }
    counts = {**onnx_checks.precisions(model), **layers_census(table, lowered.key, precision)}
    if precision == "int8" and layer_report.all_in_float(outcomes):
        counts[QUANTISED_LAYERS] = 0  # the file asks for them, and TensorRT took none
    return BuildResult(ENGINE_FILE, versions, onnx_checks.census(model), counts, notes)


def _fitting(table: CalibrationTable, lowered: LoweredProgram | OnnxProgram) -> CalibrationTable:
    """Return the table without int8 in layers that TensorRT-RTX makes larger by it than in floats."""
    title, layers = TITLES["tensorrt-rtx"], {entry.node for entry in table.section(lowered.key).layers}
    in_float = {}
    shapes = _onnx_shapes(lowered) if isinstance(lowered, OnnxProgram) else _shapes(lowered)
    for name, mine, grouped, is_cut in shapes:
        if name not in layers:
            continue
        if grouped and mine % 4:
            count = f"{mine} channels" if mine > 1 else "one channel"
            in_float[name] = PADDED.format(count=count, title=title)
        elif is_cut:
            in_float[name] = SHIFTED.format(title=title)
    return table.to_float(lowered.key, in_float, table.section(lowered.key).mixed_precision)


_Shape = tuple[str, int, bool, bool]
"""A layer, its channels per group, whether it has several groups, and whether its input is also cut up."""


def _shapes(lowered: LoweredProgram) -> Iterator[_Shape]:
    stored = stored_tensors(lowered.program)
    for node in lowered.program.graph.nodes:
        kind = kind_of(node, stored)
        if kind is None:
            continue
        source, weight = node.args[kind.data], node.args[kind.weight]
        mine = weight.meta["val"].shape[1]
        grouped = kind.is_convolution and mine < source.meta["val"].shape[1]
        yield node.name, mine, grouped, any(base_name(user.target) in _CUTS for user in source.users)


def _onnx_shapes(program: OnnxProgram) -> Iterator[_Shape]:
    weights = {tensor.name: tensor.dims for tensor in program.model.graph.initializer}
    nodes = program.model.graph.node
    cut = {node.input[0] for node in nodes if node.op_type in ("Slice", "Split")}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(weights.get(node.input[1], ())) > 1:
            groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
            yield node.output[0], weights[node.input[1]][1], groups > 1, node.input[0] in cut


def _run(request: Request, folder: Path, extras: Mapping[str, bytes]) -> tuple[Answer, list[EngineLayer]]:
    """Have the engine built in another process, and keep its log; return the layers that this listed, too."""
    title = TITLES[request.product]
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-") as name:
        scratch = Path(name)
        content = {
            **asdict(request),
            "onnx": str((folder / ONNX_FILE).resolve()),
            "engine": str((folder / ENGINE_FILE).resolve()),
            "float32_layers": json.loads(extras.get(FLOAT32_LAYERS_FILE, b"[]")),
        }
        if request.precision == "int8" and CACHE_FILE in extras:
            (scratch / CACHE_FILE).write_bytes(extras[CACHE_FILE])
            content["calibration"] = str(scratch / CACHE_FILE)
        (scratch / REQUEST).write_text(json.dumps(content), encoding="utf-8")
        with (scratch / "log").open("wb") as log:
            try:
                done = subprocess.run(
                    [*WORKER, name],
                    cwd=name,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=MAX_SECONDS,
                )
            except subprocess.TimeoutExpired:
                raise TargetUnavailableError(
                    f"{title} did not finish building within {MAX_SECONDS / 60:.0f} minutes"
                ) from None
        with (scratch / "log").open(encoding="utf-8", errors="replace") as lines:
            layers = engine_layers(lines)
        text = condensed(scratch / "log", {str(folder.resolve()): ".", name: "."})
        (folder / LOG_FILE).write_text(text, encoding="utf-8")
        try:
            answer = Answer(**json.loads((scratch / ANSWER).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            answer = Answer()
    if done.returncode == 0 and (folder / ENGINE_FILE).is_file():
        return answer, layers
    if answer.unwritten:  # whoever writes the artifact says what that means
        raise OSError(answer.unwritten, os.strerror(answer.unwritten), str(folder / ENGINE_FILE))
    if problem := write_problem(folder):
        raise problem
    if answer.refused:
        more = f" (and {len(answer.refused) - 5} more)" if len(answer.refused) > 5 else ""
        raise LoweringError(f"{title}'s parser refused {'; '.join(answer.refused[:5])}{more}")
    if answer.kind == "memory" or out_of_memory(done.returncode, text, answer.problem):
        raise TargetUnavailableError(
            f"{title}: out of memory while building the engine (exit code {done.returncode}). "
            "Close other programs, or build for fewer compute capabilities or a smaller size"
        )
    if answer.kind == "input":
        raise BadInputError(f"{title}: {answer.problem}")
    if answer.kind == "unavailable":
        raise TargetUnavailableError(f"target {request.product}: {answer.problem}")
    why = cause(text, answer.problem, done.returncode)
    places = name_places(why, onnx_nodes((folder / ONNX_FILE).read_bytes()))
    where = f" (in {', '.join(places[:5])})" if places else ""
    raise LoweringError(f"{title} could not build the engine: {why}{where}")
