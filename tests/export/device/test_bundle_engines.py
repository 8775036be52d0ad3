"""Every file that goes into a bundle, built by a real TensorRT (RTX, ahead of time, no GPU needed)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.studies.bundle_engines import EmulatedSession
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.device.bundle import make_bundle
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.tensorrt.layer_report import engine_layers, readers_of_int8_results
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device.build import Built, Settings, build
from fdikp_edge.runtime.device.build_log import BuildLog
from fdikp_edge.runtime.device.bundle import Bundle
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.tensorrt.features import features_of_module
from torch import Tensor, nn

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

KINDS = ("fp32", "fp16", "bf16", "int8", "uint8")
"""The precisions, and float32 behind an image contract of bytes."""


class Deep(nn.Module):
    """Layers that are worth 8 bits, a depthwise one between them, and a transform."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.first = nn.Conv2d(16, 16, 3, padding=1)
            self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.second = nn.Conv2d(16, 16, 3, padding=1)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        f = torch.relu(self.first(torch.relu(self.head(image))))
        f = f + self.second(torch.relu(self.depth(f)))
        f = f + torch.fft.irfft2(torch.fft.rfft2(f, norm="ortho") * 0.5, s=f.shape[-2:], norm="ortho")
        return image + 0.1 * self.tail(f)


@pytest.fixture(scope="module")
def deep() -> LoweredModel:
    return lower_model(Deep().eval(), (32, 32), name="deep", profile="onnx")


@pytest.fixture(scope="module")
def table(deep: LoweredModel) -> CalibrationTable:
    return calibrate(deep, count=4)


@pytest.fixture(scope="module")
def artifacts(
    lowered: LoweredModel,
    lowered_bytes: LoweredModel,
    deep: LoweredModel,
    table: CalibrationTable,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Artifact, Artifact]]:
    """Kind -> an artifact for ONNX Runtime, and what a bundle makes of it."""
    folder = tmp_path_factory.mktemp("kinds")
    before = {
        kind: build_artifact(
            {"uint8": lowered_bytes, "int8": deep}.get(kind, lowered),
            "tensorrt-rtx" if kind == "bf16" else "onnx",
            "fp32" if kind == "uint8" else kind,
            folder / kind,
            table=table if kind == "int8" else None,
        )
        for kind in KINDS
    }
    bundle = make_bundle([artifact.path for artifact in before.values()], folder / "all.bundle")
    after = {artifact.path.name: artifact for artifact in Bundle.open(bundle.path, folder / "c").artifacts()}
    return {kind: (before[kind], after[kind]) for kind in KINDS}


def test_with_a_table_what_int8_leaves_in_floats_is_float16(
    artifacts: dict[str, tuple[Artifact, Artifact]], table: CalibrationTable, tmp_path: Path
) -> None:
    before, in_float32 = artifacts["int8"]
    assert any("make the bundle with --table" in note for note in in_float32.passport.notes)
    table.write(tmp_path / "table.json")
    bundle = make_bundle([before.path], tmp_path / "b", tables=[tmp_path / "table.json"])
    (narrow,) = Bundle.open(bundle.path, tmp_path / "c").artifacts()
    assert any("nodes in float16" in note for note in narrow.passport.notes)
    types = []
    for artifact in (in_float32, narrow):
        log = BuildLog()
        file = tmp_path / f"{len(types)}.log"
        with log.all_into(file):
            built = engine(artifact, log)
        assert not [text for severity, text in built.log if severity < 2]
        with file.open(encoding="utf-8") as lines:
            listed = engine_layers(lines)
        types.append(Counter(layer.dtype for layer in listed))
    assert types[0]["Half"] == 0 and types[0]["Int8"] > 0
    assert types[1]["Half"] > 0 and types[1]["Float"] < types[0]["Float"]
    assert types[1]["Int8"] == types[0]["Int8"], "as many layers in 8 bits as before"
    in_float = [layer for layer in listed if layer.dtype == "Float"]
    explained = {layer.name for layer in readers_of_int8_results(listed)}
    unexplained = [layer for layer in in_float if layer.name not in explained]
    assert explained and [layer.reads[0][0] for layer in unexplained] == ["image"], "the port alone"
    (expected,) = before.golden()[1].values()
    with EmulatedSession(narrow) as session:
        (result,) = session.run(before.golden()[0]).values()
    assert session.rounded > 0 and np.abs(result - expected).max() < 0.02


