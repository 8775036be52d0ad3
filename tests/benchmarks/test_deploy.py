"""The run behind `deploy`, on a small network: rows, report, pictures, and what happens when parts fail."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks import deploy as deploy_module
from fdikp_edge.benchmarks import one_size
from fdikp_edge.benchmarks.accuracy.error_map import read_map
from fdikp_edge.benchmarks.mixed_precision import Bounds
from fdikp_edge.benchmarks.places import artifact_name
from fdikp_edge.benchmarks.report.model import Report, Row
from fdikp_edge.benchmarks.reproduce import Asked
from fdikp_edge.benchmarks.timing.latency import Latency
from fdikp_edge.export import targets
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.roles import LAST
from fdikp_edge.models import sources, zoo
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.buckets.buckets import Buckets
from fdikp_edge.runtime.errors import (
    BadInputError,
    CheckFailedError,
    ImageError,
    LoweringError,
    OutputError,
    SizeError,
    TargetUnavailableError,
    UnknownNameError,
)
from fdikp_edge.runtime.files import sha256_of
from fdikp_edge.runtime.images import read_photo, write_photo
from fdikp_edge.runtime.installed.packages import Requirement
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.samples import sample_photo
from fdikp_edge.runtime.sessions import Session
from torch import nn

SIZE = (32, 48)
Blend = Callable[..., nn.Module]


def deploy(model: nn.Module, out: Path, **options: Any) -> Report:
    """Deploy for ONNX Runtime alone, timing next to nothing, unless told otherwise."""
    quick: dict[str, Any] = {"targets": ["onnx"], "size": SIZE, "min_samples": 3, "max_seconds": 0.5}
    return deploy_module.deploy(model, out, **{**quick, **options})


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crop of a sample that a few tiles cover."""
    path = tmp_path_factory.mktemp("photo") / "cup.png"
    write_photo(path, Photo(read_photo(sample_photo()).pixels[100:150, 200:280]))
    return path


@pytest.fixture(scope="module")
def both(
    blend: Blend, photo: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, list[tuple[int, int, str]]]:
    """Deploy to both runtimes, once for the tests below, and keep what was told on the way."""
    pytest.importorskip("openvino")
    told: list[tuple[int, int, str]] = []
    report = deploy(
        blend(),
        tmp_path_factory.mktemp("both") / "new" / "out",
        targets=["onnx", "openvino"],
        photo=photo,
        progress=lambda *step: told.append(step),
    )
    return report, told


def test_every_target_is_built_verified_timed_and_tried(both: tuple[Report, Any], photo: Path) -> None:
    report = both[0]
    assert report.ok
    assert [(row.target, row.precision, row.state, row.reason) for row in report.rows] == [
        ("onnx", "fp32", "verified", ""),
        ("openvino", "fp32", "verified", ""),
    ]
    for row in report.rows:
        assert row.parity is not None and row.latency is not None and row.eager is not None
        # The photo of the run is checked beside the samples.
        assert [compared.photo for compared in row.parity.photos] == ["cup.png", "coffee.jpg", "chelsea.png"]
        assert row.latency.n >= 3
        assert row.picture is not None and row.path is not None
        opened = Artifact.open(report.folder / row.path)
        assert (opened.passport.state, opened.passport.target) == ("verified", row.target)
        assert opened.passport.parity == json.loads(json.dumps(row.parity.to_dict()))
        assert opened.passport.measured_on is not None
        shown = read_photo(report.folder / row.picture)
        before = read_photo(photo).pixels.astype(int)
        assert shown.pixels.shape == before.shape
        assert np.abs(shown.pixels - before).max() > 5, "the network brightens, and the picture shows it"


