"""A folder of photos where something is missing: a message or the result, and nothing half written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import kills
import places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the shell and tmpfs of Linux")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> kills.Job:
    return kills.jobs(tmp_path_factory.mktemp("p"))["run"]


@pytest.mark.parametrize("title", places.QUICK)
def test_a_command_at_a_bad_place(title: str, job: kills.Job, tmp_path: Path) -> None:
    place = places.PLACES[title]
    if place.mounted and (reason := places.may_mount()):
        pytest.skip(reason)
    code, faults = places.judge("run", job, place, tmp_path / "work")
    assert faults == [] and code in place.codes
