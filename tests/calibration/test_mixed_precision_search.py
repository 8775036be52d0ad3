"""Rankings and searches on a network whose worst layer is known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.calibration import evaluation_pairs
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.evaluation_pairs import EvaluationPairs
from fdikp_edge.calibration.mixed_precision import Bounds, LayerTime, MixedPrecision, Times
from fdikp_edge.calibration.mixed_precision_search import search, times_by_work
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable, read_table
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.errors import BadInputError, CalibrationError, CheckFailedError
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.pixels import psnr_db
from hypothesis import given
from hypothesis import strategies as st

SIZE = (64, 64)


@pytest.fixture(scope="module")
def judged(lowered: LoweredModel) -> EvaluationPairs:
    """Tiles, and for each what the float program makes of it with a little noise: 40 dB to lose from."""
    arrays = choose(shipped_photos(), SIZE, count=3).arrays()
    rng = np.random.default_rng(0)
    plain = [Runner(lowered.lowered.program)(array) for array in arrays]
    sharp = [np.clip(p + rng.normal(0, 0.01, p.shape), 0, 1).astype(np.float32) for p in plain]
    return EvaluationPairs(arrays, sharp, "3 tiles")


@pytest.fixture(scope="module")
def table(lowered: LoweredModel) -> CalibrationTable:
    # Without the guard, so that layers on the spectrum take part, and lose most.
    return calibrate(lowered, count=4, least_work=0, guarded=False)


@pytest.fixture(scope="module")
def times(lowered: LoweredModel, table: CalibrationTable) -> Times:
    """Every layer takes 4 ms in floats and 1 ms in 8 bits; nothing else takes or saves any time."""
    nodes = [layer.node for layer in table.section(lowered.lowered.key).quantised()]
    whole = 4.0 * len(nodes)
    return Times("R", "M", 1, "said", whole, whole / 4, dict.fromkeys(nodes, LayerTime(4.0, 1.0)))


def run(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times, bounds: Bounds
) -> tuple[CalibrationTable, MixedPrecision]:
    model = lowered.lowered
    result = search(model.program, table, model.key, judged, times, bounds)
    mixture = result.section(model.key).mixed_precision
    assert mixture is not None
    return result, mixture


def test_layers_on_the_spectrum_rank_first(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times
) -> None:
    _, mixture = run(lowered, table, judged, times, Bounds(max_drop_db=50.0))
    ranking = mixture.ranking
    assert "mix" in ranking[0].module
    assert ranking[0].psnr_db < ranking[-1].psnr_db
    assert [trial.cost for trial in ranking] == sorted((t.cost for t in ranking), reverse=True)


def test_each_layer_alone_is_what_a_run_with_only_that_layer_gives(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs
) -> None:
    program, key = lowered.lowered.program, lowered.lowered.key
    section = table.section(key)
    scales = {name: table.scale(key, name) for name in section.tensors}
    together = Int8Runner(program, section.quantised(), scales)
    seen = 0
    for layer, output in together.each_alone(judged.blurred[0]):
        np.testing.assert_array_equal(output, Int8Runner(program, [layer], scales)(judged.blurred[0]))
        seen += 1
    assert seen == len(section.quantised()) >= 3
    whole = Int8Runner(program, section.quantised(), scales)(judged.blurred[0])
    np.testing.assert_array_equal(together(judged.blurred[0]), whole)


def test_layers_that_save_nothing_go_to_floats_whatever_the_bound(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times
) -> None:
    key = lowered.lowered.key
    head = next(x for x in table.section(key).quantised() if x.module.endswith("head"))
    slow = dataclasses.replace(
        times,
        int8_ms=times.int8_ms + 8,
        layers={**times.layers, head.node: LayerTime(4.0, 9.0)},
    )
    mixed, mixture = run(lowered, table, judged, slow, Bounds(max_drop_db=100.0))
    assert mixture.ranking[0].node == head.node
    assert mixture.points[mixture.chosen].in_floats == 1
    reasons = {layer.node: layer.reason for layer in mixed.section(key).layers}
    assert "no time" in reasons[head.node]
    assert mixture.points[mixture.chosen].speedup > mixture.points[0].speedup


def test_the_answer_of_a_bound_on_the_picture_meets_it_and_the_one_before_does_not(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times
) -> None:
    program, key = lowered.lowered.program, lowered.lowered.key
    mixed, mixture = run(lowered, table, judged, times, Bounds(max_drop_db=0.1))
    chosen = mixture.points[mixture.chosen]
    assert mixture.points[0].drop_db > 0.1 >= chosen.drop_db
    before = [p for p in mixture.points if p.in_floats == chosen.in_floats - 1]
    assert before and before[0].drop_db > 0.1
    assert "mix" in mixture.summary()
    kept = mixed.section(key).quantised()
    assert len(kept) == len(mixture.ranking) - chosen.in_floats
    runner = Int8Runner(program, kept, {name: mixed.scale(key, name) for name in mixed.section(key).tensors})
    again = [runner(array) for array in judged.blurred]
    plain = [Runner(program)(array) for array in judged.blurred]
    assert min(map(psnr_db, again, plain)) == pytest.approx(chosen.psnr_db)
    drop = max(
        psnr_db(p.clip(0, 1), sharp) - psnr_db(q.clip(0, 1), sharp)
        for p, q, sharp in zip(plain, again, judged.sharp, strict=True)
    )
    assert drop == pytest.approx(chosen.drop_db)
    assert mixed.sha256 != table.sha256


def test_a_bound_on_the_speed_takes_the_best_picture_that_is_as_fast(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times
) -> None:
    _, mixture = run(lowered, table, judged, times, Bounds(min_speedup=1.5))
    chosen = mixture.points[mixture.chosen]
    assert chosen.speedup >= 1.5
    assert chosen.drop_db == min(p.drop_db for p in mixture.points if p.speedup >= 1.5)
    assert chosen.in_floats > 0


@pytest.mark.parametrize(
    "bounds",
    [Bounds(min_speedup=9.0), Bounds(max_drop_db=0.0, min_speedup=3.9), Bounds(0.001, 9.0)],
)
def test_bounds_that_cannot_be_met_say_the_best_that_can(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times, bounds: Bounds
) -> None:
    with pytest.raises(CheckFailedError, match=r"int8 layers .* the fastest reaches 4\.00 times"):
        run(lowered, table, judged, times, bounds)


def test_a_mixture_that_is_no_faster_than_floats_is_no_answer(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times
) -> None:
    slow = dataclasses.replace(times, int8_ms=2 * times.float_ms)
    with pytest.raises(CheckFailedError, match=r"loses at most 50 dB: the fastest reaches 0\.\d\d times"):
        run(lowered, table, judged, slow, Bounds(max_drop_db=50.0))


@pytest.mark.parametrize(
    "given",
    [
        (None, None),
        (-0.1, None),
        (math.nan, None),
        (math.inf, None),
        (None, 0.0),
        (None, -1.0),
        (None, math.nan),
    ],
)
def test_bounds_that_make_no_sense(given: tuple[float | None, float | None]) -> None:
    with pytest.raises(BadInputError):
        Bounds(*given)


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.floats(0.01, 50)), min_size=1, max_size=6),
    st.floats(1, 1000),
    st.floats(1, 1000),
)
def test_layers_together_save_what_the_network_was_measured_to_save(
    layers: list[tuple[float, float]], float_ms: float, int8_ms: float
) -> None:
    named = {f"n{i}": LayerTime(*pair) for i, pair in enumerate(layers)}
    saved = Times("R", "M", 1, "", float_ms, int8_ms, named).saved_ms(list(named))
    assert sum(saved.values()) == pytest.approx(float_ms - int8_ms, abs=1e-6)


def test_estimated_times_follow_the_work(
    lowered: LoweredModel, table: CalibrationTable, times: Times
) -> None:
    layers = table.section(lowered.lowered.key).layers
    estimates = times_by_work(layers, [layer.node for layer in layers], times)
    assert sum(t.float_ms for t in estimates.values()) == pytest.approx(times.float_ms)
    first, second = layers[:2]
    assert estimates[first.node].float_ms / estimates[second.node].float_ms == pytest.approx(
        first.macs / second.macs
    )


def test_a_mixture_comes_back_from_the_file_as_it_was(
    lowered: LoweredModel, table: CalibrationTable, judged: EvaluationPairs, times: Times, tmp_path: Path
) -> None:
    mixed, mixture = run(lowered, table, judged, times, Bounds(max_drop_db=0.1))
    mixed.write(tmp_path / "table.json")
    again = read_table(tmp_path / "table.json")
    assert again.sections == mixed.sections
    assert again.sha256 == mixed.sha256
    content = strict_json.parse((tmp_path / "table.json").read_bytes())
    content.pop("sha256")
    sha, profile = lowered.lowered.key
    section = content["programs"][sha][profile]
    for change, message in (
        ({"chosen": len(mixture.points)}, "chosen"),
        ({"confirmed_speedup": "fast"}, "confirmed_speedup"),
        ({"bounds": {"max_drop_db": -1.0, "min_speedup": None}}, "max_drop_db"),
    ):
        section["mixture"] = {**section["mixture"], **change}
        (tmp_path / "bad.json").write_bytes(
            strict_json.canonical({**content, "sha256": strict_json.digest(content)})
        )
        with pytest.raises(CalibrationError, match=message):
            read_table(tmp_path / "bad.json")
        section["mixture"] = strict_json.parse((tmp_path / "table.json").read_bytes())["programs"][sha][
            profile
        ]["mixture"]


def test_calibration_tiles_are_defocused_and_stay_the_same_picture() -> None:
    samples = choose(shipped_photos(), SIZE, count=4)
    for dtype, layout in (("float32", (1, 3, 64, 64)), ("uint8", (1, 64, 64, 3))):
        pairs = evaluation_pairs.of_samples(samples, dtype=dtype, count=2)
        assert len(pairs.blurred) == len(pairs.sharp) == 2
        assert {a.shape for a in (*pairs.blurred, *pairs.sharp)} == {layout}
        assert {str(a.dtype) for a in (*pairs.blurred, *pairs.sharp)} == {dtype}
        for soft, right in zip(pairs.blurred, pairs.sharp, strict=True):
            assert 10 < psnr_db(soft, right) < 60
            white = 255 if dtype == "uint8" else 1
            assert abs(float(soft.mean()) - float(right.mean())) < 0.05 * white


def test_pairs_are_cut_in_the_middle(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(5):
        for kind in ("blur", "sharp"):
            (tmp_path / kind).mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
            write_photo(tmp_path / kind / f"p{index}.png", Photo(pixels))
            if (kind, index) == ("sharp", 4):
                last = pixels
    pairs = evaluation_pairs.of_pairs(tmp_path, SIZE, dtype="uint8", count=3)
    assert len(pairs.blurred) == 3
    np.testing.assert_array_equal(pairs.sharp[-1][0], last[8:72, 13:77])
    with pytest.raises(CalibrationError, match="smaller than a tile of 128x128"):
        evaluation_pairs.of_pairs(tmp_path, (128, 128))
    with pytest.raises(BadInputError, match="no folders"):
        evaluation_pairs.of_pairs(tmp_path / "blur", SIZE)
    write_photo(tmp_path / "sharp" / "p0.png", Photo(np.zeros((70, 70, 3), np.uint8)))
    with pytest.raises(CalibrationError, match="its partner 70x70"):
        evaluation_pairs.of_pairs(tmp_path, SIZE)