def engine(artifact: Artifact, log: BuildLog | None = None) -> Built:
    onnx = artifact.model_path.read_bytes()
    return build(rtx, features_of_module(rtx), onnx, artifact, Settings(capability=(8, 6)), log=log)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_bundle_becomes_an_engine(
    kind: str, artifacts: dict[str, tuple[Artifact, Artifact]]
) -> None:
    built = engine(artifacts[kind][1])
    assert built.engine[:4] == b"vtrt"
    assert not [text for severity, text in built.log if severity < 2]


def test_bytes_stay_the_same_pixels(artifacts: dict[str, tuple[Artifact, Artifact]]) -> None:
    before, after = artifacts["uint8"]
    assert any("casts touch bytes" in note for note in after.passport.notes)
    pixels = np.random.default_rng(0).integers(0, 256, before.passport.inputs[0].shape, dtype=np.uint8)
    with open_session(before, threads=1) as old, open_session(after, threads=1) as new:
        assert (old.run(pixels) == new.run(pixels)).all()


def test_int8_is_rounded_in_front_of_8_bit_layers_alone(
    artifacts: dict[str, tuple[Artifact, Artifact]],
) -> None:
    """Other roundings are ONNX Runtime's dialect: kernels of their own in TensorRT."""
    onnx = pytest.importorskip("onnx")
    before, after = (onnx.load(artifact.model_path).graph for artifact in artifacts["int8"])
    assert wasted(before), "the file for ONNX Runtime rounds results too"
    assert wasted(after) == []
    layers = [node for node in after.node if node.op_type in ("Conv", "MatMul") and "8bit" in node.input[0]]
    assert len(layers) >= 2, "the others stay in 8 bits"
    assert not [node for node in layers for a in node.attribute if a.name == "group" and a.i > 1]
    image = artifacts["int8"][0].golden()[0]
    with open_session(artifacts["int8"][1], threads=1) as new:
        (result,) = new.run(image).values()
    (expected,) = artifacts["int8"][0].golden()[1].values()
    assert np.abs(result - expected).max() < 0.02, "of PyTorch's result in float32, in 0 to 1"


def wasted(graph: Any) -> list[str]:
    """Readers of rounded values that are no layer with 8-bit weights."""
    makers = {node.output[0]: node for node in graph.node}
    rounded = {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in makers
    }
    return [
        f"{node.op_type} {node.name}"
        for node in graph.node
        if rounded & set(node.input)
        and not any(
            makers[n].op_type == "DequantizeLinear" for n in node.input if n in makers and n not in rounded
        )
    ]


def test_depthwise_convolutions_and_rounded_results_become_floats() -> None:
    onnx = pytest.importorskip("onnx")
    from fdikp_edge.export.onnx.floats_between import floats_between_layers
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants = [], {"s": np.float32(0.02), "z": np.int8(0)}

    def layer(source: str, result: str, shape: tuple[int, ...], group: int) -> None:
        constants[f"{result}_w"] = rng.integers(-127, 128, shape, dtype=np.int8)
        constants[f"{result}_s"] = rng.random(shape[0], dtype=np.float32) * 0.01
        constants[f"{result}_z"] = np.zeros(shape[0], np.int8)
        nodes.extend(
            [
                helper.make_node("QuantizeLinear", [source, "s", "z"], [f"{result}_q"]),
                helper.make_node("DequantizeLinear", [f"{result}_q", "s", "z"], [f"{result}_in"]),
                helper.make_node(
                    "DequantizeLinear", [f"{result}_w", f"{result}_s", f"{result}_z"], [f"{result}_f"], axis=0
                ),
                helper.make_node("Conv", [f"{result}_in", f"{result}_f"], [result], group=group),
            ]
        )

    layer("x", "depth", (8, 1, 1, 1), 8)
    layer("depth", "mixed", (8, 8, 1, 1), 1)
    nodes.extend(
        [
            helper.make_node("QuantizeLinear", ["mixed", "s", "z"], ["mixed_8"]),
            helper.make_node("DequantizeLinear", ["mixed_8", "s", "z"], ["mixed_result"]),
            helper.make_node("Relu", ["mixed_result"], ["y"]),
        ]
    )
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8, 4, 4)) for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert wasted(model.graph) == ["Relu "]
    assert floats_between_layers(model) == (1, 1)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        "Conv", "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv", "Relu",
    ]  # fmt: skip
    (weights,) = (t for t in model.graph.initializer if t.name == "depth_f_float")
    expected = constants["depth_w"].astype(np.float32) * constants["depth_s"].reshape(-1, 1, 1, 1)
    assert (numpy_helper.to_array(weights) == expected).all()
