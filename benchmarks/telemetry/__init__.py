"""Sensor readings of a device under load: power, temperatures, clocks, loads, throttling."""

from __future__ import annotations

from .reading import Reading, Source
from .sampler import Sampler
from .sources import Telemetry, find_sources

__all__ = ["Reading", "Sampler", "Source", "Telemetry", "find_sources"]
