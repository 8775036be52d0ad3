"""INT8 and float16 files against the emulation, and what happens without the guard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fdikp_edge.calibration.emulate import HalfRunner, Int8Runner
from fdikp_edge.calibration.fp16_islands import decide
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate, transforms_of
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.onnx.checks import source_node
from fdikp_edge.export.onnx.quantise import SIGNED, quantise
from fdikp_edge.export.roles import protected
from fdikp_edge.runtime import processor
from fdikp_edge.runtime.errors import CalibrationError
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import open_session
from golden_pair import golden_pair
from onnx import TensorProto, numpy_helper
from spectral_net import SIZE, SpectralNet
from torch import Tensor, nn


@pytest.fixture(scope="module")
def model() -> LoweredModel:
    return lower_model(SpectralNet().eval(), SIZE, name="spectral-net")


@pytest.fixture(scope="module")
def table(model: LoweredModel) -> CalibrationTable:
    return calibrate(model, count=4, least_work=0)


@pytest.fixture(scope="module")
def photo() -> np.ndarray[Any, Any]:
    return choose(shipped_photos(), SIZE, count=2, seed=3).arrays()[1]


def run(graph: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Without optimisation each node computes what it says.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result


def emulated(model: LoweredModel, table: CalibrationTable, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    key = model.lowered.key
    section = table.section(key)
    scales = {name: table.scale(key, name) for name in section.tensors}
    return Int8Runner(model.lowered.program, section.quantised(), scales)(x)


def test_each_node_of_the_file_knows_its_node_of_the_program(model: LoweredModel) -> None:
    graph, _ = target.convert(model.lowered.program)
    shapes = {
        n.name: tuple(n.meta["val"].shape)
        for n in model.lowered.program.graph.nodes
        if n.op == "call_function" and isinstance(n.meta.get("val"), Tensor)
    }
    inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(graph).graph.value_info}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == sum(
        str(n.target) == "aten.conv2d.default" for n in model.lowered.program.graph.nodes
    )
    for node in convolutions:
        value = inferred.get(node.output[0])
        if value is not None:
            assert tuple(d.dim_value for d in value.type.tensor_type.shape.dim) == shapes[source_node(node)]


def test_the_signed_file_computes_what_the_emulation_computes(
    model: LoweredModel, table: CalibrationTable, photo: np.ndarray[Any, Any]
) -> None:
    graph, _ = target.convert_to(model.lowered, "int8", table)
    expected = emulated(model, table, photo)
    # A value on the edge between two steps may fall either way; nothing else may differ.
    assert psnr_db(run(graph, photo), expected) > 75
    assert psnr_db(expected, Runner(model.lowered.program)(photo)) > 40


def test_the_unsigned_file_computes_what_the_emulation_with_rounded_results_computes(
    model: LoweredModel, table: CalibrationTable, photo: np.ndarray[Any, Any]
) -> None:
    graph, _ = target.convert_to(model.lowered, "int8", table, unsigned=True)
    key = model.lowered.key
    section = table.section(key)
    scales = {name: table.scale(key, name) for name in section.tensors}
    program, layers = model.lowered.program, section.quantised()
    expected = Int8Runner(program, layers, scales, rounded_results=True)(photo)
    output = run(graph, photo)
    assert psnr_db(output, expected) > 75
    assert psnr_db(output, Int8Runner(program, layers, scales)(photo)) < 70  # the rounding is to be seen


class Scaled(nn.Module):
    """Scales around convolutions, and a normalisation, which a simplifier would multiply into weights."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 8, 3, padding=1)
            self.body = nn.Conv2d(8, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.rows = nn.Linear(64, 64)
            self.tail = nn.Conv2d(8, 3, 3, padding=1)
        self.norm.running_var.fill_(1e-4)

    def forward(self, x: Tensor) -> Tensor:
        f = self.norm(self.body(0.02 * torch.relu(self.head(x))))
        return x + 0.05 * self.tail(self.rows(torch.relu(f)))


@pytest.mark.parametrize("unsigned", [False, True])
def test_scales_in_the_network_do_not_move_ranges_to_other_values(
    unsigned: bool, photo: np.ndarray[Any, Any]
) -> None:
    scaled = lower_model(Scaled().eval(), SIZE, name="scaled")
    table = calibrate(scaled, count=4, least_work=0)
    key = scaled.lowered.key
    section = table.section(key)
    assert len(section.quantised()) == 4
    scales = {name: table.scale(key, name) for name in section.tensors}
    runner = Int8Runner(scaled.lowered.program, section.quantised(), scales, rounded_results=unsigned)
    graph, _ = target.convert_to(scaled.lowered, "int8", table, unsigned=unsigned)
    assert psnr_db(run(graph, photo), runner(photo)) > 75
    assert psnr_db(run(graph, photo), Runner(scaled.lowered.program)(photo)) > 35


def test_pictures_of_bytes_are_measured_with_white_at_255() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr_db(black + np.uint8(255), black) == 0
    assert psnr_db(black + np.uint8(1), black) == pytest.approx(48.13, abs=0.01)


def test_quantised_weights_are_stored_as_bytes_and_everything_is_symmetric(
    model: LoweredModel, table: CalibrationTable
) -> None:
    graph, _ = target.convert_to(model.lowered, "int8", table)
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    weights = [t for t in stored.values() if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
    assert sorted(tuple(t.dims) for t in weights) == [(3, 16, 3, 3), (16, 3, 3, 3)]
    for node in graph.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = numpy_helper.to_array(stored[node.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()
    assert not any(t.data_type == TensorProto.INT32 for t in stored.values())  # biases stay float


def test_transforms_and_spectra_are_protected_and_the_rest_is_not(model: LoweredModel) -> None:
    firm, doubtful = protected(model.lowered)
    assert not set(firm) & set(doubtful)
    reasons = {**firm, **doubtful}
    kinds = {
        node.name: reasons.get(node.name, "")
        for node in model.lowered.program.graph.nodes
        if str(node.target) in ("aten.conv2d.default", "aten.matmul.default", "aten.linear.default")
    }
    assert kinds["conv2d"] == ""  # the head
    assert kinds[[k for k in kinds if k.startswith("conv2d")][-1]] == ""  # the tail, after the way back
    assert any("spectrum" in doubtful.get(name, "") for name in kinds)
    assert all("transform" in firm[name] for name in kinds if name.startswith("matmul"))


class Products(nn.Module):
    """A product with weights, large enough to be worth 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.mix(x))


class FirstStep(nn.Module):
    """A convolution of which a part reads zeros: what is left of its weights is still the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.mix(torch.cat([x, torch.zeros_like(x)], 1)))


def test_weights_that_the_lowering_cut_are_quantised() -> None:
    model = lower_model(FirstStep().eval(), SIZE, name="first-step")
    (layer,) = calibrate(model, count=4).section(model.lowered.key).quantised()
    assert layer.macs == 3 * 3 * 9 * 64 * 64


@pytest.mark.parametrize(("profile", "quantised"), [("openvino", 1), ("onnx", 0)])
def test_products_are_quantised_where_the_runtime_gains_from_it(profile: str, quantised: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lower_model(Products().eval(), SIZE, name="products", profile=profile)
    table = calibrate(model, count=4)
    (layer,) = table.section(model.lowered.key).layers
    assert ("no faster" in layer.reason) != bool(quantised)
    assert layer.weights_only != bool(quantised)
    # Its weights are bytes either way; what it reads is rounded only where that makes it faster.
    graph, _ = target.convert_to(model.lowered, "int8", table, unsigned=not quantised)
    stored = [t.data_type for t in graph.graph.initializer if sorted(t.dims) == [64, 64]]
    assert stored == [TensorProto.INT8]
    assert sum(node.op_type == "QuantizeLinear" for node in graph.graph.node) == quantised
    x = choose(shipped_photos(), SIZE, count=2, seed=3).arrays()[1]
    assert psnr_db(run(graph, x), Runner(model.lowered.program)(x)) > (40 if quantised else 55)


def test_without_the_guard_the_picture_breaks(photo: np.ndarray[Any, Any]) -> None:
    bright = lower_model(SpectralNet(mean=80.0).eval(), SIZE, name="bright")
    expected = Runner(bright.lowered.program)(photo)
    tables = {guarded: calibrate(bright, count=4, least_work=0, guarded=guarded) for guarded in (True, False)}
    psnr = {guarded: psnr_db(emulated(bright, entry, photo), expected) for guarded, entry in tables.items()}
    assert psnr[True] > 40 > psnr[False]
    graph, _ = target.convert(bright.lowered.program)
    quantise(graph, tables[False], bright.lowered.key, SIGNED)
    assert psnr_db(run(graph, photo), expected) < 40  # and not only in the emulation


def test_float16_overflows_in_a_transform_without_its_island(photo: np.ndarray[Any, Any]) -> None:
    loud = lower_model(SpectralNet("backward", gain=20.0).eval(), SIZE, name="loud")
    program = loud.lowered.program
    assert not np.isfinite(HalfRunner(program)(photo)).all()
    plan = decide(program, [photo], transforms_of(loud.lowered))
    assert any(entry.decision.startswith("float32") and entry.bound > 65504 for entry in plan.certificates)
    assert plan.unguarded_db == -200
    assert plan.emulated_db > 60


def test_bounds_of_certificates_hold(model: LoweredModel, table: CalibrationTable) -> None:
    certificates = table.section(model.lowered.key).half.certificates
    assert len(certificates) == 2
    for entry in certificates:
        assert 0 < entry.peak <= entry.bound * (1 + 1e-5)
        assert entry.decision.startswith("float16")


def test_the_float16_file_is_half_as_large_and_as_close_as_its_emulation(
    model: LoweredModel, table: CalibrationTable, photo: np.ndarray[Any, Any]
) -> None:
    wide, _ = target.convert_to(model.lowered, "fp32", None)
    half, notes = target.convert_to(model.lowered, "fp16", table)
    assert half.ByteSize() < 0.6 * wide.ByteSize()
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    expected = Runner(model.lowered.program)(photo)
    assert psnr_db(run(half, photo), expected) > 60
    assert psnr_db(HalfRunner(model.lowered.program)(photo), expected) > 60
    assert any("emulated" in note for note in notes)


@pytest.mark.parametrize(("option", "precision"), [("", "fp16"), ("", "int8"), (":weights=7bit", "int8")])
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_artifacts_of_every_precision_open_and_run(
    model: LoweredModel, table: CalibrationTable, tmp_path: Path, name: str, option: str, precision: str
) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    # Whatever this runtime gains by it, every layer that may be is in 8 bits here.
    key = model.for_profile(name).lowered.key
    ranges = dataclasses.replace(table, sections={key: table.section(model.lowered.key)})
    artifact = build_artifact(model, name + option, precision, tmp_path / "artifact", table=ranges)
    assert artifact.passport.calibration_sha256 == ranges.sha256
    layers = artifact.passport.precision_census.get("int8 layers", 0)
    assert layers == (2 if precision == "int8" else 0)
    x, golden = golden_pair(artifact)
    with open_session(artifact) as session:
        psnr = psnr_db(session.run(x), golden)
        if not session.remark:  # sums of full 8-bit weights saturate on some processors
            assert psnr > (60 if precision == "fp16" else 38)
        assert bool(session.remark) == (precision == "int8" and not option and processor.saturates())


def test_no_table_and_another_models_table_are_refused(table: CalibrationTable, model: LoweredModel) -> None:
    other = lower_model(SpectralNet(gain=2.0).eval(), SIZE, name="other")
    for precision in ("fp16", "int8"):
        with pytest.raises(CalibrationError, match="made for other programs"):
            target.convert_to(other.lowered, precision, table)
        with pytest.raises(CalibrationError, match="needs a calibration table"):
            target.convert_to(model.lowered, precision, None)
