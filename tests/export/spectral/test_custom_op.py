"""``fdikp_edge::rfft2`` and ``irfft2``: the definition in the file, run by runtimes without such a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.onnx import build as onnx_target
from fdikp_edge.export.onnx import checks as onnx_checks
from fdikp_edge.export.onnx.definitions import BODIES, PORTS, VERSION, register
from fdikp_edge.export.onnx.half import narrow
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.planner import make_plan
from fdikp_edge.export.spectral.sites import describe
from fdikp_edge.runtime.errors import LoweringError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

Array = np.ndarray[Any, Any]
sides = st.integers(1, 19)


class Filter(nn.Module):
    """A filter in the frequency domain whose spectrum is no signal's (not Hermitian)."""

    def forward(self, x: Tensor) -> Tensor:
        s = torch.fft.rfft2(x, norm="ortho")
        turned = torch.complex(1.5 * s.real + s.imag, 0.2 * s.imag - 0.3 * s.real)
        return torch.fft.irfft2(turned, s=x.shape[-2:])


def matrices(height: int, width: int, inverse: bool) -> dict[str, Array]:
    """The node's matrices, from the definition of the transform in complex float64."""
    half = np.arange(width // 2 + 1)
    turn = 2 * np.pi / width * np.outer(np.arange(width), half)
    column = 2 * np.pi / height * np.outer(np.arange(height), np.arange(height))
    sign = 1 if inverse else -1
    if inverse:
        weight = np.where((half == 0) | (2 * half == width), 1, 2)[:, None] / (height * width)
        rows = weight * np.cos(turn.T), -weight * np.sin(turn.T)
    else:
        rows = np.cos(turn), -np.sin(turn)
    values = dict(
        zip(
            ("row_cos", "row_sin", "column_cos", "column_sin"),
            (*rows, np.cos(column), sign * np.sin(column)),
            strict=True,
        )
    )
    return {name: value.astype(np.float32) for name, value in values.items()}


def model_of(
    name: str, data: dict[str, Array], constants: dict[str, Array], *, defined: bool
) -> onnx.ModelProto:
    """A file of the one node, its matrices stored, with its definition or without."""
    inputs, outputs = PORTS[name]
    open_shape = [None] * next(iter(data.values())).ndim
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in data.items()]
    graph = helper.make_graph(
        [helper.make_node(name, inputs, outputs, domain="fdikp_edge", scale=1.0)],
        "one",
        ports,
        [helper.make_tensor_value_info(port, TensorProto.FLOAT, open_shape) for port in outputs],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("fdikp_edge", VERSION)],
        functions=[BODIES[name]] if defined else [],
        ir_version=10,
    )


