"""`fdikp-edge bundle` and `fdikp-edge profile` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_bundle as maker

SHORT = ["--queries", "3", "--seconds", "0.05", "--idle", "0", "--soak", "0", "--threads", "1"]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return maker.make(tmp_path_factory.mktemp("half"))


def test_bundle(cli: Any, half: Path, tmp_path: Path) -> None:
    done = cli("bundle", half, "--for", "jetson", "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 0 and Path(summary["path"]) == Path("model.bundle")
    assert summary["bytes"] == (tmp_path / "model.bundle").stat().st_size and len(summary["sha256"]) == 64
    again = cli("bundle", half)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    shown = cli("bundle", half, "--overwrite")
    assert (
        shown.returncode == 0 and summary["sha256"] in shown.stdout and "model.bundle build" in shown.stdout
    )


def test_artifacts_for_other_devices_are_left_out_of_a_folder(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    maker.make(folder)
    other = maker.make(folder, target="coreml")
    done = cli("bundle", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifacts"] == ["half-onnx-fp32"]
    assert "half-coreml-fp32: is for target coreml, which is not for jetson; skipped" in done.stderr
    alone = cli("bundle", other, "--overwrite")
    assert alone.returncode == 2 and "takes artifacts for onnx" in alone.stderr


def test_a_bundle_is_inspected_without_running_it(cli: Any, half: Path, tmp_path: Path) -> None:
    summary = json.loads(cli("bundle", half, "--json").stdout)
    inspected = json.loads(cli("inspect", "model.bundle", "--json").stdout)
    assert (
        inspected["sha256"] == summary["sha256"]
        and inspected["manifest"]["artifacts"] == summary["artifacts"]
    )
    assert "__main__.py" in cli("inspect", "model.bundle").stdout
    data = (tmp_path / "model.bundle").read_bytes()
    (tmp_path / "model.bundle").write_bytes(data[:-100])
    broken = cli("inspect", "model.bundle")
    assert broken.returncode == 2 and "truncated" in broken.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--for", "toaster"], "jetson"), (["--table", "nothing.json"], "nothing.json")],
)
def test_bad_use_of_bundle(words: list[str], reason: str, cli: Any, half: Path, tmp_path: Path) -> None:
    done = cli("bundle", half, *words)
    assert done.returncode == 2 and reason in done.stderr and not (tmp_path / "model.bundle").exists()


def test_profile(cli: Any, half: Path, tmp_path: Path) -> None:
    done = cli("profile", half, *SHORT)
    assert done.returncode == 0, done.stderr
    assert (
        "end_to_end: p50" in done.stdout
        and "does not conform" in done.stdout
        and "not available:" in done.stdout
    )
    report = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert report["artifacts"][0]["profile"]["protocol"]["conformant"] is False
    again = cli("profile", half, *SHORT)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_profiles_of_two_devices_are_merged(cli: Any, half: Path, tmp_path: Path) -> None:
    for name in ("pc.json", "board.json"):
        assert cli("profile", half, *SHORT, "--no-layers", "--out", name).returncode == 0
    words = ("pc.json", "board.json", "--name", "PC", "--name", "board", "--out", "both", "--json")
    done = cli("report", "merge", *words)
    assert done.returncode == 0, done.stderr
    merged = json.loads((tmp_path / "both" / "report.json").read_text(encoding="utf-8"))
    assert [row["device"] for row in merged["artifacts"]] == ["PC", "board"]
    assert all(row["profile"]["clocks"]["result"]["n"] >= 3 for row in merged["artifacts"])
    (group,) = merged["comparison"]
    assert set(group["devices"]) == {"PC", "board"} and group["model"] == "half"


def test_profile_as_json_and_with_a_recording(cli: Any, half: Path, tmp_path: Path) -> None:
    (tmp_path / "t.log").write_text("GR3D_FREQ 99%@1300 tj@60C VDD_IN 9000mW/9000mW\n" * 3)
    done = cli("profile", half, *SHORT, "--no-layers", "--replay", "t.log", "--json", "--out", "p.json")
    profile = json.loads(done.stdout)["artifacts"][0]["profile"]
    assert profile["power"]["total"]["mean_mw"] == 9000 and profile["temperature_c"]["tj"]["max"] == 60
    assert "layers" not in profile
    command = json.loads(done.stdout)["command"]
    assert {"--no-layers", "--queries=3", "--replay=t.log", "--threads=1"} <= set(command)
    again = cli(*command[1:], "--out", "q.json")
    assert again.returncode == 0 and (tmp_path / "q.json").exists(), again.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--replay", "nothing.log"], "nothing.log"),
        (["--queries", "0"], "queries"),
        (["--threads", "0"], "threads"),
    ],
)
def test_bad_use_of_profile(words: list[str], reason: str, cli: Any, half: Path, tmp_path: Path) -> None:
    done = cli("profile", half, *SHORT, *words)
    assert done.returncode == 2 and reason in done.stderr and not (tmp_path / "profile.json").exists()
