"""What readings taken beside a run say about it: power, heat, clocks, and whether the machine held back."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .reading import Reading

TOTAL_RAILS = ("VDD_IN", "VIN", "POM_5V_IN", "Power TOT", "TOT", "tot")
"""Rails through which all power of a module (VIN on Thor: of the whole board) goes, the best first."""

BEHIND: Mapping[str, str] = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
"""Rail -> the rail that its power is part of, on AGX Orin: both in one sum count the memory twice."""

CLOCK_FELL = 0.9
"""A unit counts as throttled when its clock falls below this share of its initial value."""

BUSY_PERCENT = 50.0
"""A clock counts only while its unit is known to be at least this busy: idle units slow down."""

CLOSE_C = 1.0
"""How far under its limit a zone counts as having reached it."""


def power(during: Sequence[Reading], idle: Sequence[Reading]) -> dict[str, Any] | None:
    """Return the mean and the most of every rail, of an idle machine too, and the difference, in milliwatts.

    ``{"rails": {name: {"mean_mw", "max_mw", "idle_mw", "net_mw"}}, "total": {…, "of": "VDD_IN"}}``; the idle
    and net figures are ``None`` where no reading was taken before the run. Without a rail for all of it the
    total is the sum of the available rails, as ``of`` states.
    """
    names = list(dict.fromkeys(name for reading in during for name in reading.power_mw))
    if not names:
        return None
    rails = {name: _rail([reading.power_mw.get(name) for reading in during], name, idle) for name in names}
    for name in TOTAL_RAILS:
        if name in rails:
            return {"rails": rails, "total": {**rails[name], "of": name}}
    names = [name for name in names if BEHIND.get(name) not in names]
    sums = [_sum(reading, names) for reading in during]
    before = [Reading(power_mw={"": total}) for r in idle if (total := _sum(r, names)) is not None]
    return {"rails": rails, "total": {**_rail(sums, "", before), "of": "sum of " + ", ".join(names)}}


def _sum(reading: Reading, names: list[str]) -> float | None:
    rails = [reading.power_mw[name] for name in names if name in reading.power_mw]
    return sum(rails) if rails else None


def _rail(values: Sequence[float | None], name: str, idle: Sequence[Reading]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    before = [reading.power_mw[name] for reading in idle if name in reading.power_mw]
    mean = statistics.fmean(known)
    rest = statistics.fmean(before) if before else None
    return {
        "mean_mw": round(mean, 1),
        "max_mw": round(max(known), 1),
        "idle_mw": None if rest is None else round(rest, 1),
        "net_mw": None if rest is None else round(mean - rest, 1),
    }


def spans(during: Sequence[Reading], quantity: str) -> dict[str, dict[str, float]]:
    """Return the first, last, least and most of every value of a quantity, and its median."""
    series: dict[str, list[float]] = {}
    for reading in during:
        for name, value in getattr(reading, quantity).items():
            series.setdefault(name, []).append(value)
    return {
        name: {
            "first": values[0],
            "last": values[-1],
            "min": min(values),
            "max": max(values),
            "median": statistics.median(values),
        }
        for name, values in series.items()
    }


def held_back(during: Sequence[Reading], limits_c: Mapping[str, float]) -> list[str]:
    """Return a sentence for everything that says the machine did not run as fast as it could.

    Args:
        during: readings of the run, in order.
        limits_c: from which temperature a zone slows the machine down, where that is known.
    """
    reasons = []
    for name, values in _busy_clocks(during).items():
        third = max(1, len(values) // 3)
        began, ended = statistics.median(values[:third]), statistics.median(values[-third:])
        if len(values) >= 3 and began > 0 and ended < CLOCK_FELL * began:
            reasons.append(f"clock {name} fell from {began:.0f} to {ended:.0f} MHz")
    for name, span in spans(during, "throttle").items():
        if "count" in name or name.startswith("oc"):
            if span["max"] > span["first"]:
                reasons.append(f"{name} rose by {span['max'] - span['first']:.0f}")
        elif span["max"] > 0:
            reasons.append(f"{name} was active")
    for name, span in spans(during, "temperature_c").items():
        if name in limits_c and span["max"] > limits_c[name] - CLOSE_C:
            reasons.append(f"{name} reached {span['max']:.1f} C, and slows down from {limits_c[name]:.1f} C")
    return reasons


def _busy_clocks(during: Sequence[Reading]) -> dict[str, list[float]]:
    clocks: dict[str, list[float]] = {}
    for reading in during:
        for name, clock in reading.clock_mhz.items():
            if reading.load_percent.get(name, 0.0) >= BUSY_PERCENT:
                clocks.setdefault(name, []).append(clock)
    return clocks
