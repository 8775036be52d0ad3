"""`verify` and `bench`, on an artifact with a recorded photograph and without torch's help."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.benchmarks.timing.loadgen import measure_session
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.sessions import Milliseconds
from fdikp_edge.runtime.sessions.onnxruntime_session import OnnxRuntimeSession


def state(artifact: Path) -> dict[str, Any]:
    passport: dict[str, Any] = json.loads((artifact / "passport.json").read_text())
    return passport


def test_an_artifact_that_repeats_its_recorded_output(cli: Any, make_artifact: Callable[..., Path]) -> None:
    artifact = make_artifact(golden=0.5)
    done = cli("verify", artifact, "--golden", "--json")
    assert done.returncode == 0, done.stderr
    (shown,) = json.loads(done.stdout)["artifacts"]
    assert shown["state"] == "verified" and shown["parity"]["max_abs"] == 0
    assert state(artifact)["state"] == "verified"
    assert state(artifact)["measured_on"]["threads"] >= 1


def test_an_artifact_over_its_budget_fails(cli: Any, make_artifact: Callable[..., Path]) -> None:
    artifact = make_artifact(golden=0.51)
    done = cli("verify", artifact, "--golden")
    assert done.returncode == 1
    assert "failed" in done.stdout and "largest difference 1.00e-02" in done.stderr
    assert state(artifact)["state"] == "failed"
    assert state(artifact)["parity"]["within_budget"] is False


def test_nothing_is_written_when_told_not_to(cli: Any, make_artifact: Callable[..., Path]) -> None:
    artifact = make_artifact(golden=0.5)
    before = (artifact / "passport.json").read_bytes()
    assert cli("verify", artifact, "--golden", "--no-save").returncode == 0
    assert cli("bench", artifact, "--no-eager", "--runs", 3, "--no-save").returncode == 0
    assert (artifact / "passport.json").read_bytes() == before


def test_bench(cli: Any, make_artifact: Callable[..., Path]) -> None:
    first, second = make_artifact(golden=0.5), make_artifact(golden=0.5)
    done = cli("bench", first, second, "--no-eager", "--runs", 20, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["machine"]["cpu"]
    for row, artifact in zip(shown["artifacts"], (first, second), strict=True):
        took = row["latency_ms"]
        assert row["session"]["threads"] == 1
        assert took["n"] >= 20 and 0 < took["min"] <= took["p50"] <= took["p90"] <= took["p99"] <= took["max"]
        assert state(artifact)["latency_ms"] == took


def test_few_calls_have_no_99th_percentile(cli: Any, make_artifact: Callable[..., Path]) -> None:
    def columns(runs: int) -> list[str]:
        done = cli("bench", make_artifact(golden=0.5), "--no-eager", "--runs", runs)
        assert done.returncode == 0
        assert done.stderr.startswith("warming up"), "the first seconds are not silent"
        assert ("p99: left out" in done.stdout) is (runs < 100)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("│")]
        return [cell.strip() for cell in line.strip("│").split("│")]

    assert columns(96)[4] == "" and columns(102)[4] != ""


def test_bench_goes_on_without_an_unknown_network(cli: Any, make_artifact: Callable[..., Path]) -> None:
    artifact = make_artifact(golden=0.5)
    done = cli("bench", artifact, "--runs", 3)
    assert done.returncode == 0
    assert "p50" in done.stdout
    assert cli("bench", artifact, "--runs", 3, "--eager").returncode == 2


def test_bench_with_loadgen(cli: Any, make_artifact: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="MLPerf's LoadGen is not installed (extra loadgen)")
    artifact = make_artifact(golden=0.5)
    words = ("--no-eager", "--runs", 20, "--seconds", 0.2, "--threads", 1, "--loadgen", "logs", "--no-save")
    done = cli("bench", artifact, *words, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["artifacts"]
    run = row["loadgen"]
    assert run["scenario"] == "SingleStream" and run["ours"]["n"] >= 20 and row["latency_ms"]["n"] >= 20
    assert 0 < run["ours"]["p90"] <= run["p90_ms"], "LoadGen counts what issuing a query takes too"
    assert (tmp_path / "logs" / "half" / "mlperf_log_summary.txt").is_file()
    shown = cli("bench", artifact, *words, "--scenario", "Offline").stdout
    assert "half: LoadGen: Offline," in shown and "samples per second" in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--cuda-graph",), "cuda_graph: target onnx has no such option"),
        (("--wait", "spin", "--no-mapped"), "mapped, waiting: target onnx has no such option"),
        (("--scenario", "Offline"), "--scenario Offline: is of LoadGen; give --loadgen"),
        (
            ("--loadgen", "logs", "--scenario", "Server"),
            "--scenario Server: there are: SingleStream, Offline",
        ),
    ],
)
def test_bench_refuses_what_makes_no_sense_in_a_sentence(
    words: tuple[str, ...], reason: str, cli: Any, make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    if "--loadgen" in words:
        pytest.importorskip("mlperf_loadgen", reason="MLPerf's LoadGen is not installed (extra loadgen)")
    done = cli("bench", make_artifact(golden=0.5), "--no-eager", "--runs", 3, *words)
    assert done.returncode == 2 and reason in done.stderr and not done.stdout
    assert done.stderr.count("error:") == 1 and not (tmp_path / "logs").exists()


def test_bench_without_loadgen_says_how_to_get_it(
    cli: Any, make_artifact: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    done = cli("bench", make_artifact(golden=0.5), "--no-eager", "--runs", 3, "--loadgen", "logs")
    assert done.returncode == 2 and "fdikp-edge[loadgen]" in done.stderr and not done.stdout


def test_a_runtime_with_a_clock_of_its_own_is_not_timed_by_loadgen(
    make_artifact: Callable[..., Path], tmp_path: Path
) -> None:
    class Paged(OnnxRuntimeSession):
        def timed(self, x: Any) -> object:
            return Milliseconds(1)

    with (
        Paged(Artifact.open(make_artifact(golden=0.5)), 1) as session,
        pytest.raises(BadInputError, match="own clock"),
    ):
        measure_session(session, tmp_path / "logs", queries=3, seconds=0.1)
