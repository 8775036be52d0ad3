"""What libraries say: kept off the screen, but for errors and the reason of a failure."""

from __future__ import annotations

import logging
import os
import warnings

import pytest
from fdikp_edge.runtime.sessions.executorch_profile import read_trace
from fdikp_edge.runtime.sessions.quiet import native_log, quiet


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


def test_a_library_is_quiet_inside_only(caplog: pytest.LogCaptureFixture) -> None:
    library = logging.getLogger("some.library")
    library.setLevel(logging.INFO)
    handlers = list(logging.root.handlers)
    with pytest.raises(RuntimeError, match="stop"), quiet("some.library"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)  # an error under the settings of these tests
        library.warning("a remark")
        library.error("an error")
        logging.root.addHandler(logging.NullHandler())
        raise RuntimeError("stop")
    library.warning("outside")
    assert [record.message for record in caplog.records] == ["an error", "outside"]
    assert library.level == logging.INFO
    assert logging.root.handlers == handlers
