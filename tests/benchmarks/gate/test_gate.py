"""The gate on small real artifacts: what is as before passes, each planted regression fails by its name."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import small_bundle
from fdikp_edge.benchmarks import deploy as deploy_module
from fdikp_edge.benchmarks.gate.baseline import (
    Baseline,
    Figures,
    kept_artifact,
    kept_folder,
    read_baseline,
    update,
)
from fdikp_edge.benchmarks.gate.checks import ArtifactChecks, Check
from fdikp_edge.benchmarks.gate.formats import github_lines, junit, write_junit
from fdikp_edge.benchmarks.gate.gate import Verdict, built, gate, measure
from fdikp_edge.benchmarks.report.read import read_report
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, BaselineError, OutputError, ReportError
from fdikp_edge.runtime.passport import OUTSIDE_DELEGATE
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from planting import plant, scale

SIZE = (32, 48)
NAME = "blend-onnx-fp32-32x48"


def deploy(model: nn.Module, out: Path) -> Path:
    options: dict[str, Any] = {"targets": ["onnx"], "size": SIZE, "min_samples": 3, "max_seconds": 0.5}
    deploy_module.deploy(model.eval(), out, name="blend", **options)
    return out


@pytest.fixture(scope="module")
def old(blend: Callable[..., nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(blend(), tmp_path_factory.mktemp("old") / "out")


@pytest.fixture
def baseline(old: Path, tmp_path: Path) -> Path:
    """A baseline of the old artifact, which is kept beside it; its memory is not measured."""
    path = tmp_path / "baseline.json"
    present = built(read_report(old), old)
    figures = measure(present, memory=False)
    update(path, figures, {name: artifact for name, (artifact, _) in present.items()}, "first")
    return path


def run(folder: Path, baseline: Path, **options: Any) -> dict[str, Check]:
    plain: dict[str, Any] = {"latency": False, "memory": False, "threads": 1}
    verdict = gate(read_report(folder), folder, read_baseline(baseline), baseline, **{**plain, **options})
    return {check.name: check for check in verdict.checks}


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.outcome == "failed"}


def edit(baseline: Path, **figures: Any) -> None:
    """Write other figures into a baseline."""
    read = read_baseline(baseline)
    changed = {name: dataclasses.replace(value, **figures) for name, value in read.artifacts.items()}
    baseline.write_text(Baseline(changed, read.history).to_json())


def test_what_is_as_before_passes(old: Path, baseline: Path) -> None:
    checks = run(old, baseline)
    assert {name: check.outcome for name, check in checks.items()} == dict.fromkeys(
        ("state", "parity", "golden", "size", "precision", "picture"), "passed"
    )


def test_a_changed_constant_of_the_network_fails_the_picture(
    blend: Callable[..., nn.Module], baseline: Path, tmp_path: Path
) -> None:
    checks = run(deploy(blend(gain=1.01), tmp_path / "new"), baseline)
    assert failed(checks) == {"picture"}
    assert "weights" in checks["picture"].message
    assert "fdikp-edge bisect" in checks["picture"].message and "--against" in checks["picture"].message


def test_a_changed_constant_in_the_file_fails_the_recorded_output(
    old: Path, baseline: Path, tmp_path: Path
) -> None:
    def scale_constants(path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type == 1:
                array = scale(1.001)(numpy_helper.to_array(tensor))
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.save(model, path)

    new = tmp_path / "new"
    shutil.copytree(old, new)
    (artifact, _) = built(read_report(old), old)[NAME]
    shutil.rmtree(new / NAME)
    planted = plant(artifact, new / NAME, scale_constants)
    with pytest.raises(ReportError, match="deploy again"):
        run(new, baseline)
    report = json.loads((new / "report.json").read_text())
    report["artifacts"][0]["files"] = planted.passport.files
    (new / "report.json").write_text(json.dumps(report))
    assert failed(run(new, baseline)) == {"golden", "picture"}


def test_a_much_slower_network_fails_the_latency(
    blend: Callable[..., type[nn.Module]], baseline: Path, tmp_path: Path
) -> None:
    class Slow(nn.Module):
        """The same picture, by way of a great deal of work that comes to nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.blend = blend()
            self.work = nn.ModuleList(nn.Conv2d(3 if i == 0 else 96, 96, 3, padding=1) for i in range(6))

        def forward(self, image: Any) -> Any:
            y = image
            for layer in self.work:
                y = layer(y)
            return self.blend(image) + 1e-9 * y[:, :3]

    checks = run(deploy(Slow(), tmp_path / "new"), baseline, latency=True, max_seconds=60.0)
    assert checks["latency"].outcome == "failed" and "slower" in checks["latency"].message
    assert {"size", "latency"} <= failed(checks)
    assert "weights" not in checks["latency"].message


