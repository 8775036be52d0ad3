"""What Linux itself shows below ``/sys``, on a Jetson as on any machine: no library, mostly no root.

Thermal zones, processor clocks (cpufreq), clocks of other units (devfreq), power monitors (INA chips under
hwmon, as on every Jetson module; RAPL on Intel and AMD), and the counters and states of what holds a machine
back. Formats are those of the kernel's ``Documentation/ABI/testing/sysfs-class-{thermal,devfreq,powercap}``
and ``Documentation/hwmon/sysfs-interface.rst``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

from ...runtime.errors import TargetUnavailableError
from .reading import Reading

_UNSUMMED = "sum of shunt voltages"
_WARNS = "-alert"
"""Ends the kind of a cooling device that tells people of heat and slows nothing down (on Orin, at 70 C)."""
_FANS = ("fan", "powerclamp", "tcc offset")  # cooling that takes no speed away, or shows -1 when idle


class SysfsSource:
    """Every sensor file that can be read when it starts."""

    name = "sysfs"

    def __init__(self, root: Path = Path("/")) -> None:
        """Look below ``root``, which a test replaces."""
        self.root = root
        self.notes: list[str] = []
        """What is there but cannot be read."""
        self._energy: dict[str, tuple[float, float]] = {}

    def start(self) -> None:
        """Look once.

        Raises:
            TargetUnavailableError: not one sensor can be read.
        """
        if not (self.root / "sys").is_dir():
            raise TargetUnavailableError("no /sys (not Linux)")
        self.read()
        first = self.read()
        if not (first.temperature_c or first.clock_mhz or first.power_mw or self._energy):
            raise TargetUnavailableError(
                "; ".join(("/sys has no thermal zone, clock or power monitor", *self.notes))
            )

    def read(self) -> Reading:
        """Read every file again."""
        return Reading(
            power_mw={**dict(self._hwmon()), **dict(self._rapl())},
            temperature_c=dict(self._thermal()),
            clock_mhz={**dict(self._cpufreq()), **dict(self._devfreq())},
            throttle=dict(self._throttle()),
        )

    def stop(self) -> None:
        """Nothing to do."""

    def limits_c(self) -> dict[str, float]:
        """Return from which temperature each zone slows the machine down.

        That is its first passive trip point; where the zone tells which cooling devices its trip points are
        bound to, the first with one that takes speed away.
        """
        limits = {}
        for zone in self._glob("sys/class/thermal/thermal_zone*"):
            bound = _bound_trips(zone)
            trips = [
                value / 1000
                for kind in sorted(zone.glob("trip_point_*_type"))
                if text_of(kind) in ("passive", "hot")
                and (bound is None or kind.name.split("_")[2] in bound)
                and (value := number_of(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
                and value > 0
            ]
            if trips:
                limits[zone_name(zone)] = min(trips)
        return limits

    def governors(self) -> dict[str, str]:
        """Return what scales the clock of each processor and unit."""
        governors = {}
        for policy in self._glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
            if governor := text_of(policy / "scaling_governor"):
                governors[policy.parent.name] = governor
        for unit in self._glob("sys/class/devfreq/*"):
            if governor := text_of(unit / "governor"):
                governors[unit.name] = governor
        return governors

    def _glob(self, pattern: str) -> Iterator[Path]:
        yield from sorted(self.root.glob(pattern))

    def _thermal(self) -> Iterator[tuple[str, float]]:
        for zone in self._glob("sys/class/thermal/thermal_zone*"):
            value = number_of(zone / "temp")
            if value is not None and -200_000 < value < 300_000:  # a part without power shows -256 degrees
                yield zone_name(zone), value / 1000

    def _cpufreq(self) -> Iterator[tuple[str, float]]:
        for file in self._glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
            if (value := number_of(file)) is not None:
                yield file.parent.parent.name, value / 1e3

    def _devfreq(self) -> Iterator[tuple[str, float]]:
        for file in self._glob("sys/class/devfreq/*/cur_freq"):
            if (value := number_of(file)) is not None:
                yield file.parent.name, value / 1e6

    def _hwmon(self) -> Iterator[tuple[str, float]]:
        for chip in self._glob("sys/class/hwmon/hwmon*"):
            if not (text_of(chip / "name") or "").startswith("ina"):
                continue
            for file in sorted(chip.glob("in*_label")):
                index, label = file.name[2:].partition("_")[0], text_of(file)
                volts, amps = number_of(chip / f"in{index}_input"), number_of(chip / f"curr{index}_input")
                if (
                    label
                    and label.lower() not in (_UNSUMMED, "nc")
                    and volts is not None
                    and amps is not None
                ):
                    yield label, volts * amps / 1000

    def _rapl(self) -> Iterator[tuple[str, float]]:
        for zone in self._glob("sys/class/powercap/*-rapl:*"):
            name = text_of(zone / "name")
            if name is None:
                continue
            label = f"{name} ({zone.name})"
            energy, now = number_of(zone / "energy_uj"), time.perf_counter()
            if energy is None:
                note = f"RAPL {name} needs root ({zone}/energy_uj)"
                self.notes = [*dict.fromkeys((*self.notes, note))]
                continue
            before = self._energy.get(label)
            self._energy[label] = (energy, now)
            if before is not None and energy >= before[0] and now > before[1]:  # it wraps around now and then
                yield label, (energy - before[0]) / 1e3 / (now - before[1])

    def _throttle(self) -> Iterator[tuple[str, float]]:
        for kind in ("core", "package"):
            pattern = f"sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/{kind}_throttle_count"
            counts = [value for file in self._glob(pattern) if (value := number_of(file)) is not None]
            if counts:
                yield f"{kind} throttle count", sum(counts)
        for file in self._glob("sys/class/hwmon/hwmon*/oc*_event_cnt"):  # over-current, on Tegra
            if (value := number_of(file)) is not None:
                yield file.name.removesuffix("_event_cnt"), value
        for device in self._glob("sys/class/thermal/cooling_device*"):
            kind = text_of(device / "type") or device.name
            value = number_of(device / "cur_state")
            if value is not None and _slows(kind):
                yield f"cooling {kind} ({device.name.removeprefix('cooling_device')})", value


def _slows(kind: str) -> bool:
    """Whether a cooling device of this kind takes speed away."""
    return not kind.lower().endswith(_WARNS) and not any(word in kind.lower() for word in _FANS)


def _bound_trips(zone: Path) -> set[str] | None:
    """Return the numbers of the trip points at which a cooling device slows something down; ``None``: the
    zone does not tell."""
    points = sorted(zone.glob("cdev*_trip_point"))
    if not points:
        return None
    return {
        number
        for point in points
        if _slows(text_of(zone / point.name.removesuffix("_trip_point") / "type") or "")
        and (number := text_of(point)) is not None
    }


def zone_name(zone: Path) -> str:
    """Return what a thermal zone calls itself, with its number, since two may share a name."""
    kind = (text_of(zone / "type") or "zone").removesuffix("-thermal")
    return f"{kind} ({zone.name.removeprefix('thermal_zone')})"


def text_of(file: Path) -> str | None:
    """Return the first line of a small file, or ``None``: gone, unreadable, or its sensor is asleep."""
    try:
        with file.open("rb") as stream:
            return stream.read(256).decode("ascii", errors="replace").split("\n")[0].strip("\0 ")
    except OSError:
        return None


def number_of(file: Path) -> float | None:
    """Return the number in a file, or ``None``."""
    text = text_of(file)
    try:
        value = None if text is None else float(text)
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
