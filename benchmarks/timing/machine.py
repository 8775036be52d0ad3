"""Where a figure was measured: without that it says nothing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from ...runtime import processor
from ...runtime.installed import packages
from ...runtime.sessions import available_threads
from .board import board


def machine_info() -> dict[str, Any]:
    """Return what a reader needs to know of this machine, as plain JSON values.

    Keys: those of :func:`.board.board` as far as they are known, ``cpu``, ``instructions`` (those that matter
    of the ones it has), ``threads`` (that this process may use), ``memory_gb``, ``virtual``, ``os``,
    ``python``, ``versions``, and ``load`` (the average of the last minute, in busy processors, ``None`` where
    the system does not tell).
    """
    facts, flags = processor.facts(), processor.flags()
    return {
        **board(),
        "cpu": facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in processor.INSTRUCTIONS if flag in flags],
        "threads": available_threads(),
        "memory_gb": _memory_gb(),
        "virtual": "hypervisor" in flags,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "load": load(),
    }


class Watch:
    """What else a machine did while something was measured.

    Starts when made; :meth:`stop` returns plain JSON values: ``seconds``; ``threads`` that this process may
    use; ``other_load``, how many processors were busy with something else than this process and its children,
    on average; ``steal``, the share of time that the host of a virtual machine kept to itself; ``governor``;
    and ``temperature_c``, the hottest sensor before and after. What the system does not tell is ``None``.
    """

    def __init__(self) -> None:
        """Read the counters."""
        self._began = time.monotonic()
        self._counters = _counters()
        self._own = _own_seconds()
        self._temperature = temperature()

    def stop(self) -> dict[str, Any]:
        """Read the counters again, and return what happened between."""
        seconds = time.monotonic() - self._began
        now, own = _counters(), _own_seconds() - self._own
        other = steal = None
        if now is not None and self._counters is not None and seconds > 0:
            busy, stolen, total = (b - a for a, b in zip(self._counters, now, strict=True))
            other = round(max(0.0, busy - own) / seconds, 2)
            steal = round(stolen / total, 3) if total > 0 else None
        before, after = self._temperature, temperature()
        return {
            "seconds": round(seconds, 1),
            "threads": available_threads(),
            "other_load": other,
            "steal": steal,
            "governor": governor(),
            "temperature_c": None if after is None or before is None else [before, after],
        }


def governor() -> str | None:
    """Return how the system sets the processor's clock (``performance``, ``powersave``), or ``None``."""
    governors = set()
    for file in sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")):
        with contextlib.suppress(OSError):
            governors.add(file.read_text(encoding="utf-8", errors="replace").strip())
    return ", ".join(sorted(governors)) or None


def temperature() -> float | None:
    """Return the hottest sensor in degrees Celsius, or ``None``."""
    temperatures = []
    for file in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            degrees = int(file.read_text()) / 1000
            temperatures += [degrees] if 0 < degrees < 150 else []
    return round(max(temperatures), 1) if temperatures else None


def _counters() -> tuple[float, float, float] | None:
    """Seconds of all processors since the start: busy, stolen by the host, and in all; Linux only."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()
        ticks = [int(word) for word in first[1:9]]
        user, nice, system, idle, waiting, interrupts, soft, stolen = (
            tick / os.sysconf("SC_CLK_TCK") for tick in ticks
        )
        busy = user + nice + system + interrupts + soft
        return busy, stolen, busy + idle + waiting + stolen
    return None


def _own_seconds() -> float:
    """Seconds of this process and of what it started: the system adds a child's only once that has ended, and
    a browser runs as long as its session."""
    return sum(os.times()[:4]) + _seconds_of_children()


def _seconds_of_children() -> float:
    """Seconds of the processes below this one that still run; Linux only, otherwise 0."""
    below: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        tick = 1 / os.sysconf("SC_CLK_TCK")
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):  # it may end meanwhile
                # proc_pid_stat(5): the fields after the name in parentheses begin with the state.
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                seconds[int(folder.name)] = sum(map(int, fields[11:15])) * tick
                below.setdefault(int(fields[1]), []).append(int(folder.name))
    total, waiting = 0.0, below.pop(os.getpid(), [])
    while waiting:
        process = waiting.pop()
        total += seconds[process]
        waiting += below.pop(process, [])  # once each, even where a number was used again meanwhile
    return total


def load() -> float | None:
    """Return the load average of the last minute, or ``None`` where the system does not tell."""
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def _versions() -> dict[str, str]:
    """Return the versions of this package, of what builds, and of the runtimes."""
    needs = [packages.TORCH, packages.ONNX, packages.ONNXRUNTIME]
    with contextlib.suppress(ModuleNotFoundError):  # a device has no target table
        from ...export.targets import read_targets

        needs += [need for row in read_targets()[0].values() for need in row.run_needs]
    versions = {}
    for name in dict.fromkeys(["fdikp-edge", *(need.distribution for need in (*needs, packages.NUMPY))]):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _memory_gb() -> float | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    return None