def test_what_got_worse_is_named(old: Path, baseline: Path) -> None:
    edit(baseline, model_bytes=100, precision_census={"float": 1, "int8": 3})
    checks = run(old, baseline)
    assert failed(checks) == {"size", "precision"}
    assert "int8" in checks["precision"].message


def test_a_command_that_a_target_does_not_have_is_not_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Artifact.open(small_bundle.make(tmp_path / "old"))
    new = Artifact.open(small_bundle.make(tmp_path / "new", golden=0.25))
    messages = []
    for parts in (get_target("onnx").parts, None):
        row = dataclasses.replace(get_target("onnx"), parts=parts)
        monkeypatch.setattr("fdikp_edge.benchmarks.gate.checks.get_target", lambda name, row=row: row)
        checks: list[Check] = []
        # The network of `new` halves its input too; what was recorded with it says otherwise.
        ArtifactChecks("half", old, {}, None, 1, checks, time.perf_counter).picture(new)
        assert checks[0].outcome == "failed"
        messages.append(checks[0].message)
    assert "fdikp-edge bisect" in messages[0]
    assert "fdikp-edge bisect" not in messages[1] and "for another (onnx" in messages[1]


def test_fewer_operators_outside_a_delegate_are_no_loss(tmp_path: Path) -> None:
    artifact = Artifact.open(small_bundle.make(tmp_path))
    figures = Figures.of(artifact, {"max_abs": 0.0, "psnr_db": 200.0, "ssim": 1.0}, None)
    outcomes = {}
    for before, now in ((6, 0), (6, 6), (6, 7), (0, 1)):
        artifact.passport.precision_census.update({"float": 9, OUTSIDE_DELEGATE: now})
        census = {"float": 9, OUTSIDE_DELEGATE: before}
        checks: list[Check] = []
        one = ArtifactChecks("half", artifact, {}, None, 1, checks, time.perf_counter)
        one.sizes(dataclasses.replace(figures, precision_census=census))
        (check,) = [each for each in checks if each.name == "precision"]
        outcomes[before, now] = check.outcome, check.message
    assert outcomes == {
        (6, 0): ("passed", "9 in float, 0 operators outside the delegate"),
        (6, 6): ("passed", "9 in float, 6 operators outside the delegate"),
        (6, 7): ("failed", "6 operators outside the delegate, now 7"),
        (0, 1): ("failed", "0 operators outside the delegate, now 1"),
    }


def test_memory_is_that_of_a_process_of_its_own(old: Path, baseline: Path) -> None:
    checks = run(old, baseline, memory=True)
    assert checks["memory"].outcome == "passed"
    shutil.rmtree(kept_folder(baseline))
    edit(baseline, peak_mb=10.0)
    checks = run(old, baseline, memory=True)
    assert failed(checks) == {"memory"} and checks["memory"].figures["now"] > 20
    assert checks["picture"].outcome == "skipped"


def test_what_cannot_run_here_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Artifact.open(small_bundle.make(tmp_path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    entry = {"state": "unverified", "reason": "no GPU", "reason_code": "cannot_run"}
    checks: list[Check] = []
    one = ArtifactChecks("half", artifact, entry, None, 1, checks, time.perf_counter)
    one.fixed()
    one.picture(artifact)
    one.latency(artifact, 1.05, 1.0, lambda now: None)
    assert [(check.name, check.outcome) for check in checks] == [
        ("state", "passed"),
        ("parity", "skipped"),
        ("golden", "skipped"),
        ("picture", "skipped"),
        ("latency", "skipped"),
    ]
    assert "onnxruntime" in checks[2].message


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        ({"state": "verified", "reason_code": ""}, "passed"),
        ({"state": "unverified", "reason": "in any words", "reason_code": "cannot_run"}, "passed"),
        ({"state": "unverified", "reason": "cannot run here", "reason_code": ""}, "failed"),
        ({"state": "unverified", "reason": "cannot run here: no GPU"}, "undecided"),  # an older report
        ({"state": "failed", "reason": "cannot run here", "reason_code": "cannot_run"}, "failed"),
        ({"state": "unavailable", "reason_code": "cannot_build"}, "failed"),
        ({"state": "verified"}, "passed"),
    ],
)
def test_the_state_is_judged_by_its_code_and_not_by_its_words(
    tmp_path: Path, entry: dict[str, Any], outcome: str
) -> None:
    artifact = Artifact.open(small_bundle.make(tmp_path))
    checks: list[Check] = []
    ArtifactChecks("half", artifact, entry, None, 1, checks, time.perf_counter).fixed()
    assert [check.outcome for check in checks if check.name == "state"] == [outcome]


