"""MLPerf's own LoadGen as the driver of a measurement, with its log kept.

LoadGen (github.com/mlcommons/inference, ``pip install mlcommons-loadgen``) issues the queries, times them
from issue to completion, and judges the run. Our own times of the same calls stand beside them: the
difference is what the drivers cost. Nothing here is a submission; MLPerf has its own rules for those.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...runtime.errors import BadInputError, CheckFailedError, OutputError, TargetUnavailableError
from ...runtime.sessions import Milliseconds, Session
from .latency import Latency
from .protocol import QUERIES, SECONDS

Scenario = Literal["SingleStream", "Offline"]
SCENARIOS: tuple[Scenario, ...] = ("SingleStream", "Offline")
"""One query at a time, or all at once; the second tells a rate and no latency."""

INSTALL = 'pip install "fdikp-edge[loadgen]" (or mlcommons-loadgen)'
SUMMARY = "mlperf_log_summary.txt"
_LINES = {
    "p50_ms": r"^50\.00 percentile latency \(ns\)\s*:\s*(\d+)$",
    "p90_ms": r"^90\.00 percentile latency \(ns\)\s*:\s*(\d+)$",
    "p99_ms": r"^99\.00 percentile latency \(ns\)\s*:\s*(\d+)$",
    "min_ms": r"^Min latency \(ns\)\s*:\s*(\d+)$",
    "max_ms": r"^Max latency \(ns\)\s*:\s*(\d+)$",
}
_RATE = re.compile(r"^Samples per second\s*:\s*([\d.e+]+)$", re.MULTILINE)
_VALID = re.compile(r"^Result is\s*:\s*(VALID|INVALID)$", re.MULTILINE)


def library() -> Any:
    """Return LoadGen's module.

    Raises:
        TargetUnavailableError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module("mlperf_loadgen")
    except ImportError as error:
        raise TargetUnavailableError(f"MLPerf's LoadGen is not available: {error}. {INSTALL}") from error


def measure_session(
    session: Session, folder: Path, *, scenario: Scenario = "SingleStream", queries: int, seconds: float
) -> dict[str, Any]:
    """Have LoadGen time a session on its golden input; see :func:`measure`.

    Raises:
        BadInputError: the session's runtime keeps a clock of its own, which LoadGen cannot read.
    """
    inputs, _ = session.artifact.golden()
    if isinstance(session.timed(inputs), Milliseconds):
        raise BadInputError(
            f"{session.artifact.path}: target {session.artifact.passport.target} is timed by the runtime's "
            "own clock, which LoadGen cannot read; leave out --loadgen"
        )
    return measure(lambda: session.run(inputs), folder, scenario=scenario, queries=queries, seconds=seconds)


def measure(
    call: Callable[[], object],
    folder: Path,
    *,
    scenario: Scenario = "SingleStream",
    queries: int = QUERIES,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Have LoadGen issue queries, each of which is one call.

    Args:
        call: runs once; an error ends the measurement.
        folder: where LoadGen's own logs go; made if missing.
        scenario: one of :data:`SCENARIOS`.
        queries: least number of queries.
        seconds: least time.

    Returns:
        Plain JSON values: ``scenario``, ``valid`` (by LoadGen's rules), LoadGen's ``p50_ms``, ``p90_ms``,
        ``p99_ms``, ``min_ms`` and ``max_ms`` (SingleStream) or ``samples_per_second`` (Offline), ``ours``
        (the figures of the same calls by our clock), and ``log`` (the folder).

    Raises:
        TargetUnavailableError: LoadGen is not installed.
        OutputError: the folder cannot be made.
        CheckFailedError: LoadGen left no summary.
    """
    lg = library()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    times: list[float] = []
    failed: list[Exception] = []

    def issue(samples: Any) -> None:
        for sample in samples:
            began = time.perf_counter()
            if not failed:  # LoadGen cannot be stopped, but its queries can be answered at once
                try:
                    call()
                except Exception as error:  # must not pass through native code
                    failed.append(error)
            took = time.perf_counter() - began
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])
            times.append(took * 1e3)

    settings, output = lg.TestSettings(), lg.LogSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = queries, round(seconds * 1e3)
    if scenario == "Offline":
        call()
        began = time.perf_counter()
        call()
        settings.offline_expected_qps = 1 / max(time.perf_counter() - began, 1e-6)
    output.log_output.outdir = str(folder)
    output.log_output.copy_summary_to_stdout = False
    output.enable_trace = False
    system = lg.ConstructSUT(issue, lambda: None)
    one_sample = lg.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    try:
        lg.StartTestWithLogSettings(system, one_sample, settings, output)
    finally:
        lg.DestroyQSL(one_sample)
        lg.DestroySUT(system)
    if failed:
        raise failed[0]
    figures = read_summary(folder / SUMMARY)
    if scenario == "Offline":  # where a query waits for all before it: no latency of a call
        figures = {key: value for key, value in figures.items() if not key.endswith("_ms")}
    return {
        "scenario": scenario,
        **figures,
        "ours": Latency(tuple(times), len(times) >= queries).to_dict(),
        "log": str(folder),
    }


def read_summary(file: Path) -> dict[str, Any]:
    """Return the figures of LoadGen's summary.

    Raises:
        CheckFailedError: it is not there, or says nothing of the result.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CheckFailedError(f"{file}: LoadGen left no summary: {error.strerror or error}") from error
    valid = _VALID.search(text)
    if valid is None:
        raise CheckFailedError(f"{file}: says nothing of the result")
    figures: dict[str, Any] = {"valid": valid[1] == "VALID"}
    for key, pattern in _LINES.items():
        if match := re.search(pattern, text, re.MULTILINE):
            figures[key] = round(int(match[1]) / 1e6, 3)
    if match := _RATE.search(text):
        figures["samples_per_second"] = float(match[1])
    return figures


def line(run: dict[str, Any]) -> str:
    """Return what :func:`measure` returned in one line."""
    verdict = "valid" if run["valid"] else "not valid by its rules"
    if "p90_ms" not in run:
        return f"{run['scenario']}, {run.get('samples_per_second')} samples per second, {verdict}"
    figures = ", ".join(f"{key} {run[f'{key}_ms']} ms" for key in ("p50", "p90", "p99"))
    return f"{run['scenario']}, {figures}, {verdict}; by our clock p90 {run['ours']['p90']} ms"
