"""Evidence in the passport, and an artifact whose folder cannot be written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import OutputError


def passport(artifact: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((artifact / "passport.json").read_text())
    return loaded


def test_each_check_and_timing_is_listed(
    cli: Any, make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # names of machines differ in length, and cells wrap
    artifact = make_artifact(golden=0.5)
    for _ in range(2):
        assert cli("verify", artifact, "--golden").returncode == 0
    assert cli("bench", artifact, "--no-eager", "--runs", 3).returncode == 0
    entries = passport(artifact)["evidence"]
    assert [(entry["measured"], entry["against"]) for entry in entries] == [
        ("parity", "golden"),
        ("latency", ""),
    ]
    assert all(entry["where"]["cpu"] and entry["using"]["runtime"] and entry["when"] for entry in entries)
    shown = cli("inspect", artifact).stdout
    assert "Evidence" in shown and "golden only" in shown and "latency" in shown


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passport cannot be replaced."""

    def refuse(self: Artifact, *_: object) -> Artifact:
        raise OutputError(f"{self.path}: cannot be written: Read-only file system")

    monkeypatch.setattr(Artifact, "record", refuse)


@pytest.mark.parametrize("command", [("verify", "--golden"), ("bench", "--no-eager", "--runs", 3)])
def test_a_check_of_a_read_only_artifact_is_a_check(
    cli: Any, make_artifact: Callable[..., Path], command: tuple[object, ...], unwritable: None
) -> None:
    artifact = make_artifact(golden=0.5)
    name, *options = command
    done = cli(name, artifact, *options)
    assert done.returncode == 0, done.stderr
    assert (
        "note:" in done.stderr and "not added to the passport" in done.stderr and "--no-save" in done.stderr
    )
    quiet = cli(name, artifact, *options, "--no-save")
    assert quiet.returncode == 0 and "passport" not in quiet.stderr
    asked = cli(name, artifact, *options, "--save")
    assert asked.returncode == 2 and "Read-only" in asked.stderr


def test_a_failed_check_of_one_still_fails(
    cli: Any, make_artifact: Callable[..., Path], unwritable: None
) -> None:
    assert cli("verify", make_artifact(golden=0.51), "--golden").returncode == 1


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
def test_where_no_file_can_be_written_a_check_goes_on(make_artifact: Callable[..., Path]) -> None:
    """No byte can be written into any file, as on a full or read-only disk; also root cannot."""
    artifact = make_artifact(golden=0.5)
    before = (artifact / "passport.json").read_bytes()
    command = [sys.executable, "-m", "fdikp_edge.cli", "verify", str(artifact), "--golden", "--json"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifacts"][0]["state"] == "verified"
    assert "not added to the passport" in done.stderr and "--no-save" in done.stderr
    assert (artifact / "passport.json").read_bytes() == before
    assert {entry.name for entry in artifact.iterdir()} == {
        "passport.json",
        "model.onnx",
        "in.npy",
        "out.npy",
    }
