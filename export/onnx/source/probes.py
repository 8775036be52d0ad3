"""Runs an ONNX model with probes in it: the values of some tensors, the peaks of all, or all in float16."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....calibration.ranges import Histogram, Statistics
from ....runtime.errors import CalibrationError
from .scopes import infer

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

FLOAT = 1  # TensorProto.FLOAT
_PEAK, _ROUNDED = "/peak", "/float16"


def float_values(model: onnx.ModelProto) -> list[str]:
    """Return the names of all float32 values that nodes of the main graph compute, in order."""
    graph = infer(model)
    kinds = {
        info.name: info.type.tensor_type.elem_type
        for info in (*graph.value_info, *graph.input, *graph.output)
    }
    return [name for node in model.graph.node for name in node.output if kinds.get(name) == FLOAT]


def collect(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    samples: Sequence[Feeds],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Statistics]:
    """Return statistics of values by name, over all samples.

    Raises:
        CalibrationError: a value holds NaN or infinity; names it and the sample.
    """
    inputs = {port.name for port in model.graph.input}
    session = _session(model, [name for name in tensors if name not in inputs])
    histograms = {name: Histogram() for name in tensors}
    for index, feeds in enumerate(samples):
        if progress is not None:
            progress(index, len(samples))
        values = {**feeds, **_run(session, feeds)}
        for name, histogram in histograms.items():
            value = values[name]
            if not np.isfinite(value).all():
                raise CalibrationError(
                    f"tensor {name!r} holds NaN or infinity on calibration sample {index}: the network or "
                    "its weights are broken, so no range would be valid"
                )
            histogram.add(torch.from_numpy(np.ascontiguousarray(value)))
    return {name: histogram.statistics() for name, histogram in histograms.items()}


def peaks(model: onnx.ModelProto, samples: Sequence[Feeds]) -> dict[str, float]:
    """Return the largest magnitude of each float value over all samples; only the maxima are kept."""
    from onnx import helper

    probed = copy.deepcopy(model)
    names = float_values(model)
    for name in names:
        magnitude = f"{name}{_PEAK}_of"
        probed.graph.node.append(helper.make_node("Abs", [name], [magnitude]))
        probed.graph.node.append(helper.make_node("ReduceMax", [magnitude], [name + _PEAK], keepdims=0))
    session = _session(probed, [name + _PEAK for name in names])
    largest: dict[str, float] = {}
    for feeds in samples:
        values = _run(session, feeds)
        for name in names:
            largest[name] = max(largest.get(name, 0.0), float(values[name + _PEAK]))
        for name, value in feeds.items():
            if value.dtype == np.float32 and value.size:
                largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))
    return largest


def rounded(model: onnx.ModelProto, float32_layers: Collection[str]) -> onnx.ModelProto:
    """Return the model with constants and results rounded to float16, but for results of ``float32_layers``.

    Sums inside an operator stay in float32, as hardware may accumulate.
    """
    from onnx import TensorProto, helper, numpy_helper

    emulated = copy.deepcopy(model)
    floats = {name for name in float_values(model) if name not in float32_layers}
    inputs = {port.name for port in model.graph.input if port.type.tensor_type.elem_type == FLOAT}
    kept_tensors = {name for node in model.graph.node if not floats & set(node.output) for name in node.input}
    for tensor in emulated.graph.initializer:
        if tensor.data_type == FLOAT and tensor.name not in kept_tensors:
            value = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

    def casts(name: str) -> list[onnx.NodeProto]:
        half = f"{name}{_ROUNDED}_half"
        return [
            helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16),
            helper.make_node("Cast", [half], [name + _ROUNDED], to=TensorProto.FLOAT),
        ]

    nodes: list[onnx.NodeProto] = [node for name in sorted(inputs) for node in casts(name)]
    for node in emulated.graph.node:
        narrow = bool(floats & set(node.output))
        for place, name in enumerate(node.input):
            if name in floats or (name in inputs and narrow):
                node.input[place] = name + _ROUNDED
        nodes.append(node)
        nodes += [cast for name in node.output if name in floats for cast in casts(name)]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del emulated.graph.node[:]
    emulated.graph.node.extend(copies)
    for port in emulated.graph.output:
        if port.name in floats:
            port.name += _ROUNDED
    return emulated


def run_all(model: onnx.ModelProto, samples: Sequence[Feeds]) -> list[list[Array]]:
    """Return the outputs of each sample, in the model's order."""
    session = _session(model, [])
    names = [port.name for port in model.graph.output]
    return [[values[name] for name in names] for values in (_run(session, feeds) for feeds in samples)]


def worst_db(results: Sequence[Sequence[Array]], expected: Sequence[Sequence[Array]]) -> float:
    """Return the lowest ratio of an output's peak to its root mean square error, in decibels: -200 to 200."""
    worst = 200.0
    for outputs, rights in zip(results, expected, strict=True):
        for output, right in zip(outputs, rights, strict=True):
            if right.dtype.kind != "f" or not right.size:
                continue
            with np.errstate(invalid="ignore", over="ignore"):
                error = math.sqrt(float(np.mean(np.square(output.astype(np.float64) - right))))
            peak = float(np.abs(right).max()) or 1.0
            if not math.isfinite(error):
                return -200.0
            if error > 0:
                worst = min(worst, 20 * math.log10(peak / error))
    return worst


def _session(model: onnx.ModelProto, outputs: Sequence[str]) -> Any:
    """Return a session without optimisations, which would join what is to be seen, with more outputs."""
    import onnxruntime as ort
    from onnx import ValueInfoProto

    watched = copy.deepcopy(model)
    present = {port.name for port in watched.graph.output}
    watched.graph.output.extend(
        ValueInfoProto(name=name) for name in dict.fromkeys(outputs) if name not in present
    )
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise CalibrationError(f"ONNX Runtime cannot run the network with probes: {error}") from error


def _run(session: Any, feeds: Feeds) -> dict[str, Array]:
    try:
        values = session.run(None, dict(feeds))
    except Exception as error:  # its errors share no base class
        raise CalibrationError(f"ONNX Runtime cannot run the network on a sample: {error}") from error
    return {port.name: value for port, value in zip(session.get_outputs(), values, strict=True)}
