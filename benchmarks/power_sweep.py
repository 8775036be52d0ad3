"""An artifact profiled in each power mode of a Jetson: latency, power and energy of a frame by mode.

The session is opened again in each mode, because a mode may switch processors off. Idle power and the soak
are part of every profile, so each mode begins with a rest and is measured in its steady state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..runtime.errors import BadInputError, DeviceError
from ..runtime.progress import Progress
from ..runtime.sessions import Session
from .device_profile import profile
from .telemetry.power_modes import Mode, ModeRefusedError, choose, offered, restored, set_mode
from .timing.protocol import Protocol

Opener = Callable[[], contextlib.AbstractContextManager[Session]]
"""Opens an artifact."""

_KEPT = (
    "protocol",
    "clocks",
    "power",
    "energy_per_frame_mj",
    "temperature_c",
    "clock_mhz",
    "throttle",
    "drift",
    "settings",
)
"""What the entry of a mode holds of its profile."""


def profile_all_modes(
    opened: Opener,
    power_modes: str | None,
    *,
    replay: Path | None = None,
    told: Callable[[str], None] = lambda text: None,
    **settings: Any,
) -> dict[str, Any]:
    """Profile an artifact, in each of the power modes that are asked for or else as the machine is.

    ``settings``: what :func:`sweep` and :func:`.device_profile.profile` both take.

    Raises:
        BadInputError: a mode that the board lacks, or a recording beside power modes.
        FdikpEdgeError: as :func:`sweep` and :func:`.device_profile.profile` raise.
    """
    if power_modes is None:
        with opened() as session:
            return profile(session, replay=replay, **settings)
    if replay is not None:
        raise BadInputError("power modes are measured live; leave out the recording (--replay)")
    return sweep(opened, choose(power_modes, offered()), told=told, **settings)


def sweep(
    opened: Opener,
    modes: Sequence[Mode],
    *,
    protocol: Protocol | None = None,
    layers: bool = True,
    allow_fallback: Sequence[str] = (),
    progress: Progress | None = None,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Profile an artifact in each of ``modes``, and set the mode from before again, whatever happens.

    Args:
        opened: opens the session; called once in each mode.
        modes: of :func:`.telemetry.power_modes.choose`.
        protocol, layers, allow_fallback, progress: as :func:`.device_profile.profile` takes them. Layers are
            measured in the first mode alone.
        told: called with a message on each change of the mode.

    Returns:
        The row of the first mode that could be set, as :func:`.device_profile.profile` returns it, with
        ``power_modes`` in its ``profile``: one entry for each mode, with ``problem`` for one that could not
        be set. The row has failed if the artifact failed in any mode.

    Raises:
        TargetUnavailableError: not root, or no Jetson.
        DeviceError: no mode could be set, or the one from before could not be set again.
    """
    row: dict[str, Any] | None = None
    entries: list[dict[str, Any]] = []
    with restored(told) as before:
        for mode in modes:
            entry: dict[str, Any] = {"name": mode.name, "id": mode.number, "was_set": mode == before}
            entries.append(entry)
            try:
                set_mode(mode)
            except ModeRefusedError as error:
                told(str(error))
                entry["problem"] = str(error)
                continue
            told(f"power mode {mode.name}")
            with opened() as session:
                measured = profile(
                    session,
                    protocol=protocol,
                    layers=layers and row is None,
                    allow_fallback=allow_fallback,
                    progress=progress,
                )
            entry |= {"state": measured["state"], "reason": measured["reason"]}
            entry |= {key: measured["profile"][key] for key in _KEPT}
            if row is None:
                row = measured
            elif measured["state"] == "failed" and row["state"] != "failed":
                reason = f"in power mode {mode.name}: {measured['reason']}"
                row = {**row, "state": "failed", "reason": reason, "reason_code": measured["reason_code"]}
    if row is None:
        raise DeviceError("no power mode could be set: " + "; ".join(entry["problem"] for entry in entries))
    return {**row, "profile": {**row["profile"], "power_modes": entries}}
