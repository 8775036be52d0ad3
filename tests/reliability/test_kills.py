"""Commands that are killed at a random moment leave whole files or none, and the next run completes."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import kills
from fdikp_edge.runtime.files import making_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of another kind here")


def test_a_folder_of_photos_survives_kills(tmp_path: Path) -> None:
    job = kills.jobs(tmp_path)["run"]
    (tmp_path / "runs").mkdir()
    counts = kills.torment(job, 2, random.Random(0), tmp_path / "runs")
    assert counts["kills"] == 2
    assert not counts.keys() - {"kills", "interrupted"}


def test_an_interruption_right_after_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def interrupted(self: Path, *args: object, **kwargs: object) -> None:
        make(self)
        if self.name == "b":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), making_folder(tmp_path / "a" / "b"):
        pass
    assert not (tmp_path / "a").exists()
