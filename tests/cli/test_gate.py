"""gate, bisect and report merge from the command line: exit codes, messages, and what build servers get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(make_artifact: Callable[..., Path]) -> Path:
    return make_artifact(golden=0.5)


@pytest.fixture
def report(whole: Path, tmp_path: Path) -> Path:
    """A folder with a report of one artifact, which halves its input and says so."""
    folder = tmp_path / "build"
    shutil.copytree(whole, folder / "half")
    entry = {
        "target": "onnx",
        "precision": "fp32",
        "size": [64, 64],
        "path": "half",
        "state": "verified",
        "reason": "",
        "weights_sha256": "a" * 64,
        "parity": {"max_abs": 1e-6, "psnr_db": 130.0, "ssim": 1.0},
    }
    content = {"model": "half", "machine": {"cpu": "Alpha"}, "artifacts": [entry]}
    (folder / "report.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def baseline(report: Path, tmp_path: Path, cli: Cli) -> Path:
    path = tmp_path / "baseline.json"
    done = cli("gate", report, "--baseline", path, "--update", "--reason", "first", "--no-memory")
    assert done.returncode == 0, done.stderr
    assert "half: new" in done.stdout
    return path


QUICK = ("--no-latency", "--no-memory", "--threads", 1)


def test_green(report: Path, baseline: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("gate", report / "report.json", "-b", baseline, *QUICK, "--junit", tmp_path / "gate.xml")
    assert done.returncode == 0, done.stderr
    assert "picture" in done.stdout and "failed" not in done.stdout
    assert "<testsuite" in (tmp_path / "gate.xml").read_text()


def test_latency_and_memory_are_measured(report: Path, baseline: Path, cli: Cli) -> None:
    done = cli("gate", report, "-b", baseline, "--threads", 1, "--seconds", 2, "--clock", "cpu", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    # The very same file: a machine may be too busy to say so, but it cannot be proven slower.
    assert checks["latency"]["outcome"] in ("passed", "undecided")
    assert checks["latency"]["figures"]["pairs"] >= 3
    assert checks["memory"]["outcome"] == "passed"
    assert done.returncode == 0


def test_red(report: Path, baseline: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads((report / "report.json").read_text())
    content["artifacts"][0]["parity"]["max_abs"] = 0.25
    (report / "report.json").write_text(json.dumps(content))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = cli("gate", report, "-b", baseline, *QUICK)
    assert done.returncode == 1
    assert "half: parity: largest difference 2.50e-01 is over 2.00e-05" in done.stderr
    assert "::error title=half%3A parity::" in done.stdout
    done = cli("gate", report, "-b", baseline, *QUICK, "--json")
    assert json.loads(done.stdout)["ok"] is False  # nothing else on stdout
    assert "::error" in done.stderr and "::error" not in done.stdout
    assert "::error" not in cli("gate", report, "-b", baseline, *QUICK, "--no-github").stdout


@pytest.mark.parametrize("what", ["kept", "baseline", "report"])
def test_bad_input_is_an_error_for_the_build_server_too(
    what: str, report: Path, baseline: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = {
        "kept": tmp_path / "baseline" / "half" / "model.onnx",
        "baseline": baseline,
        "report": report / "report.json",
    }[what]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = cli("gate", report, "-b", baseline, *QUICK, "--junit", tmp_path / "gate.xml")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stdout.startswith("::error title=fdikp-edge gate::") and damaged.name in done.stdout
    (suite,) = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
    error = suite[0].find("error")
    assert error is not None and damaged.name in str(error.get("message"))
    done = cli("gate", report, "-b", baseline, *QUICK, "--json")
    assert done.stdout == "" and "::error" in done.stderr


def test_a_wrong_photo_is_refused_before_the_network_is_read(
    report: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*args: object, **options: object) -> None:
        raise AssertionError("too early")

    monkeypatch.setattr("fdikp_edge.cli.commands.bisect.source_of_artifact", read)
    monkeypatch.setattr("fdikp_edge.cli.commands.verify.source_of_artifact", read)
    (tmp_path / "notes.txt").write_text("no photo")
    for photo in ("none.jpg", "notes.txt", "."):
        for words in (["bisect"], ["verify"], ["verify", "--worst-case"]):
            done = cli(*words, report / "half", "--photo", photo)
            assert done.returncode == 2 and photo in done.stderr and "Traceback" not in done.stderr


def test_a_worst_case_that_could_not_be_kept_is_refused_before_the_search(
    report: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdikp_edge.cli.commands.verify.source_of_artifact", None)
    (tmp_path / "file").write_text("in the way")
    done = cli("verify", report / "half", "--worst-case", "--worst-dir", tmp_path / "file")
    assert done.returncode == 2 and "file" in done.stderr


def test_a_reason_goes_with_an_update(report: Path, baseline: Path, cli: Cli) -> None:
    before = baseline.read_bytes()
    for words in (["--update"], ["--update", "--reason", "  "], ["--reason", "x"]):
        done = cli("gate", report, "-b", baseline, *words)
        assert done.returncode == 2 and "--reason" in done.stderr
    assert baseline.read_bytes() == before
    done = cli("gate", report, "-b", baseline, "--update", "--reason", "again", "--no-memory", "--json")
    assert json.loads(done.stdout)["changes"] == []
    history = json.loads(baseline.read_text())["history"]
    assert [entry["reason"] for entry in history] == ["first", "again"]


def test_a_failed_artifact_is_no_baseline(report: Path, baseline: Path, tmp_path: Path, cli: Cli) -> None:
    content = json.loads((report / "report.json").read_text())
    whole = content["artifacts"][0]
    over = {**whole, "state": "failed", "reason": "largest difference 0.25"}
    unbuilt = {**whole, "precision": "int8", "path": None, "state": "failed", "reason": "no such operator"}
    before = baseline.read_bytes()
    update = ("gate", report, "-b", baseline, "--update", "--reason", "why not", "--no-memory")
    for rows, words in (
        ([over], "half (largest difference 0.25)"),
        ([whole, unbuilt], "onnx int8 (no such operator)"),
    ):
        (report / "report.json").write_text(json.dumps({**content, "artifacts": rows}))
        done = cli(*update)
        assert done.returncode == 2 and words in done.stderr and "--allow-failed" in done.stderr
        assert baseline.read_bytes() == before
        done = cli(*update, "--allow-failed", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["changes"] == [], done.stderr
        before = baseline.read_bytes()
    done = cli("gate", report, "-b", baseline, *QUICK, "--allow-failed")
    assert done.returncode == 2 and "--update" in done.stderr


def test_what_failed_is_listed_with_its_reason(report: Path, baseline: Path, cli: Cli) -> None:
    content = json.loads((report / "report.json").read_text())
    content["artifacts"][0].update(state="failed", reason="out of budget")
    (report / "report.json").write_text(json.dumps(content))
    done = cli("gate", report, "-b", baseline, *QUICK)
    assert done.returncode == 1 and "half: state: listed as failed: out of budget" in done.stderr


def test_bad_input_is_a_message(report: Path, baseline: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "broken.json").write_text("{")
    for words, message in (
        (["gate", tmp_path / "none", "-b", baseline], "cannot be read"),
        (["gate", report, "-b", tmp_path / "none.json"], "--update"),
        (["gate", report, "-b", tmp_path / "broken.json"], "broken.json"),
        (["gate", tmp_path / "broken.json", "-b", baseline], "broken.json"),
        (["gate", report, "-b", baseline, "--clock", "sun"], "wall, cpu"),
        (["gate", report, "-b", baseline, "--junit", report / "report.json"], "xml"),
        (["gate", report, "-b", baseline, "--junit", baseline], "xml"),
        (["bisect", report / "half"], "--model"),
        (["bisect", tmp_path / "none"], "no such folder"),
        (["report", "merge", report], "two reports"),
        (["report", "merge", report, report, "--name", "one"], "one name per report"),
        (["verify", report / "half", "--worst-case", "--golden"], "PyTorch"),
    ):
        done = cli(*words)
        assert done.returncode == 2, words
        assert message in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert done.stdout == ""


def test_reports_are_merged(report: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("report", "merge", report, report, "--name", "desk", "--name", "board", "--out", "both")
    assert done.returncode == 0, done.stderr
    assert "desk" in done.stdout and "board" in done.stdout
    assert (tmp_path / "both" / "report.json").exists()
    done = cli("report", "merge", report, report, "--out", "both")
    assert done.returncode == 2 and "--overwrite" in done.stderr
    done = cli("report", "merge", report, report, "--out", "both", "--overwrite", "--json")
    assert len(json.loads(done.stdout)["comparison"][0]["devices"]) == 2


def test_signatures_are_asked_of_the_new_and_of_the_kept_artifact(
    report: Path, whole: Path, tmp_path: Path, cli: Cli
) -> None:
    pytest.importorskip("cryptography", reason="signatures need cryptography")
    assert cli("keygen", "--out", "k").returncode == 0
    asked = ("gate", report, "-b", tmp_path / "b.json", "--require-signature", "k.pub")
    update = (*asked, "--update", "--reason", "first", "--no-memory")
    done = cli(*update)
    assert done.returncode == 2 and "is not signed" in done.stderr and not (tmp_path / "b.json").exists()
    assert cli("sign", report, "--key", "k").returncode == 0
    assert cli(*update).returncode == 0
    assert cli(*asked, *QUICK).returncode == 0
    (tmp_path / "b" / "half" / "signature.json").unlink()
    done = cli(*asked, *QUICK)
    assert done.returncode == 2 and "is not signed" in done.stderr
