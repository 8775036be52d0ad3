"""Checks shared by the tests of the lowering: twins, errors, what a lowered graph may hold, converters."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Outputs = tuple[Tensor, ...]
Expressions = dict[str, Callable[..., Any]]


def expressions(arguments: str, text: str) -> Expressions:
    """Functions from Python expressions, one a line, in the named arguments; keyed by their source."""
    heads = ", ".join(arguments.split())
    sources = [line.strip() for line in text.strip().splitlines()]
    names = {"torch": torch, "F": nn.functional}
    return {source: eval(f"lambda {heads}: {source}", names) for source in sources}


def parts(shape: Sequence[int], count: int = 2, seed: int = 0) -> list[Tensor]:
    """Real tensors away from 0, so that quotients and logarithms are tame."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        value = torch.randn(tuple(shape), generator=generator)
        out.append(value + 0.3 * torch.where(value < 0, -1.0, 1.0))
    return out


class Twin(nn.Module):
    """A function of real tensors as a module; complex results leave as pairs (`view_as_real`)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.labels: list[str] = []

    def forward(self, *inputs: Tensor) -> Outputs:
        """Results: a tensor, a sequence of them, or a dict of either whose keys label messages."""
        results = self.function(*inputs)
        named = results if isinstance(results, dict) else {"output": results}
        flat = [(f"{k} #{i}", v) for k, values in named.items() for i, v in enumerate(as_tuple(values))]
        self.labels = [label for label, _ in flat]
        return tuple(torch.view_as_real(torch.resolve_conj(v)) if v.is_complex() else v for _, v in flat)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple or list as a tuple, anything else as a tuple of one."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def relative_error(got: Any, want: Any) -> float:
    """Largest absolute difference over the largest magnitude of `want` (plain where that is 0)."""
    got, want = (
        np.asarray(v.resolve_neg() if isinstance(v, Tensor) else v, dtype=np.float64) for v in (got, want)
    )
    assert got.shape == want.shape, f"shape {got.shape} instead of {want.shape}"
    if want.size == 0:
        return 0.0
    scale = float(np.abs(want).max()) or 1.0
    return float(np.abs(got - want).max()) / scale


def assert_close(got: Sequence[Any], want: Sequence[Any], tolerance: float, what: str = "") -> None:
    """Every output within `tolerance` by `relative_error`; a NaN anywhere fails."""
    assert len(got) == len(want)
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        error = relative_error(a, b)
        assert error <= tolerance, f"{what or index}: relative error {error:.2e} > {tolerance:.0e}"


def check_twin(function: Callable[..., Any], *inputs: Tensor, tolerance: float = 5e-6) -> None:
    """Lower `function` in float32 and compare with eager torch in float64 on the same inputs."""
    from fdikp_edge.export.spectral import lower

    twin = Twin(function).eval()
    program = lower(twin, inputs).program
    assert_real(program)
    got = as_tuple(program.module()(*inputs))
    wide = [t.double() if t.is_floating_point() else t for t in inputs]
    want = twin(*wide)
    assert len(got) == len(want)
    for label, a, b in zip(twin.labels, got, want, strict=True):
        assert_close([a.detach()], [b.detach()], tolerance, label)


def assert_real(program: torch.export.ExportedProgram) -> None:
    """No complex value, constant or parameter, and no transform operator, anywhere in the program."""
    held = {**program.state_dict, **program.constants}
    for name, value in held.items():
        assert not (isinstance(value, Tensor) and value.is_complex()), f"{name} is complex"
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            name = str(node.target) if node.op == "call_function" else ""
            words = ("fft", "complex", "einsum", "tensordot", "alias")
            assert not any(word in name for word in words), f"{name} is left in the program"
            for value in as_tuple(node.meta.get("val")):
                assert not (isinstance(value, Tensor) and value.is_complex()), f"{node} is complex"
                assert not isinstance(value, torch.SymInt), f"{node} is dynamic"


def onnx_file(program: torch.export.ExportedProgram, path: Path) -> Path:
    """The program as one ONNX file, by the project's own target where that applies.

    An artifact has one image in and one out; other networks go through torch's exporter at the same opset.
    """
    from fdikp_edge.export.onnx import build as target
    from fdikp_edge.export.onnx.exporter import OPSET

    signature = program.graph_signature
    if len(signature.user_inputs) == len(signature.user_outputs) == 1:
        model, _ = target.convert(program)
        path.write_bytes(target.serialise(model, path.name))
        return path
    exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
    assert exported is not None
    exported.save(str(path))
    return path


def onnx_operators(path: Path) -> set[str]:
    """Names of the operators in an ONNX file, those of its functions and subgraphs included."""
    import onnx

    names: set[str] = set()

    def visit(nodes: Any) -> None:
        for node in nodes:
            names.add(node.op_type)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    visit(attribute.g.node)

    model = onnx.load(str(path), load_external_data=False)
    visit(model.graph.node)
    for function in model.functions:
        visit(function.node)
    return names


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Run an ONNX file in ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return list(session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)}))


def openvino_from_program(program: torch.export.ExportedProgram) -> Any:
    """Through OpenVINO's own `torch.export` front end; `openvino.convert_model` would also report its use."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    front_end = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder.from_exported_program(program)  # must outlive the conversion
    return front_end.convert(front_end.load(decoder))


def run_openvino(model: Any, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Compile an OpenVINO model for the CPU in float32 and run it."""
    import openvino

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = openvino.Core().compile_model(model, "CPU", config)
    results = compiled([x.numpy() for x in inputs])
    return [results[index] for index in range(len(compiled.outputs))]


def convert_coreml(program: torch.export.ExportedProgram) -> Any:
    """An ML Program from a lowered program, by coremltools alone: it asks for this decomposition itself."""
    import coremltools

    return coremltools.convert(
        program.run_decompositions({}),
        convert_to="mlprogram",
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS17,
        skip_model_load=True,
    )


def run_coreml(model: Any, folder: Path, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Compute an ML Program in the reference interpreter."""
    from fdikp_edge.export.coreml.build import write_package
    from fdikp_edge.runtime.mil import Interpreter, Package

    write_package(model, folder, {})
    package = Package.open(folder)
    names = [feature.name for feature in package.inputs]
    outputs = Interpreter(package).run({n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    return [outputs[feature.name] for feature in package.outputs]


def parse_tensorrt_rtx(path: Path) -> int:
    """Parse an ONNX file into a strongly typed network with NVIDIA's parser; its number of layers."""
    return int(_parsed(path)[1].num_layers)


def build_tensorrt_rtx(path: Path) -> bytes:
    """Build an engine for compute capability 8.9, ahead of time."""
    import tensorrt_rtx as trt

    builder, network, _ = _parsed(path)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    return bytes(builder.build_serialized_network(network, config))


def _parsed(path: Path) -> Any:
    """(builder, network, parser): the network lives as long as they do.

    Raises ValueError with the parser's own words where it declines.
    """
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise ValueError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors)))
    return builder, network, parser


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes away with its context."""
    return tempfile.TemporaryDirectory(prefix="spectral-")
