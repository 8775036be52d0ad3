"""One network through one converter: torch's ONNX exporter, OpenVINO, coremltools, TensorRT-RTX's parser."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-4
"""Largest error, relative to the largest output, that counts as right."""

NEEDS = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "coreml": "coremltools",
    "tensorrt-rtx": "tensorrt_rtx",
}
"""Route to the module that it needs."""


@dataclass(frozen=True)
class Entry:
    """One network through one converter.

    ``state``: ``right`` (ran, within the tolerance), ``taken`` (converted; cannot run here), ``wrong``,
    ``refused``, ``crashed``, ``hung``, or ``missing`` (the converter is not installed). ``error`` is relative
    to the largest output; ``detail`` says why not.
    """

    network: str
    route: str
    lowered: bool
    state: str
    seconds: float
    error: float | None = None
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the user got a usable file."""
        return self.state in ("right", "taken")


def load_networks(path: Path) -> list[Any]:
    """Return the ``NETWORKS`` of the package or module at ``path``.

    Raises:
        SystemExit: there is none.
    """
    path = path.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        return list(importlib.import_module(path.stem).NETWORKS)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"{path}: no collection of networks there ({error})") from None


def convert(path: Path, name: str, route: str, lowered: bool) -> Entry:
    """Take one network through one converter, in this process."""
    start = time.perf_counter()

    def entry(state: str, error: float | None = None, detail: str = "") -> Entry:
        return Entry(name, route, lowered, state, time.perf_counter() - start, error, detail)

    if importlib.util.find_spec(NEEDS[route]) is None:
        return entry("missing", detail=f"{NEEDS[route]} is not installed")
    import torch

    warnings.simplefilter("ignore")
    network = next(n for n in load_networks(path) if n.name == name)
    module, inputs = network.build(), network.inputs()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        outputs = module(*inputs)
        expected = [y.numpy() for y in (outputs if isinstance(outputs, tuple | list) else (outputs,))]
        start = time.perf_counter()
        try:
            program = _lowered(path, name) if lowered else module
            results = ROUTES[route](program, inputs, Path(folder))
        except Exception as error:  # every converter raises its own kinds
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
            return entry("refused", detail=f"{type(error).__name__}: {lines[0]}"[:300])
    if results is None:
        return entry("taken")
    worst = largest_error(results, expected)
    return entry("right" if worst <= TOLERANCE else "wrong", worst)


def largest_error(outputs: Sequence[Any], expected: Sequence[Any]) -> float:
    """Return the largest difference relative to the largest value, over all outputs; NaN is infinite."""
    import numpy as np

    worst = 0.0
    for one, other in zip(outputs, expected, strict=True):
        a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
        if a.shape != b.shape or np.isnan(a).any():
            return float("inf")
        worst = max(worst, float(np.abs(a - b).max() / (np.abs(b).max() or 1.0)))
    return worst


@functools.lru_cache(maxsize=1)
def _lowered(path: Path, name: str) -> Any:
    from ...export.spectral import lower

    network = next(n for n in load_networks(path) if n.name == name)
    return lower(network.build(), network.inputs()).program


def _onnx_file(program: Any, inputs: tuple[Tensor, ...], folder: Path) -> Path:
    import torch

    example = () if isinstance(program, torch.export.ExportedProgram) else inputs
    exported = torch.onnx.export(program, example, dynamo=True, verbose=False)
    if exported is None:
        raise RuntimeError("torch.onnx returned nothing")
    exported.save(str(folder / "model.onnx"))
    return folder / "model.onnx"


def _through_onnx(program: Any, inputs: tuple[Tensor, ...], folder: Path) -> list[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    file = _onnx_file(program, inputs, folder)
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return list(session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)}))


def _through_openvino(program: Any, inputs: tuple[Tensor, ...], folder: Path) -> list[Any]:
    """Both front ends of OpenVINO for a module, ``torch.export``'s for a program.

    They are called directly: ``openvino.convert_model`` does the same and reports its use over the network.
    """
    import torch
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    if isinstance(program, torch.nn.Module):
        try:
            return _run_openvino(TorchScriptPythonDecoder(program, example_input=inputs), inputs)
        except Exception:
            program = torch.export.export(program, inputs).run_decompositions({})
    return _run_openvino(TorchFXPythonDecoder.from_exported_program(program), inputs)


def _run_openvino(decoder: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
    import openvino
    from openvino.frontend import FrontEndManager

    front_end = FrontEndManager().load_by_framework("pytorch")
    model = front_end.convert(front_end.load(decoder))
    model.reshape({port: list(x.shape) for port, x in zip(model.inputs, inputs, strict=True)})
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([x.numpy() for x in inputs])
    return [results[index] for index in range(len(compiled.outputs))]


def _through_coreml(program: Any, inputs: tuple[Tensor, ...], folder: Path) -> None:
    import coremltools
    import torch

    if isinstance(program, torch.nn.Module):
        program = torch.export.export(program, inputs)
    coremltools.convert(
        program.run_decompositions({}),
        convert_to="mlprogram",
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS17,
        skip_model_load=True,
    )


def _through_tensorrt_rtx(program: Any, inputs: tuple[Tensor, ...], folder: Path) -> None:
    import tensorrt_rtx as trt

    file = _onnx_file(program, inputs, folder)
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(file)):
        raise RuntimeError(str(parser.get_error(0).desc()) if parser.num_errors else "the parser failed")


ROUTES: dict[str, Callable[[Any, tuple[Tensor, ...], Path], list[Any] | None]] = {
    "onnx": _through_onnx,
    "openvino": _through_openvino,
    "coreml": _through_coreml,
    "tensorrt-rtx": _through_tensorrt_rtx,
}
"""Route to what takes a module or a lowered program through it; ``None`` where the result cannot run here."""
