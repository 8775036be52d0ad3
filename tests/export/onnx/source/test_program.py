"""ONNX sources through the targets that read ONNX, at every precision, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable, read_table
from fdikp_edge.export.onnx import checks
from fdikp_edge.export.onnx.source import probes
from fdikp_edge.export.onnx.source.calibrate import (
    ON_SPECTRUM,
    between_transforms,
    calibrate_onnx,
    find_layers,
)
from fdikp_edge.export.onnx.source.check import relative_error
from fdikp_edge.export.onnx.source.program import OnnxProgram, prepare, transform_nodes
from fdikp_edge.export.onnx.source.source import OnnxSource, load_onnx_source
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.errors import CalibrationError, LoweringError, TargetUnavailableError
from onnx import helper, numpy_helper
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from graphs import dft, model_of
from test_source import export

SIZE = (1, 3, 24, 40)


class Restorer(nn.Module):
    """Convolutions, one of them depthwise, a linear layer, and one layer on a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.spectral = nn.Conv2d(32, 32, 1)
        self.linear = nn.Linear(16, 16)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.depthwise(torch.relu(self.middle(torch.relu(self.first(image)))))
        spectrum = torch.fft.rfft2(x)
        re, im = self.spectral(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        x = x + torch.fft.irfft2(torch.complex(re, im), s=x.shape[-2:])
        x = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return image + self.last(x)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> OnnxSource:
    path = tmp_path_factory.mktemp("restorer") / "restorer.onnx"
    export(Restorer().eval(), torch.rand(SIZE), path)
    return load_onnx_source(path)


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    return [{"image": rng.random(SIZE).astype(np.float32)} for _ in range(4)]


def program_for(source: OnnxSource, target: str) -> OnnxProgram:
    return prepare(source, get_target(target).profile)


@pytest.fixture(scope="module")
def tables(source: OnnxSource, samples: list[dict[str, Any]]) -> dict[str, CalibrationTable]:
    names = ("onnx", "openvino", "tensorrt-rtx")
    return {name: calibrate_onnx(program_for(source, name), samples, least_work=1000) for name in names}


LEAST_DB = {"fp32": 100.0, "fp16": 60.0, "int8": 40.0}


@pytest.mark.parametrize("precision", LEAST_DB)
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_built_and_run(
    target: str,
    precision: str,
    source: OnnxSource,
    samples: list[dict[str, Any]],
    tables: dict[str, CalibrationTable],
    tmp_path: Path,
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    row = get_target(f"{target}:weights=7bit")
    program = program_for(source, target)
    built = row.build(program, precision, tmp_path, table=tables[target])
    (right,) = source.reference(samples[0], "float64").values()
    if target == "onnx":
        (result,) = ort.InferenceSession(tmp_path / built.model_file).run(None, samples[0])
    else:
        import openvino as ov

        exact = {"INFERENCE_PRECISION_HINT": "f32"}  # a processor with bfloat16 would use it unasked
        result = ov.Core().compile_model(tmp_path / built.model_file, "CPU", exact)(samples[0])[0]
    assert probes.worst_db([[result]], [[right]]) > LEAST_DB[precision]
    assert (built.precisions.get("int8 layers", 0) > 1) == (precision == "int8")
    assert ("float16" in built.precisions) == (precision == "fp16")
    assert any("4 DFT nodes rewritten" in note for note in built.notes)


@pytest.mark.parametrize("precision", LEAST_DB)
def test_tensorrt_rtx_builds_an_engine(
    precision: str, source: OnnxSource, tables: dict[str, CalibrationTable], tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    row = get_target("tensorrt-rtx:capabilities=8.6")
    program = program_for(source, "tensorrt-rtx")
    built = row.build(program, precision, tmp_path, table=tables["tensorrt-rtx"])
    assert (tmp_path / built.model_file).stat().st_size > 10_000
    if precision == "int8":
        assert any("one channel per group" in note for note in built.notes)


def test_layers_and_their_reasons(source: OnnxSource) -> None:
    program = program_for(source, "openvino")
    layers = {layer.module or layer.node: layer for layer in find_layers(program, least_work=1000)}
    assert len(layers) == 6, "products of transforms are no layers"
    assert layers["spectral"].reason == ON_SPECTRUM
    assert not layers["middle"].reason and layers["middle"].macs == 24 * 40 * 16 * 16 * 9
    assert layers["depthwise"].macs == 24 * 40 * 16 * 9
    assert layers["last"].reason  # openvino keeps what produces the output in floats
    few = find_layers(program, least_work=10**9)
    assert all(layer.reason for layer in few)


def test_what_lies_between_transforms(source: OnnxSource) -> None:
    model = program_for(source, "onnx").model
    between = between_transforms(model)
    names = {node.output[0]: node.op_type for node in model.graph.node}
    assert len(transform_nodes(model)) == 4
    assert {"Conv", "Concat"} <= {names[name] for name in between if name in names}
    assert sum(names.get(name) == "Conv" for name in between) == 1


def test_a_table_survives_its_file_and_fits_no_other_program(
    source: OnnxSource, tables: dict[str, CalibrationTable], tmp_path: Path
) -> None:
    tables["onnx"].write(tmp_path / "table.json")
    table = read_table(tmp_path / "table.json")
    assert table.sha256 == tables["onnx"].sha256
    with pytest.raises(CalibrationError, match="was made for onnx, not for openvino"):
        get_target("openvino").build(program_for(source, "openvino"), "int8", tmp_path, table=table)


def test_programs_are_equal_in_every_process(source: OnnxSource) -> None:
    here = program_for(source, "onnx").sha256
    assert program_for(source, "onnx").sha256 == here
    script = (
        "import sys;from fdikp_edge.export.onnx.source.source import load_onnx_source;"
        "from fdikp_edge.export.onnx.source.program import prepare;"
        "print(prepare(load_onnx_source(sys.argv[1]), 'onnx').sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(source.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == here


def test_nodes_carry_their_modules_and_nothing_of_the_exporters_machine(source: OnnxSource) -> None:
    program = program_for(source, "onnx")
    modules = {entry.value for node in program.model.graph.node for entry in node.metadata_props}
    assert {"first", "middle", "depthwise", "spectral", "last"} <= modules
    assert b"site-packages" not in program.model.SerializeToString()
    assert len({node.name for node in program.model.graph.node}) == len(program.model.graph.node)


def test_the_plan_lists_every_transform(source: OnnxSource) -> None:
    rows = program_for(source, "onnx").plan.to_json()
    assert [row["lengths"] for row in rows] == [[40], [24], [24], [40]]
    assert rows[0]["input_shape"] == [1, 16, 24, 40] and rows[0]["strategy"] == "separable"


def test_targets_that_need_the_network_itself_say_so(source: OnnxSource, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    with pytest.raises(TargetUnavailableError, match="needs a PyTorch program"):
        get_target("coreml").build(program_for(source, "coreml"), "fp32", tmp_path)


def test_open_sizes_and_control_flow_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = dft(["batch", 8, 1], 1)
    model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 2
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoweringError, match=r"net\.onnx: .*'x' is not fixed"):
        prepare(load_onnx_source(path), "onnx")
    assert prepare(load_onnx_source(path, {"x": (3, 8, 1)}), "onnx").outputs[0].shape == (3, 8, 2)

    def branch(operator: str) -> onnx.GraphProto:
        node = helper.make_node(operator, ["x"], ["r"])
        return helper.make_graph([node], operator, [], [helper.make_tensor_value_info("r", 1, [1, 8])])

    node = helper.make_node("If", ["on"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg"))
    model = model_of([node], {"x": [1, 8]}, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("on", 9, []))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 8]))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoweringError, match="control flow"):
        prepare(load_onnx_source(path), "onnx")


def test_samples_must_be_there_and_fit(source: OnnxSource) -> None:
    program = program_for(source, "onnx")
    for samples in ([], [{}], [{"image": np.zeros((1, 3, 8, 8), np.float32)}], [{"image": np.zeros(SIZE)}]):
        with pytest.raises(CalibrationError):
            calibrate_onnx(program, samples)
    broken = np.full(SIZE, np.nan, np.float32)
    with pytest.raises(CalibrationError, match="NaN or infinity"):
        calibrate_onnx(program, [{"image": broken}], least_work=1000)


def one_product(weight: float) -> onnx.ModelProto:
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    model = model_of([node], {"x": [1]}, ["y"], {"w": np.array([weight], np.float32)})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1]))
    return model


