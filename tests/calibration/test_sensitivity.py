"""Rankings and searches on a network whose worst layer is known."""

from __future__ import annotations

import numpy as np
import pytest
from fdikp_edge.calibration.emulate import Int8Runner, psnr_db
from fdikp_edge.calibration.program import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.sensitivity import rank, saved_by_work, search
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.build import LoweredModel
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.runtime.errors import CheckFailedError


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    return choose(shipped_photos(), (64, 64), count=3).arrays()


@pytest.fixture(scope="module")
def table(lowered: LoweredModel) -> CalibrationTable:
    # Without the guard, so that layers on the spectrum take part, and lose most.
    return calibrate(lowered, count=4, least_work=0, guarded=False)


def test_layers_on_the_spectrum_rank_first(
    lowered: LoweredModel, table: CalibrationTable, arrays: list[np.ndarray]
) -> None:
    program, sha = lowered.lowered.program, lowered.lowered.sha256
    equal = dict.fromkeys((layer.node for layer in table.section(sha).layers), 1.0)
    ranking = rank(program, table, sha, arrays, equal)
    assert "mix" in ranking[0].layer.module
    assert ranking[0].psnr_db < ranking[-1].psnr_db
    assert [entry.cost for entry in ranking] == sorted((e.cost for e in ranking), reverse=True)


def test_a_layer_that_saves_nothing_goes_first(
    lowered: LoweredModel, table: CalibrationTable, arrays: list[np.ndarray]
) -> None:
    sha = lowered.lowered.sha256
    layers = table.section(sha).quantised()
    saved = {layer.node: 0.0 if layer.module.endswith("head") else 1.0 for layer in layers}
    assert rank(lowered.lowered.program, table, sha, arrays, saved)[0].layer.module.endswith("head")


def test_the_search_stops_when_the_bound_is_met_and_its_answer_meets_it(
    lowered: LoweredModel, table: CalibrationTable, arrays: list[np.ndarray]
) -> None:
    program, sha = lowered.lowered.program, lowered.lowered.sha256
    rng = np.random.default_rng(0)
    plain = [Runner(program)(array) for array in arrays]
    sharp = [(right + rng.normal(0, 0.01, right.shape)).astype(np.float32) for right in plain]
    saved = saved_by_work(table.section(sha).layers, 10.0, 0.8, 4.0)
    mixture = search(program, table, sha, arrays, sharp, float_ms=10.0, saved_ms=saved, max_drop_db=0.1)
    assert len(mixture.points) > 1
    assert mixture.points[0].drop_db > 0.1 >= mixture.points[-1].drop_db
    assert "mix" in mixture.summary()
    kept = mixture.table.section(sha).quantised()
    runner = Int8Runner(
        program, kept, {name: mixture.table.scale(sha, name) for name in table.section(sha).tensors}
    )
    again = min(psnr_db(runner(array), right) for array, right in zip(arrays, plain, strict=True))
    assert again == pytest.approx(mixture.points[-1].psnr_db)
    assert mixture.table.sha256 != table.sha256


def test_bounds_that_contradict_each_other_are_said(
    lowered: LoweredModel, table: CalibrationTable, arrays: list[np.ndarray]
) -> None:
    program, sha = lowered.lowered.program, lowered.lowered.sha256
    plain = [Runner(program)(array) for array in arrays]
    saved = dict.fromkeys((layer.node for layer in table.section(sha).layers), 1.0)
    with pytest.raises(CheckFailedError, match="no mixture"):
        search(
            program,
            table,
            sha,
            arrays,
            plain,
            float_ms=10.0,
            saved_ms=saved,
            max_drop_db=0.0,
            min_speedup=9.0,
        )