def test_what_is_gone_fails_and_what_is_new_is_said(old: Path, baseline: Path) -> None:
    read = read_baseline(baseline)
    (figures,) = read.artifacts.values()
    baseline.write_text(Baseline({"other": figures}).to_json())
    verdict = gate(read_report(old), old, read_baseline(baseline), baseline, latency=False, memory=False)
    outcomes = {(check.artifact, check.name): check.outcome for check in verdict.checks}
    assert outcomes["other", "present"] == "failed" and outcomes[NAME, "present"] == "undecided"
    assert not verdict.ok


@pytest.mark.parametrize("parity", [None, [1], {}, {"max_abs": 1e-9}])
def test_a_verified_artifact_without_its_figures_fails(
    parity: Any, old: Path, baseline: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    report = json.loads((new / "report.json").read_text())
    report["artifacts"][0]["parity"] = parity
    (new / "report.json").write_text(json.dumps(report))
    assert "parity" in failed(run(new, baseline))


def test_a_parity_over_its_budget_fails_whatever_the_baseline_says(
    old: Path, baseline: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    report = json.loads((new / "report.json").read_text())
    report["artifacts"][0]["parity"]["max_abs"] = 0.5
    report["artifacts"][0]["state"] = "failed"
    (new / "report.json").write_text(json.dumps(report))
    edit(baseline, max_abs=0.5)
    assert failed(run(new, baseline)) == {"parity", "state"}


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a\\b", "", 3])
def test_a_report_that_leads_outside_its_folder_is_refused(
    path: Any, old: Path, baseline: Path, tmp_path: Path
) -> None:
    report = json.loads((old / "report.json").read_text())
    report["artifacts"][0]["path"] = path
    with pytest.raises(ReportError):
        gate(report, tmp_path, read_baseline(baseline), baseline)


def test_a_report_of_another_artifact_is_refused(old: Path) -> None:
    report = json.loads((old / "report.json").read_text())
    report["artifacts"][0]["weights_sha256"] = "0" * 64
    with pytest.raises(ReportError, match="deploy again"):
        built(report, old)
    report["artifacts"] = []
    with pytest.raises(ReportError, match="no artifact"):
        built(report, old)


def test_kept_artifacts_are_those_of_the_baseline(baseline: Path) -> None:
    (figures,) = read_baseline(baseline).artifacts.values()
    assert kept_artifact(baseline, NAME, figures) is not None
    other = dataclasses.replace(figures, passport_files={"model.onnx": "0" * 64})
    with pytest.raises(BaselineError, match="update both"):
        kept_artifact(baseline, NAME, other)
    file = kept_folder(baseline) / NAME / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ArtifactError):
        kept_artifact(baseline, NAME, figures)


def test_an_update_keeps_reasons_and_what_changed(old: Path, baseline: Path) -> None:
    present = built(read_report(old), old)
    figures = {name: dataclasses.replace(f, max_abs=1e-3) for name, f in measure(present, False).items()}
    changes = update(baseline, figures, {}, "wider\x1b rounding", keep=False)
    history = read_baseline(baseline).history
    assert [entry["reason"] for entry in history] == ["first", "wider  rounding"]
    assert any("max_abs" in change for change in changes) and history[1]["changes"] == changes
    for reason in ("", "  ", "x" * 2001):
        with pytest.raises(BaselineError, match="reason"):
            update(baseline, figures, {}, reason)


def test_without_keeping_nothing_is_left_that_belongs_to_other_figures(
    old: Path, baseline: Path, blend: Callable[..., nn.Module], tmp_path: Path
) -> None:
    new = deploy(blend(gain=1.01), tmp_path / "new")
    present = built(read_report(new), new)
    diary = kept_folder(baseline) / "diary.txt"
    diary.write_text("mine")
    update(baseline, measure(present, False), {n: a for n, (a, _) in present.items()}, "other", keep=False)
    checks = run(new, baseline)
    assert checks["picture"].outcome == "skipped" and not failed(checks)
    assert list(kept_folder(baseline).iterdir()) == [diary]


def test_a_folder_that_is_no_artifact_is_not_overwritten(old: Path, tmp_path: Path) -> None:
    present = built(read_report(old), old)
    path = tmp_path / "baseline.json"
    (tmp_path / "baseline" / NAME).mkdir(parents=True)
    (tmp_path / "baseline" / NAME / "diary.txt").write_text("mine")
    with pytest.raises(OutputError):
        update(path, measure(present, False), {name: a for name, (a, _) in present.items()}, "first")
    assert not path.exists()


def test_a_baseline_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="--update"):
        read_baseline(tmp_path / "none.json")


