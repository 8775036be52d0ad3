"""The calibration table of an ONNX source: ranges, layers in 8 bits, and float32 islands, on samples.

The rules are those for lowered programs, read from the ONNX graph: transforms, and what lies between two of
them, stay in floats in int8; in float16 a transform stays in float32 where its values could overflow.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....calibration.fp16_islands import (
    HALF_MAX,
    HALF_TILES,
    HEADROOM,
    WANTED_DB,
    HalfPlan,
    Transform,
    certify,
)
from ....calibration.layer_kinds import PRODUCT
from ....calibration.layers import LEAST_WORK, LITTLE_WORK, NO_FASTER, RUN_TIME, Layer
from ....calibration.table import CalibrationTable, ProgramCalibration
from ....runtime.errors import CalibrationError
from ....runtime.onnx_nodes import MODULE_KEY
from ...roles import FIRST, LAST
from ...targets import get_profile
from .probes import Feeds, collect, peaks, rounded, run_all, worst_db
from .program import OnnxProgram, transform_nodes
from .rewrite import is_matrix
from .scopes import infer

if TYPE_CHECKING:
    import onnx

LAYERS = ("Conv", "Gemm", "MatMul")
ON_SPECTRUM = "computed between two transforms, on a spectrum whose mean is far larger than the rest"
SPECTRAL = "computed between two transforms, where float16 costs too much"
TOO_LARGE = f"its peak of {{peak:.3g}} is too close to the float16 maximum {HALF_MAX:g}"
ALONE = "module {module} alone reduces the result to {db:.0f} dB in float16"
MOST_MODULES = 24
"""Modules that are tried one by one, each in a session of its own."""
_MOVING = {"Add", "Sub", "Mul", "Div", "Clip", "Transpose", "Reshape", "Concat", "Identity", "Cast", "Slice"}
_MOVING |= {"Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth", "Split", "Pad"}
"""What leaves the network's inputs, or the sums that become its outputs, what they are."""


def calibrate_onnx(
    program: OnnxProgram,
    samples: Sequence[Feeds],
    *,
    least_work: int = LEAST_WORK,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationTable:
    """Collect the ranges of a program on samples, and choose the layers in 8 bits and the float32 islands.

    Args:
        program: prepared for the target's profile.
        samples: name of an input -> array of its shape and dtype, for each sample.
        least_work: layers of fewer multiply-adds stay in floats.
        progress: called with (samples done, samples in total).

    Raises:
        CalibrationError: no samples, or one that does not fit; a tensor holds NaN or infinity.
    """
    section = calibrate_section(program, samples, least_work=least_work, progress=progress)
    return CalibrationTable(
        model=program.name,
        weights_sha256=program.source_sha256,
        size=_size(program),
        samples=_described(samples),
        sections={program.key: section},
    )


def calibrate_section(
    program: OnnxProgram,
    samples: Sequence[Feeds],
    *,
    least_work: int = LEAST_WORK,
    progress: Callable[[int, int], None] | None = None,
) -> ProgramCalibration:
    """Return the table's part for one program; arguments and errors as :func:`calibrate_onnx` has them."""
    _check_samples(program, samples)
    layers = find_layers(program, least_work)
    wanted = [name for layer in layers if not layer.reason for name in (layer.input, layer.node)]
    tensors = list(dict.fromkeys(wanted))
    statistics = collect(program.model, tensors, samples, progress)
    return ProgramCalibration(statistics, layers, decide(program, samples[:HALF_TILES]))


def find_layers(program: OnnxProgram, least_work: int = LEAST_WORK) -> list[Layer]:
    """Return every convolution and product with weights, in the order of the file."""
    model = program.model
    graph = infer(model)
    values = (*graph.value_info, *graph.input, *graph.output)
    shapes = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in values}
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    costs = get_profile(program.profile)
    spectral, ends = between_transforms(model), _ends(model, costs.int8_first, costs.int8_last)
    layers = []
    for node in model.graph.node:
        if node.op_type not in LAYERS or any(is_matrix(name) for name in node.input):
            continue
        name, weight = node.output[0], node.input[1]
        inside = shapes.get(node.input[0]) or [1]
        per_output = math.prod(stored.get(weight, [1, 1])[1:]) if node.op_type == "Conv" else inside[-1]
        macs = math.prod(shapes.get(name, [1])) * per_output
        if name in spectral:
            reason = ON_SPECTRUM
        elif weight not in stored or (node.op_type != "Conv" and len(stored[weight]) != 2):
            reason = RUN_TIME
        elif name in ends:
            reason = ends[name]
        elif node.op_type != "Conv" and PRODUCT not in costs.int8_kinds:
            reason = NO_FASTER
        else:
            reason = LITTLE_WORK if macs < least_work else ""
        weights_only = reason == NO_FASTER
        layers.append(Layer(name, module_of(node), node.input[0], weight, macs, reason, weights_only))
    return layers


def between_transforms(model: onnx.ModelProto) -> set[str]:
    """Return the values that depend on a transform and that a later transform depends on."""
    products = {node.output[0] for node in transform_nodes(model)}
    after: set[str] = set()
    for node in model.graph.node:
        if products & set(node.output) or after & set(node.input):
            after.update(node.output)
    before: set[str] = set()
    for node in reversed(model.graph.node):
        if products & set(node.output) or before & set(node.output):
            before.update(node.input)
    return after & before


