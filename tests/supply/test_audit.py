"""An audit that could look nothing up does not pass for a clean one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
FAULTY = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("entries", "code", "last"),
    [
        ("connection refused", 0, "not reachable: connection refused"),
        ([], 0, "not reachable"),
        ([SKIPPED, SKIPPED], 0, "not reachable: none of 2"),
        ([CLEAN], 0, "1 packages looked up, 0 known faults"),
        ([CLEAN, FAULTY, SKIPPED], 1, "2 packages looked up, 1 known faults"),
        ([FAULTY], 1, "1 packages looked up, 1 known faults"),
    ],
)
def test_what_is_said(entries: object, code: int, last: str) -> None:
    lines, result = audit.judge(entries)  # type: ignore[arg-type]
    assert result == code and last in lines[-1]
    assert (code == 1) == any("CVE-1, fixed in 3" in line for line in lines)


def test_a_tool_that_is_not_installed_is_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/false")
    assert audit.judge(audit.look_up(Path("constraints.txt")))[0] == ["audit: not reachable: exit code 1"]
