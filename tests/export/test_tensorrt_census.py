"""What TensorRT-RTX made of each layer, from the log of its real builder, without a GPU."""

from __future__ import annotations

import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export import onnx as target
from fdikp_edge.export.build import LoweredModel, lower_model
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.tensorrt_census import EngineLayer, census, describe, engine_layers, rtx_log
from fdikp_edge.runtime.errors import LoweringError
from torch import Tensor, nn

SIZE = (64, 64)


class SpectralNet(nn.Module):
    """Convolutions around a filter on the spectrum."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.mix = nn.Conv2d(32, 32, 1)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.head(x))
        z = torch.fft.rfft2(f, norm="ortho")
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        f = torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")
        return x + 0.3 * self.tail(f)


@pytest.fixture(scope="module")
def model() -> LoweredModel:
    return lower_model(SpectralNet().eval(), SIZE, name="spectral-net")


@pytest.fixture(scope="module")
def table(model: LoweredModel) -> CalibrationTable:
    found = calibrate(model, count=2, least_work=0)
    layers = found.section(model.lowered.sha256).layers
    # Said here, so that it does not hang on what calibration found out by trying.
    wide = {layer.node: "on the spectrum" for layer in layers if layer.module.endswith("mix")}
    return found.to_float(model.lowered.sha256, wide)


def test_the_builder_takes_the_file_and_its_engine_holds_the_layers_of_the_table_in_int8(
    model: LoweredModel, table: CalibrationTable
) -> None:
    pytest.importorskip("tensorrt_rtx")
    section = table.section(model.lowered.sha256)
    graph, _ = target.convert_to(model.lowered, "int8", table)
    layers = engine_layers(rtx_log(target.serialise(graph, "model.onnx")))
    fates = census(layers, graph, section)
    assert [fate.node for fate in fates] == [layer.node for layer in section.layers]
    found = {fate.module.rpartition(".")[2]: fate for fate in fates}
    assert found["head"].found == found["tail"].found == ("Int8",)
    assert found["mix"].found == ("Float",) and "spectrum" in found["mix"].reason
    notes = describe(fates)
    assert notes[0].startswith("engine: 2 of ") and "of 2 that the table asks for" in notes[0]
    assert any("mix" in note and "spectrum" in note for note in notes[1:])
    # The census follows the engine and not the table: of a float file nothing is in 8 bits.
    plain, _ = target.convert_to(model.lowered, "fp32", None)
    wide = census(engine_layers(rtx_log(target.serialise(plain, "model.onnx"))), plain, section)
    assert {fate.found for fate in wide} == {("Float",)}
    assert [fate.reason for fate in wide if fate.wanted == "int8"] == ["TensorRT kept it wide"] * 2


def test_a_network_that_the_parser_refuses(model: LoweredModel) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(LoweringError, match="parser refused"):
        rtx_log(b"no network")


def test_lines_of_a_log() -> None:
    log = """some remark
    Name: node_a+node_b_myl0_7, LayerType: gemm, Inputs: [ { Name: x, Dimensions: [1,2], Datatype: Half, Format:
    Layers:
Name: node_c_myl0_8, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,2], Datatype: Int8, Format: f }, { Name: y, Datatype: Float }], Constants: [ { Name: w, Datatype: Int8 }], Outputs: [ { Name: z, Datatype: Float }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: node_c][ONNX Layer: q]
Name: w_myl0_9, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 2, EventId: 27, Metadata:
"""  # noqa: E501
    assert engine_layers(log) == [
        EngineLayer("node_c_myl0_8", "correlation", "Int8", ("node_c", "q")),
    ]
    assert engine_layers("") == []
