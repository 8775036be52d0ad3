"""What ExecuTorch says while it loads: kept off the screen, but for the reason of a failure."""

from __future__ import annotations

import os

import pytest
from fdikp_edge.runtime.sessions.executorch_profile import read_trace
from fdikp_edge.runtime.sessions.executorch_quiet import native_log


def test_native_lines_are_kept_and_the_failure_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    with native_log() as log:
        os.write(2, b"[cpuinfo_utils.cpp:109] Failed to open midr file /sys/devices\n[a.cpp:1] hello\n")
        assert log.failure() == ""
        os.write(2, b"[XNNCompiler.cpp:1314] Failed to create depthwise convolution node 1249\n")
        assert log.failure() == "Failed to create depthwise convolution node 1249"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\x14\0\0\0\x0c\0\0\0ED00" + b"\xff" * 40])
def test_a_damaged_trace_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_trace(data)
