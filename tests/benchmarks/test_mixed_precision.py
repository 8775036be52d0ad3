"""Layers timed in both runtimes, and a mixture that comes out of `deploy` with its curve."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.benchmarks import deploy as deploy_module
from fdikp_edge.benchmarks.mixed_precision import Bounds, timed_mixed_precision
from fdikp_edge.benchmarks.timing.layer_times import Stopwatch
from fdikp_edge.calibration.samples import shipped_photos
from fdikp_edge.export import mixed_precision as mixing
from fdikp_edge.export.calibrate import CalibrationTable, calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.mixed_precision import LayerTime, Times
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import CalibrationError, CheckFailedError, TargetUnavailableError
from torch import Tensor, nn

SIZE = (64, 64)


class Stack(nn.Module):
    """Convolutions with and without an activation behind them, a linear layer, and a transform."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.body = nn.Conv2d(16, 16, 3, padding=1)
            self.rows = nn.Linear(64, 64)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.head(x))
        f = f + torch.fft.irfft2(torch.fft.rfft2(f, norm="ortho") * 0.1, s=f.shape[-2:], norm="ortho")
        f = self.rows(nn.functional.leaky_relu(self.body(f), 0.1))
        return x + torch.tanh(0.1 * self.tail(f))


@pytest.fixture(scope="module")
def lowered() -> LoweredModel:
    return lower_model(Stack().eval(), SIZE, name="stack")


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def calibrated(
    request: pytest.FixtureRequest, lowered: LoweredModel
) -> tuple[LoweredModel, Any, CalibrationTable]:
    """The network lowered for a target, that target, and its table."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(request.param, request.param))
    target = get_target(request.param)
    model = lowered.for_profile(target.profile)
    return model, target, calibrate(model, count=2, least_work=0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every layer take 4 ms in floats and 1 ms in int8, whatever else this machine does just now."""

    def times(watch: Stopwatch, table: CalibrationTable) -> Times:
        layers = table.section(watch.model.lowered.key).quantised()
        whole = 4.0 * len(layers)
        each = {layer.node: LayerTime(4.0, 1.0) for layer in layers}
        return Times("a clock", "this test", 1, "fixed", whole, whole / 4, each)

    monkeypatch.setattr(Stopwatch, "times", times)


def test_every_layer_is_found_in_the_runtimes_own_profile(
    calibrated: tuple[LoweredModel, Any, CalibrationTable],
) -> None:
    model, target, table = calibrated
    layers = table.section(model.lowered.key).quantised()
    # ONNX Runtime gains nothing on products, and loses most on the layer that reads the picture.
    expected = {"body", "tail"} if target.name == "onnx" else {"head", "body", "rows", "tail"}
    assert {layer.module.rpartition(".")[2] for layer in layers} == expected
    with Stopwatch(model, target, threads=1) as watch:
        times = watch.times(table)
    assert set(times.layers) == {layer.node for layer in layers}
    for precision in ("float_ms", "int8_ms"):
        spent = [getattr(entry, precision) for entry in times.layers.values()]
        assert min(spent) > 0
        assert sum(spent) < getattr(times, precision), "layers are a part of the network"
    assert "profiled" in times.source and times.threads == 1 and times.machine


@pytest.mark.usefixtures("clock")
def test_a_mixture_holds_what_it_was_asked_for(
    calibrated: tuple[LoweredModel, Any, CalibrationTable],
) -> None:
    model, target, table = calibrated
    key = model.lowered.key
    mixed = timed_mixed_precision(model, table, Bounds(max_drop_db=100.0), target, threads=1)
    mixture = mixed.section(key).mixed_precision
    assert mixture is not None and mixture.confirmed_speedup > 0
    point = mixture.points[mixture.chosen]
    assert len(mixed.section(key).quantised()) == len(mixture.ranking) - point.in_floats
    assert mixture.times.machine in mixture.summary()
    with pytest.raises(CheckFailedError, match="the fastest reaches"):
        timed_mixed_precision(model, table, Bounds(min_speedup=1e6), target, threads=1)


