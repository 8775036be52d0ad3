"""One query at a time, as in MLPerf Inference's single stream: no sample dropped, sensors read meanwhile.

At least 1,024 queries and 60 seconds (github.com/mlcommons/inference_policies, "Scenarios", as of v5), after
resting (for what the machine draws when idle) and soaking (until it is as warm as it gets). A shorter run is
possible, and then the result says that it does not conform.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...runtime.progress import Progress
from ..telemetry import Reading, Sampler
from .latency import Latency
from .protocol import QUERIES, SECONDS, Protocol

STABLE = 0.02
"""A soak is over when the medians of its last windows lie within this part of each other,"""
STABLE_C = 0.5
"""and the hottest sensor, where there is one, moved by no more than this over them."""
WINDOWS = 3
_WINDOW_S, _WINDOW_QUERIES = 2.0, 5

CLOCKS = {
    "kernel": "from the first to the last kernel, by device events",
    "result": "from submitting the input to receiving the output, copies included",
    "end_to_end": "from 8-bit pixels to 8-bit pixels, conversions included",
}

Query = Callable[[], Mapping[str, float]]
"""Runs once and returns the milliseconds of each of :data:`CLOCKS` that it has."""


@dataclass
class Run:
    """What came of it; times of queries count like those of the readings."""

    protocol: Protocol
    start_s: list[float] = field(default_factory=list)
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    idle: list[Reading] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    soak_s: float = 0.0
    soak_ms: list[float] = field(default_factory=list)
    stable: bool = False
    seconds: float = 0.0

    @property
    def n(self) -> int:
        """Number of queries measured."""
        return len(self.start_s)

    def latency(self, clock: str) -> Latency | None:
        """Return the figures of one clock, ``None`` where the runtime has no such clock."""
        times = self.times_ms.get(clock)
        return Latency(tuple(times), self.n >= self.protocol.queries) if times else None

    def problems(self) -> list[str]:
        """Say why the run does not conform; nothing if it does."""
        problems = []
        if self.n < QUERIES:
            problems.append(f"{self.n} queries, fewer than {QUERIES}")
        if self.seconds < SECONDS:
            problems.append(f"{self.seconds:.1f} s, shorter than {SECONDS:.0f} s")
        if not self.stable:
            problems.append("no steady state was reached before measuring")
        return problems

    def reading_of(self) -> list[int]:
        """Return for each query the number of the reading taken last before its end, -1 before the first."""
        taken = [reading.time_s for reading in self.readings]
        ends = [
            start + times / 1e3
            for start, times in zip(self.start_s, self.times_ms["end_to_end"], strict=True)
        ]
        return [bisect.bisect_right(taken, end) - 1 for end in ends]


def measure(
    query: Query,
    protocol: Protocol,
    read: Callable[[], Reading],
    *,
    progress: Progress | None = None,
) -> Run:
    """Rest, soak and measure.

    Args:
        query: what to measure; must report ``end_to_end``.
        protocol: how long.
        read: looks at the sensors; called from a thread of its own.
        progress: called with (done, wanted, what is being done): in seconds while it rests and soaks, in
            queries while it measures.
    """
    say = progress or (lambda done, total, now: None)
    run = Run(protocol)
    for _ in range(protocol.warmup):
        query()
    with Sampler(read, protocol.interval_s) as sampler:
        _rest(protocol.idle_seconds, say)
        rested = _now(sampler)
        _soak(query, run, sampler, say)
        began = _now(sampler)
        while run.n < protocol.queries or run.seconds < protocol.seconds:
            start = _now(sampler)
            for clock, took in query().items():
                run.times_ms.setdefault(clock, []).append(took)
            run.start_s.append(start)
            run.seconds = _now(sampler) - began
            if run.n % 16 == 1:
                say(min(run.n, protocol.queries), protocol.queries, "measuring")
            if run.seconds > protocol.max_seconds:
                break
        ended = _now(sampler)
    run.idle = sampler.between(0.0, rested)
    run.readings = sampler.between(began, ended + protocol.interval_s)
    return run


def _rest(seconds: float, say: Progress) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        say(int(seconds - left), math.ceil(seconds), "idle")
        time.sleep(min(left, 1.0))


def _soak(query: Query, run: Run, sampler: Sampler, say: Progress) -> None:
    began = _now(sampler)
    longest = run.protocol.soak_seconds
    starts: list[float] = []
    while run.soak_s < longest:
        window: list[float] = []
        starts.append(_now(sampler))
        while len(window) < _WINDOW_QUERIES or _now(sampler) - starts[-1] < _WINDOW_S:
            window.append(query()["end_to_end"])
            spent = min(_now(sampler) - began, longest)
            say(int(spent), math.ceil(longest), f"soaking until steady, at most {longest:g} s")
        run.soak_ms.append(statistics.median(window))
        run.soak_s = _now(sampler) - began
        recent = run.soak_ms[-WINDOWS:]
        steady = len(recent) == WINDOWS and max(recent) <= (1 + STABLE) * min(recent)
        if steady and _moved(sampler.between(starts[-WINDOWS], _now(sampler))) <= STABLE_C:
            run.stable = True
            return


def _moved(readings: Sequence[Reading]) -> float:
    """Return by how many degrees the hottest sensor moved."""
    hottest = [max(reading.temperature_c.values()) for reading in readings if reading.temperature_c]
    return max(hottest) - min(hottest) if hottest else 0.0


def _now(sampler: Sampler) -> float:
    return time.perf_counter() - sampler.origin


def protocol_dict(run: Run) -> dict[str, object]:
    """Return what a report says of how the run was made."""
    problems = run.problems()
    return {
        **dataclasses.asdict(run.protocol),
        "scenario": "single stream",
        "measured_queries": run.n,
        "measured_seconds": round(run.seconds, 3),
        "conformant": not problems,
        "problems": problems,
        "soak": {
            "seconds": round(run.soak_s, 3),
            "stable": run.stable,
            "window_p50_ms": [round(value, 3) for value in run.soak_ms],
        },
    }
