"""What TensorRT-RTX made of each layer, from the log of its real builder, without a GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.targets import BuildResult, get_target
from fdikp_edge.export.tensorrt.layer_report import (
    EngineLayer,
    LayerOutcome,
    all_in_float,
    census,
    describe,
    engine_layers,
)
from torch import Tensor, nn

SIZE = (64, 64)


class SpectralNet(nn.Module):
    """Convolutions around a filter on the spectrum, two of them in groups of one and of four channels, and a
    gain computed from a plain vector."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.beside = nn.Conv2d(16, 16, 3, padding=1)
            self.each = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.fours = nn.Conv2d(16, 16, 3, padding=1, groups=4)
            self.mix = nn.Conv2d(32, 32, 1)
            self.gain = nn.Linear(16, 16)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.head(x))
        f = self.beside(f) + torch.cat([f[..., 1:], f[..., :1]], 3)
        f = self.fours(torch.relu(self.each(torch.relu(f))))
        f = f * torch.sigmoid(self.gain(f.mean((0, 2, 3))))[None, :, None, None]
        z = torch.fft.rfft2(f, norm="ortho")
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        f = torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")
        return x + 0.3 * self.tail(f)


@pytest.fixture(scope="module")
def model() -> LoweredModel:
    return lower_model(SpectralNet().eval(), SIZE, name="spectral-net")


@pytest.fixture(scope="module")
def table(model: LoweredModel) -> CalibrationTable:
    whole = calibrate(model, count=2, least_work=0)
    section = whole.section(model.lowered.key)
    # Which layers compute in floats is said here: calibration's own choice hangs on what it finds by trying.
    layers = [
        dataclasses.replace(layer, reason="on the spectrum" if layer.module.endswith("mix") else "")
        for layer in section.layers
    ]
    chosen = dataclasses.replace(section, layers=layers)
    return dataclasses.replace(whole, sections={**whole.sections, model.lowered.key: chosen})


@pytest.fixture(scope="module", params=["int8", "fp16"])
def built(
    request: pytest.FixtureRequest,
    model: LoweredModel,
    table: CalibrationTable,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, BuildResult]:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    row = get_target("tensorrt-rtx:capabilities=8.6")
    return request.param, folder, row.build(model.lowered, request.param, folder, table=table)


def test_the_target_says_what_became_of_each_layer_of_the_table(
    model: LoweredModel, table: CalibrationTable, built: tuple[str, Path, BuildResult]
) -> None:
    precision, folder, result = built
    layers = json.loads((folder / "layers.json").read_bytes())["layers"]
    assert [layer["node"] for layer in layers] == [
        layer.node for layer in table.section(model.lowered.key).layers
    ]
    by_name = {layer["module"].rpartition(".")[2]: layer for layer in layers}
    types = {name: by_name[name]["types"] for name in ("head", "beside", "each", "fours", "mix", "tail")}
    reasons = {name: by_name[name]["reason"] for name in types}
    if precision == "fp16":
        assert types == {name: ["Half"] for name in types} and not any(reasons.values())
        return
    narrow, in_float = ["Int8"], ["Half"]  # what is not quantised computes in float16
    assert types == {
        "head": narrow,
        "beside": in_float,
        "each": in_float,
        "fours": narrow,
        "mix": in_float,
        "tail": narrow,
    }
    assert "spectrum" in reasons["mix"] and "one channel per group, which TensorRT-RTX" in reasons["each"]
    assert "cut into shifted parts, which TensorRT-RTX" in reasons["beside"]
    assert not (reasons["head"] or reasons["fours"] or reasons["tail"])
    notes = [note for note in result.notes if note.startswith("engine: ")]
    assert notes[0].startswith("engine: 4 of ") and "of 4 that the table asks for" in notes[0]
    assert any("mix" in note and "spectrum" in note for note in notes[1:])
    assert result.precisions["int8 layers"] == 4


def test_no_map_of_zeros_is_kept_in_the_engine(built: tuple[str, Path, BuildResult]) -> None:
    # Sixteen maps of 64x64, padded to four channels each: 196,608 bytes of zeros.
    _, folder, _ = built
    assert bytes(3 * 16 * 64 * 64) not in (folder / "model.engine").read_bytes()


def test_the_census_follows_the_engine_and_not_the_table(
    model: LoweredModel, table: CalibrationTable
) -> None:
    section = table.section(model.lowered.key)
    graph, _ = target.convert_to(model.lowered, "fp32", None)
    layers = [
        EngineLayer(f"{node.name}_myl0_{number}", "correlation", "Float", (node.name,))
        for number, node in enumerate(graph.graph.node)
    ]
    in_float = census(layers, graph, section, "int8")
    assert {(outcome.types, outcome.narrow) for outcome in in_float} == {(("Float",), False)}
    reasons = {outcome.reason for outcome in in_float if outcome.wanted == "int8"}
    assert reasons == {"TensorRT kept it in float"}
    lost = census([], graph, section, "int8")
    assert {outcome.reason for outcome in lost if outcome.wanted == "int8"} == {
        "not found in the engine by name"
    }
    assert describe(lost, "int8")[0].startswith(f"engine: 0 of {len(lost)} layers compute in int8, ")


def test_lines_of_a_log() -> None:
    log = """some remark
    Name: node_a+node_b_myl0_7, LayerType: gemm, Inputs: [ { Name: x, Dimensions: [1,2], Datatype: Half, Format:
    Layers:
Name: node_c_myl0_8, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,2], Datatype: Int8, Format: f }, { Name: y, Datatype: Float }], Constants: [ { Name: w, Datatype: Int8 }], Outputs: [ { Name: z, Datatype: Float }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: node_c][ONNX Layer: q]
Name: w_myl0_9, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 2, EventId: 27, Metadata:
"""  # noqa: E501
    assert engine_layers(log.splitlines()) == [
        EngineLayer(
            "node_c_myl0_8",
            "correlation",
            "Int8",
            ("node_c", "q"),
            reads=(("x", "Int8"), ("y", "Float")),
            makes=(("z", "Float"),),
        ),
    ]
    assert engine_layers([]) == []


def test_an_engine_that_quantised_nothing_is_known_as_such() -> None:
    def outcome(*types: str, narrow: bool = False) -> LayerOutcome:
        return LayerOutcome("n", "m", "int8", types, True, narrow, "")

    assert all_in_float([outcome("Float"), outcome("Half")])
    assert not all_in_float([outcome("Float"), outcome("Int8", narrow=True)])
    assert not all_in_float([outcome("Float"), outcome()]), "one was not found, so it may be in 8 bits"
    assert not all_in_float([])