@pytest.mark.usefixtures("clock")
def test_targets_that_share_a_program_are_mixed_each_for_itself(lowered: LoweredModel) -> None:
    pytest.importorskip("openvino")
    models = {name: lowered.for_profile(name) for name in ("onnx", "openvino")}
    assert len({model.lowered.sha256 for model in models.values()}) == 1
    plain = mixed = calibrate(list(models.values()), count=2, least_work=0)
    for name, model in models.items():
        mixed = timed_mixed_precision(model, mixed, Bounds(max_drop_db=100.0), get_target(name), threads=1)
    for model in models.values():
        mixture = mixed.section(model.lowered.key).mixed_precision
        assert mixture is not None
        own = {layer.node for layer in plain.section(model.lowered.key).quantised()}
        assert {trial.node for trial in mixture.ranking} == own
    assert len({len(section.quantised()) for section in plain.sections.values()}) == 2


def test_without_a_profile_the_figures_are_called_an_estimate(
    calibrated: tuple[LoweredModel, Any, CalibrationTable],
) -> None:
    model, row, table = calibrated
    target = dataclasses.replace(row, layer_runs=None)
    with Stopwatch(model, target, threads=1) as watch:
        times = watch.times(table)
    assert times.source == mixing.ESTIMATE
    assert set(times.layers) == {layer.node for layer in table.section(model.lowered.key).quantised()}


def test_a_runtime_that_is_not_the_real_one_is_not_timed(lowered: LoweredModel) -> None:
    pytest.importorskip("coremltools")
    target = get_target("coreml")
    with pytest.raises(TargetUnavailableError, match="not timed"):
        Stopwatch(lowered.for_profile(target.profile), target, threads=1)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("fused node_linear_26_kernel_time", "node_linear_26"),
        ("conv2d_117_nchwc_kernel_time", "conv2d_117"),
        ("node_conv2d_158_token_653_kernel_time", "node_conv2d_158"),
        ("node_conv2d/WithoutBiases", "node_conv2d"),
        ("node_MatMul_2/MatMulAddFusion_kernel_time", "node_MatMul_2"),
    ],
)
def test_names_that_runtimes_give(name: str, plain: str) -> None:
    assert mixing.plain_name(name) == plain


@pytest.mark.usefixtures("clock")
def test_deploy_mixes_and_shows_the_curve(tmp_path: Path) -> None:
    report = deploy_module.deploy(
        Stack().eval(),
        tmp_path / "out",
        targets=["onnx"],
        precisions=["int8"],
        size=SIZE,
        source=["--model", "stack.safetensors"],
        bounds=Bounds(max_drop_db=100.0),
        threads=1,
        min_samples=3,
        max_seconds=0.5,
    )
    (row,) = report.rows
    assert row.state == "verified", row.reason
    entry = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["artifacts"][0]
    assert entry["mixture"]["points"] and "--max-drop-db" in entry["reproduce"]
    census = Artifact.open(tmp_path / "out" / str(row.path)).passport.precision_census
    point = entry["mixture"]["points"][entry["mixture"]["chosen"]]
    assert census["int8 layers"] == len(entry["mixture"]["ranking"]) - point["in_floats"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Mixed precision" in page and page.count('class="dot') == len(entry["mixture"]["points"])


def test_deploy_says_what_is_wrong_with_the_photos_of_its_table(
    lowered: LoweredModel, tmp_path: Path
) -> None:
    few = calibrate(lowered.for_profile("onnx"), shipped_photos()[:2], count=40)
    assert len(few.notes) == 2
    report = deploy_module.deploy(
        Stack().eval(), tmp_path / "out", targets=["onnx"], precisions=["int8"], size=SIZE,
        table=few, threads=1, min_samples=3, max_seconds=0.5,
    )  # fmt: skip
    assert list(report.notes) == [f"calibration: {note}" for note in few.notes]
    other = Stack().eval()
    other.head.weight.data.mul_(2)
    with pytest.raises(CalibrationError, match="weights are now"):
        deploy_module.deploy(
            other, tmp_path / "other", targets=["onnx"], precisions=["int8"], size=SIZE, table=few
        )
