"""A run over a folder that is killed with SIGKILL goes on where it ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import resume

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of another kind here")


def test_a_killed_run_is_resumed_without_loss_or_repetition(tmp_path: Path) -> None:
    outcome = resume.killed_and_resumed(tmp_path, photos=24, bad=4, jobs=2)
    assert outcome.faults == ()
    assert (outcome.results, outcome.reasons) == (20, 4)
    assert 0 < outcome.before < 20
    summary = outcome.summary
    assert summary["finished_before"] >= outcome.before
    assert summary["done"] + summary["finished_before"] == 20
