"""One look at a device's sensors, whatever they were read with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Values = Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """What the sensors said at one moment; a sensor that said nothing is not in it.

    ``time_s`` counts from the start of the sampler (of the recording, in a replay). ``throttle`` holds
    counters and flags that are zero while nothing is held back. ``other`` keeps what no field has room for,
    in the source's own words, so that a key unknown today is not lost.
    """

    time_s: float = 0.0
    power_mw: Values = field(default_factory=dict)
    temperature_c: Values = field(default_factory=dict)
    clock_mhz: Values = field(default_factory=dict)
    load_percent: Values = field(default_factory=dict)
    memory_mb: Values = field(default_factory=dict)
    throttle: Values = field(default_factory=dict)
    other: Mapping[str, str] = field(default_factory=dict)

    def at(self, time_s: float) -> Reading:
        """Return the same reading at another time."""
        return dataclasses.replace(self, time_s=time_s)

    def over(self, below: Reading) -> Reading:
        """Return what either reading holds; where both hold a value, this one's."""
        merged: dict[str, Any] = {
            name: {**getattr(below, name), **getattr(self, name)}
            for name in (*QUANTITIES, "memory_mb", "other")
        }
        return dataclasses.replace(self, **merged)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the fields that are empty."""
        entries: dict[str, Any] = {"time_s": round(self.time_s, 3)}
        for entry in dataclasses.fields(self)[1:]:
            if value := getattr(self, entry.name):
                entries[entry.name] = dict(value)
        return entries


QUANTITIES = ("power_mw", "temperature_c", "clock_mhz", "load_percent", "throttle")
"""The fields whose absence a report names."""


class Source(Protocol):
    """Something that can be read again and again; ``name`` is what reports call it.

    :meth:`start` raises a :class:`~fdikp_edge.runtime.errors.TargetUnavailableError` that says what is
    missing where it cannot be used, and :meth:`read` returns an empty reading where nothing is new.
    """

    name: str

    def start(self) -> None:
        """Begin."""
        ...

    def read(self) -> Reading:
        """Return what the sensors say now."""
        ...

    def stop(self) -> None:
        """End; reading is over."""
        ...
