"""What may stand where artifacts are asked for: themselves, a deploy's folder, and what lies beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def build(make_artifact: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder as `deploy` leaves it: two artifacts, a report and pictures."""
    folder = tmp_path / "build"
    for name in ("one", "two"):
        shutil.copytree(make_artifact(golden=0.5), folder / name)
    (folder / "errors").mkdir()
    (folder / "report.json").write_text("{}")
    return folder


def benched(done: Any) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [Path(row["path"]).name for row in json.loads(done.stdout)["artifacts"]]


def test_everything_beside_artifacts_is_skipped_with_a_note(cli: Any, build: Path) -> None:
    done = cli("bench", *sorted(build.iterdir()), "--no-eager", "--runs", 3, "--json")
    assert benched(done) == ["one", "two"]
    assert done.stderr.count("no artifact; skipped") == 2 and "report.json" in done.stderr


def test_a_deploys_folder_stands_for_its_artifacts(cli: Any, build: Path) -> None:
    assert benched(cli("bench", build, "--no-eager", "--runs", 3, "--json")) == ["one", "two"]
    verified = cli("verify", build, "--golden", "--json")
    assert len(json.loads(verified.stdout)["artifacts"]) == 2
    bundled = cli("bundle", build, "--json")
    assert bundled.returncode == 0, bundled.stderr
    assert json.loads(bundled.stdout)["artifacts"] == ["one", "two"]


def test_what_holds_no_artifact_is_an_error(cli: Any, build: Path) -> None:
    for words, reason in (
        ([build / "errors"], "no artifact, and none in it"),
        ([build / "report.json"], "is a file"),
        ([build / "one", build / "absent"], "no such folder"),
    ):
        done = cli("bench", *words, "--no-eager", "--runs", 3)
        assert done.returncode == 2 and reason in " ".join(done.stderr.split())