def test_a_report_in_place_of_a_baseline_is_named(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"version": "0.1.0", "machine": {}, "artifacts": []}))
    with pytest.raises(BaselineError, match=r"is a report.*--update"):
        read_baseline(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(format_version=2),
        lambda v: v.update(format_version="1"),
        lambda v: v.pop("history"),
        lambda v: v.update(more=1),
        lambda v: v.update(artifacts=[]),
        lambda v: v.update(artifacts={"../x": v["artifacts"][NAME]}),
        lambda v: v["artifacts"][NAME].update(max_abs="small"),
        lambda v: v["artifacts"][NAME].update(model_bytes=-1),
        lambda v: v["artifacts"][NAME].update(model_bytes=10**400),
        lambda v: v["artifacts"][NAME].update(max_abs=10**400),
        lambda v: v["artifacts"][NAME].update(weights_sha256="abc"),
        lambda v: v["artifacts"][NAME].pop("ssim"),
        lambda v: v["artifacts"][NAME].update(precision_census={"float": 1.5}),
        lambda v: v.update(history=[{"reason": "x"}]),
    ],
)
def test_a_damaged_baseline_is_refused(change: Callable[[Any], Any], baseline: Path) -> None:
    value = json.loads(baseline.read_text())
    change(value)
    baseline.write_text(json.dumps(value))
    with pytest.raises(BaselineError, match=r"baseline\.json"):
        read_baseline(baseline)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 5000, b" " * (5 * 2**20)]
)
def test_what_is_no_baseline_or_report_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(BaselineError):
        read_baseline(path)
    with pytest.raises(ReportError):
        read_report(path)


@pytest.mark.parametrize("entry", ["text", {}, {"target": 1, "precision": "fp32", "state": "verified"}])
def test_entries_of_a_report_are_checked(entry: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"artifacts": [entry]}))
    with pytest.raises(ReportError):
        read_report(tmp_path)


def test_figures_without_parity_are_refused(old: Path) -> None:
    (artifact, _) = built(read_report(old), old)[NAME]
    with pytest.raises(BaselineError, match="no psnr_db"):
        Figures.of(artifact, {"max_abs": 1.0, "psnr_db": "high", "ssim": 1.0}, None)


@pytest.mark.parametrize("slowdown", [0.0, -1.0, float("nan"), 11.0])
def test_a_slowdown_that_is_none_is_refused(slowdown: float, old: Path, baseline: Path) -> None:
    with pytest.raises(BadInputError, match="slowdown"):
        run(old, baseline, slowdown=slowdown)


def test_build_servers_get_their_words(tmp_path: Path) -> None:
    checks = [
        Check("a", "parity", "failed", "100 % over:\n\x1b[31m<it> & more\ufffe"),
        Check("a", "latency", "undecided", "too noisy"),
        Check("b", "memory", "skipped", "cannot be measured"),
        Check("b", "size", "passed", "1 MB"),
    ]
    verdict = Verdict(checks, {})
    assert github_lines(verdict) == [
        "::error title=a%3A parity::100 %25 over:%0A [31m<it> & more\ufffe",
        "::warning title=a%3A latency::too noisy",
    ]
    suite = ElementTree.fromstring(junit(verdict))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "2")
    failure = suite[0].find("failure")
    assert failure is not None and "<it> & more" in str(failure.get("message"))
    write_junit(verdict, tmp_path / "gate.xml")
    assert (tmp_path / "gate.xml").read_bytes() == junit(verdict)
