"""NVIDIA's management library through ctypes: GPUs on desktops and servers, Jetson from Thor on.

Functions, units and bits are those of the NVML API reference (docs.nvidia.com/deploy/nvml-api).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

from ...runtime.errors import TargetUnavailableError
from .reading import Reading

REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of ``nvmlDeviceGetCurrentClocksThrottleReasons`` that mean being held back; idling is none."""

_CLOCKS = {0: "graphics", 1: "SM", 2: "memory"}
_GPU_TEMPERATURE = 0


class _Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class NvmlSource:
    """The first GPU that the library lists."""

    name = "NVML"

    def __init__(self, library: str | None = None) -> None:
        """Plan to load ``library``, or the driver's own."""
        self._path = library or ("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        self._nvml: ctypes.CDLL | None = None
        self._device = ctypes.c_void_p()

    def start(self) -> None:
        """Load and initialise the library.

        Raises:
            TargetUnavailableError: there is no driver, or no GPU.
        """
        try:
            nvml = ctypes.CDLL(self._path)
        except OSError as error:
            raise TargetUnavailableError(f"no NVIDIA driver ({self._path} is not found)") from error
        if code := nvml.nvmlInit_v2():
            raise TargetUnavailableError(f"NVML does not start (error {code})")
        if code := nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._device)):
            nvml.nvmlShutdown()
            raise TargetUnavailableError(f"NVML lists no GPU (error {code})")
        self._nvml = nvml

    def read(self) -> Reading:
        """Return the readings of this GPU; a Jetson does not provide all of them."""
        throttle: dict[str, float] = {}
        reasons = ctypes.c_ulonglong()
        if self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.byref(reasons)):
            throttle = {word: float(bool(reasons.value & bit)) for bit, word in REASONS.items()}
        power = self._number("nvmlDeviceGetPowerUsage")
        temperature = self._number("nvmlDeviceGetTemperature", _GPU_TEMPERATURE)
        used = _Utilisation()
        known = self._ask("nvmlDeviceGetUtilizationRates", ctypes.byref(used))
        clocks = {
            f"GPU {name}": value
            for kind, name in _CLOCKS.items()
            if (value := self._number("nvmlDeviceGetClockInfo", kind)) is not None
        }
        return Reading(
            power_mw={} if power is None else {"GPU": power},
            temperature_c={} if temperature is None else {"GPU": temperature},
            clock_mhz=clocks,
            load_percent={"GPU": float(used.gpu)} if known else {},
            throttle=throttle,
        )

    def stop(self) -> None:
        """Let go of the library."""
        nvml, self._nvml = self._nvml, None
        if nvml is not None:
            with contextlib.suppress(OSError):
                nvml.nvmlShutdown()

    def _number(self, function: str, *arguments: int) -> float | None:
        value = ctypes.c_uint()
        return float(value.value) if self._ask(function, *arguments, ctypes.byref(value)) else None

    def _ask(self, function: str, *arguments: object) -> bool:
        """Call a function on the device; whether it answered."""
        assert self._nvml is not None
        call = getattr(self._nvml, function, None)
        return call is not None and call(self._device, *arguments) == 0