def decide(program: OnnxProgram, samples: Sequence[Feeds]) -> HalfPlan:
    """Choose the float32 islands of a program on a few samples."""
    model = program.model
    largest = peaks(model, samples)
    expected = run_all(model, samples)
    certificates = [certify(transform, largest) for transform in _transforms(model)]
    islands: dict[str, str] = {}
    for certificate, transform in zip(certificates, _transforms(model), strict=True):
        if certificate.overflows:
            reason = f"transform {transform.site}: {certificate.decision}"
            islands |= dict.fromkeys(transform.nodes, reason)
    computed = {name for node in model.graph.node for name in node.output}
    for name, peak in largest.items():
        if name in computed and not peak * HEADROOM <= HALF_MAX:
            islands.setdefault(
                name, f"its peak of {peak:.3g} is too close to the float16 maximum {HALF_MAX:g}"
            )

    def decibels(float32_layers: Mapping[str, str]) -> float:
        return worst_db(run_all(rounded(model, float32_layers), samples), expected)

    unguarded, reached = decibels({}), decibels(islands)
    if reached < WANTED_DB:
        spectral = between_transforms(model) | {node.output[0] for node in transform_nodes(model)}
        for name in sorted(spectral & computed):
            islands.setdefault(name, SPECTRAL)
        reached = decibels(islands)
    if reached < WANTED_DB:
        reached = _widen(model, islands, decibels, reached)
    return HalfPlan(islands, certificates, reached, unguarded)


def module_of(node: onnx.NodeProto) -> str:
    """Return the module a node came from, where the file recorded it."""
    return next((entry.value for entry in node.metadata_props if entry.key == MODULE_KEY), "")


def _widen(
    model: onnx.ModelProto,
    islands: dict[str, str],
    decibels: Callable[[Mapping[str, str]], float],
    reached: float,
) -> float:
    """Keep the modules that lose most in float32 until the result is good enough; return its decibels."""
    modules: dict[str, set[str]] = {}
    for node in model.graph.node:
        names = {name for name in node.output if name not in islands}
        if names:
            modules.setdefault(module_of(node) or node.output[0], set()).update(names)
    everything = {name for names in modules.values() for name in names}
    alone = {}
    for module in list(modules)[:MOST_MODULES]:
        others = dict.fromkeys(everything - modules[module], "")
        alone[module] = decibels({**islands, **others})
    for module, loss in sorted(alone.items(), key=lambda entry: entry[1]):
        islands |= dict.fromkeys(modules[module], ALONE.format(module=module, db=loss))
        reached = decibels(islands)
        if reached >= WANTED_DB:
            break
    return reached


def _transforms(model: onnx.ModelProto) -> list[Transform]:
    """Return the transforms with their largest gain: the largest sum of magnitudes that makes one output."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    transforms = []
    for node in transform_nodes(model):
        matrix = next(name for name in node.input if is_matrix(name))
        if matrix not in stored or node.op_type not in LAYERS:
            continue
        values = np.abs(numpy_helper.to_array(stored[matrix]).astype(np.float64))
        axes = tuple(range(1, values.ndim)) if node.op_type == "Conv" else (values.ndim - 2,)
        inputs = tuple(name for name in node.input if name != matrix)
        gain = max(1.0, float(values.sum(axis=axes).max()))
        transforms.append(Transform(node.output[0], module_of(node), (node.output[0],), inputs, gain))
    return transforms


def _ends(model: onnx.ModelProto, int8_first: bool, int8_last: bool) -> dict[str, str]:
    """Return layer -> reason, for layers that read the inputs and those that make the outputs."""
    reasons: dict[str, str] = {}
    if not int8_first:
        plain = {port.name for port in model.graph.input}
        for node in model.graph.node:
            if plain & set(node.input) and node.op_type in LAYERS:
                reasons[node.output[0]] = FIRST
            elif plain & set(node.input) and node.op_type in _MOVING:
                plain.update(node.output)
    if not int8_last:
        sums = {port.name for port in model.graph.output}
        for node in reversed(model.graph.node):
            if sums & set(node.output) and node.op_type in LAYERS:
                reasons[node.output[0]] = LAST
            elif sums & set(node.output) and node.op_type in _MOVING:
                sums.update(node.input)
    return reasons


def _check_samples(program: OnnxProgram, samples: Sequence[Feeds]) -> None:
    if not samples:
        raise CalibrationError("no samples: ranges need inputs that the network is used on")
    for index, feeds in enumerate(samples):
        for port in program.inputs:
            value = feeds.get(port.name)
            if value is None or value.shape != port.shape or value.dtype != port.dtype:
                given = "missing" if value is None else f"{value.dtype}{list(value.shape)}"
                raise CalibrationError(f"sample {index} does not fit the input {port.text}: {given}")


def _size(program: OnnxProgram) -> tuple[int, int]:
    """Return the last two sizes of the first input, which the table is bound to."""
    sizes = [size or 1 for size in program.inputs[0].shape] if program.inputs else []
    height, width = [1, 1, *sizes][-2:]
    return height, width


def _described(samples: Sequence[Feeds]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for feeds in samples:
        for name in sorted(feeds):
            digest.update(f"{name} {feeds[name].dtype} {feeds[name].shape}".encode())
            digest.update(np.ascontiguousarray(feeds[name]).tobytes())
    count = len(samples)
    return {
        "sha256": digest.hexdigest(),
        "tiles": count,
        "photos": 0,
        "candidates": count,
        "radii": [0.0],
        "coverage": {},
    }
