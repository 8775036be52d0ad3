"""jtop (the package ``jetson-stats``), where its service runs."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from ...runtime.errors import TargetUnavailableError
from .reading import Reading


class JtopSource:
    """What ``jtop().stats`` holds."""

    name = "jtop"

    def __init__(self) -> None:
        """Plan to ask the service."""
        self._jtop: Any = None

    def start(self) -> None:
        """Connect to the service.

        Raises:
            TargetUnavailableError: jetson-stats is not installed, or its service does not answer.
        """
        try:
            module = importlib.import_module("jtop")
        except ImportError as error:
            raise TargetUnavailableError("jtop (jetson-stats) is not installed") from error
        try:
            self._jtop = module.jtop()
            self._jtop.start()
        except Exception as error:  # the package's own errors, a permission, a socket
            self._jtop = None
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TargetUnavailableError(f"the jtop service does not respond: {reason[:160]}") from error

    def read(self) -> Reading:
        """Return the newest figures."""
        try:
            return parse(dict(self._jtop.stats)) if self._jtop.ok(spin=True) else Reading()
        except Exception:  # on some releases an entry is missing and the property raises
            return Reading()

    def stop(self) -> None:
        """Let go of the service."""
        jtop, self._jtop = self._jtop, None
        if jtop is not None:
            with contextlib.suppress(Exception):
                jtop.close()


def parse(stats: dict[str, Any]) -> Reading:
    """Sort jtop's flat table by what its names begin with; what is no number is kept as text."""
    power: dict[str, float] = {}
    temperature: dict[str, float] = {}
    load: dict[str, float] = {}
    other: dict[str, str] = {}
    for key, value in stats.items():
        kind, _, rest = str(key).partition(" ")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            other[str(key)] = str(value)[:200]
        elif kind.lower() == "temp" and rest:
            if value > -200:  # -256: a part without power
                temperature[rest] = float(value)
        elif kind.lower() == "power" and rest:
            if not rest.lower().startswith("avg"):
                power[rest] = float(value)
        elif str(key).upper().startswith(("CPU", "GPU")):
            load[str(key)] = float(value)
        else:
            other[str(key)] = str(value)
    return Reading(power_mw=power, temperature_c=temperature, load_percent=load, other=other)
