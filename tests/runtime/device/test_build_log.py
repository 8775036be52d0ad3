"""A builder's log: no problem is lost, however much is logged around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fdikp_edge.runtime.device import build_log
from fdikp_edge.runtime.device.build_log import BuildLog
from fdikp_edge.runtime.errors import OutputError


def test_a_problem_after_40_000_messages_is_kept_and_the_rest_is_bounded() -> None:
    log = BuildLog()
    log.add(2, "an early warning")
    for number in range(40_000):
        log.add(4, f"diary {number}")
    log.add(1, "the error")
    entries = log.entries()
    assert entries[0] == (2, "an early warning") and entries[-1] == (1, "the error")
    assert len(entries) == build_log.TAIL_LINES + 2 and entries[-2] == (4, "diary 39999")
    assert log.left_out == 40_000 - build_log.TAIL_LINES
    assert log.text().startswith(f"[{log.left_out} messages left out")
    assert log.text().endswith("[E] the error\n")


def test_problems_are_bounded_too() -> None:
    log = BuildLog()
    for number in range(build_log.MAX_PROBLEMS + 7):
        log.add(2, str(number))
    assert len(log.entries()) == build_log.MAX_PROBLEMS and log.left_out == 7


def test_all_of_it_goes_into_a_file(tmp_path: Path) -> None:
    for text in ("one", "two\x1b[31m"):
        log = BuildLog()
        with log.all_into(tmp_path / "log"):
            log.add(4, text)
        log.add(4, "later")
    written = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert written[0] == "[V] one" and len(written) == 2 and "\x1b" not in written[1]


def test_a_file_that_cannot_be_written_is_an_error_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), BuildLog().all_into(tmp_path / "no" / "log"):
        pass
