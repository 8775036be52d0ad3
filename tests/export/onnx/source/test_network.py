"""An ONNX file as a network source: lowered, built, opened and compared with the original."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.cli.source import source_of
from fdikp_edge.export.build import build_artifact, reference_for
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, describe_model, lower_model
from fdikp_edge.export.onnx.source.network import AS_PICTURE, onnx_network
from fdikp_edge.export.onnx.source.ports import Port, identifier_names
from fdikp_edge.models.sources.base import NetworkSource, TensorSpec
from fdikp_edge.runtime.errors import (
    BadInputError,
    LoweringFaultError,
    SourceError,
    TargetUnavailableError,
)
from fdikp_edge.runtime.sessions import open_session
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent))
from graphs import dft, model_of
from test_program import SIZE, Restorer
from test_source import export


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("network") / "restorer.onnx"
    export(Restorer().eval(), torch.rand(SIZE), file)
    return file


@pytest.fixture(scope="module")
def model(path: Path) -> LoweredModel:
    return lower_model(onnx_network(path), profile="onnx")


@pytest.fixture(scope="module")
def table(model: LoweredModel) -> CalibrationTable:
    return calibrate(model, count=4, least_work=1000)


@pytest.mark.parametrize(("precision", "largest"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 0.1)])
def test_an_artifact_computes_what_the_original_does(
    precision: str, largest: float, model: LoweredModel, table: CalibrationTable, path: Path, tmp_path: Path
) -> None:
    artifact = build_artifact(model, "onnx:weights=7bit", precision, tmp_path / "artifact", table=table)
    passport = artifact.passport
    assert passport.model == "restorer" and [row["operator"] for row in passport.plan] == ["DFT"] * 4
    x = np.random.default_rng(5).random(SIZE).astype(np.float32)
    reference = reference_for(artifact, onnx_network(path))
    with open_session(artifact) as session:
        result = session.run(x)
    right = reference(x, "float64")
    assert not reference.float64_problem and right.dtype == np.float64
    with torch.no_grad():
        eager = Restorer().eval().double()(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(right, eager, atol=1e-6)
    error = np.abs(result - right).max()
    assert 0 < error < largest


def test_a_table_for_fp16_alone_is_that_part_of_the_whole(
    model: LoweredModel, table: CalibrationTable
) -> None:
    alone = calibrate(model, count=4, for_int8=False)
    assert table.section(model.lowered.key).quantised()
    assert alone.sha256 == table.for_fp16().sha256


def test_the_model_says_what_the_file_is(model: LoweredModel) -> None:
    facts = describe_model(model)
    weights = sum(parameter.numel() for parameter in Restorer().parameters())
    assert weights <= facts["parameters"] < weights + 20, "and a few constants of the exporter"
    assert AS_PICTURE.format(name="image") in facts["notes"]
    audit = model.lowered.audit
    assert audit.rows[0].multiply_adds == 16 * 24 * 40 * 21 * 2
    assert audit.self_check is not None and 0 < audit.self_check < 1e-4
    assert model.for_profile("openvino").lowered.key[1] == "openvino"


def test_targets_that_trace_the_network_are_unavailable(model: LoweredModel, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    with pytest.raises(TargetUnavailableError, match="needs a PyTorch program"):
        build_artifact(model, "coreml", "fp32", tmp_path / "artifact")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_rewritten_wrongly_is_a_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdikp_edge.export.onnx.source.products import Transform

    right = Transform.matrix
    monkeypatch.setattr(Transform, "matrix", lambda self: right(self) * 1.01)
    with pytest.raises(LoweringFaultError, match="differs from"):
        lower_model(onnx_network(path), profile="onnx")


def open_file(path: Path) -> Path:
    """A transform of an input whose name and sizes need a word of the user."""
    model = dft(["batch", 8, 1], 1)
    model.graph.node[0].input[0] = model.graph.input[0].name = "x:0"
    model.graph.node[0].output[0] = "1.out"
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("1.out", 1, ["batch", 8, 2]))
    path.write_bytes(model.SerializeToString())
    return path


def test_names_and_sizes_of_the_file(tmp_path: Path) -> None:
    path = open_file(tmp_path / "net.onnx")
    with pytest.raises(SourceError, match=r"open sizes.*--input x_0=1x8x1"):
        onnx_network(path)
    source = onnx_network(path, inputs=[TensorSpec("x_0", (3, 8, 1))])
    model = lower_model(source, profile="onnx")
    assert [end.name for end in model.inputs] == ["x_0"] and [end.name for end in model.outputs] == [
        "t_1_out"
    ]
    artifact = build_artifact(model, "onnx", "fp32", tmp_path / "artifact")
    x = np.random.default_rng(0).random((3, 8, 1)).astype(np.float32)
    with open_session(artifact) as session:
        result = session.run({"x_0": x})["t_1_out"]
    spectrum = np.fft.fft(x[..., 0])
    np.testing.assert_allclose(result, np.stack([spectrum.real, spectrum.imag], -1), atol=1e-5)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([TensorSpec("z", (1, 8, 1))], "has no input 'z'|open sizes"),
        ([TensorSpec("x_0", (1, 9, 1))], "does not fit"),
        ([TensorSpec("x_0", (1, 8, 1), "uint8", (0, 255))], "was declared as uint8"),
    ],
)
def test_wrong_words_about_inputs(specs: list[TensorSpec], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message):
        onnx_network(open_file(tmp_path / "net.onnx"), inputs=specs)


def test_names_stay_apart() -> None:
    ports = [Port(name, (1,), "float32") for name in ("a.b", "a_b", "a-b", "é", "class")]
    names = list(identifier_names(ports, ()).values())
    assert len(set(names)) == 5 and all(name.isidentifier() and name.isascii() for name in names)
    assert identifier_names(ports, ())["a_b"] != identifier_names(ports, ())["a.b"]


def test_a_value_inside_makes_room_for_a_port(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x.1"], ["x_1"]), helper.make_node("Neg", ["x_1"], ["y"])]
    model = model_of(nodes, {"x.1": [4]}, ["y"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [4]))
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    lowered = lower_model(onnx_network(path), profile="onnx")
    artifact = build_artifact(lowered, "onnx", "fp32", tmp_path / "artifact")
    x = np.arange(4, dtype=np.float32)
    with open_session(artifact) as session:
        (result,) = session.run({lowered.inputs[0].name: x}).values()
    np.testing.assert_array_equal(result, x)


def test_the_command_line_finds_it_and_refuses_what_means_nothing(path: Path, tmp_path: Path) -> None:
    source: Any = source_of(str(path), input=["image=1x3x24x40:0..255"])
    assert isinstance(source, NetworkSource)
    assert source.inputs[0].value_range == (0, 255) and not source.takes_photos
    for options in ({"seed": 1}, {"weights": tmp_path / "w.pth"}, {"model_arg": ["a=1"]}):
        with pytest.raises(SourceError, match="holds the whole network"):
            source_of(str(path), **options)
    with pytest.raises(BadInputError, match="bytes of pictures"):
        lower_model(onnx_network(path), contract="uint8_nhwc", profile="onnx")


def test_other_types_of_inputs(tmp_path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=1)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [4])],
        [helper.make_tensor_value_info("y", 1, [4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SourceError, match="float16"):
        onnx_network(path)