class Filter(nn.Module):
    """A filter on the spectrum between two convolutions; all profiles lower it to one program."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 16, 3, padding=1)
        self.tail = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = torch.relu(self.head(x))
        return x + 0.1 * self.tail(torch.fft.irfft2(0.9 * torch.fft.rfft2(f), s=f.shape[-2:]))


def seeded_filter() -> Filter:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Filter().eval()


def test_targets_that_share_a_program_decide_on_int8_each_for_itself(tmp_path: Path) -> None:
    for module in ("openvino", "polygraphy", "tensorrt_rtx"):
        pytest.importorskip(module)
    network = seeded_filter()
    rtx = "tensorrt-rtx:capabilities=8.6"
    report = deploy(network, tmp_path / "out", targets=["openvino", rtx], precisions=["int8"])
    passports = [row.artifact.passport for row in report.rows if row.artifact is not None]
    assert passports[0].program_sha256 == passports[1].program_sha256
    last = [any(LAST in note for note in passport.notes) for passport in passports]
    assert last == [True, False], "OpenVINO alone keeps the layer that makes the picture in floats"
    alone = calibrate(lower_model(network, SIZE, profile="openvino"))
    assert passports[0].calibration_sha256 == alone.sha256, "whatever else was built beside it"


def test_fp16_is_calibrated_the_same_with_int8_beside_it_and_for_no_int8_without(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    network = seeded_filter()

    def built(*precisions: str) -> tuple[dict[str, str | None], set[str]]:
        steps: list[str] = []
        report = deploy(
            network,
            tmp_path / "-".join(precisions),
            targets=["openvino"],
            precisions=precisions,
            size=(96, 96),
            progress=lambda done, total, now: steps.append(now),
        )
        passports = [row.artifact.passport for row in report.rows if row.artifact is not None]
        tables = {passport.precision: passport.calibration_sha256 for passport in passports}
        return tables, {now for now in steps if "test patterns" in now}

    both, looked_at = built("fp16", "int8")
    alone, nothing = built("fp16")
    assert both["fp16"] == alone["fp16"] != both["int8"]
    assert looked_at and not nothing, "without int8 no layers are chosen for it"


def test_a_profile_that_cannot_be_lowered_for_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")

    def refuse(_: LoweredModel, profile: str) -> LoweredModel:
        raise LoweringError(f"not for {profile}")

    whole = LoweredModel.for_profile
    monkeypatch.setattr(
        LoweredModel, "for_profile", lambda m, name: (refuse if name == "openvino" else whole)(m, name)
    )
    report = deploy(Filter().eval(), tmp_path / "out", targets=["onnx", "openvino"], precisions=["int8"])
    assert [(row.target, row.artifact is not None) for row in report.rows] == [
        ("onnx", True), ("openvino", False),
    ]  # fmt: skip
    assert report.rows[1].reason == "not for openvino"


def test_the_folder_holds_what_the_report_names_and_nothing_else(both: tuple[Report, Any]) -> None:
    folder = both[0].folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "Blend-onnx-fp32-32x48", "Blend-openvino-fp32-32x48",
        "errors", "report.html", "report.json", "results",
    ]  # fmt: skip
    assert [path.name for path in folder.parent.iterdir()] == ["out"], "nothing half done lies beside it"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {"version", "model", "machine", "artifacts"} <= set(report)
    for row in report["artifacts"]:
        assert {"target", "precision", "size", "path", "state", "reason", "parity", "latency_ms"} <= set(row)
        assert {"max_abs", "mean_abs", "psnr_db", "ssim", "within_budget"} <= set(row["parity"])
        assert {"p50", "p90", "p99", "min", "n", "eager_p50"} <= set(row["latency_ms"])
        assert row["size"] == list(SIZE) and (folder / row["path"]).is_dir()
        assert row["reproduce"] == [], "nobody said how the command line would name this network"
        assert row["error_map"]["photo"] == row["parity"]["worst_photo"]
        assert row["error_map"]["max"] <= row["parity"]["max_abs"]
        assert read_map(folder / row["error_map"]["map"]).shape == SIZE
        assert read_photo(folder / row["error_map"]["reference"]).pixels.shape == (*SIZE, 3)
        assert {row["picture"], row["error_map"]["map"], row["error_map"]["reference"]} <= set(
            report["pictures"]
        )
    assert report["before"] in report["pictures"] and len(report["pictures"]) == 7
    for name, record in report["pictures"].items():
        assert record == {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
    assert (read_photo(folder / report["before"]).pixels == read_photo(both[0].photo).pixels).all()
    assert report == json.loads(both[0].to_json())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('class="map"') == 2 and "data-slider" in page


def test_every_row_says_how_to_ask_for_the_same_again(blend: Blend, photo: Path, tmp_path: Path) -> None:
    report = deploy(
        blend(), tmp_path, photo=photo, contract="uint8_nhwc", threads=1, source=("--model", "my net.pth")
    )
    assert list(report.command) == report.rows[0].reproduce == [
        *("fdikp-edge", "deploy", "--model", "my net.pth", "--target", "onnx", "--precision", "fp32"),
        *("--size", "32x48", "--contract", "uint8", "--photo", str(photo)),
        *("--threads", "1", "--runs", "3", "--seconds", "0.5", "--out", "reproduced"),
    ]  # fmt: skip


def test_bounds_are_asked_for_where_they_are_taken() -> None:
    asked = Asked(
        ("--model", "tiny"), (SIZE,), "float_nchw", None, 2, 100, 30.0, Bounds(max_drop_db=0.1), "pairs/here"
    )
    both = "--max-drop-db 0.1 --pairs pairs/here"
    assert both in " ".join(asked.command(["onnx"], ["fp32", "int8"]))
    assert "--max-drop-db" not in asked.command(["onnx"], ["fp32"]), "the command line would refuse it"


def test_progress_counts_up_to_its_end(both: tuple[Report, list[tuple[int, int, str]]]) -> None:
    done = [step for step, _, _ in both[1]]
    assert done == sorted(done) and done[0] == 0 and both[1][-1][:2] == (9, 9)
    assert {total for _, total, _ in both[1]} == {9}


def test_a_second_run_replaces_only_what_it_was_allowed_to(blend: Blend, photo: Path, tmp_path: Path) -> None:
    deploy(blend(), tmp_path, photo=photo)
    before = (tmp_path / "report.json").read_bytes()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"exists already"):
        deploy(blend(), tmp_path, photo=photo)
    assert (tmp_path / "report.json").read_bytes() == before
    deploy(blend(gain=1.1), tmp_path, photo=photo, overwrite=True)
    assert (tmp_path / "report.json").read_bytes() != before
    assert (tmp_path / "mine.txt").read_text() == "mine"


def row_of(name: str, **changes: Any) -> targets.Target:
    return dataclasses.replace(targets.get_target("onnx"), name=name, **changes)


def test_a_target_that_cannot_be_built_or_run_is_a_row_that_says_why(
    blend: Blend, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Requirement("no_such_module", "no-such-module", "1", "pip install no-such-module")
    rows = {
        "onnx": targets.get_target("onnx"),
        "absent": row_of("absent", build_needs=(absent,)),
        "elsewhere": row_of("elsewhere", run_needs=(absent,)),
        "broken": row_of("broken", builder=".forbidden:check_census"),
    }
    monkeypatch.setattr(targets, "TARGETS", rows)
    report = deploy(blend(), tmp_path / "out", targets=["all"], photo=photo)
    by_target = {row.target: row for row in report.rows}
    assert {name: row.state for name, row in by_target.items()} == {
        "onnx": "verified", "absent": "unavailable", "elsewhere": "unverified", "broken": "failed",
    }  # fmt: skip
    assert "no_such_module is not installed" in by_target["absent"].reason
    assert "cannot run here" in by_target["elsewhere"].reason
    assert by_target["broken"].reason.startswith("building failed with TypeError")
    assert not report.ok
    built = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert built == ["Blend-elsewhere-fp32-32x48", "Blend-onnx-fp32-32x48", "errors", "results"]
    with pytest.raises(TargetUnavailableError, match="no_such_module"):
        deploy(blend(), tmp_path / "none", targets=["absent"], photo=photo)
    assert not (tmp_path / "none").exists()


def test_an_artifact_over_its_budget_fails_and_says_so(
    blend: Blend, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdikp_edge.export import lowered as lowering

    honest = lowering.lower_model

    def other_weights(model: nn.Module, *args: Any, **options: Any) -> Any:
        lowered = honest(blend(bias=0.01), *args, **options)
        return dataclasses.replace(lowered, deployable=honest(model, *args, **options).deployable)

    monkeypatch.setattr(lowering, "lower_model", other_weights)
    report = deploy(blend(), tmp_path, photo=photo)
    (row,) = report.rows
    assert row.state == "failed" and not report.ok
    assert row.parity is not None and row.parity.max_abs == pytest.approx(0.01, rel=0.01)
    assert "largest difference" in row.reason
    assert Artifact.open(tmp_path / str(row.path)).passport.state == "failed"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"targets": ["onyx"]}, UnknownNameError),
        ({"precisions": ["fp7"]}, UnknownNameError),
        ({"targets": []}, BadInputError),
        ({"contract": "uint16"}, UnknownNameError),
        ({"photo": "missing.jpg"}, ImageError),
    ],
)
def test_bad_use_leaves_nothing(options: Any, error: Any, blend: Blend, tmp_path: Path) -> None:
    with pytest.raises(error):
        deploy(blend(), tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_size_the_network_does_not_take_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SizeError, match="256x256"):
        deploy(zoo.load("tiny"), tmp_path / "out", size=(250, 256))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["building", "verifying", "measuring", "running", "writing"])
def test_ctrl_c_at_any_step_leaves_nothing(step: str, blend: Blend, photo: Path, tmp_path: Path) -> None:
    def stop(_done: int, _total: int, now: str) -> None:
        if now.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy(blend(), tmp_path / "new" / "out", photo=photo, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_names_of_artifacts_are_safe_folder_names() -> None:
    assert artifact_name("tiny", "onnx", "fp32", (256, 384)) == "tiny-onnx-fp32-256x384"
    assert artifact_name("../a b/ü", "onnx", "fp32", (1, 2)) == "a-b-onnx-fp32-1x2"
    assert artifact_name("..", "onnx", "fp32", (1, 2)) == "model-onnx-fp32-1x2"


def test_a_reason_names_the_folder_where_the_artifact_ends_up(
    blend: Blend, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: Session, *_: Any, **__: Any) -> Any:
        raise CheckFailedError(f"{session.artifact.path}: broke")

    monkeypatch.setattr(one_size, "verify", broken)
    (row,) = deploy(blend(), tmp_path / "out", photo=photo).rows
    assert row.state == "failed" and row.reason == f"{tmp_path / 'out' / str(row.path)}: broke"


def test_several_sizes_lie_in_one_folder_for_each_target(blend: Blend, photo: Path, tmp_path: Path) -> None:
    network, loaded = blend(), []
    source = sources.of(network, "Blend")
    counted = dataclasses.replace(source, load=lambda: loaded.append(1) or network)
    sizes = [SIZE, (48, 32), SIZE]
    options: dict[str, Any] = {"size": sizes, "photo": photo, "source": ("--model", "net.py:Blend")}
    report = deploy(counted, tmp_path, **options)  # type: ignore[arg-type]
    assert loaded == [1], "the weights are read once for all sizes"
    assert [(row.size, row.path, row.state) for row in report.rows] == [
        ((32, 48), "Blend-onnx-fp32/32x48", "verified"),
        ((48, 32), "Blend-onnx-fp32/48x32", "verified"),
    ]
    buckets = Buckets.open(tmp_path / "Blend-onnx-fp32")
    assert [artifact.passport.state for artifact in buckets.artifacts] == ["verified"] * 2
    content = json.loads((tmp_path / "report.json").read_text())
    details = content["model_details"]
    assert details["sizes"] == [[32, 48], [48, 32]] and "program_sha256" not in details
    assert [row["size"] for row in content["artifacts"]] == details["sizes"]
    pictures = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert pictures == ["Blend-onnx-fp32-32x48.png", "Blend-onnx-fp32-48x32.png", "before.png"]
    whole, first = list(report.command), report.rows[0].reproduce
    assert [word for word in whole if "x" in word[1:3]] == ["32x48", "48x32"]
    assert "32x48" in first and "48x32" not in first
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "onnx fp32 48x32" in " ".join(page.replace("×", "x").split())
    with pytest.raises(OutputError, match="exists already"):
        deploy(counted, tmp_path, **options)  # type: ignore[arg-type]
    deploy(counted, tmp_path, overwrite=True, **{**options, "size": [(48, 32), (32, 32)]})  # type: ignore[arg-type]
    assert sorted(path.name for path in (tmp_path / "Blend-onnx-fp32").iterdir()) == ["32x32", "48x32"]


def test_a_wrong_size_among_several_is_told_before_the_others_are_built(tmp_path: Path) -> None:
    steps: list[str] = []
    with pytest.raises(SizeError, match="256x256"):
        deploy(
            zoo.load("tiny"),
            tmp_path / "out",
            size=[(250, 256), (64, 64)],
            progress=lambda done, total, now: steps.append(now),
        )
    assert not any("building" in step for step in steps)
    assert list(tmp_path.iterdir()) == []


def test_a_lower_precision_that_gains_nothing_is_named() -> None:
    def row(precision: str, ms: float | None, target: str = "onnx") -> Row:
        latency = None if ms is None else Latency((ms, ms, ms), True)
        return Row(target, precision, (8, 8), latency=latency)

    rows = [row("fp32", 10), row("int8", 9.9), row("fp16", 8), row("fp16", None), row("int8", 50, "other")]
    assert [one_size._no_gain(each, rows) for each in rows] == [
        *("", "no faster than fp32 here (9.9 and 10.0 ms)", "", "", ""),
    ]