def run(model: onnx.ModelProto, data: dict[str, Array]) -> list[Array]:
    """ONNX Runtime, which has no kernel of ours and puts the definition in place."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, data)
    return outputs


@given(sides, sides, st.integers(0, 2**32 - 1))
def test_the_definition_of_rfft2_is_the_transform(height: int, width: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, height, width))
    data = {"x": x.astype(np.float32)}
    re, im = run(model_of("rfft2", data, matrices(height, width, False), defined=True), data)
    expected = torch.fft.rfft2(torch.from_numpy(data["x"]).double()).numpy()
    scale = np.sqrt(height * width) * 4
    assert np.abs(re - expected.real).max() < 1e-6 * scale
    assert np.abs(im - expected.imag).max() < 1e-6 * scale


@given(sides, sides, st.integers(0, 2**32 - 1))
def test_the_definition_of_irfft2_is_the_transform_of_any_half_spectrum(
    height: int, width: int, seed: int
) -> None:
    # Not only of spectra of signals: the imaginary parts that a signal cannot have must not count.
    rng = np.random.default_rng(seed)
    re, im = rng.standard_normal((2, 2, height, width // 2 + 1)).astype(np.float32)
    data = {"re": re, "im": im}
    (x,) = run(model_of("irfft2", data, matrices(height, width, True), defined=True), data)
    spectrum = torch.complex(torch.from_numpy(re).double(), torch.from_numpy(im).double())
    expected = torch.fft.irfft2(spectrum, s=(height, width)).numpy()
    assert np.abs(x - expected).max() < 2e-6


@pytest.mark.parametrize("name", PORTS)
def test_another_runtime_runs_the_definition_too(name: str) -> None:
    rng = np.random.default_rng(0)
    shapes = {"rfft2": {"x": (2, 7, 10)}, "irfft2": {"re": (2, 7, 6), "im": (2, 7, 6)}}[name]
    data = {port: rng.standard_normal(shape).astype(np.float32) for port, shape in shapes.items()}
    model = model_of(name, data, matrices(7, 10, name == "irfft2"), defined=True)
    for ours, theirs in zip(
        run(model, data), onnx.reference.ReferenceEvaluator(model).run(None, data), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_schema_infers_shapes_without_the_definition() -> None:
    register()
    register()  # twice is fine
    data = {"x": np.zeros((2, 3, 8, 10), np.float32)}
    model = model_of("rfft2", data, matrices(8, 10, False), defined=False)
    onnx.checker.check_model(model)
    shapes = [
        [d.dim_value for d in port.type.tensor_type.shape.dim]
        for port in onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
    ]
    assert shapes == [[2, 3, 8, 6], [2, 3, 8, 6]]
    back = {"re": np.zeros((3, 8, 6), np.float32), "im": np.zeros((3, 8, 6), np.float32)}
    model = model_of("irfft2", back, matrices(8, 10, True), defined=False)
    (port,) = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output
    assert [d.dim_value for d in port.type.tensor_type.shape.dim] == [3, 8, 10]
    with pytest.raises(onnx.checker.ValidationError, match="scale"):
        del model.graph.node[0].attribute[:]
        onnx.checker.check_model(model)


@pytest.mark.parametrize("size", [(8, 6), (7, 9)])
def test_a_network_keeps_the_operator_in_its_file_and_computes_the_same(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    lowered = lower(Filter(), (x,), plan={"*": "custom-op"})
    model, _ = onnx_target.convert_to(lowered, "fp32", None, functions=True)
    assert [n.op_type for n in model.graph.node if n.domain == "fdikp_edge"] == ["rfft2", "irfft2"]
    (output,) = run(model, {lowered.input_names[0]: x.numpy()})
    assert np.abs(output - Filter()(x.double()).numpy()).max() < 1e-6
    flat, _ = onnx_target.convert_to(lowered, "fp32", None)
    assert not flat.functions and not any(node.domain for node in flat.graph.node)
    np.testing.assert_allclose(run(flat, {lowered.input_names[0]: x.numpy()})[0], output, atol=1e-6)
    narrow(model, [])
    kinds = {entry.name: entry.data_type for entry in model.graph.initializer}
    node = next(node for node in model.graph.node if node.domain == "fdikp_edge")
    assert {kinds[name] for name in node.input if name in kinds} == {TensorProto.FLOAT}
    onnx_checks.check(model, [])


def test_tensorrt_takes_the_definition(tmp_path: Any) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    data = {"x": np.zeros((2, 8, 10), np.float32)}
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    for defined in (True, False):
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        model = model_of("rfft2", data, matrices(8, 10, False), defined=defined)
        assert parser.parse(model.SerializeToString()) == defined
        if not defined:
            assert "rfft2" in str(parser.get_error(0)) or "lugin" in str(parser.get_error(0).desc())


def site(operator: str, height: int, width: int, *args: Any) -> Any:
    inverse = operator.startswith("irfft") or operator.startswith("ifft")
    shape = (1, 64, height, width // 2 + 1 if inverse else width)
    return describe("site", "", f"aten.fft_{operator}.default", shape, not inverse, args)


@pytest.mark.parametrize(
    ("profile", "size", "strategy"),
    [
        ("tensorrt-native", (256, 256), "native"),
        ("tensorrt-native", (8, 8), "flat"),
        ("tensorrt-native", (180, 320), "factored separable"),  # not powers of two
        ("tensorrt-plugin", (256, 256), "custom-op"),
        ("tensorrt-plugin", (360, 640), "custom-op"),
        ("tensorrt-plugin", (8, 8), "flat"),
        ("tensorrt", (256, 256), None),
        ("onnx", (256, 256), None),
    ],
)
def test_the_planner_picks_them_where_they_win_and_the_runtime_has_them(
    profile: str, size: tuple[int, int], strategy: str | None
) -> None:
    sites = [site("rfft2", *size), site("irfft2", *size, list(size))]
    for choice in make_plan(sites, profile, None).choices:
        if strategy is None:
            assert not {"native", "custom-op"} & {choice.strategy, *choice.predicted_us}
        else:
            assert choice.strategy in strategy.split()


def test_the_planner_knows_the_cost_and_not_only_the_profile() -> None:
    ((small), (large)) = make_plan(
        [site("rfft2", 8, 8), site("rfft2", 256, 256)], "tensorrt-native", None
    ).choices
    assert small.predicted_us["native"] > small.predicted_us["flat"]
    assert large.predicted_us["native"] < large.predicted_us["separable"]


@pytest.mark.parametrize(
    ("operator", "args", "words"),
    [
        ("fft2", (), "only a real transform"),
        ("rfft", (), "only a real transform"),
        ("rfft2", ([4, 4],), "neither crops nor pads"),
        ("irfft2", ([20, 20],), "neither crops nor pads"),
    ],
)
def test_what_the_operator_is_not_it_declines(operator: str, args: tuple[Any, ...], words: str) -> None:
    with pytest.raises(LoweringError, match=words):
        make_plan([site(operator, 16, 16, *args)], None, {"*": "custom-op"})


def test_native_stays_a_transform_in_the_file_only_where_it_is_allowed() -> None:
    x = torch.rand(1, 2, 16, 32)
    lowered = lower(Filter(), (x,), plan={"*": "native"})
    with pytest.raises(LoweringError, match="DFT"):
        onnx_target.convert_to(lowered, "fp32", None)
    model, _ = onnx_target.convert_to(lowered, "fp32", None, allowed=("DFT",))
    assert onnx_checks.census(model)["DFT"] == 4
    (output,) = run(model, {lowered.input_names[0]: x.numpy()})
    assert np.abs(output - Filter()(x.double()).numpy()).max() < 1e-6
    narrow(model, [])
    onnx_checks.check(model, [], ("DFT",))
    (half,) = run(model, {lowered.input_names[0]: x.numpy()})  # this runtime transforms float32 alone
    assert np.abs(half - output).max() < 5e-3
