"""Timing: nothing dropped, quantiles as documented, turns as documented."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from fdikp_edge.benchmarks.timing import machine
from fdikp_edge.benchmarks.timing.latency import (
    BURST,
    Latency,
    measure,
    measure_side_by_side,
    quantile,
    ratio,
    spread,
    unstable,
    with_stability,
)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 99, 100, 101, 1000])
def test_quantiles_are_numpys_inverted_cdf(n: int) -> None:
    samples = tuple(np.random.default_rng(n).random(n))
    for share in (0.5, 0.9, 0.99):
        assert quantile(samples, share) == np.quantile(samples, share, method="inverted_cdf")


def test_the_slowest_call_is_kept() -> None:
    calls = 0

    def sometimes_slow() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.05 if calls == 60 else 0.0002)

    latency = measure(sometimes_slow, warmup=2, min_samples=99)
    assert latency.n == calls - 2 == 99
    assert max(latency.samples) > 50
    assert latency.to_dict()["max"] > 50
    assert latency.p99 > 50  # of 99 samples, the nearest rank of 99 % is the slowest
    assert latency.p50 < 20


def test_times_are_milliseconds() -> None:
    assert 20 <= measure(lambda: time.sleep(0.02), warmup=0, min_samples=3).min < 60


def test_the_time_bound_ends_it_and_is_said() -> None:
    began = time.perf_counter()
    latency = measure(lambda: time.sleep(0.01), warmup=1, min_samples=10_000, max_seconds=0.2)
    assert time.perf_counter() - began < 2
    assert not latency.complete
    assert 3 <= latency.n < 10_000
    assert measure(lambda: None, min_samples=5).complete


def test_even_one_call_over_the_bound_is_timed_three_times() -> None:
    assert measure(lambda: time.sleep(0.03), warmup=0, min_samples=100, max_seconds=0.01).n == 3


def test_calls_take_turns_and_each_turn_settles_first() -> None:
    order: list[str] = []
    names = "abc"
    calls = {name: (lambda name=name: order.append(name)) for name in names}
    latencies = measure_side_by_side(calls, warmup=0, min_samples=2 * BURST)
    assert "".join(order) == "".join(name * (BURST + 1) for name in names) * 2
    assert {latency.n for latency in latencies.values()} == {2 * BURST}


def test_progress_counts_up_to_the_samples_wanted() -> None:
    seen: list[tuple[int, int]] = []
    measure_side_by_side(
        {"a": lambda: None}, min_samples=7, progress=lambda done, total, _: seen.append((done, total))
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_drift_tells_a_machine_that_grows_slower() -> None:
    assert Latency((1.0,) * 30 + (2.0,) * 30 + (3.0,) * 30, True).drift == 3.0
    assert Latency((5.0,), True).drift == 1.0


def test_ratio_and_histogram() -> None:
    fast, slow = Latency((1.0, 2.0, 3.0), True), Latency((4.0, 4.0, 9.0), True)
    assert ratio(slow, fast) == 2.0
    bars = spread(slow, bins=5)
    assert sum(count for _, _, count in bars) == 3
    assert (bars[0][0], bars[-1][1]) == (4.0, pytest.approx(9.0))
    assert (bars[0][2], bars[-1][2]) == (2, 1)
    assert sum(count for _, _, count in spread(Latency((2.0, 2.0), True))) == 2


CALM = {"other_load": 0.0, "steal": 0.0, "temperature_c": [50.0, 52.0], "governor": "performance"}


def steady(n: int = 40) -> Latency:
    return Latency(tuple(10.0 + 0.1 * (i % 3) for i in range(n)), True)


def test_a_calm_run_is_stable() -> None:
    assert unstable(steady(), CALM) == [] == unstable(steady(), {})
    told = with_stability(steady(), CALM)
    assert told["stable"] is True and told["unstable_because"] == [] and told["conditions"] == CALM
    assert told["p50"] == steady().to_dict()["p50"]


@pytest.mark.parametrize(
    ("latency", "conditions", "word"),
    [
        (steady(8), {}, "only 8 samples"),
        (Latency(tuple(10.0 + 0.1 * i for i in range(40)), True), {}, "last quarter"),
        (Latency((10.0,) * 34 + (20.0,) * 6, True), {}, "90th percentile"),
        (steady(), {"other_load": 0.9}, "other processes used 0.9"),
        (steady(), {"steal": 0.1}, "host of this virtual machine took 10 %"),
        (steady(), {"temperature_c": [50.0, 75.0]}, "warmed from 50 to 75"),
    ],
)
def test_what_makes_a_run_unstable_is_said(
    latency: Latency, conditions: dict[str, object], word: str
) -> None:
    assert any(word in reason for reason in unstable(latency, conditions))
    assert with_stability(latency, conditions)["stable"] is False


def test_drift_compares_quarters() -> None:
    assert Latency((1.0,) * 10 + (5.0,) * 20 + (2.0,) * 10, True).drift == 2.0


def test_a_watch_tells_own_work_from_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten seconds: 14 of processor time in all, of which 6 ours and 3 of 30 taken by the host.
    counters = iter([(100.0, 1.0, 300.0), (114.0, 4.0, 330.0)])
    monkeypatch.setattr(machine, "_counters", lambda: next(counters))
    own = iter([5.0, 11.0])
    monkeypatch.setattr(machine, "_own_seconds", lambda: next(own))
    now = iter([1000.0, 1010.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(now))
    conditions = machine.Watch().stop()
    assert (conditions["seconds"], conditions["other_load"], conditions["steal"]) == (10.0, 0.8, 0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_a_child_that_still_runs_is_no_other_process() -> None:
    work = "import time, sys\nwhile time.process_time() < 0.5: pass\nprint('x', flush=True)\nsys.stdin.read()"
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])"
    before = machine._own_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.read(1) == b"x"
        assert machine._own_seconds() - before >= 0.5
        child.stdin.close()


def test_a_watch_reads_this_machine() -> None:
    conditions = machine.Watch().stop()
    assert set(conditions) == {"seconds", "threads", "other_load", "steal", "governor", "temperature_c"}
    assert conditions["threads"] >= 1 and conditions["seconds"] < 60
    assert with_stability(steady(), conditions)["conditions"] == conditions


def test_a_system_that_tells_nothing_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_counters", lambda: None)
    monkeypatch.setattr(machine, "temperature", lambda: None)
    conditions = machine.Watch().stop()
    assert (
        conditions["other_load"] is None
        and conditions["steal"] is None
        and conditions["temperature_c"] is None
    )
    assert unstable(steady(), conditions) == []
