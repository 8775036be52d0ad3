"""fp16 programs: constants of 16 bits alone, float32 where the table says, and what ExecuTorch computes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import HalfRunner
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.aten import base_name
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.executorch.half import half_program
from fdikp_edge.export.executorch.prepare import prepare
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime.sessions import open_session


@pytest.fixture(scope="module")
def own(lowered: LoweredModel) -> LoweredModel:
    return lowered.for_profile("executorch")


@pytest.fixture(scope="module")
def table(own: LoweredModel) -> CalibrationTable:
    return calibrate(own, count=2, least_work=0)


@pytest.fixture
def x(lowered: LoweredModel) -> np.ndarray:
    return np.random.default_rng(0).random(lowered.inputs[0].shape, dtype=np.float32)


def with_float32(table: CalibrationTable, model: LoweredModel, names: dict[str, str]) -> CalibrationTable:
    section = table.section(model.lowered.key)
    half = dataclasses.replace(section.half, float32_layers=names)
    return dataclasses.replace(table, sections={model.lowered.key: dataclasses.replace(section, half=half)})


def test_every_value_is_rounded_as_emulated(
    own: LoweredModel, table: CalibrationTable, x: np.ndarray
) -> None:
    program, counts = half_program(own.lowered, with_float32(table, own, {}))
    assert counts["float16"] > 10 and counts["float32"] == 0
    with torch.no_grad():
        result = torch.utils._pytree.tree_leaves(program.module()(torch.from_numpy(x)))[0]
    assert result.dtype == torch.float32
    reference = own.reference(x)
    error = np.abs(result.numpy() - reference).max()
    emulated = np.abs(HalfRunner(own.lowered.program)(x) - reference).max()
    assert 0 < error < 2 * emulated < 1e-2


def test_what_the_table_keeps_computes_in_float32(own: LoweredModel, table: CalibrationTable) -> None:
    layers = [node for node in own.lowered.program.graph.nodes if base_name(node.target) == "conv2d"]
    kept = with_float32(table, own, {layers[1].name: "for this test"})
    program, counts = half_program(own.lowered, kept)
    kinds = [node.meta["val"].dtype for node in program.graph.nodes if base_name(node.target) == "conv2d"]
    assert kinds == [torch.float16, torch.float32, *[torch.float16] * (len(layers) - 2)]
    assert counts["float32"] == 1 and counts["casts"] >= 2


def test_no_constant_stays_in_float32(own: LoweredModel, table: CalibrationTable) -> None:
    program, _ = half_program(own.lowered, with_float32(table, own, {}))
    prepared = prepare(program)
    kinds = {value.dtype for value in prepared.state_dict.values() if value.is_floating_point()}
    assert kinds == {torch.float16}


def test_executorch_computes_it_from_a_smaller_file(
    own: LoweredModel, table: CalibrationTable, x: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    whole = build_artifact(own, "executorch", "fp32", tmp_path / "whole")
    half = build_artifact(own, "executorch", "fp16", tmp_path / "half", table=table)
    assert half.model_path.stat().st_size < whole.model_path.stat().st_size
    with open_session(half, threads=1) as session:
        result = session.run(x)
        assert session.describe()["arithmetic"] == "float16"
    assert 0 < np.abs(result - own.reference(x)).max() < 1e-2
    assert half.passport.precision_census["float16"] > 0
