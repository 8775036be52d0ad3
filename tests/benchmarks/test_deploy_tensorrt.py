"""`deploy` for an engine that this machine can build and not run: what stands in, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fdikp_edge.benchmarks import deploy as deploy_module
from fdikp_edge.benchmarks.report.model import Report
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.tensorrt.cuda import gpu_problem
from torch import nn

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
pytest.importorskip("polygraphy", reason="building engines needs polygraphy")
pytestmark = pytest.mark.skipif(gpu_problem() is None, reason="this machine has a GPU and runs the engine")


@pytest.fixture(scope="module")
def report(blend: Callable[..., nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Report:
    return deploy_module.deploy(
        blend(),
        tmp_path_factory.mktemp("rtx") / "out",
        targets=["tensorrt-rtx:capabilities=8.6,12.0"],
        source=("--model", "blend.safetensors"),
        size=(32, 48),
        min_samples=3,
        max_seconds=0.5,
    )


def test_the_engine_is_unverified_with_the_reason_and_the_figures_of_its_file(report: Report) -> None:
    (row,) = report.rows
    assert (row.target, row.state) == ("tensorrt-rtx", "unverified")
    assert row.reason.startswith(f"cannot run here: {gpu_problem()}; ")
    assert row.reason.endswith("the figures are those of model.onnx in ONNX Runtime")
    assert row.parity is not None and row.parity.within_budget
    assert row.latency is None and row.picture is not None
    assert row.session is not None and row.session["runtime"] == "ONNX Runtime"
    assert row.reproduce[row.reproduce.index("--target") + 1] == "tensorrt-rtx:capabilities=8.6,12.0"


def test_the_passport_says_the_same(report: Report) -> None:
    path = report.rows[0].path
    assert path is not None
    artifact = Artifact.open(report.folder / path)
    passport = artifact.passport
    assert (passport.state, passport.model_file) == ("unverified", "model.engine")
    assert "ONNX Runtime" in passport.reason
    assert passport.parity is not None and passport.parity["within_budget"]
    assert any("compute capability 8.6, 12.0" in note for note in passport.notes)
    artifact.golden()
    assert json.loads((artifact.path / "engine.json").read_bytes())["capabilities"] == ["8.6", "12.0"]


def test_a_stand_in_over_the_budget_fails_the_row(
    report: Report, monkeypatch: pytest.MonkeyPatch, blend: Callable[..., nn.Module], tmp_path: Path
) -> None:
    from fdikp_edge.export import build

    honest = build.LoweredModel.reference

    class Wrong:
        def __call__(self, x: object, arithmetic: str = "float32") -> object:
            results = honest.func(self.model)(x, arithmetic)  # type: ignore[attr-defined]
            return {name: result + 0.5 for name, result in results.items()}

    def wrong(model: build.LoweredModel) -> object:
        session = Wrong()
        session.model = model  # type: ignore[attr-defined]
        return session

    monkeypatch.setattr(build.LoweredModel, "reference", property(wrong))
    (row,) = deploy_module.deploy(
        blend(), tmp_path / "out", targets=["tensorrt-rtx:capabilities=8.6"], size=(32, 48)
    ).rows
    assert row.state == "failed" and "ONNX Runtime" in row.reason
