"""Which sensors this machine has: tegrastats, jtop, NVML and sysfs are tried in that order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...runtime.errors import TargetUnavailableError
from .jetson import TegrastatsSource
from .jtop import JtopSource
from .nvml import NvmlSource
from .reading import QUANTITIES, Reading, Source
from .sysfs import SysfsSource

ORDER: tuple[Callable[[], Source], ...] = (TegrastatsSource, JtopSource, NvmlSource, SysfsSource)


@dataclass
class Telemetry:
    """The sources that work here, by priority: where two report the same quantity, the first one counts.

    Of the first three the first that works is taken; sysfs adds what it lacks. ``absent``
    holds the reason for each of the others.
    """

    sources: list[Source] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def read(self) -> Reading:
        """Return what all of them say together."""
        reading = Reading()
        for source in reversed(self.sources):
            reading = source.read().over(reading)
        return reading

    def stop(self) -> None:
        """Stop all of them."""
        for source in self.sources:
            source.stop()

    def missing(self, readings: Sequence[Reading]) -> dict[str, str]:
        """Return a reason for every quantity that no reading holds."""
        used = ", ".join(source.name for source in self.sources)
        return {
            name: f"not available from {used}" if used else "not available"
            for name in QUANTITIES
            if not any(getattr(reading, name) for reading in readings)
        }


def find_sources(order: Sequence[Callable[[], Source]] = ORDER) -> Telemetry:
    """Start the sources that work here."""
    telemetry = Telemetry()
    for make in order:
        source = make()
        if telemetry.sources and source.name != SysfsSource.name:
            telemetry.absent[source.name] = f"not used: {telemetry.sources[0].name} is available"
            continue
        try:
            source.start()
        except TargetUnavailableError as error:
            telemetry.absent[source.name] = str(error)
        else:
            telemetry.sources.append(source)
    return telemetry