def test_emulated_float16_rounds_inputs_constants_and_results() -> None:
    fine = np.float32(1 + 2**-13)
    coarse = [{"x": np.array([1], np.float32)}]
    assert probes.run_all(probes.rounded(one_product(float(fine)), ()), coarse)[0][0] == 1
    (given,) = probes.run_all(probes.rounded(one_product(1.0), ()), [{"x": np.array([fine])}])
    assert given[0] == 1
    (kept,) = probes.run_all(probes.rounded(one_product(1.0), ("y",)), [{"x": np.array([fine])}])
    assert kept[0] == fine
    (large,) = probes.run_all(probes.rounded(one_product(300.0), ()), [{"x": np.array([300], np.float32)}])
    assert np.isinf(large[0])


def test_what_overflows_float16_stays_in_float32(tmp_path: Path) -> None:
    """A forward transform of a large constant image: its mean coefficient is 64 times 4000."""
    nodes = [
        helper.make_node("Mul", ["x", "large"], ["scaled"]),
        helper.make_node("DFT", ["scaled", "", "axis"], ["spectrum"], "forward", onesided=1),
        helper.make_node("Mul", ["spectrum", "small"], ["filtered"]),
        helper.make_node("DFT", ["filtered", "", "axis"], ["y"], "inverse", inverse=1, onesided=1),
    ]
    constants = {"axis": np.int64(1), "large": np.float32(4000), "small": np.float32(2**-10)}
    model = model_of(nodes, {"x": [1, 64, 1]}, ["y"], constants)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 64, 1]))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    source = load_onnx_source(path)
    program = prepare(source, "onnx")
    x = np.random.default_rng(0).random((1, 64, 1)).astype(np.float32) * 0.2 + 0.8
    table = calibrate_onnx(program, [{"x": x}])
    half = table.section(program.key).half
    assert half.unguarded_db < 10 < 60 < half.emulated_db
    assert any("overflow" in reason or "peak" in reason for reason in half.float32_layers.values())
    get_target("onnx").build(program, "fp16", tmp_path, table=table)
    (result,) = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x})
    assert relative_error(result, source.reference({"x": x}, "float64")["y"]) < 1e-2


def test_prepared_models_pass_the_checks_of_lowered_ones(source: OnnxSource) -> None:
    model, notes = program_for(source, "onnx").convert()
    checks.check(model, notes)
    assert not checks.constant_nodes(model)
    assert all(numpy_helper.to_array(tensor).dtype != np.float64 for tensor in model.graph.initializer)
