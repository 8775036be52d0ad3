"""How long a call takes, in milliseconds. No sample is ever dropped: outliers are the throttling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...runtime.progress import Progress
from ...runtime.sessions import Milliseconds

Call = Callable[[], object]

BURST = 3
"""Timed calls in a row, after one that is not timed, in an interleaved run."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of ``n`` calls, none left out.

    A quantile is the smallest sample that at least that share of samples do not exceed (the nearest rank), so
    it is a time that did occur. ``drift`` is the median of the last quarter over that of the first: above 1
    the machine grew slower. ``complete`` is false where the time bound came before the samples asked for.
    """

    samples: tuple[float, ...]
    complete: bool

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples)

    @property
    def min(self) -> float:
        """The fastest call."""
        return min(self.samples)

    @property
    def p50(self) -> float:
        """The median."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """Nine of ten calls took no longer."""
        return self.quantile(0.9)

    @property
    def p99(self) -> float:
        """All but one in a hundred calls took no longer; the slowest call where there are fewer than 100."""
        return self.quantile(0.99)

    @property
    def drift(self) -> float:
        """Median of the last quarter over that of the first quarter of the samples."""
        quarter = max(1, self.n // 4)
        return quantile(self.samples[-quarter:], 0.5) / quantile(self.samples[:quarter], 0.5)

    def quantile(self, share: float) -> float:
        """Return the nearest-rank quantile."""
        return quantile(self.samples, share)

    def to_dict(self) -> dict[str, float | int | bool]:
        """Return the figures of a report, rounded to a microsecond."""
        figures = {name: round(getattr(self, name), 3) for name in ("min", "p50", "p90", "p99", "drift")}
        return {**figures, "max": round(max(self.samples), 3), "n": self.n, "complete": self.complete}


LEAST_SAMPLES = 20
MOST_DRIFT = 1.05
MOST_SPREAD = 1.25
MOST_OTHER_LOAD = 0.25
MOST_STEAL = 0.02
MOST_WARMING = 10.0


def unstable(latency: Latency, conditions: Mapping[str, Any]) -> list[str]:
    """Return the reasons why a measurement is unstable; empty if it is stable.

    Args:
        latency: what was measured.
        conditions: what :meth:`.machine.Watch.stop` returned after it. Missing values count as good.
    """
    reasons = []
    if latency.n < LEAST_SAMPLES:
        reasons.append(f"only {latency.n} samples")
    if not 1 / MOST_DRIFT <= latency.drift <= MOST_DRIFT:
        reasons.append(f"the last quarter took {latency.drift:.2f} times as long as the first")
    if latency.p90 > MOST_SPREAD * latency.p50:
        reasons.append(f"the 90th percentile is {latency.p90 / latency.p50:.2f} times the median or more")
    other, steal, heat = (conditions.get(key) for key in ("other_load", "steal", "temperature_c"))
    if other is not None and other > MOST_OTHER_LOAD:
        reasons.append(f"other processes used {other:.1f} processors")
    if steal is not None and steal > MOST_STEAL:
        reasons.append(f"the host of this virtual machine took {100 * steal:.0f} % of its time")
    if heat is not None and heat[1] - heat[0] > MOST_WARMING:
        reasons.append(f"the machine warmed from {heat[0]:.0f} to {heat[1]:.0f} degrees")
    return reasons


TAIL_SAMPLES = 100
"""The 99th percentile of fewer samples is the slowest call by another name."""


def has_tail(figures: Mapping[str, Any]) -> bool:
    """Whether ``latency_ms`` of a report tells a 99th percentile from the slowest call."""
    n = figures.get("n")
    return not isinstance(n, int | float) or n >= TAIL_SAMPLES


def tail_note(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return why the p99 of some of these figures is left out of a table, or nothing where none is."""
    few = [figures["n"] for figures in rows if not has_tail(figures)]
    return f"p99: left out for fewer than {TAIL_SAMPLES} timed calls ({min(few)} here)." if few else ""


def shown_percentiles(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of the percentiles that so many calls tell apart."""
    return ("p50", "p90", "p99") if has_tail(figures) else ("p50", "p90")


def with_stability(latency: Latency, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a report with what they are worth.

    ``stable`` is false, and ``unstable_because`` says why, where the machine was not; ``conditions`` holds
    what was seen of it.
    """
    reasons = unstable(latency, conditions)
    return {
        **latency.to_dict(),
        "stable": not reasons,
        "unstable_because": reasons,
        "conditions": dict(conditions),
    }


def quantile(samples: tuple[float, ...], share: float) -> float:
    """Return the smallest sample that at least ``share`` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(call: Call, *, warmup: int = 3, min_samples: int = 100, max_seconds: float = 60.0) -> Latency:
    """Time one call again and again until there are ``min_samples`` or ``max_seconds`` have passed.

    At least three calls are timed, however slow.
    """
    return measure_side_by_side(
        {"": call}, warmup=warmup, min_samples=min_samples, max_seconds=max_seconds, settle=False
    )[""]


def measure_side_by_side(
    calls: Mapping[str, Call],
    *,
    warmup: int = 3,
    min_samples: int = 100,
    max_seconds: float = 60.0,
    settle: bool = True,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time several calls by turns in one run, so that what else the machine does meets all of them alike.

    Each turn begins with a call that is not timed (``settle``): a runtime's idle threads go on spinning for a
    while after its last call, and would otherwise slow whoever comes next.

    Args:
        calls: name -> what to time.
        warmup: calls of each before anything is timed; at most a quarter of ``max_seconds`` goes there.
        min_samples: stop when every call has this many.
        max_seconds: stop then in any case, for each call; at least three samples of each are taken.
        settle: see above.
        progress: called with (samples so far, samples requested, "").
        clock: seconds; ``time.process_time`` leaves out what other processes took, and adds up threads.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        began = clock()
        for _ in range(warmup):
            call()
            if clock() - began > max_seconds / 4:
                break
    deadline = clock() + max_seconds * len(calls)
    while True:
        for name, call in calls.items():
            if settle:
                call()
            for _ in range(BURST):
                samples[name].append(1e3 * seconds_of(call, clock))
        done = min(map(len, samples.values()))
        if progress is not None:
            progress(min(done, min_samples), min_samples, "")
        if done >= min_samples or clock() >= deadline:
            break
    return {name: Latency(tuple(times), len(times) >= min_samples) for name, times in samples.items()}


def seconds_of(call: Call, clock: Callable[[], float]) -> float:
    """Return how long one call takes: by ``clock``, or by the call's own where it returns that."""
    began = clock()
    result = call()
    return result / 1e3 if isinstance(result, Milliseconds) else clock() - began


def ratio(slower: Latency, faster: Latency) -> float:
    """Return how many times faster ``faster`` is, by the medians."""
    return slower.p50 / faster.p50


def spread(latency: Latency, bins: int = 24) -> list[tuple[float, float, int]]:
    """Return a histogram as (from, to, count), from the fastest to the slowest call."""
    low, high = latency.min, max(latency.samples)
    width = (high - low) / bins or 1e-9
    counts = [0] * bins
    for sample in latency.samples:
        counts[min(bins - 1, int((sample - low) / width))] += 1
    return [(low + i * width, low + (i + 1) * width, count) for i, count in enumerate(counts)]
