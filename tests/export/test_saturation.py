"""INT8 weights of 7 bits: exact sums on every processor; of 8 bits: where the processor saturates, and only
there, sums are wrong and the artifact's failure says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.parity import verify
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.levels import LEVELS, REDUCED_LEVELS
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime import processor
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import open_session
from onnx import TensorProto, numpy_helper
from spectral_net import SIZE
from torch import Tensor, nn

TARGETS = ("onnx", "openvino")


class Sums(nn.Module):
    """Its middle layer sums bright values with equal weights: the largest sums that 8 bits can make."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 1, bias=False)
            self.body = nn.Conv2d(16, 16, 3, padding=1, bias=False)
            self.tail = nn.Conv2d(16, 3, 1, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(self.head.weight.abs() / self.head.weight.abs().sum(1, keepdim=True))
            self.body.weight.fill_(1 / (16 * 9))
            self.tail.weight.fill_(1 / 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(torch.relu(self.body(torch.relu(self.head(x)))))


@pytest.fixture(scope="module")
def model() -> LoweredModel:
    return lower_model(Sums().eval(), SIZE, name="sums", profile="onnx")


@pytest.fixture(scope="module")
def tables(model: LoweredModel) -> dict[str, CalibrationTable]:
    return {name: calibrate(model.for_profile(name), count=4, least_work=0) for name in TARGETS}


@pytest.fixture(scope="module")
def photo() -> np.ndarray[Any, Any]:
    # Bright: with zero point 128 it is the large values whose sums do not fit.
    return np.clip(choose(shipped_photos(), SIZE, count=2, seed=3).arrays()[1] * 0.3 + 0.7, 0, 1)


def built(model: LoweredModel, tables: dict[str, CalibrationTable], spec: str, folder: Path) -> Artifact:
    if spec.startswith("openvino"):
        pytest.importorskip("openvino")
    name = spec.partition(":")[0]
    return build_artifact(model, spec, "int8", folder, table=tables[name])


def emulated(
    model: LoweredModel, tables: dict[str, CalibrationTable], spec: str, x: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the result with sums in floats, which hold these exactly."""
    row = get_target(spec)
    own = model.for_profile(row.profile).lowered
    section = tables[row.name].section(own.key)
    scales = {name: tables[row.name].scale(own.key, name) for name in section.tensors}
    assert section.quantised()
    return Int8Runner(
        own.program,
        section.quantised(),
        scales,
        rounded_results=row.costs.rounds_results,
        weight_levels=row.weight_levels,
    )(x)


@pytest.mark.parametrize("name", TARGETS)
def test_weights_of_7_bits_are_summed_exactly_on_every_processor(
    model: LoweredModel,
    tables: dict[str, CalibrationTable],
    photo: np.ndarray[Any, Any],
    tmp_path: Path,
    name: str,
) -> None:
    spec = f"{name}:weights=7bit"
    artifact = built(model, tables, spec, tmp_path / "artifact")
    census = artifact.passport.precision_census
    assert census["layers with 7-bit weights"] == census["int8 layers"] > 0
    assert any("weights from -64 to 64" in note for note in artifact.passport.notes)
    with open_session(artifact, threads=1) as session:
        assert session.remark == ""
        output = session.run(photo)
    assert psnr_db(output, emulated(model, tables, spec, photo)) > 55


@pytest.mark.parametrize("name", TARGETS)
def test_weights_of_8_bits_saturate_where_the_processor_does_and_only_there(
    model: LoweredModel,
    tables: dict[str, CalibrationTable],
    photo: np.ndarray[Any, Any],
    tmp_path: Path,
    name: str,
) -> None:
    artifact = built(model, tables, name, tmp_path / "artifact")
    assert "layers with 7-bit weights" not in artifact.passport.precision_census
    if processor.has_dot_product() is None:
        pytest.skip("what this processor can do is unknown")
    with open_session(artifact, threads=1) as session:
        output = session.run(photo)
        parity = verify(session, model.reference)
    exact = psnr_db(output, emulated(model, tables, name, photo))
    assert (exact < 35) if processor.saturates() else (exact > 55)
    with open_session(artifact, threads=1, exact_sums=True) as session:
        assert session.remark == ""
        exact = psnr_db(session.run(photo), emulated(model, tables, name, photo))
    assert exact > 55, "asked for, sums are exact on every processor"
    problems = " ".join(parity.problems)
    assert parity.within_budget != processor.saturates()
    assert ("no 8-bit dot product" in problems) == processor.saturates()
    assert (f"--target {name}:weights=7bit" in problems) == processor.saturates()


def test_the_file_holds_weights_in_the_range_of_the_option(
    model: LoweredModel, tables: dict[str, CalibrationTable]
) -> None:
    def stored(levels: int) -> tuple[dict[str, int], list[np.ndarray[Any, Any]]]:
        graph, _ = target.convert_to(model.lowered, "int8", tables["onnx"], weight_levels=levels)
        constants = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
        types = {t.name: t.data_type for t in graph.graph.initializer}
        nodes = [n for n in graph.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants]
        assert all(types[node.input[0]] == TensorProto.INT8 for node in nodes)
        return (
            {node.input[0]: int(np.abs(constants[node.input[0]]).max()) for node in nodes},
            [value(node, constants) for node in nodes],
        )

    def value(node: onnx.NodeProto, constants: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        axis = next(entry.i for entry in node.attribute if entry.name == "axis")
        whole, scale = constants[node.input[0]], constants[node.input[1]]
        return whole * scale.reshape([-1 if i == axis else 1 for i in range(whole.ndim)])

    (full, wide), (reduced, narrow) = stored(LEVELS), stored(REDUCED_LEVELS)
    assert set(full.values()) == {127} and set(reduced.values()) == {64}
    for one, other in zip(wide, narrow, strict=True):  # the same weights, to half a step
        assert np.abs(one - other).max() <= np.abs(one).max() * (0.5 / 127 + 0.5 / 64) * 1.001


def test_the_sum_of_two_products_fits_16_bits() -> None:
    assert 2 * 255 * REDUCED_LEVELS <= np.iinfo(np.int16).max < 2 * 255 * (REDUCED_LEVELS + 1)
