"""The protocol of a profile, on queries whose times are known, and layers joined to modules."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import small_bundle as maker
from fdikp_edge.benchmarks.device_profile import clocks, summary_lines, verdict
from fdikp_edge.benchmarks.telemetry import Reading, Sampler
from fdikp_edge.benchmarks.timing import single_stream
from fdikp_edge.benchmarks.timing.layers import by_module, layer_times
from fdikp_edge.benchmarks.timing.protocol import Protocol
from fdikp_edge.benchmarks.timing.query import tile_of, timed_query
from fdikp_edge.benchmarks.timing.single_stream import Run, measure, protocol_dict
from fdikp_edge.runtime.layers import LAYOUT, UNKNOWN, module_of
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.sessions.onnxruntime_profile import layers_of_events

SHORT = Protocol(queries=40, seconds=0.01, idle_seconds=0, soak_seconds=0, warmup=2, interval_s=0.01)


def counted() -> tuple[Callable[[], Mapping[str, float]], list[int]]:
    """A query whose n-th call says that it took n milliseconds."""
    calls: list[int] = []

    def query() -> Mapping[str, float]:
        calls.append(len(calls) + 1)
        return {"result": float(len(calls)), "end_to_end": float(len(calls)) + 1}

    return query, calls


def test_no_query_is_left_out_but_the_warm_up() -> None:
    query, calls = counted()
    run = measure(query, SHORT, Reading)
    assert run.n == len(calls) - SHORT.warmup >= 40
    assert run.times_ms["result"] == [float(n) for n in range(3, len(calls) + 1)]
    assert run.latency("kernel") is None and clocks(run)["kernel"] is None
    whole = run.latency("end_to_end")
    assert whole is not None and max(whole.samples) == len(calls) + 1  # the slowest counts


def test_both_bounds_must_be_reached() -> None:
    query, _ = counted()
    began = time.perf_counter()
    run = measure(query, Protocol(1, 0.2, 60, 0, 0, 0), Reading)
    assert run.seconds >= 0.2 and time.perf_counter() - began >= 0.2


def test_the_last_bound_ends_it_all_the_same() -> None:
    def slow() -> Mapping[str, float]:
        time.sleep(0.02)
        return {"end_to_end": 20.0, "result": 20.0}

    run = measure(slow, Protocol(10_000, 600, 0.1, 0, 0, 0), Reading)
    assert run.n < 10_000
    assert not protocol_dict(run)["conformant"]


def test_a_conformant_run_is_said_to_be_one() -> None:
    run = Run(Protocol(), start_s=[0.0] * 1024, seconds=61.0, stable=True)
    assert protocol_dict(run)["conformant"] and run.problems() == []
    for change in ({"start_s": [0.0]}, {"seconds": 59.0}, {"stable": False}):
        assert len(dataclasses.replace(run, **change).problems()) == 1


def test_a_short_run_rests_and_soaks_shortly() -> None:
    assert (Protocol().idle_seconds, Protocol().soak_seconds) == (10, 180)
    short = Protocol(queries=20, seconds=2)
    assert (short.idle_seconds, short.soak_seconds) == (2, 6)
    asked = dataclasses.replace(short, soak_seconds=90, idle_seconds=0)
    assert (asked.idle_seconds, asked.soak_seconds) == (0, 90)


def test_the_waits_before_measuring_are_told_in_seconds() -> None:
    told: list[tuple[int, int, str]] = []
    query, _ = counted()
    protocol = Protocol(1, 0.01, 60, idle_seconds=1.2, soak_seconds=1.5, warmup=0)
    measure(query, protocol, Reading, progress=lambda *step: told.append(step))
    idle = [step[:2] for step in told if step[2] == "idle"]
    soak = {step[:2] for step in told if "soaking" in step[2] and "1.5 s" in step[2]}
    assert idle == [(0, 2), (1, 2)] and soak == {(0, 2), (1, 2)}


def test_a_summary_of_few_queries_has_no_99th_percentile() -> None:
    for n, shown in ((99, False), (100, True)):
        run = Run(SHORT, start_s=[0.0] * n, times_ms={"result": [10.0] * n}, seconds=2.0)
        profile = {
            **{"clocks": clocks(run), "absent": {}, "protocol": protocol_dict(run)},
            "memory": {"peak_mb": None, "device_mb": None},
            **verdict(run, [], live=True),
        }
        row = {
            "path": "a",
            "state": "verified",
            "session": {"runtime": "r", "device": "d"},
            "profile": profile,
        }
        assert ("p99" in "\n".join(summary_lines({"artifacts": [row]}))) is shown


def test_soaking_ends_when_times_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_stream, "_WINDOW_S", 0.0)
    times = itertools.chain([100.0, 90, 80, 70, 60] * 2, itertools.repeat(50.0))

    def query() -> Mapping[str, float]:
        return {"end_to_end": next(times), "result": 1.0}

    run = measure(query, Protocol(1, 0.0, 60, 0, 60, 0, 0.01), Reading)
    assert run.stable and run.soak_ms[-3:] == [50.0] * 3 and run.soak_ms[0] > 60


@pytest.mark.parametrize(("last_c", "stable"), [(40.4, True), (41.0, False)])
def test_soaking_goes_on_while_it_gets_warmer(
    last_c: float, stable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Sampler):
        """Sensors that say the same of every stretch of time."""

        def between(self, start_s: float, end_s: float) -> list[Reading]:
            return [Reading(temperature_c={"tj": degrees, "board": 30.0}) for degrees in (40.0, last_c)]

    monkeypatch.setattr(single_stream, "_WINDOW_S", 0.0)
    run = Run(Protocol(soak_seconds=0.05))
    single_stream._soak(lambda: {"end_to_end": 1.0}, run, Told(Reading), lambda *_: None)
    assert run.stable is stable and len(run.soak_ms) >= single_stream.WINDOWS


def test_readings_are_joined_to_queries_by_time() -> None:
    run = Run(SHORT, start_s=[1.0, 2.0, 3.0], times_ms={"end_to_end": [500.0, 500.0, 500.0]})
    run.readings = [Reading(1.4), Reading(2.6), Reading(9.0)]
    assert run.reading_of() == [0, 0, 1]


def test_energy_is_the_power_over_idle_times_the_time_of_a_frame() -> None:
    run = Run(SHORT, start_s=[0.0] * 50, times_ms={"result": [10.0] * 50}, seconds=2.0)
    run.idle = [Reading(power_mw={"VDD_IN": 4000.0})]
    result = verdict(run, [Reading(power_mw={"VDD_IN": 9000.0})], live=True)
    assert result["energy_per_frame_mj"] == {
        "gross": 360.0, "net": 200.0, "of": "VDD_IN", "seconds_per_frame": 0.04
    }  # fmt: skip
    assert result["throttle"]["flagged"] is None  # nothing told of clocks or heat
    assert verdict(run, [Reading(clock_mhz={"GPU": 900.0})], live=True)["throttle"]["flagged"] is False


def test_drift_is_flagged_over_many_queries_only() -> None:
    for n, flagged in ((90, True), (9, False)):
        run = Run(SHORT, start_s=[0.0] * n, times_ms={"result": [10.0] * (n // 2) + [12.0] * (n - n // 2)})
        drift = verdict(run, [], live=True)["drift"]
        assert (drift["ratio"], drift["flagged"]) == (1.2, flagged)


def test_a_session_is_timed_from_pixels_to_pixels(tmp_path: Path) -> None:
    with open_session(maker.make(tmp_path), threads=1) as session:
        inputs, _ = session.artifact.golden()
        (image,) = inputs.values()
        pixels = tile_of(session, inputs)
        assert pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
        assert np.abs(pixels.transpose(2, 0, 1) / 255 - image[0]).max() <= 0.5 / 255 + 1e-6
        took = timed_query(session, inputs)()
        assert set(took) == {"result", "end_to_end"} and 0 < took["result"] < took["end_to_end"]


def test_layers_of_a_real_run_are_joined_to_the_module(tmp_path: Path) -> None:
    with open_session(maker.make(tmp_path), threads=1) as session:
        inputs, _ = session.artifact.golden()
        layers = layer_times(session, inputs, runs=2)
    assert [(layer.operator, layer.module) for layer in layers] == [("Mul", "network.halve")]
    assert by_module(layers) == {"network.halve": round(layers[0].ms, 4)}


@pytest.mark.parametrize(
    ("name", "operator", "module"),
    [
        ("node_conv2d", "Conv", "a.conv"),
        ("conv2d_nchwc", "Conv", "a.conv"),
        ("conv2d_7_nchwc", "Conv", "b.conv"),
        ("fused node_conv2d", "FusedConv", "a.conv"),
        ("node_slice_4/GatherSliceToSplitFusion", "Split", "c"),
        ("ReorderOutput_token_3", "ReorderOutput", LAYOUT),
        ("Squeeze_token_9", "Squeeze", UNKNOWN),
    ],
)
def test_names_that_onnx_runtime_makes_up(name: str, operator: str, module: str) -> None:
    modules = {"node_conv2d": "a.conv", "node_conv2d_7": "b.conv", "node_slice_4": "c"}
    assert module_of(name, operator, modules) == module


def test_layers_of_tensorrt_are_joined_to_the_modules_of_all_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdikp_edge.runtime.artifact import Artifact
    from fdikp_edge.runtime.sessions.tensorrt_session import TensorRtSession

    class Recorded(TensorRtSession):
        """An engine whose profiler says what is recorded here; nothing of TensorRT is loaded."""

        def __init__(self, artifact: Artifact) -> None:
            self.artifact = artifact

        def layer_ms(self, x: object) -> list[tuple[str, float]]:
            return [("node_deblurred + [Mul] other", 1.5), ("Reformatting CopyNode for Input Tensor 0", 0.5)]

    session = Recorded(Artifact.open(maker.make(tmp_path, target="tensorrt")))
    layers = layer_times(session, np.zeros(1), runs=2)
    assert [(layer.module, layer.ms) for layer in layers] == [("network.halve", 1.5), (UNKNOWN, 0.5)]


def test_the_first_run_of_a_profile_warms_up() -> None:
    events = [
        {"cat": "Node", "name": "n_kernel_time", "dur": dur, "args": {"op_name": "Mul"}}
        for dur in (9000, 1000, 3000)
    ]
    (layer,) = layers_of_events([{"cat": "Session", "name": "x"}, *events], {"n": "m"}, runs=3)
    assert (layer.ms, layer.module) == (2.0, "m")
