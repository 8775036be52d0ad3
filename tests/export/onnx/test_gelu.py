"""GELU reaches ONNX Runtime in the form that it has a kernel for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.onnx.build import convert
from fdikp_edge.export.onnx.gelu import order_gelu
from fdikp_edge.export.spectral import lower
from onnx import TensorProto, helper
from torch import Tensor, nn


class Gated(nn.Module):
    """Two exact GELUs, one of a map and one of its spectrum's real part, and an approximate one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(self.mix(x))
        spectrum = torch.fft.rfft2(y)
        filtered = torch.complex(nn.functional.gelu(spectrum.real), spectrum.imag)
        return nn.functional.gelu(torch.fft.irfft2(filtered, s=x.shape[-2:]), approximate="tanh")


def optimised(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime runs."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_onnx_runtime_computes_each_exact_gelu_in_one_kernel(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = Gated().eval(), torch.randn(1, 2, 8, 8)
    model, _ = convert(lower(network, (x,), target="onnx").program)
    operators = optimised(model, tmp_path)
    assert operators["Gelu"] == 2
    assert not operators["Erf"]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = network.double()(x.double()).detach().numpy()
    assert np.abs(result - expected).max() < 1e-5


def chain(factor: float = 0.5, *, read_twice: bool = False) -> onnx.ModelProto:
    """x · (factor · (1 + erf(x / √2))), with the factor's product a result too where it is read twice."""
    nodes = [
        helper.make_node("Div", ["x", "root"], ["divided"]),
        helper.make_node("Erf", ["divided"], ["erf"]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", ["factor", "sum"], ["halved"]),
        helper.make_node("Mul", ["x", "halved"], ["y"]),
    ]
    values = {"root": 2**0.5, "one": 1.0, "factor": factor}
    stored = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in values.items()]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in ("x", "y", "halved")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1 : 3 if read_twice else 2], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


@pytest.mark.parametrize(
    ("model", "count"),
    [(chain(), 1), (chain(0.25), 0), (chain(read_twice=True), 0)],
    ids=["gelu", "another factor", "read twice"],
)
def test_only_what_is_gelu_is_reordered_and_keeps_its_values(model: onnx.ModelProto, count: int) -> None:
    x = np.linspace(-3, 3, 5, dtype=np.float32)
    expected = run(model, x)
    assert order_gelu(model) == count
    onnx.checker.check_model(model, full_check=True)
    for result, right in zip(run(model, x), expected, strict=True):
        np.testing.assert_allclose(result, right, atol=1e-6)
