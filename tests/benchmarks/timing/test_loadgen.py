"""MLPerf's LoadGen as a driver: its figures beside ours for the same calls, and what it leaves behind."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.timing import loadgen
from fdikp_edge.runtime.errors import CheckFailedError, RunError, TargetUnavailableError

installed = pytest.mark.skipif(
    importlib.util.find_spec("mlperf_loadgen") is None,
    reason="MLPerf's LoadGen is not installed (extra loadgen)",
)


@installed
def test_its_percentiles_are_ours(tmp_path: Path) -> None:
    """Calls of known and different lengths, so that the percentiles are apart."""
    lengths = iter([0.01, 0.02, 0.03, 0.04, 0.05] * 1000)

    def call() -> None:
        time.sleep(next(lengths))

    run = loadgen.measure(call, tmp_path / "log", queries=40, seconds=0.3)
    assert run["ours"]["n"] >= 40 and run["ours"]["p90"] > 45
    assert run["p90_ms"] == pytest.approx(run["ours"]["p90"], rel=0.03)
    # On a busy machine calls lie far apart around the median, and the two take the upper or the lower of two.
    assert run["p50_ms"] == pytest.approx(run["ours"]["p50"], rel=0.15)
    assert (tmp_path / "log" / "mlperf_log_detail.txt").is_file() and run["log"] == str(tmp_path / "log")


@installed
def test_offline_tells_a_rate(tmp_path: Path) -> None:
    run = loadgen.measure(lambda: time.sleep(0.002), tmp_path, scenario="Offline", queries=50, seconds=0.1)
    assert 50 < run["samples_per_second"] <= 500 and "p90_ms" not in run


@installed
def test_a_call_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    def call() -> None:
        raise RunError("the device is lost")

    with pytest.raises(RunError, match="the device is lost"):
        loadgen.measure(call, tmp_path, queries=5, seconds=0.01)


def test_without_it_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(TargetUnavailableError, match=r"fdikp-edge\[loadgen\]"):
        loadgen.measure(lambda: None, tmp_path)


def test_a_summary_is_read_and_an_incomplete_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    lines = ("Result is : INVALID", "90.00 percentile latency (ns)   : 2500000", "Samples per second: 12.5")
    file.write_text("\n".join(lines))
    figures = loadgen.read_summary(file)
    assert figures == {"valid": False, "p90_ms": 2.5, "samples_per_second": 12.5}
    file.write_text("")
    for place in (file, tmp_path / "none"):
        with pytest.raises(CheckFailedError):
            loadgen.read_summary(place)
