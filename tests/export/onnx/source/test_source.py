"""Networks exported by torch's own exporter: rewritten, written, and run by several runtimes."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.onnx.source.check import EVALUATOR, RUNTIME, check_rewriting, relative_error
from fdikp_edge.export.onnx.source.source import OnnxSource, load_onnx_source
from fdikp_edge.runtime.errors import BadInputError, LoweringError, OutputError, OutputExistsError
from onnx import numpy_helper
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from graphs import dft, noise


class FourierUnit(nn.Module):
    """rfft2, a convolution on both parts, irfft2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Conv2d(3, 3, 3, padding=1)
        self.mix = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        spectrum = torch.fft.rfft2(x, norm="ortho")
        re, im = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        return torch.fft.irfft2(torch.complex(re, im), s=x.shape[-2:], norm="ortho") + x


class Correlation(nn.Module):
    """A complex product of two spectra."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft(x)
        return torch.fft.ifft(spectrum * spectrum).real


class Spectrogram(nn.Module):
    """Magnitudes of a short-time transform."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stft(x, 16, 4, window=self.window, return_complex=True).abs()


class Padded(nn.Module):
    """Transforms of other lengths than their inputs."""

    def forward(self, x: Tensor) -> Tensor:
        longer, shorter = torch.fft.rfft(x, n=16).real, torch.fft.irfft(torch.fft.rfft(x), n=8)
        return longer[..., :6] + shorter[..., :6] + torch.fft.fft(x, n=9, dim=1).imag[:, :6, :6]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "rfft2 and irfft2": (FourierUnit, (1, 3, 12, 20)),
    "fft and ifft": (Correlation, (2, 3, 10)),
    "stft": (Spectrogram, (2, 64)),
    "padded": (Padded, (2, 6, 12)),
}


def export(network: nn.Module, x: Tensor, path: Path, **options: Any) -> None:
    """Write a network with torch's exporter."""
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, (x,), dynamo=True, opset_version=20, verbose=False, **options)
    assert program is not None
    program.save(path)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, Any]:
    """A file, an input, and what torch makes of it in float64."""
    make, shape = NETWORKS[request.param]
    network, x = make().eval(), torch.from_numpy(noise(*shape))
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    export(network, x, path)
    with torch.no_grad():
        right = network.double()(x.double()).numpy()
    return path, x.numpy(), right


@pytest.fixture(scope="module")
def source(exported: tuple[Path, Any, Any]) -> OnnxSource:
    return load_onnx_source(exported[0])


def test_the_rewritten_file_is_torch_in_float64(
    source: OnnxSource, exported: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    path, x, right = exported
    before = path.read_bytes()
    source.write(tmp_path / "plain.onnx")
    assert path.read_bytes() == before
    onnx.checker.check_model(onnx.load(tmp_path / "plain.onnx"), full_check=True)
    (port,) = source.inputs
    assert port.shape == x.shape and port.dtype == "float32"
    session = ort.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {port.name: x})
    assert relative_error(result, right) < 2e-6
    assert not {node.op_type for node in source.plain.graph.node} & {"DFT", "STFT"}


def test_openvino_reads_it_and_agrees(source: OnnxSource, exported: tuple[Path, Any, Any]) -> None:
    ov = pytest.importorskip("openvino")
    core = ov.Core()
    model = core.read_model(source.plain.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled([exported[1]])[0]
    assert relative_error(result, exported[2]) < 2e-6


def test_the_reference_runs_the_original(source: OnnxSource, exported: tuple[Path, Any, Any]) -> None:
    _, x, right = exported
    feeds = {source.inputs[0].name: x}
    (single,) = source.reference(feeds).values()
    (double,) = source.reference(feeds, "float64").values()
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert (
        relative_error(single, right) < 1e-4 and relative_error(double, right) < 1e-8
    )  # norms are stored in float32


def test_a_right_rewriting_is_verified_by_both_judges(source: OnnxSource) -> None:
    check = source.check()
    assert check.state == "verified" and not check.reason
    assert set(check.errors) == {RUNTIME, EVALUATOR} and 0 < check.errors[EVALUATOR] < 2e-6


def test_a_wrong_rewriting_fails(source: OnnxSource) -> None:
    wrong = onnx.ModelProto.FromString(source.plain.SerializeToString())
    for tensor in wrong.graph.initializer:
        if "dft_" in tensor.name:
            value = numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    check = check_rewriting(source.original, wrong)
    assert check.state == "failed" and "differs from" in check.reason


def test_what_no_judge_runs_is_unverified(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = dft([1, 8, 2], 1)
    node = model.graph.node.add()
    node.op_type, node.domain = "Secret", "elsewhere"
    node.input.append("x")
    node.output.append("unread")
    model.opset_import.add(domain="elsewhere", version=1)
    model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)
    path.write_bytes(model.SerializeToString())
    check = load_onnx_source(path).check()
    assert check.state == "unverified" and "Secret" in check.reason and not check.errors


def test_open_sizes_are_fixed_by_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = dft(["batch", "n", 1], 1)
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "batch"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoweringError, match=r"net\.onnx: node 'transform'.*fix the sizes"):
        load_onnx_source(path)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for _ in range(3):
        model.graph.output[0].type.tensor_type.shape.dim.add()
    path.write_bytes(model.SerializeToString())
    source = load_onnx_source(path, {"x": (1, 8, 1)})
    assert source.inputs[0].shape == (1, 8, 1)
    assert source.check().state == "verified"
    for wrong in ({"x": (1, 8)}, {"x": (1, 8, 2)}, {"y": (1, 8, 1)}, {"x": (1, 0, 1)}):
        with pytest.raises(BadInputError, match=r"net\.onnx: "):
            load_onnx_source(path, wrong)


def test_nothing_is_overwritten_unasked(source: OnnxSource, tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        source.write(path)
    assert path.read_text() == "mine"
    source.write(path, overwrite=True)
    with pytest.raises(OutputError, match="is the file that is read"):
        source.write(source.path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["plain.onnx"]


def test_a_file_that_no_runtime_opens_is_refused_at_once(tmp_path: Path) -> None:
    """As PyTorch's exporter writes ``istft``: indices of 32 bits, where ``ScatterND`` takes 64."""
    from onnx import TensorProto, helper

    def saved(kind: int, name: str) -> Path:
        indices = numpy_helper.from_array(
            np.zeros((1, 1), helper.tensor_dtype_to_np_dtype(kind)), name="indices"
        )
        graph = helper.make_graph(
            [helper.make_node("ScatterND", ["x", "indices", "x"], ["y"], name="put")],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
            [indices],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    assert load_onnx_source(saved(TensorProto.INT64, "right.onnx")).check().state == "verified"
    with pytest.raises(
        BadInputError, match=r"wrong\.onnx: not valid ONNX .*put.*ONNX Runtime refuses it too"
    ):
        load_onnx_source(saved(TensorProto.INT32, "wrong.onnx"))
