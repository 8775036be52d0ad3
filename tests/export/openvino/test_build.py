"""The openvino target: what is in the IR, read back with OpenVINO, and what its CPU device makes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.openvino import build as target
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.targets import BuildResult
from fdikp_edge.runtime.errors import LoweringError
from onnx import TensorProto, helper
from torch import nn

ov = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def built(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildResult]:
    folder = tmp_path_factory.mktemp("openvino")
    return folder, target.build(lowered.lowered, "fp32", folder, provenance={"model": "fourier-net"})


@pytest.fixture
def model(built: tuple[Path, BuildResult]) -> Any:
    return ov.Core().read_model(built[0] / built[1].model_file)


def run(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: np.ndarray[Any, Any] = compiled({"image": x})["output"]
    return result


def test_two_files_with_named_static_ports(built: tuple[Path, BuildResult], model: Any) -> None:
    assert sorted(entry.name for entry in built[0].iterdir()) == ["model.bin", "model.xml"]
    for ports, name in ((model.inputs, "image"), (model.outputs, "output")):
        (port,) = ports
        assert name in port.get_names()
        assert list(port.shape) == [1, 3, 24, 40]
        assert port.element_type == ov.Type.f32


def test_nothing_of_the_transforms_is_left(built: tuple[Path, BuildResult], model: Any) -> None:
    types = Counter(op.get_type_name() for op in model.get_ops())
    assert not set(types) & {
        "DFT",
        "IDFT",
        "RDFT",
        "IRDFT",
        "Loop",
        "If",
        "TensorIterator",
        "ShapeOf",
        "Range",
    }
    assert built[1].census == dict(types)
    assert not any(port.get_partial_shape().is_dynamic for op in model.get_ops() for port in op.outputs())


def test_weights_stay_in_float32(built: tuple[Path, BuildResult], model: Any, network: nn.Module) -> None:
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    kinds = Counter(op.get_element_type().get_type_name() for op in constants)
    assert set(kinds) <= {"f32", "i64", "i32", "u8"}  # u8: places in a table of values
    assert kinds["u8"] == sum("/places" in op.get_friendly_name() for op in constants) > 0
    weights = network.state_dict()["head.weight"].numpy()
    assert any(op.data.shape == weights.shape and np.array_equal(op.data, weights) for op in constants)
    assert set(built[1].precisions) == {"float"}


def test_provenance_travels_in_the_file(lowered: LoweredModel, model: Any) -> None:
    metadata = model.get_rt_info(["fdikp_edge"]).astype(dict)
    assert metadata["model"].astype(str) == "fourier-net"
    assert metadata["program_sha256"].astype(str) == lowered.lowered.sha256


def test_the_file_computes_what_eager_does(built: tuple[Path, BuildResult], network: nn.Module) -> None:
    x = np.random.default_rng(3).random((1, 3, 24, 40), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x))[-1].numpy()
    assert np.abs(run(built[0] / "model.xml", x) - expected).max() < 1e-5


def test_bytes_in_and_out(lowered_bytes: LoweredModel, network: nn.Module, tmp_path: Path) -> None:
    result = target.build(lowered_bytes.lowered, "fp32", tmp_path)
    x = np.random.default_rng(4).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
    with torch.no_grad():
        unit = network(torch.from_numpy(x).permute(0, 3, 1, 2) / 255)[-1]
    expected = np.rint(np.clip(unit.permute(0, 2, 3, 1).numpy() * 255, 0, 255))
    output = run(tmp_path / result.model_file, x)
    assert output.dtype == np.uint8
    assert np.abs(output - expected).max() <= 1
    assert (output != expected).mean() < 0.005


def onnx_bytes(op: str, shape: list[int | str], **attributes: Any) -> bytes:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], **attributes)], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


class Ignores(nn.Module):
    """Reads the second of its inputs alone."""

    def forward(self, first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(2 * torch.fft.rfft2(second), s=second.shape[-2:])


def test_inputs_that_are_ignored_stay_inputs(tmp_path: Path) -> None:
    inputs = (torch.ones(1, 2), torch.randn(1, 3, 8, 8), torch.ones(4))
    result = target.build(lower(Ignores(), inputs), "fp32", tmp_path)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # a processor with bfloat16 would use it unasked
    compiled = ov.Core().compile_model(tmp_path / result.model_file, "CPU", exact)
    assert [list(port.shape) for port in compiled.inputs] == [[1, 2], [1, 3, 8, 8], [4]]
    (got,) = compiled([value.numpy() for value in inputs]).values()
    np.testing.assert_allclose(got, 2 * inputs[1].numpy(), atol=1e-5)


def test_an_open_size_is_refused() -> None:
    with pytest.raises(LoweringError, match="is not fixed"):
        target.check(target.convert(onnx_bytes("Relu", ["n", 4])))


def test_a_transform_is_refused_by_name() -> None:
    from openvino import opset13 as ops

    x = ops.parameter([2, 8], np.float32)
    model = ov.Model([ops.rdft(x, np.array([1]))], [x])
    with pytest.raises(LoweringError, match=r"1 RDFT \(a Fourier transform\)"):
        target.check(model)


def test_what_is_not_onnx_is_refused() -> None:
    with pytest.raises(LoweringError, match="OpenVINO cannot convert"):
        target.convert(b"not a model")
